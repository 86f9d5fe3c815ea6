/** What `fields.ts` and `app.ts` may say, on a table with columns of each kind. */
import { defineTable } from "convex/server";
import { v, type GenericValidator } from "convex/values";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { misfitOf } from "../../convex/clerk/mirror/columns";
import type { ClerkUser, Removal } from "../../convex/clerk/types";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { signUp } from "../world/people";
import { complete, convexWith, internal, LONG_AGO, pass, post, useSetting } from "../world/setting";

type Readers = Record<string, (user: ClerkUser) => unknown>;
type Said = {
  /** Readers of this test; the others leave their column as it is. */
  readers: Readers;
  newUserFields: (user: ClerkUser) => Record<string, unknown>;
  removal: unknown;
};
const said = vi.hoisted((): Said => ({
  readers: {},
  newUserFields: () => ({ own: "new" }),
  removal: "delete",
}));

vi.mock("../../convex/clerk/fields", () => ({
  fields: Object.fromEntries(
    ["required", "nullable", "both", "optional", "union", "array", "whole", "number"].map(
      (name) => [name, (user: ClerkUser) => said.readers[name]?.(user)],
    ),
  ),
}));
vi.mock("../../convex/clerk/app", () => ({
  newUserFields: (user: ClerkUser) => said.newUserFields(user),
  get removal() {
    return said.removal as Removal;
  },
  key: null,
  hooks: {},
}));

const users = defineTable({
  clerkId: v.optional(v.string()),
  clerkCreatedAt: v.optional(v.number()),
  required: v.string(),
  nullable: v.union(v.string(), v.null()),
  both: v.optional(v.union(v.string(), v.null())),
  optional: v.optional(v.string()),
  union: v.optional(v.union(v.literal("free"), v.literal("paid"))),
  array: v.optional(v.array(v.string())),
  whole: v.optional(v.int64()),
  number: v.optional(v.number()),
  own: v.string(),
  deletedAt: v.optional(v.number()),
})
  .index("by_clerkId", ["clerkId"])
  .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]);

const setting = useSetting({ http: false });
let id: string;

const FULL: Readers = {
  required: (user) => user.username ?? "none",
  nullable: (user) => user.last_name,
  optional: (user) => user.first_name,
};

beforeEach(() => {
  setting.t = convexWith(users);
  said.readers = { ...FULL };
  said.newUserFields = () => ({ own: "new" });
  said.removal = "delete";
  [id = ""] = signUp(setting, 1);
});
afterEach(() => {
  // Nobody's name, whatever went wrong.
  expect(JSON.stringify(setting.log)).not.toMatch(/SECRET/);
});

type Row = Record<string, unknown> & { _id: string };

async function table(): Promise<Row[]> {
  return await setting.t.run(async (ctx) => (await ctx.db.query("users").take(100)) as Row[]);
}

async function row(): Promise<Row> {
  const found = (await table()).find(({ clerkId }) => clerkId === id);
  if (found === undefined) throw new Error("there is no row");
  return found;
}

/** What the app writes to the row. */
async function patch(changes: object): Promise<void> {
  const { _id } = await row();
  await setting.t.run(async (ctx) => {
    await ctx.db.patch(_id as never, changes as never);
  });
}

function change(changes: object): unknown {
  pass(1000);
  return setting.clerk.updateUser(id, changes, Date.now());
}

const NONE = { missing: 0, stale: 0, orphaned: 0 };

/** Runs, and asserts that another run has nothing to do and writes nobody's row. */
async function settle(expected: object): Promise<void> {
  const { t } = setting;
  const dry = await complete(t, { dryRun: true });
  const report = await complete(t);
  expect(report).toMatchObject({ status: "completed", ...expected });
  expect([dry.drift, dry.setAside]).toEqual([report.drift, report.setAside]);
  const before = await table();
  expect(await complete(t)).toMatchObject({
    drift: NONE,
    repaired: { created: 0, updated: 0, deleted: 0 },
    setAside: report.setAside,
  });
  expect(await table()).toEqual(before);
}

async function reasons(): Promise<(string | undefined)[]> {
  const report = await setting.t.query(internal.clerk.reconcile.report, {});
  expect(JSON.stringify(report)).not.toMatch(/SECRET/);
  return (report?.entries ?? []).map(({ reason }) => reason);
}

