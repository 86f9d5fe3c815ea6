/** What is settled by asking Clerk about one user, and a move to another instance. */
import { describe, expect, test, vi } from "vitest";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { backfill, drift, expectMirror, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

describe("user", () => {
  const { user } = internal.clerk.reconcile;

  test("repairs each kind of drift for one id, and nobody else", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 8);
    await complete(t, {});
    await drift(setting, ids);
    const of = async (index: number, dryRun?: boolean) => {
      const clerkId = ids[index] ?? "";
      return (await t.action(user, { clerkId, dryRun })).outcome;
    };
    const before = JSON.stringify(await rows(t));
    expect([await of(0, true), await of(2, true), await of(4, true)]).toEqual([
      "deleted",
      "updated",
      "created",
    ]);
    expect(JSON.stringify(await rows(t))).toBe(before);
    expect([await of(0), await of(2), await of(4)]).toEqual(["deleted", "updated", "created"]);
    expect([await of(0), await of(2), await of(4)]).toEqual(["absent", "unchanged", "unchanged"]);
    const here = new Map((await rows(t)).map((row) => [row.clerkId, row]));
    expect([
      here.has(ids[0]),
      here.has(ids[1]),
      here.get(ids[3])?.firstName,
      here.has(ids[5]),
    ]).toEqual([false, true, "N3", false]);
    expect(clerk.requests.at(-1)?.path).toBe(`/v1/users/${ids[4]}`);
  });

  test.each([
    [404, "gone_fishing"],
    [410, "resource_not_found"],
    [403, "resource_not_found"],
    [500, "resource_not_found"],
  ])("deletes nobody on %i %s", async (status, code) => {
    const { t, clerk } = setting;
    const [clerkId = ""] = signUp(setting, 2);
    await complete(t, {});
    clerk.order(new RegExp(clerkId), { kind: "status", status, code });
    await expect(t.action(user, { clerkId })).rejects.toThrow(String(status));
    expect((await rows(t)).length).toBe(2);
  });

  test("deletes nobody when the key is another instance's, or none is pinned", async () => {
    const { t, clerk } = setting;
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: "user_x", color: "own" }));
    await expect(t.action(user, { clerkId: "user_x" })).rejects.toThrow(
      "No Clerk instance is pinned",
    );
    await t.run(async (ctx) => await ctx.db.insert("clerkSyncState", { instanceId: "ins_mine" }));
    await expect(t.action(user, { clerkId: "user_x" })).rejects.toThrow(
      "ins_stand_in, but this table mirrors ins_mine",
    );
    clerk.instanceId = "ins_mine";
    expect(await t.action(user, { clerkId: "user_x" })).toMatchObject({
      outcome: "unchanged",
      reason: "its row is younger than five minutes",
    });
    pass(6 * MINUTE);
    expect(await t.action(user, { clerkId: "user_x" })).toMatchObject({ outcome: "deleted" });
  });

  test("writes nothing when the mirror is moved while Clerk is asked", async () => {
    const { t, clerk } = setting;
    const [clerkId = ""] = signUp(setting, 1);
    await complete(t, {});
    clerk.updateUser(clerkId, { first_name: "Of the old instance" }, Date.now());
    const moved = new Promise((resolve) => {
      clerk.onRequest = ({ path }) => {
        if (!path.endsWith(clerkId)) return;
        const to = { instanceId: "ins_new" };
        resolve(t.mutation(internal.clerk.reconcile.pinInstance, to));
      };
    });
    clerk.order(new RegExp(`/${clerkId}`), { kind: "wait", for: moved });
    await expect(t.action(user, { clerkId })).rejects.toThrow("moved to another Clerk instance");
    expect(await rows(t)).toMatchObject([{ firstName: "N0" }]);
  });

  test("says of somebody who can't be mirrored whether there is a row", async () => {
    const { t, clerk, log } = setting;
    signUp(setting, 3);
    await complete(t);
    const { id } = clerk.createUser({ created_at: LONG_AGO }).user;
    Object.assign(clerk.users.get(id) ?? {}, { updated_at: null });
    for (const kind of ["missing", "stale"]) {
      log.length = 0;
      await expect(t.action(user, { clerkId: id })).rejects.toThrow(
        "It can't be mirrored: updated_at",
      );
      expect(log).toMatchObject([{ event: "reconcile.drift", kind, action: "setAside" }]);
      await t.run(async (ctx) => {
        await ctx.db.insert("users", { clerkId: id, color: "made by the app" });
      });
    }
  });

  test("refuses what is no user id, without asking", async () => {
    await expect(setting.t.action(user, { clerkId: "../instance" })).rejects.toThrow(
      "must be a Clerk user id",
    );
    expect(setting.clerk.requests).toEqual([]);
  });
});

