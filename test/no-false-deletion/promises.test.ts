/** Histories that broke a promise once, each as short as it can be told. */
import { describe, expect, test, vi } from "vitest";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { deletedUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { Random } from "../../scripts/stand-in/random";
import { expectMirror, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

/** Lets something happen once, before the n-th request that matches. */
function before(path: RegExp, n: number, happen: () => Promise<unknown>): void {
  let met = 0;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    if (path.test(new Request(...args).url)) {
      met += 1;
      if (met === n) await happen();
    }
    pass(10);
    return await setting.clerk.fetch(...args);
  });
}

const LOOK_BACK = /order_by=-updated_at/;
const WALK = /order_by=%2Bcreated_at/;

async function ids() {
  return (await rows(setting.t)).map(({ clerkId }) => clerkId);
}

/** Someone signs up, which an event tells, and is deleted, which none does. @returns the id */
async function comeAndGo(): Promise<string> {
  const { t, clerk } = setting;
  const { user, event } = clerk.createUser({ created_at: Date.now() });
  await post(t, event);
  clerk.deleteUser(user.id, Date.now());
  return user.id;
}

describe("an event from before a full run that comes while it walks", () => {
  test("creates no ghost of a user whose deletion was lost", async () => {
    const { t, clerk } = setting;
    signUp(setting, 4);
    await complete(t);
    const { user, event } = clerk.createUser({ created_at: Date.now() });
    pass(MINUTE);
    clerk.deleteUser(user.id, Date.now());
    pass(10 * MINUTE);
    clerk.createUser({ created_at: Date.now() });
    pass(1);
    before(LOOK_BACK, 1, async () => await post(t, event));
    expect((await complete(t, { pageSize: 2 })).status).toBe("completed");
    await expectMirror(setting);
  });

  test("brings no older look back to a row that the walk found right", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 3);
    await complete(t);
    pass(MINUTE);
    const locked = clerk.updateUser(id, { locked: true }, Date.now());
    pass(MINUTE);
    clerk.updateUser(id, { locked: false }, Date.now());
    pass(10 * MINUTE);
    before(LOOK_BACK, 1, async () => await post(t, locked));
    await complete(t);
    expect((await rows(t)).every((row) => row.locked === false)).toBe(true);
  });
});

describe("answers of Clerk that go back by less than five minutes", () => {
  test("delete nobody whom a run has just created", async () => {
    const { t, clerk } = setting;
    signUp(setting, 4);
    await complete(t);
    const { user } = clerk.createUser({ created_at: Date.now() });
    pass(MINUTE);
    await complete(t, { mode: "recent" });
    pass(MINUTE);
    clerk.users.delete(user.id);
    const { status, postponed } = await t.action(internal.clerk.reconcile.run, {});
    expect({ status, postponed }).toEqual({ status: "completed", postponed: 1 });
    clerk.users.set(user.id, user);
    await expectMirror(setting);
  });

  test("bring nobody back whom a run has just deleted", async () => {
    const { t, clerk } = setting;
    signUp(setting, 4);
    const { user } = clerk.createUser({ created_at: LONG_AGO + DAY });
    await complete(t);
    clerk.deleteUser(user.id, Date.now());
    expect((await complete(t)).repaired.deleted).toBe(1);
    pass(MINUTE);
    clerk.users.set(user.id, user);
    await t.action(internal.clerk.reconcile.run, {});
    clerk.users.delete(user.id);
    await expectMirror(setting);
  });
});

