/** When webhooks look dead, each type by itself, and when they do not. */
import { describe, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { operatorOf } from "../world/operator";
import { loseRows, signUp } from "../world/people";
import { complete, internal, pass, post, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const { reasons, tick, backfilled } = operatorOf(setting);

describe("webhooks look dead", () => {
  const DEAD = /^Webhooks look dead: no user\.(\w+) has come since [^;]+ due\./;

  test.each(["created", "updated", "deleted"] as const)(
    "where only user.%s is not subscribed to, until one comes",
    async (kind) => {
      const { t, clerk } = setting;
      const ids = await backfilled(30);
      const change = {
        created: () => clerk.createUser({ created_at: Date.now() }).event,
        updated: () => clerk.updateUser(ids.pop() ?? "", { first_name: "New" }, Date.now()),
        deleted: () => clerk.deleteUser(ids.pop() ?? "", Date.now()),
      };
      const happen = async () => {
        for (const each of ["created", "updated", "deleted"] as const) {
          const event = change[each]();
          pass(MINUTE);
          if (each !== kind) await post(t, event);
        }
      };
      await happen();
      pass(5 * MINUTE);
      await complete(t);
      pass(MINUTE);
      expect(await reasons()).toEqual([]);
      for (let i = 0; i < 5; i++) {
        await happen();
        pass(10 * MINUTE);
        await complete(t);
      }
      const [reason, ...others] = await reasons();
      expect(others).toEqual([]);
      expect(DEAD.exec(reason ?? "")?.[1]).toBe(kind);
      expect(reason).toMatch("/clerk-users-webhook");
      await post(t, change[kind]());
      expect(await reasons()).toEqual([]);
    },
  );

  test("even where ticks are so frequent that all that they find is young", async () => {
    const { clerk } = setting;
    const ids = await backfilled(3);
    for (let i = 0; i < 10; i++) {
      clerk.updateUser(ids[i % 3] ?? "", { first_name: `N${i}` }, Date.now());
      pass(2 * MINUTE);
      await tick();
    }
    expect(await reasons()).toEqual([expect.stringMatching(DEAD)]);
  });

  test("not for drift that is younger than the first retries, nor once the event came late", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    const event = clerk.updateUser(id, { first_name: "New" }, Date.now());
    pass(2 * MINUTE);
    expect(await tick()).toMatchObject({ repaired: { updated: 1 } });
    pass(7 * MINUTE);
    expect(await reasons()).toEqual([]);
    await post(t, event);
    pass(DAY);
    expect(await reasons()).toEqual([]);
  });

  test("not for an event that came within a minute of another one", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    await post(t, clerk.updateUser(id, { first_name: "A" }, Date.now()));
    pass(20_000);
    const second = clerk.updateUser(id, { first_name: "B" }, Date.now());
    pass(5000);
    await complete(t, { mode: "recent" });
    pass(5000);
    await post(t, second);
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("where new users become known by user.updated only", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    for (let i = 0; i < 2; i++) {
      const { user } = clerk.createUser({ created_at: Date.now() });
      pass(1000);
      await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now()));
      pass(9 * MINUTE);
      await tick();
    }
    expect((await reasons())[0]).toMatch(/no user\.created has come since/);
    await post(t, clerk.createUser({ created_at: Date.now() }).event);
    expect(await reasons()).toEqual([]);
  });

  test("not where user.created comes after user.updated, nor where the app made the row", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    for (const isInserted of [false, true]) {
      const { user, event } = clerk.createUser({ created_at: Date.now() });
      if (isInserted) {
        const row = { clerkId: user.id, color: "signed in" };
        await t.run(async (ctx) => await ctx.db.insert("users", row));
        pass(5000);
        await complete(t, { mode: "recent" });
      } else await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now() + 1));
      pass(MINUTE);
      await post(t, event);
      pass(HOUR);
      expect(await reasons()).toEqual([]);
    }
  });

  test("not where a creation time moved, or lay ahead", async () => {
    const { t, clerk } = setting;
    clerk.createUser({ created_at: Date.now() + 3 * HOUR, updated_at: Date.now() - HOUR });
    const [id = ""] = await backfilled(3);
    pass(HOUR);
    await post(t, clerk.updateUser(id, { created_at: Date.now() - 1000 }, Date.now()));
    pass(4 * HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("where only user.updated told of somebody, whatever becomes of them and of runs meanwhile", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    const untold = async () => {
      const { user } = clerk.createUser({ created_at: Date.now() });
      pass(1000);
      await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now()));
      return user.id;
    };
    const gone = await untold();
    await t.run(async (ctx) => {
      await ctx.db.insert("users", { color: "a copy", clerkCreatedAt: Date.now() });
    });
    pass(9 * MINUTE);
    await complete(t);
    await post(t, clerk.deleteUser(gone, Date.now()));
    pass(HOUR);
    expect(await reasons()).toEqual([expect.stringMatching(/no user\.created has come/)]);
    await complete(t);
    pass(DAY);
    await complete(t);
    expect(await reasons()).toEqual([expect.stringMatching(/no user\.created has come/)]);
    await post(t, clerk.createUser({ created_at: Date.now() }).event);
    expect(await reasons()).toEqual([]);
  });

  test("not of user.updated any more, where the event that ends it shows that user.created is", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    clerk.updateUser(id, { first_name: "Unheard" }, Date.now());
    pass(HOUR);
    await complete(t);
    expect(await reasons()).toEqual([expect.stringMatching(/no user\.updated/)]);
    const { user } = clerk.createUser({ created_at: Date.now() });
    pass(1000);
    await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now()));
    pass(HOUR);
    const [reason = "", ...others] = await reasons();
    expect(others).toEqual([]);
    expect(DEAD.exec(reason)?.[1]).toBe("created");
  });

  test("of changes that a run found before it failed", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    clerk.updateUser(id, { first_name: "Unheard" }, Date.now());
    clerk.order(/-updated_at/, { kind: "status", status: 401 });
    expect(await complete(t)).toMatchObject({ status: "failed", repaired: { updated: 1 } });
    clerk.heal();
    pass(HOUR);
    await complete(t);
    expect(await reasons()).toEqual([expect.stringMatching(DEAD)]);
  });

  test.each(["updated", "deleted"] as const)(
    "not for a user.%s that the app refused, which is tried again",
    async (kind) => {
      const { t, clerk } = setting;
      const [id = ""] = await backfilled(5);
      const hook = () => Promise.reject(new Error("refused"));
      if (kind === "deleted") hooks.removed = hook;
      else hooks.updated = hook;
      const event =
        kind === "deleted"
          ? clerk.deleteUser(id, Date.now())
          : clerk.updateUser(id, { first_name: "New" }, Date.now());
      expect((await post(t, event)).status).toBe(200);
      delete hooks.removed;
      delete hooks.updated;
      await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
      pass(HOUR);
      const { drift } = await complete(t);
      expect(drift).toEqual({ missing: 0, stale: 0, orphaned: 0 });
      pass(HOUR);
      expect(await reasons()).toEqual([]);
    },
  );

  test("not for a deletion that was told of, though the app made the row again", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(5);
    await post(t, clerk.deleteUser(id, Date.now()));
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: id, color: "back" }));
    pass(HOUR);
    expect(await complete(t)).toMatchObject({ repaired: { deleted: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("not for what was missed of the instance from before a move", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    const { user } = clerk.createUser({ created_at: Date.now() });
    pass(1000);
    await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now()));
    pass(1000);
    clerk.updateUser(id, { first_name: "Unheard" }, Date.now());
    pass(HOUR);
    await complete(t);
    expect(await reasons()).toEqual([
      expect.stringMatching(/^Webhooks look dead: no user\.created .*; no user\.updated /),
    ]);
    clerk.instanceId = "ins_new";
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_new" });
    await complete(t);
    const { webhooks } = await t.query(internal.clerk.reconcile.status, {});
    expect(webhooks.filter(({ missedAt }) => missedAt !== null)).toEqual([]);
  });

  test("not blocked by a user whose creation time lies ahead", async () => {
    const { clerk } = setting;
    await backfilled(3);
    clerk.createUser({ created_at: Date.now() + 100 * DAY, updated_at: Date.now() });
    pass(HOUR);
    await tick();
    pass(HOUR);
    expect(await reasons()).toEqual([expect.stringMatching(DEAD)]);
  });

  test("not for what changed in the table alone, or in app.ts", async () => {
    const { t } = setting;
    const ids = await backfilled(6);
    await loseRows(setting, ids.slice(0, 2));
    await t.run(async (ctx) => {
      const row = await ctx.db.query("users").first();
      if (row) await ctx.db.patch("users", row._id, { firstName: "Tampered" });
    });
    expect(await complete(t)).toMatchObject({ repaired: { created: 2, updated: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("not for orphans from before the sync, nor twice for those that are held", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await t.run(async (ctx) => {
      for (const clerkId of [...ids, "user_before"]) {
        await ctx.db.insert("users", { clerkId, color: "old" });
      }
    });
    pass(HOUR);
    expect((await complete(t)).status).toBe("held");
    pass(HOUR);
    expect(await complete(t, { maxDeletions: 1 })).toMatchObject({ repaired: { deleted: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
    for (const id of ids.slice(0, 20)) clerk.deleteUser(id, Date.now());
    expect((await complete(t)).status).toBe("held");
    pass(HOUR);
    await post(t, clerk.deleteUser(ids[20] ?? "", Date.now()));
    expect(await complete(t, { maxDeletions: 20 })).toMatchObject({ repaired: { deleted: 20 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });
});

test("whom only another instance's event told of is confirmed, though its newest event can't be read", async () => {
  const { t, clerk } = setting;
  signUp(setting, 30);
  const { event, user } = clerk.createUser({ created_at: Date.now() - DAY });
  await post(t, { ...event, instance_id: "ins_old" });
  pass(1000);
  const data = { ...(event.data as object), id: "user_2222", updated_at: "soon" };
  await post(t, { ...event, type: "user.updated", instance_id: "ins_old", data });
  const status = async () => await t.query(internal.clerk.reconcile.status, {});
  expect((await status()).eventInstanceId).toBe("ins_old");
  pass(HOUR);
  await complete(t);
  expect((await status()).eventInstanceId).toBe("ins_old");
  pass(HOUR);
  clerk.users.delete(user.id);
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 1 } });
});