describe("a reader that gives null", () => {
  test("has a required column be null that may be, and an optional one absent", async () => {
    said.readers.both = () => null;
    change({ first_name: null, last_name: null });
    await settle({ repaired: { created: 1 }, setAside: 0 });
    expect(await row()).toMatchObject({ required: "none", nullable: null, own: "new" });
    expect(await row()).not.toHaveProperty("optional");
    expect(await row()).not.toHaveProperty("both");
  });

  test.each(["run", "event"])("clears what was there, by %s", async (by) => {
    change({ first_name: "Ada", last_name: "Lovelace" });
    await settle({ repaired: { created: 1 } });
    expect(await row()).toMatchObject({ nullable: "Lovelace", optional: "Ada" });
    const event = change({ first_name: null, last_name: null });
    if (by === "event") await post(setting.t, event);
    await settle({ repaired: { updated: by === "event" ? 0 : 1 }, setAside: 0 });
    expect(await row()).toMatchObject({ nullable: null });
    expect(await row()).not.toHaveProperty("optional");
  });

  test("takes a null that is there already for the same", async () => {
    said.readers.both = () => null;
    await settle({ repaired: { created: 1 } });
    await patch({ both: null });
    await settle({ drift: NONE, setAside: 0 });
    expect(await row()).toHaveProperty("both", null);
  });
});

test("a reader that gives undefined leaves its column as the app has it", async () => {
  await settle({ repaired: { created: 1 } });
  await patch({ optional: "theirs" });
  said.readers.optional = () => undefined;
  await post(setting.t, change({ username: "ada" }));
  await settle({ drift: NONE });
  expect(await row()).toMatchObject({ required: "ada", optional: "theirs" });
});

test("numbers that equal nothing, whole ones and lists are written once", async () => {
  Object.assign(said.readers, {
    number: () => NaN,
    whole: () => 2n ** 62n,
    array: () => ["a", "b"],
    union: () => "paid",
  });
  await settle({ repaired: { created: 1 }, setAside: 0 });
  expect(await row()).toMatchObject({ number: NaN, whole: 2n ** 62n, array: ["a", "b"] });
});

describe("null for a required column, as `strict` off lets through", () => {
  beforeEach(() => {
    said.readers.required = (user) => user.username;
    change({ username: "ada" });
  });

  test("sets that user aside with the column's name, and the other columns are written", async () => {
    await settle({ repaired: { created: 1 }, setAside: 0 });
    change({ username: null, first_name: "SECRET" });
    await settle({ repaired: { updated: 1 }, setAside: 1 });
    expect(await row()).toMatchObject({ required: "ada", optional: "SECRET" });
    expect(await reasons()).toEqual(["required: it is required, and got null"]);
  });

  test("makes no row, and says why", async () => {
    change({ username: null, first_name: "SECRET" });
    await settle({ repaired: { created: 0 }, setAside: 1 });
    expect(await table()).toEqual([]);
    expect(await reasons()).toEqual(["required: it is required, and got null"]);
    change({ username: "ada" });
    await settle({ repaired: { created: 1 }, setAside: 0 });
  });

  test("by event has Clerk asked, whose answer counts", async () => {
    await settle({ repaired: { created: 1 } });
    await post(setting.t, change({ username: null, first_name: "SECRET" }));
    expect(await row()).toMatchObject({ required: "ada" });
    expect(setting.log.at(-1)?.reason).toMatch(
      /^unclear: .*required: it is required, and got null/,
    );
    await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 100);
    expect(await row()).toMatchObject({ required: "ada", optional: "SECRET" });
    const told = await setting.t.query(internal.clerk.reconcile.report, { mode: "doubts" });
    expect(told).toMatchObject({ setAside: 1, repaired: { updated: 1 } });
  });
});

