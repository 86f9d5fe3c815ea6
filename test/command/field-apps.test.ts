/** @module-tag slow */
// @vitest-environment node
/** Apps of others, made up anew, take the sync in by the command; `npm run test:adopt` asks all of them, on packages of their own. */
import { spawnSync } from "node:child_process";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { FIELD_APPS, SLIPS, type FieldApp } from "../world/field-apps";
import { fill, liveApp, post, run, twins, type Args, type Row } from "../world/live-app";
import { MadeUpApp, type Told } from "../world/made-up-app";
import { installPackages, takeInForReal } from "../world/packed";

const IN_BOTH = 40;
const GONE = 12;
const NEW = 6;
const gone = Array.from({ length: GONE }, (_, i) => `user_gone${i}`);

/** Each with packages of its own, as `npm run test:adopt` has it; else three of them, with this project's. */
const isAll = process.env.FIELD_APPS === "all";
const QUICK = ["LOOSE", "STARTER", "MONOREPO"];
const CHOSEN = Object.entries(FIELD_APPS).filter(([name]) => isAll || QUICK.includes(name));

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Applies a diff as a person would. */
function patch(folder: string, diff: string): void {
  const { status, stderr } = spawnSync("git", ["apply", "-"], {
    cwd: folder,
    input: diff,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`the diff does not apply: ${stderr}`);
}

/** Lines that are not in a text any more, but for a chain that was cut in two. */
function lost(before: string, after: string): string[] {
  const plain = (line: string) => line.replaceAll(/\s/g, "");
  const lines = before.split("\n").flatMap((line) => line.split(/(?=\.index\()/));
  return lines.filter((line) => !plain(after).includes(plain(line)));
}

describe.each(CHOSEN)("the app %s", (_, app: FieldApp) => {
  let made: MadeUpApp;
  let told: Told;

  beforeAll(async () => {
    made = new MadeUpApp(app, isAll ? null : undefined);
    if (isAll) installPackages(made, app);
    const init = async () => (isAll ? takeInForReal(made, app) : await made.init());
    told = await init();
    if (app.isByHand) {
      expect(told.problem?.message).toMatch(/for you to apply/);
      patch(made.top, told.problem?.diff ?? "");
      told = await init();
    }
    if (told.problem) throw told.problem;
    made.write(app.written ?? {});
    made.generate();
  }, 300_000);
  afterAll(() => {
    made.remove();
  });

  test("keeps its own code, but for the lines that the command says", () => {
    for (const [file, text] of Object.entries(app.before)) {
      const after = made.read(file);
      const altered = app.altered?.[file] ?? [];
      const expected = altered.reduce((before, [from, to]) => before.replace(from, to), text);
      const isEntry = altered.length > 0 || /^(schema|http|crons)\.ts$/.test(file);
      if (isEntry) expect(lost(expected, after)).toEqual([]);
      else expect(after).toBe(text);
    }
  });

  test("is told what is left to its people, each with its place", () => {
    for (const sentence of app.left) expect(told.said).toMatch(sentence);
  });

  test(
    "type-checks as a whole, and its own slips still have their errors",
    { timeout: 120_000 },
    () => {
      made.write(SLIPS.text);
      const errors = made.typeErrors().filter((error) => !error.includes("TS7006"));
      made.write({ "slips.ts": "export {};\n" });
      expect(errors.filter((error) => !error.includes("slips.ts"))).toEqual([]);
      expect(errors).toHaveLength(SLIPS.says.length);
      SLIPS.says.forEach((sentence, at) => {
        expect(errors[at]).toMatch(sentence);
      });
    },
  );

  test("is bundled as the CLI pushes it, and every module of it loads", async () => {
    expect(await made.load()).toContain("clerk/mirror/rows.js");
  });

  test("doubles nobody, keeps what is its own, and loses only whom it lets go", async () => {
    const isOf = (row: Row) => JSON.stringify(row);
    const live = await liveApp(made, { inBoth: IN_BOTH, more: NEW }, (ids) =>
      [...ids.slice(0, IN_BOTH), ...gone].map(app.row),
    );
    const { t, clerk, ids, rows } = live;
    const atFirst = await rows();
    const clerkIdOf = (row: Row) => /user_\w+/.exec(isOf(row))?.[0];
    const counted = async () => (await rows()).map((row) => ({ ...row, user: clerkIdOf(row) }));

    // The deploy's first tick, before any step was taken: one that is held throws.
    await t.action(run, { mode: "due" }).catch(() => undefined);
    expect(twins(await counted(), "user")).toEqual([]);
    expect(await rows()).toHaveLength(atFirst.length + NEW);

    if (app.fills !== null) {
      const args = app.fills === "clerkId" ? {} : { column: app.fills };
      expect(await t.action(fill, args)).toMatchObject({ filled: GONE });
    }
    await t.action(run, {});
    vi.setSystemTime(Date.now() + 6 * 60_000);
    const held = await t.action(run, {});
    expect(held).toMatchObject({ status: "held", held: GONE });
    expect(await rows()).toHaveLength(atFirst.length + NEW);
    const args = JSON.parse(/'(.+)'/.exec(held.next ?? "")?.[1] ?? "") as Args;
    expect(await t.action(run, args)).toMatchObject({ repaired: { deleted: GONE } });
    const quiet = { missing: 0, stale: 0, orphaned: 0 };
    expect(await t.action(run, {})).toMatchObject({ drift: quiet, setAside: 0 });

    // What is older than the newest run, Clerk is asked about.
    vi.setSystemTime(Date.now() + 1000);
    const event = clerk.updateUser(ids[0] ?? "", { first_name: "Changed" }, Date.now());
    await post(live, event, app.webhookPath);
    const newcomer = clerk.createUser({ created_at: Date.now(), first_name: "New" });
    await post(live, newcomer.event, app.webhookPath);

    const left = await counted();
    expect(twins(left, "user")).toEqual([]);
    expect(left.map(({ user }) => user).sort()).toEqual([...ids, newcomer.user.id].sort());
    const own = (row: Record<string, unknown>) => [row._id, ...app.own.map((name) => row[name])];
    const stayed = atFirst.slice(0, IN_BOTH);
    expect(left.slice(0, IN_BOTH).map(own)).toEqual(stayed.map(own));
    for (const [name, expected] of Object.entries(app.mirrored)) {
      const value = (at: number) =>
        (left.find(({ user }) => user === ids[at]) as Record<string, unknown>)[name];
      expect(value(0)).toEqual(expected("Changed"));
      expect(value(1)).toEqual(expected("N1"));
    }
  });

  test("is left alone by a second start of the command", async () => {
    const before = made.files();
    const again = isAll ? takeInForReal(made, app) : await made.init();
    expect(again.problem).toBeNull();
    expect(again.said).toMatch(/Nothing to change/);
    expect(made.files()).toEqual(before);
  });
});
