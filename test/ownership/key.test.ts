/** An app that knows its rows by another column: they are taken over, and nobody gets a second one. */
import { defineTable } from "convex/server";
import { v } from "convex/values";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { signUp } from "../world/people";
import { complete, convexWith, internal, pass, post, useSetting } from "../world/setting";

const said = vi.hoisted((): { key: unknown; removal: unknown } => ({
  key: null,
  removal: "delete",
}));

vi.mock("../../convex/clerk/fields", () => ({
  fields: { firstName: (user: { first_name: string | null }) => user.first_name },
}));
vi.mock("../../convex/clerk/app", () => ({
  newUserFields: () => ({ own: "sync" }),
  get removal() {
    return said.removal;
  },
  get key() {
    return said.key;
  },
  hooks: {},
}));

const users = defineTable({
  clerkId: v.optional(v.string()),
  clerkCreatedAt: v.optional(v.number()),
  token: v.optional(v.string()),
  clerkUser: v.optional(v.any()),
  firstName: v.optional(v.string()),
  own: v.string(),
  deletedAt: v.optional(v.number()),
})
  .index("by_token", ["token"])
  .index("by_clerkUserId", ["clerkUser.id"])
  .index("by_clerkId", ["clerkId"])
  .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]);
const setting = useSetting({ http: false });
const tokenOf = (clerkId: string) => `https://issuer.example|${clerkId}`;
const BY_TOKEN = { column: "token", index: "by_token", read: tokenOf };

type Row = { _id: string; clerkId?: string; token?: string; own: string; firstName?: string };
let ids: string[];

beforeEach(() => {
  setting.t = convexWith(users);
  said.key = BY_TOKEN;
  said.removal = "delete";
  ids = signUp(setting, 4);
});

async function table(): Promise<Row[]> {
  return await setting.t.run(
    async (ctx) => (await ctx.db.query("users").take(100)) as unknown as Row[],
  );
}

async function insert(...rows: object[]): Promise<void> {
  await setting.t.run(async (ctx) => {
    for (const row of rows) await ctx.db.insert("users", { own: "app", ...row } as never);
  });
}

/** What is there: whose row is whose. */
async function told(): Promise<[string, string | undefined][]> {
  return (await table()).map(({ own, clerkId }) => [own, clerkId]);
}

describe("a row that the app knows by its key", () => {
  test.each<[string, (id: string) => Promise<unknown>]>([
    ["a full run", async () => await complete(setting.t)],
    ["an event", async (id) => await post(setting.t, setting.clerk.updateUser(id, {}, Date.now()))],
    [
      "a repair",
      async (clerkId) => await setting.t.action(internal.clerk.reconcile.user, { clerkId }),
    ],
    [
      "a recent run",
      async (id) => {
        await setting.t.run(async (ctx) => {
          const all = await ctx.db.query("users").take(9);
          for (const { _id } of all) await ctx.db.delete("users", _id);
        });
        await complete(setting.t);
        await setting.t.run(async (ctx) => {
          const all = await ctx.db.query("users").take(9);
          for (const { _id } of all) await ctx.db.delete("users", _id);
        });
        await insert({ token: tokenOf(id) });
        pass(1000);
        setting.clerk.updateUser(id, {}, Date.now());
        await complete(setting.t, { mode: "recent" });
      },
    ],
  ])("is taken over by %s", async (_, act) => {
    const [id = ""] = ids;
    await insert({ token: tokenOf(id) });
    await act(id);
    const mine = (await table()).filter(
      ({ token, clerkId }) => token === tokenOf(id) || clerkId === id,
    );
    expect(mine).toMatchObject([{ own: "app", clerkId: id, firstName: "N0" }]);
  });

  test("is left alone where it is another user's, and of several the oldest is taken", async () => {
    const [one = "", two = "", three = ""] = ids;
    await insert(
      { token: tokenOf(one), clerkId: two },
      { token: tokenOf(three), own: "oldest" },
      { token: tokenOf(three), own: "second" },
      { token: "a guest" },
    );
    const dry = await complete(setting.t, { dryRun: true });
    const report = await complete(setting.t);
    expect(report).toMatchObject({ setAside: 0, repaired: { created: 2, updated: 2 } });
    expect(dry.drift).toEqual(report.drift);
    expect(await told()).toEqual([
      ["app", two],
      ["oldest", three],
      ["second", undefined],
      ["app", undefined],
      ["sync", one],
      ["sync", ids[3]],
    ]);
    expect(await complete(setting.t)).toMatchObject({ unchanged: 4 });
  });

  test("is not removed by an event before it is taken over, nor judged by a run", async () => {
    const [id = ""] = ids;
    await complete(setting.t);
    await insert({ token: tokenOf("user_gone"), own: "theirs" });
    await post(setting.t, {
      object: "event",
      type: "user.deleted",
      instance_id: setting.clerk.instanceId,
      data: { id: "user_gone", deleted: true },
    });
    expect(await complete(setting.t)).toMatchObject({ status: "completed" });
    expect(await told()).toContainEqual(["theirs", undefined]);
    expect(await told()).toContainEqual(["sync", id]);
  });

  test("comes back where it is marked", async () => {
    const [id = ""] = ids;
    said.removal = { mark: {} };
    await insert({ token: tokenOf(id), deletedAt: 5 });
    await complete(setting.t);
    const [row] = await table();
    expect(row).toMatchObject({ own: "app", clerkId: id });
    expect(row).not.toHaveProperty("deletedAt");
    expect(await table()).toHaveLength(4);
  });
});

