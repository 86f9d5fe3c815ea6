/** @module-tag slow */
// @vitest-environment node
/** The demo on a real Convex backend, but for the backend: a stand-in for the CLI prints what the CLI prints. */
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CliError, type Command } from "../../scripts/host/convex-cli";
import { startLive } from "../../scripts/host/live-host";
import { tell } from "../../scripts/demo/story";

const ROOT = path.join(import.meta.dirname, "../..");
const STAND_IN: Command = [
  process.execPath,
  "--import",
  "tsx",
  path.join(import.meta.dirname, "../world/convex-cli.ts"),
];
const PINNED = path.join(ROOT, "node_modules/convex");

type Call = { args: string[]; folder: string; pid: number; variables: string[] };

let scratch: string;
const calls = () =>
  readFileSync(path.join(scratch, "calls"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Call);

beforeEach(() => {
  scratch = mkdtempSync(path.join(tmpdir(), "live-test-"));
  vi.stubEnv("CLI_RECORD", path.join(scratch, "calls"));
  // Folders of the demo are made there.
  vi.stubEnv("TMPDIR", scratch);
  vi.stubEnv("CONVEX_DEPLOYMENT", "prod:somebody-elses");
  vi.stubEnv("CONVEX_DEPLOY_KEY", "prod:somebody-elses|key");
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(scratch, { recursive: true, force: true });
});

/** Nothing that was started runs, no folder of the demo is left. */
function expectNothingLeft(): void {
  for (const { pid } of existsSync(path.join(scratch, "calls")) ? calls() : []) {
    expect(() => process.kill(pid, 0), `process ${pid}`).toThrow("ESRCH");
  }
  expect(readdirSync(scratch).filter((name) => name.startsWith("convex-live-"))).toEqual([]);
}

describe("the live demo", () => {
  test("tells the story through the CLI, and leaves nothing behind", async () => {
    const host = await startLive({ command: STAND_IN });
    const said: string[] = [];
    try {
      const print = (text = "") => said.push(text);
      expect(await tell(host, { users: 20, seed: 1, print })).toBe(true);
    } finally {
      await host.stop();
    }
    expect(said.join("\n")).toMatch("The users table equals Clerk");
    expect(said.join("\n")).toMatch('log: {"event":"reconcile.started"');
    expectNothingLeft();

    const made = calls();
    expect(made.slice(0, 4).map(({ args }) => args)).toEqual([
      ["init"],
      ["env", "set", "CLERK_JWT_ISSUER_DOMAIN", "https://clerk.stand-in.example"],
      ["dev", "--typecheck", "disable", "--codegen", "disable", "--tail-logs", "disable"],
      ["run", "clerk/reconcile:report", "{}"],
    ]);
    const story = made.slice(4).map(({ args }) => args);
    expect(story.filter(([name]) => name === "env").map((args) => args.slice(0, 3))).toEqual([
      ["env", "set", "CLERK_API_URL"],
      ["env", "set", "CLERK_SECRET_KEY"],
      ["env", "set", "CLERK_WEBHOOK_SECRET"],
    ]);
    expect(story.filter(([name]) => name === "run")).toEqual([
      ["run", "clerk/reconcile:run", "{}"],
      ["run", "clerk/reconcile:run", '{"dryRun":true}'],
      ["run", "clerk/reconcile:run", "{}"],
      ["run", "clerk/reconcile:run", "{}"],
    ]);
    expect(story.find(([name]) => name === "data")).toEqual([
      "data",
      "users",
      "--format",
      "jsonLines",
      "--limit",
      "20000",
    ]);
    for (const { folder, variables } of made) {
      expect(path.relative(ROOT, folder)).toMatch(/^\.\./);
      expect(variables).toEqual(["CONVEX_AGENT_MODE"]);
    }
  });

  test.each([
    ["init fails", "convex init failed:", "Requested port 3210 is not available"],
    ["push fails", "convex dev failed:", "Error fetching POST"],
  ])("where %s, passes on what the CLI said, and leaves nothing behind", async (fault, ...said) => {
    vi.stubEnv("CLI_FAULT", fault);
    const started = startLive({ command: STAND_IN });
    await expect(started).rejects.toThrow(CliError);
    for (const each of said) await expect(started).rejects.toThrow(each);
    expectNothingLeft();
  });

  test("stops what it started when it is interrupted", async () => {
    const script = path.join(import.meta.dirname, "../world/live-demo.ts");
    const demo = spawn(process.execPath, ["--import", "tsx", script, "--live", "--users", "20"]);
    let said = "";
    demo.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (text.includes("2. Life goes on")) demo.kill("SIGINT");
    });
    const [code] = (await once(demo, "close")) as [number | null];
    expect(code).toBe(130);
    expect(said).not.toMatch("The users table equals Clerk");
    expect(calls().map(({ args }) => args[0])).toContain("dev");
    expectNothingLeft();
  });

  test("without network says so in one sentence, with an exit code of its own", () => {
    const before = files();
    const offline = path.join(import.meta.dirname, "../world/no-network.mjs");
    const { status, stderr } = spawnSync(
      process.execPath,
      ["--import", "tsx", "scripts/demo/demo.ts", "--live"],
      {
        cwd: ROOT,
        encoding: "utf8",
        env: { ...process.env, HOME: scratch, NODE_OPTIONS: `--import ${offline}` },
      },
    );
    expect(stderr.trim().split("\n")).toEqual([
      "No Convex backend could be downloaded (from version.convex.dev and github.com): run this where the internet can be reached, or npm run demo without --live, which needs none.",
    ]);
    expect(status).toBe(3);
    expectNothingLeft();
    expect(files()).toEqual(before);
  });
});

