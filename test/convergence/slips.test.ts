/** Ways in which somebody slipped through a run, or was lost by it, in worlds that other tests don't have. */
import { describe, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { clerkIdAt } from "../../scripts/stand-in/clerk-json";
import { seed, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, post, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

/** Ids of the mirror. */
async function ids(): Promise<string[]> {
  const all = await rows(setting.t);
  return all.flatMap(({ deletedAt, clerkId }) => (deletedAt === undefined ? (clerkId ?? []) : []));
}

/** Ids of users whom the table does not show as Clerk has them. */
async function unshown(): Promise<string[]> {
  const shown = new Map((await rows(setting.t)).map((row) => [row.clerkId, row.firstName ?? null]));
  const users = [...setting.clerk.users.values()];
  return users.filter((user) => shown.get(user.id) !== user.first_name).map(({ id }) => id);
}

/** Has something happen before or after each answer of Clerk. */
function around(before: (url: URL) => Promise<void> | void, after?: (url: URL) => Promise<void>) {
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    pass(10);
    const url = new URL(new Request(...args).url);
    await before(url);
    const answer = await setting.clerk.fetch(...args);
    await after?.(url);
    return answer;
  });
}

const isListing = (url: URL, order: string) => url.searchParams.get("order_by") === order;

describe("a row on which the app puts the id of a newcomer whom Clerk's API does not show yet", () => {
  /** The app takes a row whose user has left, as it knows it by its e-mail address. */
  async function signInAnew(): Promise<string> {
    const { t, clerk } = setting;
    const all = signUp(setting, 30);
    await complete(t);
    pass(DAY);
    const id = clerkIdAt(Date.now(), 1);
    clerk.users.delete(all[3] ?? "");
    await t.run(async (ctx) => {
      const left = (await ctx.db.query("users").take(50)).find(({ clerkId }) => clerkId === all[3]);
      if (left) await ctx.db.patch("users", left._id, { clerkId: id });
    });
    return id;
  }

  test("is kept by a run, though it was mirrored", async () => {
    const id = await signInAnew();
    const report = await setting.t.action(run, {});
    expect(report).toMatchObject({ repaired: { deleted: 0 }, postponed: 1 });
    expect(await ids()).toContain(id);
  });

  test("is kept by reconcile:user, and goes when Clerk says the same five minutes later", async () => {
    const { t } = setting;
    const clerkId = await signInAnew();
    const repair = async () => await t.action(internal.clerk.reconcile.user, { clerkId });
    expect(await repair()).toMatchObject({ outcome: "unchanged", reason: /younger/ });
    pass(6 * MINUTE);
    expect(await repair()).toMatchObject({ outcome: "deleted" });
  });

  test("counts from when it was met, also after a move to another instance", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await t.run(async (ctx) => await ctx.db.insert("users", { color: "guest" }));
    await complete(t);
    pass(7 * DAY);
    clerk.users.clear();
    clerk.instanceId = "ins_new";
    clerk.createUser({ id: "user_new", created_at: LONG_AGO });
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_new" });
    await t.run(async (ctx) => {
      const guest = (await ctx.db.query("users").take(9)).find(({ color }) => color === "guest");
      if (guest) await ctx.db.patch("users", guest._id, { clerkId: "user_newcomer" });
    });
    await t.action(run, { maxDeletions: 9 });
    expect(await ids()).toContain("user_newcomer");
  });
});

describe("whoever is held stays held", () => {
  test(
    "also beyond the thousandth that a limit holds",
    { tags: ["slow"], timeout: 120_000 },
    async () => {
      const { t, clerk } = setting;
      const all = signUp(setting, 1105);
      await seed(setting, all);
      await complete(t);
      pass(HOUR);
      for (const id of all.slice(0, 1005)) clerk.users.delete(id);
      expect(await complete(t, { maxDeletions: 5 })).toMatchObject({ status: "held", held: 1005 });
      // A thousand events of deletion come late.
      await t.run(async ({ db }) => {
        const versions = await db.query("clerkVersions").take(5000);
        const held = versions.filter(({ heldAt }) => heldAt !== undefined);
        const gone = new Set(held.map(({ clerkId }) => clerkId));
        for (const row of await db.query("users").take(5000)) {
          if (gone.has(row.clerkId ?? "")) await db.delete("users", row._id);
        }
      });
      pass(DAY);
      const next = await complete(t, { mode: "due" });
      expect(next).toMatchObject({ mode: "full", held: 5, repaired: { deleted: 0 } });
    },
  );

  test("where the run that completes passes over their creation time", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 60);
    const chosen = { created_at: Date.now() + DAY, updated_at: Date.now() - HOUR };
    const ahead = clerk.createUser(chosen).user.id;
    await complete(t);
    pass(HOUR);
    const gone = all.slice(0, 12).map((id) => [id, clerk.users.get(id)] as const);
    for (const id of [...all.slice(0, 12), ahead]) clerk.users.delete(id);
    expect(await complete(t)).toMatchObject({ status: "held", held: 13 });
    for (const [id, user] of gone) if (user) clerk.users.set(id, user);
    pass(23 * HOUR - 30 * SECOND);
    await complete(t);
    pass(DAY);
    await complete(t, { mode: "due" });
    expect(await ids()).toContain(ahead);
  });
});