describe("what the schema does not take", () => {
  test.each<[string, string, unknown, RegExp]>([
    ["another type", "optional", 4711, /^optional: the schema does not take this number there$/],
    ["a text of no member", "union", "SECRET", /^union: the schema does not take this string/],
    ["a list of others", "array", [4711], /^array: the schema does not take this array there$/],
    ["an object of a class", "optional", new Date(), /^optional: a class instance$/],
    ["a function", "optional", () => 1, /^optional: a function of another kind$/],
    ["a number of 65 bits", "whole", 2n ** 64n, /^whole: a bigint of another kind$/],
  ])("(%s) is left out, and named without its value", async (_, column, value, reason) => {
    said.readers[column] = () => value;
    change({ username: "ada", last_name: "Lovelace" });
    await settle({ repaired: { created: 1 }, setAside: 1 });
    expect(await row()).toMatchObject({ required: "ada", nullable: "Lovelace" });
    expect(await row()).not.toHaveProperty(column);
    const [told] = await reasons().then((all) => all.filter((each) => each !== undefined));
    expect(told).toMatch(reason);
  });

  test("is told of a column that nothing fills", async () => {
    said.newUserFields = () => ({});
    await settle({ repaired: { created: 0 }, setAside: 1 });
    expect(await reasons()).toEqual([
      "own: it is required, and neither fields nor newUserFields fills it",
    ]);
  });

  test("is told apart from what the app's triggers throw, and from other tables", () => {
    // As crates/common/src/schemas of get-convex/convex-backend words it.
    const refused = (table: string, what: string) =>
      new Error(
        `Failed to insert or update a document in table "${table}" because it does not match the schema: ${what}`,
      );
    const missing =
      'Object is missing the required field `email`. Consider wrapping the field validator in `v.optional(...)` if this is expected.\n\nObject: {name: "Path: .name"}\nValidator: v.object({email: v.string()})';
    const within =
      'Value does not match validator.\nPath: .meta.x\nValue: "Path: .name"\nValidator: v.number()';
    expect(misfitOf(refused("users", missing))).toEqual({ column: "email" });
    expect(misfitOf(refused("users", within))).toEqual({ column: "meta" });
    expect(misfitOf(refused("teams", missing))).toBeNull();
    expect(misfitOf(new Error("Too many bytes written"))).toBeNull();
    expect(misfitOf("does not match the schema")).toBeNull();
  });
});

test("a column whose reader throws is left as it is, and named", async () => {
  change({ first_name: "Ada" });
  await settle({ repaired: { created: 1 } });
  said.readers.optional = () => {
    throw new Error("SECRET");
  };
  change({ username: "ada" });
  await settle({ repaired: { updated: 1 }, setAside: 1 });
  expect(await row()).toMatchObject({ required: "ada", optional: "Ada" });
  expect((await reasons()).at(-1)).toBe("optional: its reader threw Error");
});

test("a value that throws as it is looked at sets that one aside, by run and by event", async () => {
  said.readers.optional = () => ({
    get inner(): never {
      throw new Error("SECRET");
    },
  });
  await settle({ repaired: { created: 1 }, setAside: 1 });
  expect((await post(setting.t, change({ username: "ada" }))).status).toBe(200);
});

describe("what newUserFields gives or reads", () => {
  test("matters to nobody who has a row, however long it is", async () => {
    await settle({ repaired: { created: 1 } });
    said.newUserFields = () => ({ own: "x".repeat(300_000) });
    signUp(setting, 1);
    change({ username: "ada" });
    await settle({ repaired: { created: 0, updated: 1 }, setAside: 1 });
    expect((await reasons()).at(-1)).toBe("newUserFields: over 262144 characters of JSON");
  });

  test("marks nobody as removed", async () => {
    said.removal = { mark: { required: "", nullable: null } };
    said.newUserFields = () => ({ own: "new", deletedAt: 5 });
    await settle({ repaired: { created: 1 } });
    expect(await row()).not.toHaveProperty("deletedAt");
  });

  test("by a key that an event lacks has Clerk asked, of somebody who gets a row alone", async () => {
    const { t, clerk } = setting;
    said.newUserFields = (user) => ({ own: user.locale ?? "en" });
    const { user } = clerk.createUser({ created_at: Date.now(), locale: "fr" });
    const { locale: _, ...data } = user;
    const tell = async (told: object) => {
      const { instanceId } = clerk;
      await post(t, userEvent("user.updated", told, { instanceId, at: Date.now() }));
    };
    await tell(data);
    expect(setting.log.at(-1)?.reason).toBe("unclear: it lacks the key locale");
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 100);
    const find = async () => (await table()).find(({ clerkId }) => clerkId === user.id);
    expect(await find()).toMatchObject({ own: "fr" });
    pass(1000);
    await tell({ ...data, username: "ada", updated_at: Date.now() });
    expect(await find()).toMatchObject({ own: "fr", required: "ada" });
  });
});

test("somebody whom the schema did not take at first counts for no webhook when it does", async () => {
  const { t } = setting;
  said.newUserFields = () => ({});
  await complete(t);
  pass(24 * 3600_000);
  said.newUserFields = () => ({ own: "new" });
  expect(await complete(t)).toMatchObject({ repaired: { created: 1 } });
  pass(3600_000);
  const { reasons: wrong } = await t.query(internal.clerk.reconcile.status, {});
  expect(wrong).toEqual([]);
});