/** Every file of the project, and when it was last changed. */
function files(): [string, number][] {
  return readdirSync(ROOT)
    .filter((name) => !["node_modules", ".git"].includes(name))
    .flatMap((top) => {
      const inside = statSync(path.join(ROOT, top)).isDirectory()
        ? readdirSync(path.join(ROOT, top), { recursive: true, encoding: "utf8" })
        : [];
      return [top, ...inside.map((name) => path.join(top, name))];
    })
    .map((name) => [name, statSync(path.join(ROOT, name)).mtimeMs]);
}

describe("the pinned CLI", () => {
  const help = async (...command: string[]) => {
    const args = [path.join(PINNED, "bin/main.js"), ...command, "--help"];
    return (await promisify(execFile)(process.execPath, args)).stdout;
  };

  test("knows the commands and options that are used", async () => {
    const [init, set, dev, run, data] = await Promise.all([
      help("init"),
      help("env", "set"),
      help("dev"),
      help("run"),
      help("data"),
    ]);
    expect(init).toMatch("CONVEX_AGENT_MODE=anonymous");
    expect(set).toMatch("convex env set NAME 'value'");
    for (const option of ["--typecheck", "--codegen", "--tail-logs"]) expect(dev).toMatch(option);
    expect(run).toMatch("convex run messages:send '{");
    expect(data).toMatch(/--limit <n>[^]*jsonLines/);
  });

  test("prints what is looked for", () => {
    const source = (file: string) => readFileSync(path.join(PINNED, "src/cli", file), "utf8");
    expect(source("lib/dev.ts")).toMatch("Convex functions ready!");
    const download = source("lib/localDeployment/download.ts");
    for (const text of [
      "Failed to fetch latest backend version",
      "version.convex.dev returned",
      "File not found at ${url}",
      "Unsupported platform",
    ]) {
      expect(download).toMatch(text);
    }
    expect(source("configure.ts")).toMatch('CONVEX_AGENT_MODE === "anonymous"');
    expect(source("lib/envvars.ts")).toMatch("VITE_CONVEX_SITE_URL");
    expect(source("lib/run.ts")).toMatch("JSON.stringify(json, null, 2)");
    expect(source("lib/data.ts")).toMatch("There are no documents in this table.");
  });
});