test("a row that the sync makes has the key, by which the app's own sign-in finds it", async () => {
  const { event, user } = setting.clerk.createUser({ created_at: Date.now() });
  await post(setting.t, event);
  expect((await table()).find(({ clerkId }) => clerkId === user.id)?.token).toBe(tokenOf(user.id));
});

test("a key that reads nothing for an id leaves the rows without one alone", async () => {
  const [id = ""] = ids;
  said.key = {
    ...BY_TOKEN,
    read: (clerkId: string) => (clerkId === id ? "old-1" : undefined),
  };
  await insert({ token: "old-1" }, { own: "a guest" }, { own: "a bot" });
  await complete(setting.t);
  expect((await told()).slice(0, 3)).toEqual([
    ["app", id],
    ["a guest", undefined],
    ["a bot", undefined],
  ]);
  expect(await table()).toHaveLength(6);
});

test("a key that throws has an event refused, and is named", async () => {
  said.key = {
    ...BY_TOKEN,
    read: () => {
      throw new Error("SECRET");
    },
  };
  const { event } = setting.clerk.createUser({ created_at: Date.now() });
  expect((await post(setting.t, event)).status).toBe(200);
  expect(setting.log.at(-1)?.reason).toMatch(/^refused: key\.read threw Error/);
  expect(JSON.stringify(setting.log)).not.toMatch("SECRET");
});

test("a second row that the app knows by its key, from before, is named by the doctor", async () => {
  const [id = ""] = ids;
  said.key = null;
  await complete(setting.t);
  await insert({ token: tokenOf(id) });
  said.key = BY_TOKEN;
  const { checks } = await setting.t.action(internal.clerk.doctor.check, {});
  const found = checks.find(({ check }) => check === "table");
  expect(found).toMatchObject({ ok: false });
  expect(found?.found).toMatch(
    /Clerk's id in the column token, so that their users have, or get, a second/,
  );
});

test("rows whose clerkId holds the whole token are taken over, and no run is refused", async () => {
  said.key = { column: "clerkId", index: "by_clerkId", read: tokenOf };
  await insert(...ids.map((id) => ({ clerkId: tokenOf(id) })), { clerkId: "guest_1" });
  const report = await complete(setting.t);
  expect(report).toMatchObject({ status: "completed", repaired: { created: 0, updated: 4 } });
  expect(report).toMatchObject({ appOwned: 1 });
  expect(await told()).toEqual([...ids.map((id) => ["app", id]), ["app", "guest_1"]]);
});

test("without a key, such rows stop the first run, as they would be doubled", async () => {
  said.key = null;
  await insert(...ids.map((id) => ({ token: tokenOf(id) })));
  expect(await complete(setting.t)).toMatchObject({ status: "failed" });
  expect(await table()).toHaveLength(4);
});

describe("a key within an object", () => {
  const WITHIN = {
    column: "clerkUser.id",
    index: "by_clerkUserId",
    read: (clerkId: string) => clerkId,
  };
  const rowOf = (id: string) => ({ clerkUser: { id, first_name: "Old" } });

  test("has rows taken over, by events and by runs, and is not written by itself", async () => {
    said.key = WITHIN;
    const [one = "", two = ""] = ids;
    await insert(rowOf(one), rowOf(two), rowOf("user_gone"), { clerkUser: "none" });
    await post(setting.t, setting.clerk.updateUser(one, {}, Date.now()));
    const dry = await complete(setting.t, { dryRun: true });
    const report = await complete(setting.t);
    expect(report).toMatchObject({ repaired: { created: 2, updated: 1 }, drift: dry.drift });
    expect(await told()).toEqual([
      ["app", one],
      ["app", two],
      ["app", undefined],
      ["app", undefined],
      ...ids.slice(2).map((id) => ["sync", id]),
    ]);
    expect((await table()).at(-1)).not.toHaveProperty("clerkUser");
  });

  test("is what the fill takes, for those who are gone", async () => {
    said.key = WITHIN;
    await insert(...ids.map(rowOf), rowOf("user_gone"), { clerkUser: { id: 7 } }, {});
    const args = { column: "clerkUser.id" };
    expect(await setting.t.action(internal.clerk.adopt.fill, args)).toMatchObject({
      rows: 7,
      filled: 5,
    });
    expect((await told()).flatMap(([, id]) => id ?? []).sort()).toEqual(
      [...ids, "user_gone"].sort(),
    );
  });

  test("is found by the first run, which stops where nobody has said so", async () => {
    said.key = null;
    await insert(...ids.map(rowOf));
    const report = await complete(setting.t);
    expect(report).toMatchObject({ status: "failed" });
    expect(report.summary).toMatch(/Clerk's id in the column clerkUser\.id/);
    expect(report.next).toMatch(/adopt:fill '\{"column":"clerkUser\.id","dryRun":true\}'/);
    expect(await table()).toHaveLength(4);
  });
});
