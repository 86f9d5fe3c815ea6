/** What a run deletes, and what it holds; answers of Clerk that delete nobody. */
import { describe, expect, test, vi } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import { userEvent, type ClerkUserJSON } from "../../scripts/stand-in/clerk-json";
import { updateSyncState } from "../../convex/clerk/memory/state";
import { backfill, expectMirror, signUp, typeNext } from "../world/people";
import {
  complete,
  post,
  LONG_AGO,
  pass,
  report as reportQuery,
  rows,
  run,
  useSetting,
} from "../world/setting";

const setting = useSetting();

describe("deletions", () => {
  test("an empty Clerk is held, and emptied by the printed command", async () => {
    const { t, clerk } = setting;
    await backfill(setting, 5);
    clerk.users.clear();
    const held = await complete(t, {});
    expect(held).toMatchObject({ status: "held", held: 5, repaired: { deleted: 0 } });
    expect((await rows(t)).length).toBe(5);
    expect(held.next).toBe(`npx convex run clerk/reconcile:run '{"maxDeletions":5}'`);
    expect(await typeNext(setting, held.next)).toMatchObject({
      status: "completed",
      repaired: { deleted: 5 },
    });
    expect(await rows(t)).toEqual([]);
  });

  test("more than the limit are held, all of them, and the printed command deletes just those", async () => {
    const { t, clerk, log } = setting;
    const ids = await backfill(setting, 100);
    for (const id of ids.slice(0, 11)) clerk.deleteUser(id, LONG_AGO + DAY);
    clerk.updateUser(ids[50] ?? "", { first_name: "Renamed" }, LONG_AGO + DAY);
    const held = await complete(t, { pageSize: 30 });
    expect(held).toMatchObject({ status: "held", held: 11, repaired: { updated: 1, deleted: 0 } });
    expect(held.summary).toMatch(
      "11 of 100 mirrored users are gone from Clerk, more than 10 at once",
    );
    expect(log.at(-1)).toMatchObject({ level: "error", event: "reconcile.held", held: 11 });
    expect((await rows(t)).length).toBe(100);

    const done = await typeNext(setting, held.next);
    expect(done).toMatchObject({ status: "completed", repaired: { deleted: 11 } });
    await expectMirror(setting);
    const report = await t.query(reportQuery, {});
    const named = report?.entries.filter(({ action }) => action === "deleted");
    expect(named?.map(({ clerkId }) => clerkId).sort()).toEqual(ids.slice(0, 11));
  });

  test("up to the limit are made: 10 of few, 5 % of many", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 260);
    for (const id of ids.slice(0, 13)) clerk.deleteUser(id, LONG_AGO + DAY);
    expect(await complete(t, {})).toMatchObject({
      status: "completed",
      repaired: { deleted: 13 },
    });
    for (const id of ids.slice(13, 26)) clerk.deleteUser(id, LONG_AGO + DAY);
    expect(await complete(t, {})).toMatchObject({ status: "held", held: 13 });
  });

  test("maxDeletions 0 allows none, and is not inherited", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 3);
    clerk.deleteUser(id, LONG_AGO + DAY);
    expect(await complete(t, { maxDeletions: 0 })).toMatchObject({ status: "held", held: 1 });
    expect(await complete(t, {})).toMatchObject({
      status: "completed",
      repaired: { deleted: 1 },
    });
  });

  test("of a row that the sync never saw in Clerk is held", async () => {
    const { t } = setting;
    await backfill(setting, 3);
    await t.run(async (ctx) => {
      await ctx.db.insert("users", { clerkId: "user_before", clerkCreatedAt: 7, color: "own" });
      await ctx.db.insert("users", { clerkId: "user_undated", color: "own" });
      await ctx.db.insert("users", { color: "a guest" });
    });
    pass(6 * 60_000);
    // What has a creation time, the sync knew once. The app may just have put the other's id on it.
    const first = await t.action(run, {});
    expect(first).toMatchObject({
      status: "completed",
      repaired: { deleted: 1 },
      postponed: 1,
    });
    pass(6 * 60_000);
    const held = await complete(t, {});
    expect(held).toMatchObject({ status: "held", held: 1, repaired: { deleted: 0 } });
    expect(await typeNext(setting, held.next)).toMatchObject({ repaired: { deleted: 1 } });
    expect((await rows(t)).filter((row) => row.clerkId === undefined).length).toBe(1);
  });

  test("are not made when Clerk knows the user after all, or answers anything but resource_not_found", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 3);
    // The listing, the count and the look-up by ids all lack a user who exists.
    const without = (json: unknown) => (json as ClerkUserJSON[]).filter((user) => user.id !== id);
    const loseUser = () => {
      const total = () => ({ object: "total_count", total_count: 2 });
      clerk.order(/\/v1\/users\?/, { kind: "change", change: without });
      clerk.order(/\/count/, { kind: "change", change: total });
    };
    loseUser();
    expect(await complete(t, {})).toMatchObject({
      status: "completed",
      drift: { orphaned: 0 },
      repaired: { deleted: 0 },
    });
    for (const status of [404, 403, 410, 500]) {
      clerk.heal();
      loseUser();
      clerk.order(new RegExp(`/${id}`), { kind: "status", status, code: "gone_fishing" });
      const report = await complete(t, {});
      expect(report).toMatchObject({ status: "completed", setAside: 1, repaired: { deleted: 0 } });
      expect(report.entries).toMatchObject([{ clerkId: id, action: "setAside" }]);
      expect(report.entries[0]?.reason).toMatch(`${status}, gone_fishing`);
    }
    expect((await rows(t)).length).toBe(3);
  });

  test("are not made when an event touches the user while Clerk is asked", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 3);
    const user = clerk.users.get(id);
    clerk.deleteUser(id, LONG_AGO + DAY);
    const touched = new Promise<unknown>((resolve) => {
      clerk.onRequest = ({ path }) => {
        if (!path.endsWith(id)) return;
        clerk.onRequest = () => undefined;
        const data = { ...user, updated_at: Date.now(), username: "back" };
        resolve(post(t, userEvent("user.updated", data, { instanceId: clerk.instanceId, at: 0 })));
      };
    });
    clerk.order(new RegExp(`/${id}`), { kind: "wait", for: touched });
    expect(await t.action(run, {})).toMatchObject({
      status: "completed",
      postponed: 1,
      drift: { orphaned: 0 },
      repaired: { deleted: 0 },
    });
    expect((await rows(t)).length).toBe(3);
  });

  test("wait while an event of the last five minutes says otherwise, and are made then", async () => {
    const { t, clerk } = setting;
    const [user] = (await backfill(setting, 3)).map((id) => clerk.users.get(id));
    if (user === undefined) throw new Error("nobody");
    const data = { ...user, updated_at: Date.now(), username: "just_now" };
    await post(t, userEvent("user.updated", data, { instanceId: clerk.instanceId, at: 0 }));
    clerk.deleteUser(user.id, Date.now());
    vi.setSystemTime(Date.now() + 4 * 60_000);
    expect((await t.action(run, { dryRun: true })).summary).toMatch(
      "1 user would be asked about again in five minutes.",
    );
    expect(await t.action(run, {})).toMatchObject({ postponed: 1, repaired: { deleted: 0 } });
    expect(await t.action(run, {})).toMatchObject({ postponed: 1, repaired: { deleted: 0 } });
    const asked = clerk.requests.length;
    const deleted = Date.now() + 5 * 60_000;
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
    expect(Date.now()).toBeGreaterThanOrEqual(deleted);
    // Asked about once, however often it was put off: the instance, the id among others, and alone.
    expect(clerk.requests.length).toBe(asked + 3);
    await expectMirror(setting);
  });
});

