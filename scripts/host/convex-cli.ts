/**
 * The Convex CLI that the project pins, on a copy of the project in a folder of its own, without an
 * account. What it does and prints is taken from its source, `node_modules/convex/src/cli` (1.48).
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const PROJECT = path.join(import.meta.dirname, "../..");
const COPIED = ["convex", "package.json", "tsconfig.json"];
/** How long the CLI may take to clean up after an interrupt, ms. */
const GRACE_MS = 10_000;

/** What runs the CLI: a program and its first arguments. */
export type Command = readonly [string, ...string[]];

export const PINNED_CLI: Command = [
  process.execPath,
  path.join(PROJECT, "node_modules/convex/bin/main.js"),
];

export type Output = { stdout: string; stderr: string };

/** A call of the CLI that failed. */
export class CliError extends Error {
  constructor(
    readonly call: string,
    readonly output: Output,
  ) {
    super(`convex ${call} failed:\n${output.stderr.trim()}`);
  }
}

export class ConvexCli {
  /** Where the CLI believes the project is: its `.env.local` and `.convex` are made there. */
  readonly folder = mkdtempSync(path.join(tmpdir(), "convex-live-"));
  readonly #running = new Set<ChildProcess>();
  #isStopped = false;

  constructor(readonly command: Command) {
    for (const name of COPIED) {
      cpSync(path.join(PROJECT, name), path.join(this.folder, name), { recursive: true });
    }
    const modules = path.join(PROJECT, "node_modules");
    symlinkSync(modules, path.join(this.folder, "node_modules"), "junction");
  }

  /** Runs the CLI to its end. @throws CliError when it fails */
  async call(...args: string[]): Promise<Output> {
    const { code, output } = await this.start(args);
    if (code !== 0) throw new CliError(args.join(" "), output);
    return output;
  }

  /**
   * Starts the CLI.
   * @param onStderr gets what it has printed so far, each time that it prints
   * @returns its exit code and output, at its end
   */
  async start(
    args: string[],
    onStderr: (stderr: string) => void = () => undefined,
  ): Promise<{ code: number | null; output: Output }> {
    if (this.#isStopped) throw new CliError(args.join(" "), { stdout: "", stderr: "Stopped." });
    const [program, ...first] = this.command;
    const child = spawn(program, [...first, ...args], {
      cwd: this.folder,
      env: environment(),
      // Without a terminal the CLI asks nothing, and prints JSON (lib/run.ts, `formatValue`).
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own, to which the backend that it starts belongs.
      detached: true,
    });
    this.#running.add(child);
    const output = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      output.stderr += text;
      onStderr(output.stderr);
    });
    return await new Promise((resolve, reject) => {
      child.once("error", reject).once("close", (code) => {
        this.#running.delete(child);
        resolve({ code, output });
      });
    });
  }

  /** The value of a variable that the CLI wrote to the folder's `.env.local` (lib/envvars.ts). */
  local(name: RegExp): string | undefined {
    const lines = readFileSync(path.join(this.folder, ".env.local"), "utf8").split("\n");
    const line = lines.find((each) => name.test(each.split("=", 1)[0] ?? ""));
    return line?.slice(line.indexOf("=") + 1).replace(/ #.*$/, "");
  }

  /** Ends whatever runs, as Ctrl-C does (bundler/context.ts, `installSigintHandler`); removes the folder. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#running].map(interrupt));
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function interrupt(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  signalGroup(child, "SIGINT");
  const timer = setTimeout(() => {
    signalGroup(child, "SIGKILL");
  }, GRACE_MS);
  await closed;
  clearTimeout(timer);
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === "win32") child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

/** The user's environment but for what chooses a deployment of theirs (lib/deploymentSelection.ts). */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("CONVEX_"));
  return {
    ...Object.fromEntries(own),
    // An anonymous deployment, without questions (configure.ts, lib/localDeployment/anonymous.ts).
    CONVEX_AGENT_MODE: "anonymous",
    // No reports of the demo's failures to Convex (lib/utils/sentry.ts).
    CI: "1",
  };
}