describe("an event that leaves a doubt", () => {
  async function settleDoubts() {
    await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
  }

  async function known() {
    const { t, clerk } = setting;
    const { user, event } = clerk.createUser({ created_at: LONG_AGO, first_name: "Ada" });
    await post(t, event);
    await complete(t, {});
    clerk.requests.length = 0;
    return user;
  }
  const send = async (data: unknown, type: "user.created" | "user.updated" = "user.updated") => {
    const { clerk, t } = setting;
    await post(t, userEvent(type, data, { instanceId: clerk.instanceId, at: 0 }));
  };

  test("asks Clerk once, however many come, and believes it", async () => {
    const { t, clerk } = setting;
    const user = await known();
    clerk.updateUser(user.id, { first_name: "Augusta" }, user.updated_at);
    for (const first_name of ["B", "C", "D"]) await send({ ...user, first_name });
    expect(await rows(t)).toMatchObject([{ firstName: "Ada" }]);
    await settleDoubts();
    expect(clerk.requests.map(({ path }) => path)).toEqual(["/v1/instance", "/v1/users"]);
    expect(await rows(t)).toMatchObject([{ firstName: "Augusta" }]);
    expect(await t.run(async (ctx) => await ctx.db.query("clerkDoubts").take(1))).toEqual([]);
  });

  test.each<[string, (user: object) => object]>([
    ["of an unknown shape", (user) => ({ ...user, email_addresses: "none" })],
    ["without a creation time", (user) => ({ ...user, created_at: null })],
    ["from the future", (user) => ({ ...user, first_name: "X", updated_at: Date.now() + HOUR })],
    [
      "older than the last full run",
      (user) => ({ ...user, first_name: "X", updated_at: LONG_AGO + 1 }),
    ],
  ])("%s is settled by Clerk's answer", async (_, change) => {
    const { t, clerk } = setting;
    const user = await known();
    clerk.updateUser(user.id, { first_name: "Right" }, Date.now());
    await send(change(user));
    await settleDoubts();
    expect(await rows(t)).toMatchObject([{ firstName: "Right" }]);
  });

  test("about somebody deleted brings them back only if Clerk knows them", async () => {
    const { t, clerk } = setting;
    const user = await known();
    await post(t, clerk.deleteUser(user.id, Date.now()));
    pass(6 * MINUTE);
    await send({ ...user, updated_at: Date.now() });
    await settleDoubts();
    expect(await rows(t)).toEqual([]);
    clerk.users.set(user.id, user);
    await send({ ...user, updated_at: Date.now() });
    await settleDoubts();
    expect((await rows(t)).length).toBe(1);
  });

  test("that Clerk does not answer waits for the next tick, which asks again", async () => {
    const { t, clerk } = setting;
    const user = await known();
    clerk.updateUser(user.id, { first_name: "Right" }, user.updated_at);
    clerk.order(/./, { kind: "status", status: 500 });
    await send({ ...user, first_name: "X" });
    await settleDoubts();
    expect(setting.log.at(-1)).toMatchObject({
      level: "error",
      event: "reconcile.failed",
      mode: "doubts",
    });
    clerk.heal();
    await send({ ...user, first_name: "X" });
    await settleDoubts();
    expect(await rows(t)).toMatchObject([{ firstName: "Ada" }]);
    await complete(t, { mode: "due" });
    expect(await rows(t)).toMatchObject([{ firstName: "Right" }]);
  });

  test("asks nothing about a user of another instance", async () => {
    const { t, clerk } = setting;
    const user = await known();
    const foreign = userEvent(
      "user.updated",
      { ...user, email_addresses: 1 },
      { instanceId: "ins_x", at: 0 },
    );
    await post(t, foreign);
    await settleDoubts();
    expect(clerk.requests).toEqual([]);
  });
});

describe("moving to another instance on purpose", () => {
  const { pinInstance } = internal.clerk.reconcile;

  test("makes the next tick full, and holds whom the new one does not know", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t, {});
    clerk.users.clear();
    clerk.instanceId = "ins_new";
    clerk.createUser({ created_at: LONG_AGO, first_name: "Only here" });
    expect(await t.mutation(pinInstance, { instanceId: "ins_new" })).toEqual({
      instanceId: "ins_new",
      before: "ins_stand_in",
    });
    const held = await complete(t, { mode: "due" });
    expect(held).toMatchObject({ mode: "full", status: "held", held: 3, repaired: { created: 1 } });
    await complete(t, { maxDeletions: 3 });
    await expectMirror(setting);
  });

  test("drops the repairs that were waiting for the old one", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 3);
    await complete(t, {});
    const doubtful = { ...clerk.users.get(ids[0] ?? ""), email_addresses: "none" };
    await post(t, userEvent("user.updated", doubtful, { instanceId: clerk.instanceId, at: 0 }));
    clerk.users.clear();
    clerk.instanceId = "ins_new";
    await t.mutation(pinInstance, { instanceId: "ins_new" });
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
    expect((await rows(t)).length).toBe(3);
  });

  test("refuses what is no instance id", async () => {
    await expect(setting.t.mutation(pinInstance, { instanceId: "x" })).rejects.toThrow(
      "must be a Clerk instance id",
    );
  });
});

test("the worker removes nobody while the last full run is held, not even whom that did not hold", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 30);
  const [later = "", ...gone] = ids;
  pass(DAY);
  for (const id of gone.slice(0, 11)) clerk.users.delete(id);
  expect(await complete(t)).toMatchObject({ status: "held", held: 11 });
  pass(HOUR);
  clerk.users.delete(later);
  await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: later });
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  expect((await rows(t)).map(({ clerkId }) => clerkId)).toContain(later);
});

test("an event about somebody who turns out to be there while Clerk's answer is on its way is not lost", async () => {
  const { t, clerk } = setting;
  const [id = ""] = await backfill(setting, 5);
  pass(HOUR);
  // Once Clerk's answer about several lacks somebody who is there.
  const without = (json: unknown) => (json as { id: string }[]).filter((user) => user.id !== id);
  clerk.order(/user_id=/, { kind: "change", change: without }, 1);
  let isTold = false;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    const answer = await clerk.fetch(...args);
    if (!new URL(new Request(...args).url).pathname.endsWith(id) || isTold) return answer;
    isTold = true;
    pass(1000);
    const { data } = clerk.updateUser(id, { first_name: "Newest" }, Date.now());
    const unreadable = { ...(data as object), created_at: null } as never;
    await post(t, userEvent("user.updated", unreadable, { instanceId: clerk.instanceId, at: 0 }));
    return answer;
  });
  await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: id });
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 1000);
  expect(isTold).toBe(true);
  expect((await rows(t)).find(({ clerkId }) => clerkId === id)?.firstName).toBe("Newest");
});