test("nor does a change that an earlier run knew, and could not write", async () => {
  const { t } = setting;
  said.readers = { required: (user) => user.username, nullable: () => null };
  change({ username: "ada" });
  await complete(t);
  change({ username: null });
  pass(24 * 3600_000);
  expect(await complete(t)).toMatchObject({ setAside: 1, drift: NONE });
  said.readers.required = (user) => user.username ?? "none";
  pass(3600_000);
  expect(await complete(t)).toMatchObject({ repaired: { updated: 1 } });
  pass(3600_000);
  expect((await t.query(internal.clerk.reconcile.status, {})).reasons).toEqual([]);
});

test("somebody whose event came and was refused counts for no webhook, either", async () => {
  const { t, clerk } = setting;
  await complete(t);
  said.newUserFields = () => ({});
  pass(3600_000);
  await post(t, clerk.createUser({ created_at: Date.now() }).event);
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 100);
  said.newUserFields = () => ({ own: "new" });
  pass(3600_000);
  expect(await complete(t)).toMatchObject({ repaired: { created: 1 } });
  pass(3600_000);
  expect((await t.query(internal.clerk.reconcile.status, {})).reasons).toEqual([]);
});

describe("a table whose rows are of two kinds, of which the schema names no column", () => {
  const person = {
    clerkId: v.optional(v.string()),
    clerkCreatedAt: v.optional(v.number()),
    kind: v.literal("person"),
    nullable: v.union(v.string(), v.null()),
    optional: v.optional(v.string()),
    deletedAt: v.optional(v.number()),
  };
  beforeEach(() => {
    const both = defineTable(
      v.union(
        v.object(person),
        v.object({ ...person, kind: v.literal("bot"), nullable: v.string() }),
      ),
    )
      .index("by_clerkId", ["clerkId"])
      .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]);
    setting.t = convexWith(both);
    said.readers = { nullable: (user) => user.last_name, optional: (user) => user.first_name };
    said.newUserFields = () => ({ kind: "person" });
  });

  test("has null where a column must be there, and what a mark erases is erased", async () => {
    said.removal = { mark: { nullable: null } };
    await settle({ repaired: { created: 1 }, setAside: 0 });
    expect(await row()).toMatchObject({ nullable: null, optional: "N0" });
    change({ last_name: "SECRET" });
    await settle({ repaired: { updated: 1 } });
    change({ last_name: null });
    await settle({ repaired: { updated: 1 } });
    change({ last_name: "SECRET" });
    await settle({ repaired: { updated: 1 } });
    pass(10 * 60_000);
    await post(setting.t, setting.clerk.deleteUser(id, Date.now()));
    expect(await row()).toMatchObject({ nullable: null, kind: "person" });
    expect(JSON.stringify(await row())).not.toMatch("SECRET|N0");
  });
});

test("where newUserFields throws, only who has no row is set aside", async () => {
  await settle({ repaired: { created: 1 } });
  said.newUserFields = () => {
    throw new Error("SECRET");
  };
  signUp(setting, 2);
  change({ username: "ada" });
  await settle({ repaired: { created: 0, updated: 1 }, setAside: 2 });
  expect((await row()).required).toBe("ada");
});

describe("columns that were added to fields.ts", () => {
  const tick = async () => await complete(setting.t, { mode: "due" });

  test("make a tick a full run, whose drift counts for no webhook", async () => {
    const { t } = setting;
    await post(t, change({ username: "ada" }));
    expect(await tick()).toMatchObject({ mode: "full" });
    pass(60_000);
    expect(await tick()).toMatchObject({ mode: "recent" });
    // As a deploy that had fewer columns left it.
    await t.run(async (ctx) => {
      const state = await ctx.db.query("clerkSyncState").unique();
      const columns = state?.columns?.filter((each) => !each.startsWith("both "));
      if (state) await ctx.db.patch("clerkSyncState", state._id, { columns });
    });
    said.readers.both = () => "filled";
    // Clerk counts sign-ins as changes, and tells of none.
    change({ last_sign_in_at: Date.now() });
    pass(20 * 60_000);
    expect(await tick()).toMatchObject({ mode: "full", drift: { stale: 1 } });
    expect(await row()).toMatchObject({ both: "filled" });
    pass(20 * 60_000);
    expect(await tick()).toMatchObject({ mode: "recent", drift: NONE });
    // As one that had another reader left it.
    await t.run(async (ctx) => {
      const state = await ctx.db.query("clerkSyncState").unique();
      const columns = state?.columns?.map((each) => each.replace(/^both .+/, "both 00000000"));
      if (state) await ctx.db.patch("clerkSyncState", state._id, { columns });
    });
    said.readers.both = () => "otherwise";
    change({ last_sign_in_at: Date.now() });
    pass(20 * 60_000);
    expect(await tick()).toMatchObject({ mode: "full", drift: { stale: 1 } });
    const { webhooks, reasons: wrong } = await t.query(internal.clerk.reconcile.status, {});
    expect([wrong, webhooks.filter(({ missedAt }) => missedAt !== null)]).toEqual([[], []]);
  });
});