describe("what a run may not delete, no repair that it leaves behind deletes", () => {
  test("maxDeletions 0 allows none", async () => {
    const { t } = setting;
    signUp(setting, 3);
    await complete(t);
    const id = await comeAndGo();
    // It is too early to judge, and alone that is no reason to hold; later it is not allowed.
    const early = await t.action(internal.clerk.reconcile.run, { maxDeletions: 0 });
    expect(early).toMatchObject({ status: "completed", held: 0, postponed: 1 });
    pass(6 * MINUTE);
    const report = await t.action(internal.clerk.reconcile.run, { maxDeletions: 0 });
    expect(report).toMatchObject({ status: "held", held: 1, postponed: 0 });
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
    expect(report.next).toMatch('{"maxDeletions":1}');
    expect(await ids()).toContain(id);
    await complete(t, { maxDeletions: 1 });
    await expectMirror(setting);
  });

  test("a hold holds those, too, whom events touched", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 30);
    await complete(t);
    for (const id of all.slice(0, 14)) {
      await post(t, clerk.updateUser(id, { first_name: "New" }, Date.now()));
    }
    const lost = all.slice(0, 20).map((id) => [id, clerk.users.get(id)] as const);
    for (const [id] of lost) clerk.users.delete(id);
    expect(await complete(t)).toMatchObject({ status: "held", held: 6, postponed: 14 });
    for (const [id, user] of lost) if (user) clerk.users.set(id, user);
    await expectMirror(setting);
  });

  test("where nothing is held, the repair removes who is gone", async () => {
    const { t } = setting;
    signUp(setting, 3);
    await complete(t);
    await comeAndGo();
    expect(await complete(t)).toMatchObject({ status: "completed", postponed: 1 });
    await expectMirror(setting);
  });
});

test("the first run after a move to another instance deletes nobody unasked", async () => {
  const { t, clerk } = setting;
  signUp(setting, 9);
  await complete(t);
  await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_new" });
  clerk.instanceId = "ins_new";
  clerk.users.clear();
  await post(t, clerk.createUser({ id: "user_new", created_at: Date.now() }).event);
  pass(10 * MINUTE);
  const held = await complete(t);
  expect(held).toMatchObject({ status: "held", held: 9 });
  expect(await complete(t, { maxDeletions: 9 })).toMatchObject({ status: "completed" });
  await expectMirror(setting);
  // Settled in: from now on the usual rules hold.
  signUp(setting, 2);
  await complete(t);
  clerk.deleteUser("user_new", Date.now());
  await complete(t);
  await expectMirror(setting);
});

test("a tombstone stays while no full run has completed, so no late event raises the dead", async () => {
  const { t, clerk } = setting;
  signUp(setting, 1);
  await complete(t);
  const { user, event } = clerk.createUser({ created_at: Date.now() });
  pass(MINUTE);
  await post(t, event);
  await post(t, clerk.deleteUser(user.id, Date.now()));
  clerk.order(/^/, { kind: "status", status: 401 });
  pass(31 * DAY);
  expect((await complete(t)).status).toBe("failed");
  await post(t, event);
  expect(await ids()).not.toContain(user.id);
});

test("a user of a crowd who is left to evidence is scanned once, however often the list shifts", async () => {
  const { t, clerk } = setting;
  const made = [0, 1, 2, 3].map(() => clerk.createUser({ created_at: LONG_AGO }).user);
  await complete(t);
  const [first = "", late = ""] = made.map(({ id }) => id);
  const at = { instanceId: clerk.instanceId, at: 0 };
  await post(t, userEvent("user.deleted", deletedUser(late), at));
  pass(10 * MINUTE);
  before(/created_at_after.*offset=1|offset=1.*created_at_after/, 1, async () => {
    await Promise.resolve();
    clerk.deleteUser(first, Date.now());
  });
  const report = await complete(t, { pageSize: 2 });
  expect(report).toMatchObject({ status: "completed", drift: { missing: 1 } });
  expect(report.scanned).toBeLessThanOrEqual(4);
});

test("a user who moves ahead of the walk after being repaired counts as drift once", async () => {
  const { t, clerk } = setting;
  const [id = ""] = signUp(setting, 6);
  await complete(t);
  clerk.updateUser(id, { first_name: "New" }, Date.now() - HOUR);
  before(WALK, 3, async () => {
    await Promise.resolve();
    clerk.updateUser(id, { created_at: LONG_AGO + DAY }, Date.now());
  });
  const report = await complete(t, { pageSize: 2 });
  expect(report).toMatchObject({ drift: { stale: 1 }, repaired: { updated: 2 } });
});

test("a user whom an event changed between two looks of a walk counts as drift once", async () => {
  const { t, clerk } = setting;
  signUp(setting, 20);
  await complete(t);
  pass(HOUR);
  const { id } = clerk.createUser({ created_at: LONG_AGO + 500, first_name: "X" }).user;
  pass(HOUR);
  before(WALK, 5, async () => {
    await post(t, clerk.updateUser(id, { first_name: "Y" }, Date.now()));
    pass(10);
    clerk.updateUser(id, { first_name: "Z", created_at: LONG_AGO + 17_500 }, Date.now());
  });
  const { drift } = await complete(t, { pageSize: 3 });
  expect(drift).toMatchObject({ missing: 1, stale: 0 });
});

