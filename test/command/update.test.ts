/** @module-tag slow */
// @vitest-environment node
/** A newer folder over an older one: what is ours comes anew, what is the app's stays, and a run under way goes on. */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { convexTest } from "convex-test";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import schema from "../../convex/schema";
import { changesBetween, version } from "../../scripts/command/vendored";
import { MadeUpApp, USUAL, type Files } from "../world/made-up-app";
import { packedAs, runPacked } from "../world/packed";
import { signUp } from "../world/people";
import { complete, internal, pass, run, useSetting } from "../world/setting";

const SCHEMA = `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({ users: defineTable({ clerkId: v.string() }) });
`;
const OWN: Files = {
  "clerk/fields.ts": "// mine\nexport const fields = {};\n",
  "clerk/app.ts": "// mine, too\n",
  "clerk/mine.ts": "export const mine = 1;\n",
  "clerk/rooms/mine.ts": "export const mine = 2;\n",
};

function app(files: Files = {}): MadeUpApp {
  const made = new MadeUpApp({ before: { ...USUAL, "schema.ts": SCHEMA, ...files } });
  onTestFinished(() => {
    made.remove();
  });
  return made;
}

function update(made: MadeUpApp, ...args: string[]) {
  return runPacked(["update", "--app", made.folder, "--yes", "--no-install", ...args]);
}

/** What is copied, as the present version has it. */
async function copied(): Promise<Files> {
  const made = app();
  await made.init();
  const texts = [...made.vendored, "clerk/vendored.json", "clerk/README.md", "clerk/CHANGELOG.md"];
  return Object.fromEntries(texts.map((name) => [name, made.read(name)]));
}

describe("an update", () => {
  const earlier: [what: string, change: (folder: string) => void][] = [
    [
      "that had a file more",
      (folder) => {
        writeFileSync(path.join(folder, "old.ts"), "export const old = 1;\n");
      },
    ],
    [
      "that had a file less",
      (folder) => {
        rmSync(path.join(folder, "shared/parallel.ts"));
      },
    ],
    [
      "that had a file of another name, in a folder of its own",
      (folder) => {
        mkdirSync(path.join(folder, "rooms/inner"), { recursive: true });
        renameSync(path.join(folder, "mirror/rows.ts"), path.join(folder, "rooms/inner/pen.ts"));
      },
    ],
  ];
  test.each(earlier)("of a version %s", async (_, change) => {
    const made = app();
    const before = packedAs("0.0.1", change);
    const first = runPacked(["init", "--app", made.folder, "--yes", "--no-install"], before);
    expect(first).toMatchObject({ status: 0 });
    made.write({
      ...OWN,
      "clerk/shared/log.ts": `${made.read("clerk/shared/log.ts")}// changed by hand\n`,
    });
    const entries = [...Object.keys(USUAL), "schema.ts"].map((file) => made.read(file));

    const { status, stdout } = update(made);
    expect(status).toBe(0);
    expect(stdout).toMatch(`${version()}, over 0.0.1`);
    expect(stdout).toMatch(
      /changed in your app since they were copied, which is lost: shared\/log\.ts/,
    );
    expect(stdout).toMatch(`## ${version()}`);
    const expected = await copied();
    for (const [file, text] of Object.entries(expected)) expect(made.read(file)).toBe(text);
    for (const [file, text] of Object.entries(OWN)) expect(made.read(file)).toBe(text);
    expect([...Object.keys(USUAL), "schema.ts"].map((file) => made.read(file))).toEqual(entries);
    const all = readdirSync(path.join(made.functions, "clerk"), { recursive: true });
    const files = Object.keys(made.files()).filter((name) => name.startsWith("convex/clerk/"));
    expect(files.length).toBe(Object.keys(expected).length + Object.keys(OWN).length);
    expect(all).not.toContain("rooms/inner");

    const after = made.files();
    expect(update(made).stdout).toMatch(/Nothing to change/);
    expect(made.files()).toEqual(after);
  });

  test("tells which of the app's own lines import what has another place now", () => {
    const made = app();
    const before = packedAs("0.0.1", (folder) => {
      renameSync(path.join(folder, "shared/readers.ts"), path.join(folder, "readers.ts"));
      writeFileSync(path.join(folder, "old.ts"), "export const old = 1;\n");
    });
    runPacked(["init", "--app", made.folder, "--yes", "--no-install"], before);
    const own = 'import { fullName } from "./readers.js";\nimport { old } from "./old";\n';
    made.write({ "clerk/fields.ts": own });
    const { status, stdout } = update(made);
    expect(status).toBe(0);
    expect(stdout).toContain('convex/clerk/fields.ts: "./readers.js" is "./shared/readers"');
    expect(stdout).toContain('convex/clerk/fields.ts: "./old" is gone');
    expect(made.read("clerk/fields.ts")).toBe(own);
  });

  test("is shown as a diff, and not made, in a dry run", async () => {
    const made = app();
    await made.init();
    const text = made.read("clerk/shared/log.ts");
    made.write({ "clerk/shared/log.ts": `${text}// changed by hand\n` });
    const before = made.files();
    const { stdout, status } = update(made, "--dry-run");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^--- a\/convex\/clerk\/shared\/log\.ts\n[^]+\n-\/\/ changed by hand$/m);
    expect(made.files()).toEqual(before);
  });

  test.each<[what: string, files: Files, sentence: RegExp]>([
    ["no folder", {}, /expected a folder that clerk-convex-sync init has copied.+is not there/],
    [
      "a folder without its list",
      { "clerk/mirror/rows.ts": "" },
      /clerk has none\. Take the sync in first/,
    ],
    [
      "a newer folder",
      { "clerk/vendored.json": `{"name":"clerk-convex-sync","version":"9.0.0","files":{}}` },
      /9\.0\.0, which is newer than this/,
    ],
    [
      "a file of the app's own by the name of a new one",
      {
        "clerk/vendored.json": `{"name":"clerk-convex-sync","version":"0.0.1","files":{}}`,
        "clerk/shared/log.ts": "export const mine = 1;\n",
      },
      /files of your own.+clerk\/shared\/log\.ts\. Move them elsewhere/,
    ],
  ])("is refused for %s, and changes nothing", (_, files, sentence) => {
    const made = app(files);
    const before = made.files();
    const { status, stderr } = update(made);
    expect([status, stderr]).toEqual([1, expect.stringMatching(sentence)]);
    expect(made.files()).toEqual(before);
  });

  test("tells the sections of the changelog that lie between", () => {
    const text = "# Changes\n\n## 0.3.0\n\n- c\n\n## 0.2.1\n\n- b\n\n## 0.2.0\n\n- a\n";
    expect(changesBetween("0.2.0", "0.3.0", text)).toBe("## 0.3.0\n\n- c\n\n## 0.2.1\n\n- b");
    expect(changesBetween("0.2.0", "0.2.1", text)).toBe("## 0.2.1\n\n- b");
    expect(changesBetween("0.3.0", "0.3.0", text)).toBe("");
  });

  test("has a section of its own for the version that is packed", () => {
    expect(changesBetween("0.0.0", version())).toMatch(`## ${version()}`);
  });
});

