import { describe, expect, test, vi } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import { backfill, expectMirror, loseRows, seed, signUp, typeNext } from "../world/people";
import {
  complete,
  everything,
  internal,
  isUntouched,
  LONG_AGO,
  report as reportQuery,
  rows,
  run,
  useSetting,
} from "../world/setting";

const setting = useSetting();

/** Drift of all three kinds: every `step`th user is deleted, renamed, or missing here. */
async function drift(ids: string[], step: number) {
  const { clerk } = setting;
  const found = { missing: 0, stale: 0, orphaned: 0 };
  for (const [index, id] of ids.entries()) {
    if (index % step === 0) {
      clerk.deleteUser(id, LONG_AGO + DAY);
      found.orphaned += 1;
    } else if (index % step === 1) {
      clerk.updateUser(id, { first_name: "Renamed" }, LONG_AGO + DAY);
      found.stale += 1;
    }
  }
  const lost = ids.filter((_, index) => index % step === 2);
  found.missing = lost.length;
  await loseRows(setting, lost);
  return found;
}

describe("a full run after a backfill", () => {
  const finds = "repairs %i users by pages of %i in one go, and finds nothing more";
  const repairs = async (count: number, pageSize: number) => {
    const { t } = setting;
    const ids = signUp(setting, count);
    const first = await complete(t, { pageSize });
    expect(first).toMatchObject({ status: "completed", drift: { missing: count } });
    await t.run(async (ctx) => {
      for (const row of await ctx.db.query("users").take(count)) {
        await ctx.db.patch("users", row._id, { color: `own ${row.clerkId}` });
      }
    });
    // One user alone can only be renamed: without any, Clerk would be empty, and the run held.
    const found = count === 1 ? { missing: 0, stale: 1, orphaned: 0 } : await drift(ids, 25);
    if (count === 1)
      setting.clerk.updateUser(ids[0] ?? "", { first_name: "Renamed" }, LONG_AGO + DAY);

    const repair = await complete(t, { pageSize });
    expect(repair).toMatchObject({
      status: "completed",
      clerkUsers: setting.clerk.users.size,
      scanned: setting.clerk.users.size,
      drift: found,
      repaired: { created: found.missing, updated: found.stale, deleted: found.orphaned },
      held: 0,
      setAside: 0,
    });
    await expectMirror(setting);
    const kept = (await rows(t)).filter((row) => row.color === `own ${row.clerkId}`);
    expect(kept.length).toBe(count - found.missing - found.orphaned);

    const before = JSON.stringify(await rows(t));
    const again = await complete(t, { pageSize });
    expect(again).toMatchObject({
      status: "completed",
      drift: { missing: 0, stale: 0, orphaned: 0 },
    });
    expect(again.unchanged).toBe(setting.clerk.users.size);
    expect(JSON.stringify(await rows(t))).toBe(before);
  };
  const few: [count: number, pageSize: number][] = [
    [1, 500],
    [501, 500],
    [60, 7],
    [60, 2],
  ];
  test.each(few)(finds, repairs);
  const more: typeof few = [
    [499, 500],
    [500, 500],
  ];
  test.each(more)(finds, { tags: ["slow"] }, repairs);

  test(
    "of 2,000 users repairs every kind of drift",
    { tags: ["slow"], timeout: 120_000 },
    async () => {
      const { t } = setting;
      const ids = signUp(setting, 2000);
      await seed(setting, ids);
      const found = await drift(ids, 25);
      expect(await complete(t, {})).toMatchObject({ status: "completed", drift: found });
      await expectMirror(setting);
      expect(await complete(t, {})).toMatchObject({ unchanged: 1920, next: null });
    },
  );

  test(
    "of 10,000 users, with the mirror there already",
    { tags: ["slow"], timeout: 120_000 },
    async () => {
      const { t, clerk } = setting;
      const ids = signUp(setting, 10_000);
      await seed(setting, ids);
      clerk.deleteUser(ids[5000] ?? "", LONG_AGO + DAY);
      clerk.updateUser(ids[2500] ?? "", { first_name: "Renamed" }, LONG_AGO + DAY);
      const { user } = clerk.createUser({ created_at: LONG_AGO + 777, first_name: "New" });
      const result = await complete(t, {});
      expect(result).toMatchObject({
        status: "completed",
        unchanged: 9998,
        drift: { missing: 1, stale: 1, orphaned: 1 },
        repaired: { created: 1, updated: 1, deleted: 1 },
      });
      expect(result.requests).toBeLessThanOrEqual((10_000 / 500) * 1.02 + 8 + 2);
      await expectMirror(setting);
      expect((await rows(t)).some((row) => row.clerkId === user.id)).toBe(true);
    },
  );
});