test("users who are late in a walk raise no limit to deletions", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 200);
  await complete(t);
  pass(HOUR);
  for (const id of all.slice(0, 12)) clerk.users.delete(id);
  const late = { isTold: false };
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    pass(10);
    const isWalk = new Request(...args).url.includes("%2Bcreated_at");
    const answer = await clerk.fetch(...args);
    // They are heard of after Clerk has listed them as they were.
    if (isWalk && !late.isTold) {
      late.isTold = true;
      for (const id of all.slice(20, 120)) {
        await post(t, clerk.updateUser(id, { first_name: "Told" }, Date.now()));
      }
    }
    return answer;
  });
  const report = await complete(t);
  expect(report).toMatchObject({ status: "held", held: 12, repaired: { deleted: 0 } });
});

test("crowds whose ids lie between each other's raise no limit to deletions", async () => {
  const { t, clerk } = setting;
  const random = new Random(5);
  const all = Array.from({ length: 400 }, () => {
    const batch = random.next() < 0.5 ? 0 : 1 + random.below(10);
    return clerk.createUser({ created_at: LONG_AGO + batch * 1000 }).user.id;
  });
  signUp(setting, 1, 5000);
  await complete(t, { pageSize: 100 });
  pass(HOUR);
  for (let i = 0; i < 22; i += 1) clerk.users.delete(all[i * 17 + 1] ?? "");
  expect(await complete(t, { pageSize: 10 })).toMatchObject({ status: "held", held: 22 });
});

test("a repair that moves a row behind the walk does not fail the run", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 6);
  const clerkId = all[5] ?? "";
  await complete(t);
  before(WALK, 3, async () => {
    clerk.updateUser(clerkId, { created_at: LONG_AGO + 1 }, Date.now());
    await t.action(internal.clerk.reconcile.user, { clerkId });
  });
  expect(await complete(t, { pageSize: 2 })).toMatchObject({ status: "completed" });
});

test("a crowd's first page is as old as its answer", async () => {
  const { t, clerk } = setting;
  const [user] = [0, 1, 2].map(
    () => clerk.createUser({ created_at: LONG_AGO, first_name: "Old" }).user,
  );
  const { id: clerkId = "", updated_at = 0 } = user ?? {};
  await complete(t);
  pass(10 * MINUTE);
  let lists = 0;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    const response = await clerk.fetch(...args);
    lists += WALK.test(new Request(...args).url) ? 1 : 0;
    if (lists !== 2) return response;
    lists += 1;
    pass(1000);
    clerk.updateUser(clerkId, { first_name: "New", updated_at }, Date.now());
    await t.action(internal.clerk.reconcile.user, { clerkId });
    pass(1000);
    return response;
  });
  await complete(t, { pageSize: 2 });
  expect((await rows(t)).find((row) => row.clerkId === clerkId)?.firstName).toBe("New");
});

describe("a user whom the app's own code refuses", () => {
  async function refuse(): Promise<{ restore: () => void }> {
    const app = await import("../../convex/clerk/app");
    const defaults = vi.spyOn(app, "newUserFields").mockImplementation(({ first_name }) => {
      throw new Error(`no colour for ${first_name}`);
    });
    return {
      restore: () => {
        defaults.mockRestore();
      },
    };
  }

  test("is no reason for Clerk to send the event again and again", async () => {
    const { t, clerk, log } = setting;
    const { restore } = await refuse();
    const { event } = clerk.createUser({ created_at: Date.now(), first_name: "Ada" });
    expect((await post(t, event)).status).toBe(200);
    restore();
    expect(await rows(t)).toEqual([]);
    expect(log).toMatchObject([{ level: "error", event: "webhook.ignored" }]);
    expect(log[0]?.reason).toMatch(/^refused: newUserFields threw Error at .+promises\.test/);
    expect(JSON.stringify(log)).not.toMatch("Ada");
    await complete(t);
    await expectMirror(setting);
  });
});