describe("calls that an older folder scheduled, where the newer one has no such function", () => {
  const setting = useSetting({ http: false });
  const modules = import.meta.glob<Record<string, unknown>>("../../convex/**/*.ts");
  let areGone = false;

  afterEach(() => {
    areGone = false;
  });

  /** The functions, of which those that are scheduled may be gone. */
  function deployed() {
    const without = Object.entries(modules).map(([file, load]) => [
      file,
      async () => {
        const module = await load();
        const left = Object.entries(module).filter(([name]) => name !== "advance");
        return areGone ? Object.fromEntries(left) : module;
      },
    ]);
    return convexTest({
      schema,
      modules: Object.fromEntries(without) as typeof modules,
      transactionLimits: true,
    });
  }

  test("strand no run: the next tick resumes it", async () => {
    const t = deployed();
    setting.t = t;
    signUp(setting, 60);
    setting.clerk.environment = "development";
    setting.clerk.onRequest = () => {
      pass(15_000);
    };
    const { runId, status } = await t.action(run, { pageSize: 5 });
    expect(status).toBe("running");
    areGone = true;
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await t.finishAllScheduledFunctions(vi.runAllTimers);
    expect(said).toHaveBeenCalled();
    areGone = false;
    setting.clerk.onRequest = () => undefined;
    pass(5 * 60_000);
    const report = await complete(t, {});
    expect(report).toMatchObject({ runId, status: "completed", repaired: { created: 60 } });
  });

  test("strand no doubt: the next tick wakes the worker", async () => {
    const t = deployed();
    setting.t = t;
    await complete(t, {});
    const [id = ""] = signUp(setting, 1);
    areGone = true;
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: id });
    await t.finishAllScheduledFunctions(vi.runAllTimers).catch(() => undefined);
    areGone = false;
    pass(20 * 60_000);
    await complete(t, { mode: "due" });
    const rows = await t.run(async (ctx) => await ctx.db.query("users").take(2));
    expect(rows.map(({ clerkId }) => clerkId)).toEqual([id]);
    const doubts = await t.run(async (ctx) => await ctx.db.query("clerkDoubts").take(2));
    expect(doubts).toEqual([]);
  });
});