test("users whose creation time lies just ahead are mirrored, more than a page of them", async () => {
  const { t, clerk } = setting;
  const now = Date.now();
  const ahead = [1, 2, 3, 4, 5].map((i) => {
    return clerk.createUser({ created_at: now + 20_000 + i, updated_at: now - HOUR }).user.id;
  });
  expect(await complete(t, { pageSize: 2 })).toMatchObject({ status: "completed", unlisted: 0 });
  expect((await ids()).sort()).toEqual(ahead);
});

test.each([
  [500, 500],
  [10, 4],
  [3, 2],
])(
  "an entry without a creation time, alone on a page, fails no run (%i users, by %i)",
  async (count, pageSize) => {
    const { t, clerk } = setting;
    const all = signUp(setting, count);
    clerk.createUser({ id: "user_odd", created_at: null as never, updated_at: LONG_AGO });
    const report = await complete(t, { pageSize });
    expect(report).toMatchObject({ status: "completed", setAside: 1 });
    expect((await ids()).sort()).toEqual(all);
  },
);

for (let seedOfTies = 1; seedOfTies <= 30; seedOfTies += 1) {
  const tags = seedOfTies <= 10 ? [] : ["slow"];
  const name = `users of a crowd in changing order who are deleted when they were met hide nobody (seed ${seedOfTies})`;
  test(name, { tags }, async () => {
    const { t, clerk } = setting;
    clerk.shufflesTies = true;
    clerk.seed = seedOfTies;
    for (let i = 0; i < 30; i += 1) clerk.createUser({ created_at: LONG_AGO });
    signUp(setting, 2, 10);
    let pages = 0;
    around(
      () => undefined,
      async (url) => {
        if (!isListing(url, "+created_at")) return;
        pages += 1;
        if (pages !== 5) return;
        for (const id of (await ids()).slice(0, 3)) clerk.users.delete(id);
      },
    );
    const { status, unlisted } = await complete(t, { pageSize: 10 });
    const here = new Set(await ids());
    const missing = [...clerk.users.keys()].filter((id) => !here.has(id)).length;
    expect({ missing, status }).toEqual({ missing: unlisted, status: "completed" });
  });
}

describe("whom the list lacks the count tells of", () => {
  test("also where an event changes a newcomer whom the walk has just made", async () => {
    const { t, clerk } = setting;
    signUp(setting, 5);
    await complete(t);
    pass(HOUR);
    const [lost = "", newcomer = ""] = signUp(setting, 2, 50);
    clerk.dropsFromPage = (users) => users.filter(({ id }) => id !== lost);
    let isTold = false;
    around(async (url) => {
      if (isTold || !isListing(url, "-updated_at")) return;
      isTold = true;
      await post(t, clerk.updateUser(newcomer, { first_name: "Later" }, Date.now()));
    });
    expect(await complete(t)).toMatchObject({ status: "completed", unlisted: 1 });
  });

  test("also where a page has somebody else twice", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 9);
    clerk.dropsFromPage = (users) =>
      users.map((user, i) => (user.id === all[4] ? (users[i - 1] ?? user) : user));
    expect(await complete(t)).toMatchObject({ status: "completed", unlisted: 1 });
  });
});

test("a row of an id of which two are marked as removed is not overlooked", async () => {
  const { t, clerk } = setting;
  vi.spyOn(app, "removal", "get" as never).mockReturnValue({ mark: {} });
  const [id = ""] = signUp(setting, 20);
  await complete(t);
  const insert = async (color: string) =>
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: id, color }));
  await insert("twin");
  await post(t, clerk.deleteUser(id, Date.now()));
  // A session token outlives its user by a minute: the app makes a row at a sign-in.
  await insert("back");
  pass(HOUR);
  expect((await complete(t)).status).toBe("completed");
  expect(await ids()).not.toContain(id);
});