describe("a dry run", () => {
  test("writes nothing but its own report, and tells what the run after it finds", async () => {
    const { t } = setting;
    await drift(await backfill(setting, 100), 11);
    const own = async () => JSON.stringify([await rows(t), await versions()]);
    const before = await own();
    const dry = await complete(t, { dryRun: true, pageSize: 10 });
    expect(await own()).toBe(before);
    expect(dry).toMatchObject({ repaired: { created: 0, updated: 0, deleted: 0 } });
    expect(dry.next).toBe("npx convex run clerk/reconcile:run");
    const real = await typeNext(setting, dry.next);
    expect(real.drift).toEqual(dry.drift);
    expect(real.status).toBe(dry.status);
    expect(real.drift.missing * real.drift.stale * real.drift.orphaned).toBeGreaterThan(0);
    await expectMirror(setting);
  });

  test("of rows from before the sync counts each user once", async () => {
    const { t } = setting;
    const ids = signUp(setting, 30);
    await t.run(async (ctx) => {
      for (const clerkId of ids) await ctx.db.insert("users", { clerkId, color: "own" });
    });
    const dry = await complete(t, { dryRun: true, pageSize: 4 });
    expect(dry).toMatchObject({
      drift: { missing: 0, stale: 30, orphaned: 0 },
      status: "completed",
    });
    const real = await complete(t, { pageSize: 4 });
    expect(real).toMatchObject({ drift: dry.drift, repaired: { updated: 30 } });
    await expectMirror(setting);
  });

  test(
    "of more rows from before the sync than a report lists counts each once",
    { tags: ["slow"] },
    async () => {
      const { t } = setting;
      const ids = signUp(setting, 1010);
      await t.run(async (ctx) => {
        for (const clerkId of ids) await ctx.db.insert("users", { clerkId, color: "own" });
      });
      const dry = await complete(t, { dryRun: true });
      expect(dry).toMatchObject({ drift: { missing: 0, stale: 1010, orphaned: 0 } });
      expect((await t.query(reportQuery, {}))?.entries.length).toBe(1000);
    },
  );

  test("of users whose creation time changed counts each once", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 20);
    clerk.updateUser(ids[2] ?? "", { created_at: LONG_AGO + 15_500 }, LONG_AGO + DAY);
    clerk.updateUser(ids[15] ?? "", { created_at: LONG_AGO + 2_500 }, LONG_AGO + DAY);
    const dry = await complete(t, { dryRun: true, pageSize: 4 });
    expect(dry).toMatchObject({ drift: { missing: 0, stale: 2, orphaned: 0 } });
    expect(await complete(t, { pageSize: 4 })).toMatchObject({ drift: dry.drift });
    await expectMirror(setting);
  });

  test("of a fresh table pins no instance", async () => {
    await complete(setting.t, { dryRun: true });
    expect(
      await setting.t.run(async (ctx) => await ctx.db.query("clerkSyncState").first()),
    ).toBeNull();
  });
});

async function versions() {
  return await setting.t.run(async (ctx) => await ctx.db.query("clerkVersions").take(10_000));
}

