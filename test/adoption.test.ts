// @vitest-environment node
import { rmSync } from "node:fs";
import { convexTest, type TestConvex } from "convex-test";
import { makeFunctionReference, type GenericSchema, type SchemaDefinition } from "convex/server";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Report } from "../convex/clerk/report";
import { ClerkStandIn } from "../scripts/clerk-stand-in";
import { existingApp, type ExistingApp } from "./existing-app";

const LONG_AGO = 1_600_000_000_000;
const DAY = 24 * 3600 * 1000;
const IN_BOTH = 280;
const GONE = 20;
const GUESTS = 5;
const NEW = 30;

type Row = Record<string, unknown> & { _id: string; clerkId?: string };
type Entry = { clerkId: string; action: string; kind: string };

type Args = Record<string, unknown>;
const run = makeFunctionReference<"action", Args, Report>("clerk/reconcile:run");
const report = makeFunctionReference<"query", Args, Report & { entries: Entry[] }>(
  "clerk/reconcile:report",
);
const authors = makeFunctionReference<"query", Args, string[]>("posts:authors");

/** The one thing that every app has to say itself. */
function withOwnDefaults(text: string): string {
  return replaceOnce(text, [
    /\(\{ clerkCreatedAt \}\) => \(\{[^}]+\}\)/,
    '() => ({ plan: "free" })',
  ]);
}

function replaceOnce(text: string, [old, by]: [old: string | RegExp, by: string]): string {
  if (!(typeof old === "string" ? text.includes(old) : old.test(text)))
    throw new Error(`clerk/app.ts has no ${String(old)}`);
  return text.replace(old, by);
}

type T = TestConvex<SchemaDefinition<GenericSchema, boolean>>;
type Setting = { t: T; gone: string[]; rows: () => Promise<Row[]>; atFirst: Row[] };

/** An app that kept users before the sync: its rows, and what other tables say of them. */
async function live(app: ExistingApp): Promise<Setting> {
  const clerk = new ClerkStandIn();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: LONG_AGO + 1000 * DAY });
  vi.stubEnv("CLERK_SECRET_KEY", clerk.secretKey);
  vi.stubEnv("CLERK_API_URL", "https://clerk.test");
  vi.stubGlobal("fetch", clerk.fetch);
  for (const level of ["info", "error"] as const) {
    vi.spyOn(console, level).mockImplementation(() => undefined);
  }
  const modules = app.modules();
  const { default: schema } = (await modules["../convex/schema.ts"]?.()) ?? {};
  const t = convexTest({
    schema: schema as SchemaDefinition<GenericSchema, boolean>,
    modules,
    transactionLimits: true,
  });
  const ids = Array.from({ length: IN_BOTH + NEW }, (_, i) => {
    const created_at = LONG_AGO + i * 1000;
    const last_sign_in_at = LONG_AGO + DAY + 5000 + i;
    return clerk.createUser({ created_at, first_name: `N${i}`, last_sign_in_at }).user.id;
  });
  const gone = Array.from({ length: GONE }, (_, i) => `user_gone${i}`);
  const before = [...ids.slice(0, IN_BOTH), ...gone];
  await insert(t, [
    ...before.map((clerkId, i) => ({ clerkId, plan: "paid", bio: `bio ${i}` })),
    ...before.slice(0, 2).map((clerkId) => ({ clerkId, plan: "free", bio: "second" })),
    ...Array.from({ length: GUESTS }, () => ({ plan: "free", bio: "guest" })),
  ]);
  const rows = async () => (await all(t, "users")) as Row[];
  return { t, gone, rows, atFirst: await rows() };
}

type AnyDatabase = {
  insert: (table: string, row: object) => Promise<string>;
  query: (table: string) => { take: (count: number) => Promise<unknown[]> };
};
const databaseOf = (ctx: { db: unknown }) => ctx.db as AnyDatabase;

async function insert(t: T, users: object[]): Promise<void> {
  await t.run(async (ctx) => {
    const db = databaseOf(ctx);
    for (const user of users) {
      const author = await db.insert("users", user);
      await db.insert("posts", { author, text: "hello" });
    }
  });
}

async function all(t: T, table: string): Promise<unknown[]> {
  return await t.run(async (ctx) => await databaseOf(ctx).query(table).take(2000));
}

/** What is left of a row without what the sync writes. */
function own({ _id, _creationTime, plan, bio }: Row) {
  return { _id, _creationTime, plan, bio };
}