describe("removal by a mark", () => {
  beforeEach(async () => {
    said.removal = { mark: { required: "somebody", nullable: null, own: "erased" } };
    change({ username: "ada", first_name: "Ada", last_name: "Lovelace" });
    await settle({ repaired: { created: 1 } });
  });

  test.each(["run", "event"])(
    "gives each column what it says, by %s, and who comes back gets the row back",
    async (by) => {
      const { t, clerk } = setting;
      const { _id } = await row();
      const user = clerk.users.get(id);
      pass(10 * 60_000);
      const event = clerk.deleteUser(id, Date.now());
      if (by === "event") await post(t, event);
      else
        expect(await complete(t, { maxDeletions: 1 })).toMatchObject({ repaired: { deleted: 1 } });
      const marked = await row();
      expect(marked).toMatchObject({ _id, required: "somebody", nullable: null, own: "erased" });
      expect(typeof marked.deletedAt).toBe("number");
      expect(Object.keys(marked).sort()).toEqual(
        "_creationTime,_id,clerkId,deletedAt,nullable,own,required".split(","),
      );
      pass(10 * 60_000);
      if (user) clerk.users.set(id, { ...user, updated_at: Date.now() });
      await settle({ repaired: { updated: 0, created: 1 } });
      expect(await row()).toMatchObject({
        _id,
        required: "ada",
        nullable: "Lovelace",
        own: "erased",
      });
      expect(await row()).not.toHaveProperty("deletedAt");
    },
  );

  test("marks a row though a value does not fit, and says so", async () => {
    const { t, clerk } = setting;
    said.removal = { mark: { nullable: null, own: 7 } };
    pass(10 * 60_000);
    clerk.deleteUser(id, Date.now());
    const report = await complete(t, { maxDeletions: 1 });
    expect(report).toMatchObject({ repaired: { deleted: 1 }, setAside: 1 });
    expect((await reasons()).at(-1)).toMatch(
      /the row is marked as removed, and keeps required: it is required, and got null; own: /,
    );
    expect(await row()).toMatchObject({ required: "ada", own: "new", nullable: null });
    expect(await row()).toHaveProperty("deletedAt");
  });
});

test("what an app whose removal deletes has a deletedAt for is its own", async () => {
  await settle({ repaired: { created: 1 } });
  await patch({ deletedAt: LONG_AGO });
  change({ username: "ada" });
  await settle({ repaired: { updated: 1, created: 0 } });
  expect(await row()).toMatchObject({ required: "ada", deletedAt: LONG_AGO });
});

test("a column's type changes as README says: widen, change the reader, run, clear what is listed, narrow", async () => {
  signUp(setting, 3);
  said.readers.both = (user) => user.first_name;
  await settle({ repaired: { created: 4 } });
  await setting.t.run(async (ctx) => {
    // The app's own, which no run looks at.
    await ctx.db.insert("users", {
      own: "app",
      required: "guest",
      nullable: null,
      both: "old",
    } as never);
  });
  const before = await table();
  // What deploys a schema keeps the rows.
  const deploy = async (both: GenericValidator, rows: Row[]) => {
    const { both: _, ...others } = users.validator.fields;
    const changed = defineTable({ ...others, both })
      .index("by_clerkId", ["clerkId"])
      .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]);
    setting.t = convexWith(changed);
    await setting.t.run(async (ctx) => {
      for (const { _id, _creationTime, ...row } of rows) await ctx.db.insert("users", row as never);
    });
  };
  const narrow = v.optional(v.number());
  await expect(deploy(narrow, before)).rejects.toThrow("Validator error");
  await deploy(v.optional(v.union(v.string(), v.null(), v.number())), before);
  said.readers.both = (user) => user.first_name?.length;
  await complete(setting.t);
  const widened = await table();
  const left = widened.filter(({ both }) => typeof both === "string");
  expect(left.map(({ own }) => own)).toEqual(["app"]);
  for (const row of left) delete row.both;
  await deploy(narrow, widened);
  expect((await table()).map(({ both }) => both ?? null)).toEqual([2, 2, 2, 2, null]);
});
