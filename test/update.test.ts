// @vitest-environment node
/** A newer folder over an older one: what is ours comes anew, what is the app's stays, and a run under way goes on. */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { convexTest } from "convex-test";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { clerkTables } from "../convex/clerk/tables";
import schema from "../convex/schema";
import { changesBetween, version } from "../scripts/command/vendored";
import { MadeUpApp, USUAL, type Files } from "./made-up-app";
import { packedAs, runPacked } from "./packed";
import { signUp } from "./people";
import { complete, internal, pass, run, useSetting } from "./setting";

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
        rmSync(path.join(folder, "fingerprint.ts"));
      },
    ],
    [
      "that had a file of another name, in a folder of its own",
      (folder) => {
        mkdirSync(path.join(folder, "rooms/inner"), { recursive: true });
        renameSync(path.join(folder, "rows.ts"), path.join(folder, "rooms/inner/pen.ts"));
      },
    ],
  ];
  test.each(earlier)("of a version %s", async (_, change) => {
    const made = app();
    const before = packedAs("0.0.1", change);
    const first = runPacked(["init", "--app", made.folder, "--yes", "--no-install"], before);
    expect(first).toMatchObject({ status: 0 });
    made.write({ ...OWN, "clerk/log.ts": `${made.read("clerk/log.ts")}// changed by hand\n` });
    const entries = [...Object.keys(USUAL), "schema.ts"].map((file) => made.read(file));

    const { status, stdout } = update(made);
    expect(status).toBe(0);
    expect(stdout).toMatch(`${version()}, over 0.0.1`);
    expect(stdout).toMatch(/changed in your app since they were copied, which is lost: log\.ts/);
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

  test("is shown as a diff, and not made, in a dry run", async () => {
    const made = app();
    await made.init();
    const text = made.read("clerk/log.ts");
    made.write({ "clerk/log.ts": `${text}// changed by hand\n` });
    const before = made.files();
    const { stdout, status } = update(made, "--dry-run");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^--- a\/convex\/clerk\/log\.ts\n[^]+\n-\/\/ changed by hand$/m);
    expect(made.files()).toEqual(before);
  });

  test.each<[what: string, files: Files, sentence: RegExp]>([
    ["no folder", {}, /expected a folder that clerk-convex-sync init has copied.+is not there/],
    [
      "a folder without its list",
      { "clerk/rows.ts": "" },
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
        "clerk/log.ts": "export const mine = 1;\n",
      },
      /files of your own.+clerk\/log\.ts\. Move them elsewhere/,
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

type Json = { type: string; value?: unknown; keys?: Json; values?: { fieldType: Json } };
type Field = { fieldType: Json; optional: boolean };

/** Whether every value that one validator takes is taken by another. */
function takesAllOf(next: Json, last: Json): boolean {
  if (next.type === "any" || JSON.stringify(next) === JSON.stringify(last)) return true;
  if (last.type === "union") return (last.value as Json[]).every((each) => takesAllOf(next, each));
  if (next.type === "union") return (next.value as Json[]).some((each) => takesAllOf(each, last));
  if (next.type !== last.type) return false;
  if (next.type === "array") return takesAllOf(next.value as Json, last.value as Json);
  if (next.type !== "object") return false;
  const [fields, before] = [next.value, last.value] as Record<string, Field>[];
  return Object.keys({ ...fields, ...before }).every((name) => {
    const [now, then] = [fields?.[name], before?.[name]];
    if (!now) return false;
    if (!then) return now.optional;
    return (now.optional || !then.optional) && takesAllOf(now.fieldType, then.fieldType);
  });
}

type Released = { tables: Record<string, Json>; args: Record<string, Json> };
type Registered = { exportArgs?: () => string; isInternal?: boolean };

/** What rows and calls of a version look like. */
async function released(): Promise<Released> {
  const exported = JSON.parse((schema as unknown as { export: () => string }).export()) as {
    tables: { tableName: string; documentType: Json }[];
  };
  const tables = exported.tables.filter(({ tableName }) => tableName in clerkTables);
  const modules = import.meta.glob<Record<string, Registered | null>>("../convex/clerk/**/*.ts");
  const args: Record<string, Json> = {};
  for (const [file, load] of Object.entries(modules)) {
    for (const [name, value] of Object.entries(await load())) {
      if (!value?.isInternal || !value.exportArgs) continue;
      const module = file.replace("../convex/", "").replace(/\.ts$/, "");
      args[`${module}:${name}`] = JSON.parse(value.exportArgs()) as Json;
    }
  }
  const sorted = Object.entries(args).sort(([one], [other]) => (one < other ? -1 : 1));
  return {
    tables: Object.fromEntries(tables.map((each) => [each.tableName, each.documentType])),
    args: Object.fromEntries(sorted),
  };
}

describe("what an earlier version left", () => {
  const records = import.meta.glob<Released>("./released/*.json", { import: "default" });

  test("is on record for the version that is packed", async () => {
    const { tables, args } = await released();
    const lines = (each: Record<string, Json>) =>
      Object.entries(each).map(([name, json]) => `"${name}": ${JSON.stringify(json)}`);
    const text = `{"tables": {\n${lines(tables).join(",\n")}\n},\n"args": {\n${lines(args).join(",\n")}\n}}\n`;
    await expect(text).toMatchFileSnapshot(`released/${version()}.json`);
  });

  test("is taken by the present one: rows of its tables, and calls that it scheduled", async () => {
    const now = await released();
    expect(Object.keys(records)).toContain(`./released/${version()}.json`);
    for (const load of Object.values(records)) {
      const { tables, args } = await load();
      for (const [name, table] of Object.entries(tables)) {
        // A table whose rows changed gets another name: then nobody reads the old one.
        if (now.tables[name])
          expect([name, takesAllOf(now.tables[name], table)]).toEqual([name, true]);
      }
      for (const [name, given] of Object.entries(args)) {
        if (now.args[name]) expect([name, takesAllOf(now.args[name], given)]).toEqual([name, true]);
      }
    }
  });

  test("is noticed where it would not be", () => {
    const of = (value: object): Json => ({ type: "object", value });
    const text = { fieldType: { type: "string" }, optional: false };
    const maybe = { ...text, optional: true };
    expect(takesAllOf(of({ a: text }), of({ a: text }))).toBe(true);
    expect(takesAllOf(of({ a: text, b: maybe }), of({ a: text }))).toBe(true);
    expect(takesAllOf(of({ a: text, b: text }), of({ a: text }))).toBe(false);
    expect(takesAllOf(of({}), of({ a: maybe }))).toBe(false);
    expect(takesAllOf(of({ a: text }), of({ a: maybe }))).toBe(false);
  });
});

describe("calls that an older folder scheduled, where the newer one has no such function", () => {
  const setting = useSetting({ http: false });
  const modules = import.meta.glob<Record<string, unknown>>("../convex/**/*.ts");
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
    await t.mutation(internal.clerk.worker.doubt, { clerkId: id });
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