describe("configuration", () => {
  test.each([
    ["CLERK_SECRET_KEY", "", "CLERK_SECRET_KEY is not set on this deployment"],
    ["CLERK_SECRET_KEY", "sk_test_ä", "CLERK_SECRET_KEY holds a character that"],
    ["CLERK_API_URL", "api.clerk.com", "CLERK_API_URL holds no address, or one without https"],
    ["CLERK_API_URL", "file:///etc", "CLERK_API_URL holds an address that is not https"],
    ["CLERK_SECRET_KEY", "sk_test_wrong", "Clerk refused CLERK_SECRET_KEY (401"],
  ])("%s = %j ends a run in one clear line", async (name, value, sentence) => {
    const { t, log } = setting;
    vi.stubEnv(name, value);
    expect((await complete(t, {})).summary).toContain(sentence);
    expect(log.filter(({ event }) => event === "reconcile.failed").length).toBe(1);
    expect(JSON.stringify(log)).not.toMatch("sk_test_");
  });

  test.each([
    [{ pageSize: 1 }, "pageSize must be a whole number from 2 to 500, not 1"],
    [{ pageSize: 501 }, "pageSize must be a whole number from 2 to 500, not 501"],
    [{ pageSize: 2.5 }, "not 2.5"],
    [{ maxDeletions: -1 }, "maxDeletions must be a whole number of at least 0, not -1"],
    [{ maxDeletions: NaN }, "not NaN"],
  ])("%j is refused", async (args, sentence) => {
    await expect(setting.t.action(run, args)).rejects.toThrow(sentence);
    expect(await isUntouched(setting.t)).toBe(true);
  });
});

describe("users that can't be mirrored", () => {
  test("are set aside with a reason, and the run goes on", async () => {
    const { t, clerk } = setting;
    await backfill(setting, 10);
    const { user } = clerk.createUser({ created_at: LONG_AGO + 3500, banned: "yes" as never });
    const partly = clerk.createUser({ created_at: LONG_AGO + 5500, public_metadata: { $ref: 1 } });
    const result = await complete(t, { pageSize: 4 });
    expect(result).toMatchObject({ status: "completed", setAside: 2, repaired: { created: 2 } });
    expect(result.next).toBe(`npx convex run clerk/reconcile:report '{"runId":"${result.runId}"}'`);
    const { entries } = (await t.query(reportQuery, {})) ?? { entries: [] };
    expect(entries.filter(({ action }) => action === "setAside")).toMatchObject([
      {
        clerkId: user.id,
        kind: "stale",
        fields: ["banned"],
        reason: "banned: the schema does not take this string there",
      },
      { clerkId: partly.user.id, kind: "stale", fields: ["publicMetadata"] },
    ]);
    expect((await rows(t)).map((row) => row.clerkId)).toContain(partly.user.id);
    const again = await complete(t, {});
    expect(again).toMatchObject({ setAside: 2, drift: { missing: 0, stale: 0 } });
    expect(again.summary).toBe(
      "12 users compared, nothing else to repair. 2 users set aside: not mirrored, or not wholly.",
    );
    const found = (await t.query(reportQuery, {}))?.entries;
    expect(found?.find(({ clerkId }) => clerkId === user.id)?.kind).toBe("stale");
  });

  test("a second row of an id is set aside and kept", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 3);
    const { created_at } = clerk.users.get(id) ?? { created_at: 0 };
    const second = { clerkId: id, clerkCreatedAt: created_at, color: "second" };
    await t.run(async (ctx) => await ctx.db.insert("users", second));
    expect(await complete(t, {})).toMatchObject({ setAside: 1, drift: { stale: 0 } });
    expect((await rows(t)).length).toBe(4);
  });

  test("rows whose id is no Clerk id are the app's own: counted, never asked for", async () => {
    const { t, clerk } = setting;
    await backfill(setting, 3);
    await t.run(async (ctx) => {
      await ctx.db.insert("users", { clerkId: "../instance", clerkCreatedAt: 5, color: "x" });
      for (const clerkId of ["guest_1", "guest_2", "user_1|x", ""]) {
        await ctx.db.insert("users", { clerkId, color: "x" });
      }
    });
    expect(await complete(t, {})).toMatchObject({ status: "completed", setAside: 0, appOwned: 4 });
    expect(
      clerk.requests.every(({ path }) => /^\/v1\/(users(\/count)?|instance)$/.test(path)),
    ).toBe(true);
    expect((await rows(t)).length).toBe(8);
  });
});