describe("an answer of Clerk that can't be right deletes nobody and fails the run with a sentence", () => {
  const list = /\/v1\/users\?(?!.*user_id)/;
  const json = (value: unknown) => ({ kind: "body" as const, body: JSON.stringify(value) });

  test.each([
    ["an object", list, json({ data: [] }), "not a list but an object"],
    ["text", list, json("[]"), "not a list but a string"],
    ["null", list, json(null), "not a list but null"],
    [
      "HTML",
      list,
      { kind: "body", body: "<html>", contentType: "text/html" },
      "200 with a body that is not JSON",
    ],
    ["half a list", list, { kind: "body", body: '[{"id":"user_1","crea' }, "not JSON"],
    ["nothing but a reset", list, { kind: "reset" }, "no connection"],
    [
      "an error",
      list,
      { kind: "status", status: 503 },
      "503, internal_clerk_error, trace id trace_stand_in",
    ],
    ["a count without count", /count/, json({}), "no total_count"],
    ["an instance without id", /instance/, json({}), "no instance id"],
    [
      "a refused key",
      list,
      { kind: "status", status: 401, code: "authentication_invalid" },
      "Clerk refused CLERK_SECRET_KEY (401, authentication_invalid",
    ],
  ] as const)("%s", async (_, path, fault, sentence) => {
    const { t, clerk, log } = setting;
    await backfill(setting, 40);
    const before = JSON.stringify(await rows(t));
    clerk.order(path, fault);
    const failed = await complete(t, { pageSize: 15 });
    expect(failed.status).toBe("failed");
    expect(failed.summary).toMatch(sentence);
    expect(JSON.stringify(await rows(t))).toBe(before);
    expect(log.at(-1)).toMatchObject({ level: "error", event: "reconcile.failed" });

    clerk.heal();
    expect(await complete(t, {})).toMatchObject({ status: "completed" });
    await expectMirror(setting);
  });

  test("everyone, asked for a few ids, sets these aside", async () => {
    const { t, clerk } = setting;
    const [gone = ""] = await backfill(setting, 40);
    clerk.users.delete(gone);
    clerk.order(/user_id/, json([{ id: "user_else", created_at: 1, updated_at: 1 }]));
    const { status, setAside, repaired, entries } = await complete(t, { pageSize: 15 });
    expect({ status, setAside, repaired }).toEqual({
      status: "completed",
      setAside: 1,
      repaired: { created: 0, updated: 0, deleted: 0 },
    });
    expect(entries[0]).toMatchObject({ clerkId: gone, action: "setAside" });
    expect(entries[0]?.reason).toMatch("users who were not asked for");
    clerk.heal();
    expect(await complete(t, {})).toMatchObject({ status: "completed", repaired: { deleted: 1 } });
    await expectMirror(setting);
  });

  test.each<[string, (users: ClerkUserJSON[]) => unknown, string]>([
    ["a page in another order", (users) => users.toReversed(), "not in the order asked for"],
    ["a page longer than asked for", (users) => [...users, ...users], "at most 15 were asked for"],
  ])("%s", async (_, change, sentence) => {
    const { t, clerk } = setting;
    await backfill(setting, 40);
    const before = JSON.stringify(await rows(t));
    clerk.order(/order_by=%2Bcreated_at/, { kind: "change", change: change as never });
    const failed = await complete(t, { pageSize: 15 });
    expect(failed).toMatchObject({ status: "failed", drift: { orphaned: 0 } });
    expect(failed.summary).toMatch(sentence);
    expect(JSON.stringify(await rows(t))).toBe(before);
  });

  test("another instance", async () => {
    const { t, clerk } = setting;
    await backfill(setting, 4);
    clerk.users.clear();
    clerk.instanceId = "ins_other";
    const failed = await complete(t, { maxDeletions: 100 });
    expect(failed).toMatchObject({ status: "failed", requests: 1 });
    expect(failed.summary).toMatch("instance ins_other, but this table mirrors ins_stand_in");
    expect((await rows(t)).length).toBe(4);
  });

  test("an instance that knows few of the rows from before the sync is not pinned", async () => {
    const { t, clerk } = setting;
    const [known = ""] = signUp(setting, 1);
    await t.run(async (ctx) => {
      for (const clerkId of [known, "user_a", "user_b", "not a Clerk id"]) {
        await ctx.db.insert("users", { clerkId, color: "own" });
      }
    });
    const failed = await complete(t, {});
    expect(failed.summary).toMatch("knows only 1 of 3 users sampled from this table");
    const state = await t.run(async (ctx) => await ctx.db.query("clerkSyncState").unique());
    expect(state?.instanceId).toBeUndefined();
    signUp(setting, 1, 5);
    await t.run(async (ctx) => {
      const row = await ctx.db
        .query("users")
        .withIndex("by_clerkId", (q) => q.eq("clerkId", "user_a"))
        .unique();
      if (row) await ctx.db.patch("users", row._id, { clerkId: [...clerk.users.keys()][1] ?? "" });
    });
    pass(6 * 60_000);
    expect((await complete(t, {})).status).toBe("held");
  });
});

test.each([
  ["isHeldAtLarge", "due", 0],
  ["isHeldAtLarge", "full", 0],
  ["isHeldAtLargeByLimit", "due", 0],
  ["isHeldAtLargeByLimit", "full", 1],
] as const)(
  "of whom a run held more than it could write down (%s), a run (%s) deletes %i",
  async (held, mode, deleted) => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 20);
    pass(2 * DAY);
    await t.run(async (ctx) => {
      await updateSyncState(ctx, { [held]: true });
    });
    clerk.users.delete(id);
    expect(await complete(t, { mode })).toMatchObject({
      mode: "full",
      held: 1 - deleted,
      repaired: { deleted },
    });
  },
);
