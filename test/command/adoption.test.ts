/** @module-tag slow */
// @vitest-environment node
/** Apps of several shapes take the sync in, as their compiler, the CLI's bundle and their rows have it. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { makeFunctionReference } from "convex/server";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";
import {
  all,
  DAY,
  fill,
  insert,
  liveApp,
  LONG_AGO,
  post,
  report,
  run,
  twins,
  without,
  type Args,
  type LiveApp,
  type Row,
} from "../world/live-app";
import { MadeUpApp, ROOT, type Shape } from "../world/made-up-app";
import { HOOKED, ISSUER, KEYED, MARKED, OPTIONAL, REQUIRED } from "../world/shapes";

const IN_BOTH = 140;
const GONE = 20;
const GUESTS = 5;
const NEW = 30;

const QUIET = { missing: 0, stale: 0, orphaned: 0 };
const gone = Array.from({ length: GONE }, (_, i) => `user_gone${i}`);

/** Those that the command changes. */
const ENTRIES = ["schema.ts", "http.ts", "crons.ts"];
let app: MadeUpApp;

async function live(before: (ids: string[]) => object[]): Promise<LiveApp> {
  return await liveApp(app, { inBoth: IN_BOTH, more: NEW }, before);
}

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** @param has whether what its compiler says, and its bundle, are looked at: where no other app shows the same */
function taken(shape: Shape, has: { types?: boolean; bundle?: boolean } = {}): void {
  beforeAll(async () => {
    app = await MadeUpApp.taken(shape);
  }, 60_000);
  afterAll(() => {
    app.remove();
  });

  test("keeps its own code as it was", () => {
    for (const [file, text] of Object.entries(shape.before)) {
      if (!ENTRIES.includes(file)) expect(app.read(file)).toBe(text);
    }
  });

  if (has.types) {
    test("type-checks as a whole", { timeout: 60_000 }, () => {
      expect(app.typeErrors()).toEqual([]);
    });
  }

  if (!has.bundle) return;
  test("is bundled as the CLI pushes it, and every module of it loads", async () => {
    expect(await app.load()).toContain("clerk/mirror/rows.js");
  });
}