describe("what changes during a run", () => {
  test("behind the cursor is caught by the look-back", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 30);
    let listed = 0;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "+created_at" || ++listed !== 4) return;
      clerk.updateUser(ids[0] ?? "", { first_name: "Meanwhile" }, Date.now());
      clerk.createUser({
        created_at: LONG_AGO + 1,
        updated_at: Date.now(),
        first_name: "Imported",
      });
      clerk.updateUser(ids[29] ?? "", { created_at: LONG_AGO + 2 }, Date.now());
    };
    const result = await complete(t, { pageSize: 5 });
    expect(result).toMatchObject({
      status: "completed",
      drift: { missing: 1, stale: 2, orphaned: 0 },
    });
    await expectMirror(setting);
  });

  test("a deletion shifts no user out of the walk", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 30);
    let listed = 0;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") === "+created_at" && ++listed > 1) {
        clerk.users.delete(ids[listed] ?? "");
      }
    };
    await complete(t, { pageSize: 5 });
    clerk.onRequest = () => undefined;
    const here = new Set((await rows(t)).map((row) => row.clerkId));
    expect([...clerk.users.keys()].filter((id) => !here.has(id))).toEqual([]);
  });

  test("a second call returns the first one's Report and does nothing", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    let second: Awaited<ReturnType<typeof start>> | undefined;
    const start = async () => await t.action(run, {});
    const during = new Promise<void>((resolve, reject) => {
      clerk.onRequest = () => {
        clerk.onRequest = () => undefined;
        start().then((report) => {
          second = report;
          resolve();
        }, reject);
      };
    });
    const first = await complete(t, {});
    await during;
    expect(second).toMatchObject({ status: "running", runId: first.runId });
    expect(first.status).toBe("completed");
    expect(clerk.requests.filter(({ path }) => path.endsWith("/instance")).length).toBe(1);
  });

  test("a step that was overtaken changes nothing", async () => {
    const { t, clerk } = setting;
    const { run: stuck } = await t.mutation(internal.clerk.run.lifecycle.begin, {
      mode: "full",
      dryRun: false,
      pageSize: 10,
    });
    const at = { runId: stuck._id, step: 0, requests: 1 };
    const start = { at, instanceId: clerk.instanceId, clerkUsers: 0 };
    expect(await t.mutation(internal.clerk.run.begin.settle, start)).not.toBeNull();
    const before = await everything(t);
    expect(await t.mutation(internal.clerk.run.begin.settle, start)).toBeNull();
    const settle = { at, users: [], until: null, seenAt: Date.now() };
    expect(await t.mutation(internal.clerk.run.walk.settle, settle)).toBeNull();
    expect(await t.mutation(internal.clerk.run.lifecycle.fail, { at, reason: "x" })).toBeNull();
    expect(await everything(t)).toBe(before);
  });
});

test("doubts of a run don't outlive their run", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 30);
  for (const id of ids.slice(0, 20)) clerk.deleteUser(id, LONG_AGO + DAY);
  await complete(t, { pageSize: 5 });
  await complete(t, { pageSize: 5, dryRun: true });
  expect(await t.run(async (ctx) => await ctx.db.query("clerkDoubts").take(1))).toEqual([]);
});