describe("a recent run loses nobody", () => {
  test.each([
    [40, 40, 18, 4],
    [300, 200, 100, 15],
  ])(
    "of %i users, %i changed, where %i are deleted before page %i",
    async (n, changed, gone, at) => {
      const { t, clerk } = setting;
      const all = signUp(setting, n);
      await complete(t);
      pass(HOUR);
      for (const [i, id] of all.slice(0, changed).entries()) {
        clerk.updateUser(id, { first_name: "New" }, Date.now() - MINUTE - i);
      }
      let pages = 0;
      around((url) => {
        if (!isListing(url, "-updated_at")) return;
        pages += 1;
        if (pages === at) for (const id of all.slice(0, gone)) clerk.users.delete(id);
      });
      expect((await complete(t, { mode: "recent", pageSize: 10 })).status).toBe("completed");
      expect(await unshown()).toEqual([]);
    },
  );

  test.each([6, 11, 16])("where page %i of a crowd is empty once", async (n) => {
    const { t, clerk } = setting;
    const all = signUp(setting, 30);
    await complete(t);
    pass(HOUR);
    clerk.shufflesTies = true;
    const at = Date.now() - MINUTE;
    for (const id of all.slice(0, 14)) clerk.updateUser(id, { first_name: "New" }, at);
    for (const id of all.slice(14, 19)) clerk.updateUser(id, { first_name: "New" }, at - MINUTE);
    let pages = 0;
    const change = (json: unknown) => ((pages += 1) === n ? [] : json);
    clerk.order(/-updated_at/, { kind: "change", change });
    await complete(t, { mode: "recent", pageSize: 4 });
    expect(await unshown()).toEqual([]);
  });

  test("where a page holds only entries without a time of change", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 5);
    await complete(t);
    pass(HOUR);
    for (const i of [1, 2]) {
      const odd = { id: `user_odd${i}`, created_at: LONG_AGO + i, updated_at: null as never };
      clerk.createUser(odd);
    }
    clerk.updateUser(id, { first_name: "New" }, Date.now() - MINUTE);
    await complete(t, { mode: "recent", pageSize: 2 });
    expect((await rows(t)).find(({ clerkId }) => clerkId === id)?.firstName).toBe("New");
  });
});

test("a checkpoint of a crowd from before its pages overlapped is still taken by the schema", async () => {
  const { t } = setting;
  await complete(t);
  await t.run(async ({ db }) => {
    const first = await db.query("clerkRuns").first();
    if (first === null) throw new Error("no run");
    const { _id, _creationTime, ...rest } = first;
    const crowd = { key: 1, start: 0, offset: 4, first: 0, met: 4, fresh: 4, idle: 0 };
    const phase = { kind: "walk" as const, settled: { key: 1, clerkId: "" }, crowd };
    const running = { kind: "running" as const, phase, step: 5, resumptions: 0, leaseExpiresAt: 0 };
    expect(await db.insert("clerkRuns", { ...rest, state: running })).not.toBe(_id);
    expect(_creationTime).toBeGreaterThan(0);
  });
});

test("entries of a day's doubts that only held somebody go with their report", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 60);
  const doubt = async (clerkId = "") => {
    await t.mutation(internal.clerk.memory.worker.doubt, { clerkId });
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 1000);
  };
  await complete(t);
  pass(HOUR);
  for (const id of all.slice(0, 12)) clerk.users.delete(id);
  expect((await complete(t)).status).toBe("held");
  await doubt(all[0]);
  for (let day = 0; day < 3; day += 1) {
    pass(DAY + HOUR);
    await doubt(all[50]);
  }
  const orphaned = await t.run(async ({ db }) => {
    const entries = await db.query("clerkDriftEntries").take(1000);
    const runs = new Set((await db.query("clerkRuns").take(100)).map(({ _id }) => _id));
    return entries.filter(({ runId }) => !runs.has(runId)).length;
  });
  expect(orphaned).toBe(0);
});

test("an event that names somebody long after Clerk was asked puts the removal off", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 30);
  await complete(t);
  pass(HOUR);
  const [gone = "", ...others] = all;
  const event = clerk.updateUser(gone, { first_name: "New" }, Date.now());
  await post(t, event);
  pass(HOUR);
  clerk.users.delete(gone);
  // Clerk's answer is on its way for more than five minutes, as where the network stalls.
  let isTold = false;
  around(
    () => undefined,
    async (url) => {
      if (isTold || !url.pathname.endsWith(gone)) return;
      isTold = true;
      pass(6 * MINUTE);
      await post(t, event);
    },
  );
  expect(await complete(t)).toMatchObject({ postponed: 1, repaired: { deleted: 0 } });
  // The worker asks again five minutes after that.
  expect(await ids()).toEqual(others);
});