test("the lines that the command adds are those of README", () => {
  const readme = readFileSync(path.join(ROOT, "README.md"), "utf8");
  const [, told = ""] = /^```diff\n([\s\S]+?)^```/m.exec(readme) ?? [];
  expect(told).toContain("clerkTables");
  const made = new MadeUpApp(OPTIONAL);
  onTestFinished(() => {
    made.remove();
  });
  return made.init({ dryRun: true }).then(({ printed }) => {
    const added = (diff: string) =>
      diff
        .split("\n")
        .filter((line) => /^\+(?!\+\+|$)/.test(line))
        .sort();
    const entries = printed.split(/^(?=--- )/m).filter((diff) => /^--- a\//.test(diff));
    expect(added(told)).toEqual(added(entries.join("")));
  });
});

/** The safe first days of the README. */
async function firstDays(made: LiveApp): Promise<void> {
  const { t, rows } = made;
  const atFirst = await rows();
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
  expect(filled.filter(({ clerkId }) => clerkId === undefined)).toHaveLength(GUESTS);
  const held = await t.query(report, {});
  expect(held.entries.filter(({ action }) => action === "held")).toHaveLength(GONE);
  const args = JSON.parse(/'(.+)'/.exec(first.next ?? "")?.[1] ?? "") as Args;
  expect(args).toEqual({ maxDeletions: GONE });
  const allowed = await t.action(run, args);
  expect(allowed).toMatchObject({ status: "completed", repaired: { deleted: GONE } });
  expect(await t.action(run, {})).toMatchObject({ drift: QUIET, setAside: 2 });
}

/** Rows of users, of some who are gone, second ones of two, and guests. */
function optionalRows(ids: string[]): object[] {
  const users = [...ids.slice(0, IN_BOTH), ...gone];
  return [
    ...users.map((clerkId, i) => ({ clerkId, plan: "paid", bio: `bio ${i}` })),
    ...users.slice(0, 2).map((clerkId) => ({ clerkId, plan: "free", bio: "second" })),
    ...Array.from({ length: GUESTS }, () => ({ plan: "free", bio: "guest" })),
  ];
}

describe("an app with guests and columns of its own", () => {
  taken(OPTIONAL, { types: true, bundle: true });

  test("keeps its ids, its own columns and its guests, and loses only whom it let go", async () => {
    const made = await live(optionalRows);
    const { t, rows } = made;
    const atFirst = await rows();
    await insert(
      t,
      "posts",
      atFirst.map(({ _id: author }) => ({ author, text: "hello" })),
    );
    await firstDays(made);
    const left = await rows();
    const stayed = atFirst.filter(({ clerkId = "" }) => !gone.includes(clerkId));
    const own = (row: Row) => without(row, "firstName", "clerkCreatedAt");
    expect(left.slice(0, stayed.length).map(own)).toEqual(stayed);
    expect(left).toHaveLength(stayed.length + NEW);
    expect(left[0]).toMatchObject({ firstName: "N0", clerkCreatedAt: LONG_AGO, plan: "paid" });
    const authors = makeFunctionReference<"query", Args, string[]>("posts:authors");
    const nobody = (await t.query(authors, {})).filter((plan) => plan === "nobody");
    expect(nobody).toHaveLength(GONE);
  });

  test("is linted as before", { timeout: 60_000 }, () => {
    app.write({ "../eslint.config.mjs": LINT });
    app.tool("eslint/bin/eslint.js", ["convex"]);
  });
});

describe("the same app, with removal by mark, one column more and one less", () => {
  taken(MARKED);

  test("keeps every row, clears those who are gone, and mirrors the day", async () => {
    const made = await live(optionalRows);
    const atFirst = await made.rows();
    await firstDays(made);
    const rows = await made.rows();
    expect(rows).toHaveLength(atFirst.length + NEW);
    const own = (row: Row) => without(row, "clerkCreatedAt", "lastSignInDay", "deletedAt");
    expect(rows.slice(0, atFirst.length).map(own)).toEqual(atFirst);
    expect(rows[0]).toMatchObject({ lastSignInDay: LONG_AGO + DAY - (LONG_AGO % DAY) });
    expect(rows[0]).not.toHaveProperty("firstName");
    const marked = rows.filter(({ deletedAt }) => deletedAt !== undefined);
    expect(marked.map(({ clerkId }) => clerkId).sort()).toEqual([...gone].sort());
    for (const row of marked) {
      expect(Object.keys(row).sort()).toEqual(
        ["_creationTime", "_id", "bio", "clerkId", "deletedAt", "plan"].sort(),
      );
    }
  });
});

describe("an app whose columns are all required", () => {
  taken(REQUIRED, { types: true });

  test("is reconciled, its types unchanged, and nobody is doubled or set aside", async () => {
    const made = await live((ids) =>
      ids.slice(0, IN_BOTH).map((clerkId, i) => ({
        clerkId,
        email: "old@example.com",
        name: i % 2 === 0 ? `N${i}` : "Old",
        imageUrl: "",
        bio: i % 3 === 0 ? null : "old",
        plan: "paid",
      })),
    );
    const { t, clerk, rows, ids } = made;
    const dry = await t.action(run, { dryRun: true });
    const first = await t.action(run, {});
    expect(first).toMatchObject({
      status: "completed",
      drift: dry.drift,
      repaired: { created: NEW, updated: IN_BOTH },
      setAside: 0,
    });
    expect(await t.action(run, {})).toMatchObject({ drift: QUIET, unchanged: ids.length });
    // What is older than the newest run, Clerk is asked about.
    vi.setSystemTime(Date.now() + 1000);
    const { user, event } = clerk.createUser({ created_at: Date.now(), first_name: null });
    await post(made, event);
    const bio = "speaks";
    await post(made, clerk.updateUser(ids[0] ?? "", { public_metadata: { bio } }, Date.now()));
    await post(made, clerk.updateUser(ids[1] ?? "", { first_name: null }, Date.now()));
    const left = await rows();
    expect(twins(left, "clerkId")).toEqual([]);
    expect(left).toHaveLength(IN_BOTH + NEW + 1);
    expect(left[0]).toMatchObject({ name: "N0", bio, plan: "paid", email: "" });
    expect(left[1]).toMatchObject({ name: "", bio: null });
    const newcomer = left.find(({ clerkId }) => clerkId === user.id);
    expect(newcomer).toMatchObject({ name: "", bio: null, plan: "free" });
  });
});

describe("an app that knows its rows by another column, and goes on making them", () => {
  taken(KEYED);
  const store = makeFunctionReference<"mutation", Args, string>("users:store");
  const signIn = async ({ t }: LiveApp, id: string) =>
    await t.mutation(store, { tokenIdentifier: `${ISSUER}|${id}`, name: "by sign-in" });
  const before = (ids: string[]) => [
    ...[...ids.slice(0, IN_BOTH), ...gone].map((id) => ({
      tokenIdentifier: `${ISSUER}|${id}`,
      name: "old",
      seen: 7,
    })),
    ...Array.from({ length: GUESTS }, (_, i) => ({
      tokenIdentifier: `guest ${i}`,
      name: "guest",
      seen: 1,
    })),
  ];

  test("has its rows taken over, without a fill, and nobody gets a second one", async () => {
    const made = await live(before);
    const { t, clerk, ids, rows } = made;
    const atFirst = await rows();
    const dry = await t.action(run, { dryRun: true });
    expect(await rows()).toEqual(atFirst);
    const first = await t.action(run, {});
    expect(first).toMatchObject({
      status: "completed",
      repaired: { created: NEW, updated: IN_BOTH, deleted: 0 },
      drift: dry.drift,
    });
    const newcomers = [1, 2, 3].map((i) =>
      clerk.createUser({ created_at: Date.now() + i, first_name: "New" }),
    );
    const [one, other, third] = newcomers.map(({ user }) => user.id);
    // The app is first; the event is; and an event that is no user.created.
    const made1 = await signIn(made, one ?? "");
    await post(made, newcomers[0]?.event);
    await post(made, newcomers[1]?.event);
    const made2 = await signIn(made, other ?? "");
    const made3 = await signIn(made, third ?? "");
    await post(made, clerk.updateUser(third ?? "", { last_name: "Name" }, Date.now() + 5));
    const left = await rows();
    expect(twins(left, "tokenIdentifier")).toEqual([]);
    expect(twins(left, "clerkId")).toEqual([]);
    expect(left).toHaveLength(atFirst.length + NEW + 3);
    expect(left.slice(0, atFirst.length).map(({ _id, seen }) => [_id, seen])).toEqual(
      atFirst.map(({ _id, seen }) => [_id, seen]),
    );
    const byId = new Map(left.map((row) => [row._id, row]));
    expect(byId.get(made1)).toMatchObject({ clerkId: one, name: "New", seen: 1 });
    expect(byId.get(made2)).toMatchObject({ clerkId: other, name: "New", seen: 1 });
    expect(byId.get(made3)).toMatchObject({ clerkId: third, name: "New Name", seen: 1 });
    expect(left.filter(({ clerkId }) => clerkId === undefined)).toHaveLength(GONE + GUESTS);
    // Those of the old rows who are gone get their id by the fill, and are held then.
    expect(await t.action(fill, { column: "tokenIdentifier" })).toMatchObject({ filled: GONE });
    expect(await t.action(run, {})).toMatchObject({ status: "completed", postponed: GONE });
    vi.setSystemTime(Date.now() + 6 * 60_000);
    expect(await t.action(run, {})).toMatchObject({ status: "held", held: GONE });
    expect(await rows()).toHaveLength(left.length);
    expect(ids).toHaveLength(IN_BOTH + NEW);
  });

  test("is refused another instance's key, though no row has a clerkId", async () => {
    const made = await live(before);
    const other = new ClerkStandIn();
    other.createUser({ created_at: LONG_AGO });
    vi.stubEnv("CLERK_SECRET_KEY", other.secretKey);
    vi.stubGlobal("fetch", other.fetch);
    const atFirst = await made.rows();
    const refused = await made.t.action(run, {});
    expect(refused.summary).toMatch(/knows only 1 of 40 users sampled from this table/);
    expect(await made.rows()).toEqual(atFirst);
  });
});

describe("an app whose hook imports its own code and schema, and whose triggers see each write", () => {
  taken(HOOKED, { types: true, bundle: true });

  test("has its hooks and triggers run", async () => {
    const made = await live((ids) =>
      ids.slice(0, IN_BOTH).map((clerkId) => ({ clerkId, role: "member" })),
    );
    const { t, rows } = made;
    expect(await t.action(run, {})).toMatchObject({
      status: "completed",
      repaired: { created: NEW, updated: IN_BOTH },
      setAside: 0,
    });
    expect(await all(t, "teams")).toHaveLength(NEW);
    // An insertion, and the hook's own write past the triggers.
    expect(await all(t, "audit")).toHaveLength(IN_BOTH + NEW);
    expect((await rows()).at(-1)).toMatchObject({ role: "owner", name: `N${IN_BOTH + NEW - 1}` });
    expect(await t.action(run, {})).toMatchObject({ drift: QUIET });
  });
});

const LINT = `
import convexPlugin from "@convex-dev/eslint-plugin";
import tseslint from "typescript-eslint";
export default tseslint.config(
  { ignores: ["convex/_generated/"] },
  tseslint.configs.recommended,
  ...convexPlugin.configs.recommended,
);
`;