/** The safe first days of the README. */
async function firstDays({ t, rows, atFirst }: Setting) {
  // The app may have made the youngest rows for users who sign up at this moment.
  vi.setSystemTime(Date.now() + 6 * 60_000);
  const dry = await t.action(run, { dryRun: true });
  expect(await rows()).toEqual(atFirst);
  const first = await t.action(run, {});
  expect(first).toMatchObject({
    status: "held",
    held: GONE,
    drift: { missing: NEW, stale: IN_BOTH, orphaned: GONE },
    repaired: { created: NEW, updated: IN_BOTH, deleted: 0 },
    setAside: 2,
  });
  expect([dry.status, dry.held, dry.drift, dry.setAside]).toEqual([
    first.status,
    first.held,
    first.drift,
    first.setAside,
  ]);
  const filled = await rows();
  expect(filled.slice(0, atFirst.length).map(own)).toEqual(atFirst.map(own));
  expect(filled.filter(({ clerkId }) => clerkId === undefined)).toHaveLength(GUESTS);
  const held = await t.query(report, {});
  expect(held.entries.filter(({ action }) => action === "held")).toHaveLength(GONE);
  const { next } = first;
  const args = JSON.parse(/'(.+)'/.exec(next ?? "")?.[1] ?? "") as Args;
  expect(args).toEqual({ maxDeletions: GONE });
  const allowed = await t.action(run, args);
  expect(allowed).toMatchObject({ status: "completed", repaired: { deleted: GONE } });
  const quiet = await t.action(run, {});
  expect(quiet).toMatchObject({ drift: { missing: 0, stale: 0, orphaned: 0 }, setAside: 2 });
}

let app: ExistingApp;

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
  vi.resetModules();
});

describe("an app from before, with the README's lines", () => {
  beforeAll(() => {
    app = existingApp();
    app.write("clerk/app.ts", withOwnDefaults);
  }, 60_000);
  afterAll(() => {
    rmSync(app.folder, { recursive: true });
  });

  test("gets exactly those lines", () => {
    expect(app.linesAdded).toEqual(app.linesOfReadme);
  });

  test("type-checks, lints and bundles", { timeout: 120_000 }, () => {
    app.tool("typescript/bin/tsc", ["-p", "convex"]);
    app.tool("eslint/bin/eslint.js", ["convex"]);
    const push = ["deploy", "--write-push-request", "push", "--push-all-modules"];
    app.tool("convex/bin/main.js", [...push, "--typecheck", "disable", "--codegen", "disable"]);
  });

  test("keeps its ids, its own fields and its guests, and loses only whom it let go", async () => {
    const setting = await live(app);
    await firstDays(setting);
    const left = await setting.rows();
    const gone = new Set(setting.gone);
    const stayed = setting.atFirst.filter(({ clerkId = "" }) => !gone.has(clerkId));
    expect(left.slice(0, stayed.length).map(own)).toEqual(stayed.map(own));
    expect(left).toHaveLength(stayed.length + NEW);
    expect(left[0]).toMatchObject({ firstName: "N0", clerkCreatedAt: LONG_AGO, plan: "paid" });
    const nobody = (await setting.t.query(authors, {})).filter((plan) => plan === "nobody");
    expect(nobody).toHaveLength(GONE);
  });
});

test(
  "a field of the app that the sync writes is an error that says so",
  { timeout: 60_000 },
  () => {
    const clashing = existingApp();
    clashing.write("clerk/app.ts", withOwnDefaults);
    clashing.write("schema.ts", (text) =>
      text.replace("bio:", "email: v.optional(v.string()), deletedAt: v.number(), bio:"),
    );
    let said = "";
    try {
      clashing.tool("typescript/bin/tsc", ["-p", "convex"]);
    } catch (error) {
      said = String(error);
    }
    rmSync(clashing.folder, { recursive: true });
    expect(said).toMatch("email is a mirrored profile field: remove or rename yours, or drop it");
    expect(said).toMatch("deletedAt is written by the sync: remove or rename yours");
    expect(said).not.toMatch(/convex\/clerk\/.+ error/);
  },
);

describe("the same app, with removal by mark, one field more and one less", () => {
  beforeAll(() => {
    app = existingApp();
    const day = "user.last_sign_in_at && Math.floor(user.last_sign_in_at / DAY) * DAY";
    const edits: [string, string][] = [
      ['removal: "delete" | "mark" = "delete"', 'removal: "delete" | "mark" = "mark"'],
      ["  username: v.string(),\n", "  lastSignInDay: v.number(),\n"],
      ["    username: user.username,\n", `    lastSignInDay: ${day},\n`],
      ["type ProfileFields", "const DAY = 24 * 60 * 60 * 1000;\ntype ProfileFields"],
    ];
    app.write("clerk/app.ts", (text) => edits.reduce(replaceOnce, withOwnDefaults(text)));
  }, 60_000);
  afterAll(() => {
    rmSync(app.folder, { recursive: true });
  });

  test("type-checks", { timeout: 60_000 }, () => {
    app.tool("typescript/bin/tsc", ["-p", "convex"]);
  });

  test("keeps every row, clears those who are gone, and mirrors the day", async () => {
    const setting = await live(app);
    await firstDays(setting);
    const rows = await setting.rows();
    expect(rows).toHaveLength(setting.atFirst.length + NEW);
    expect(rows.slice(0, setting.atFirst.length).map(own)).toEqual(setting.atFirst.map(own));
    expect(rows[0]).toMatchObject({ lastSignInDay: LONG_AGO + DAY - (LONG_AGO % DAY) });
    const marked = rows.filter(({ deletedAt }) => deletedAt !== undefined);
    expect(marked.map(({ clerkId }) => clerkId).sort()).toEqual([...setting.gone].sort());
    for (const row of marked) {
      expect(Object.keys(row).sort()).toEqual(
        ["_creationTime", "_id", "bio", "clerkId", "deletedAt", "plan"].sort(),
      );
    }
    expect(await setting.t.query(authors, {})).not.toContain("nobody");
  });
});
