/** What the limit of deletions is a share of: the rows of the table that Clerk knows, each counted once. */
import { describe, expect, test, vi } from "vitest";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { backfill, beforeRequest, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

/** 5 % of them are 15. */
const USERS = 300;

/** So many users, mirrored an hour ago. */
async function mirrored(): Promise<string[]> {
  const all = signUp(setting, USERS);
  await complete(setting.t);
  pass(HOUR);
  return all;
}

/** Users are deleted in Clerk, and no event tells of it. */
function loseDeletions(gone: string[]): void {
  for (const id of gone) setting.clerk.users.delete(id);
}

/** Clerk corrects creation times to later ones, and no event tells of it. */
function moveOn(ids: string[]): void {
  const { clerk } = setting;
  for (const id of ids) {
    const { created_at = 0 } = clerk.users.get(id) ?? {};
    clerk.updateUser(id, { created_at: created_at + HOUR }, Date.now());
  }
  pass(HOUR);
}

test("users whose creation time has moved on do not raise the limit", async () => {
  const all = await mirrored();
  loseDeletions(all.slice(0, 17));
  moveOn(all.slice(100, 200));
  expect(await complete(setting.t, { pageSize: 100 })).toMatchObject({
    status: "held",
    held: 17,
    repaired: { deleted: 0 },
  });
  expect(await rows(setting.t)).toHaveLength(USERS);
});

test("users who are changed again while a run looks back do not raise the limit", async () => {
  const { t, clerk } = setting;
  const all = await mirrored();
  loseDeletions(all.slice(0, 17));
  const rename = async (first_name: string) => {
    for (const id of all.slice(100, 200)) {
      await post(t, clerk.updateUser(id, { first_name }, Date.now()));
    }
  };
  pass(SECOND);
  await rename("Once");
  pass(SECOND);
  let isRenamed = false;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    const answer = await clerk.fetch(...args);
    if (new Request(...args).url.includes("-updated_at") && !isRenamed) {
      isRenamed = true;
      pass(SECOND);
      await rename("Twice");
    }
    return answer;
  });
  expect(await complete(t)).toMatchObject({ status: "held", held: 17, repaired: { deleted: 0 } });
});

test("rows that the app made itself raise the limit neither in a dry run nor in the run after it", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 118);
  await complete(t);
  const newcomers = signUp(setting, 200, 1000);
  await t.run(async ({ db }) => {
    for (const clerkId of newcomers) await db.insert("users", { clerkId, color: "own" });
  });
  pass(HOUR);
  loseDeletions(all.slice(0, 18));
  expect(clerk.users.size).toBe(300);
  const told = async (dryRun: boolean) => {
    const { status, drift, held, setAside } = await complete(t, { dryRun });
    return { status, drift, held, setAside };
  };
  const dry = await told(true);
  expect(dry).toMatchObject({ status: "held", held: 18 });
  expect(await told(false)).toEqual(dry);
});

test("users about whom a run asked by their ids do not raise the limit for the repairs that follow", async () => {
  const { t, clerk } = setting;
  const all = await mirrored();
  moveOn(all.slice(100, 200));
  expect(await complete(t, { pageSize: 100 })).toMatchObject({ status: "completed" });
  pass(HOUR);
  const gone = all.slice(0, 17);
  const late = gone.map((id) => {
    return clerk.updateUser(id, { first_name: "Late" }, Date.now() - 2 * HOUR);
  });
  loseDeletions(gone);
  for (const event of late) await post(t, event);
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  expect((await rows(t)).length).toBeGreaterThanOrEqual(USERS - 15);
});

test("who is confirmed by evidence alone is confirmed", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 20);
  pass(DAY);
  clerk.users.delete(ids[0] ?? "");
  clerk.createUser({ created_at: Date.now() - HOUR });
  // Clerk's list shows none of those from before, but knows each by its id.
  const old = new Set(ids);
  clerk.order(/order_by/, {
    kind: "change",
    change: (json) => (json as { id: string }[]).filter(({ id }) => !old.has(id)),
  });
  const report = await complete(t);
  console.warn(report.summary);
  expect(report).toMatchObject({ status: "completed", repaired: { deleted: 1 }, unlisted: 19 });
});

test("a user whom Clerk lists at another place is confirmed once, so a run removes no more than 5 %", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 259);
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { created: 259 } });
  pass(DAY);
  // 13 of 259 are gone: more than 5 %.
  for (const id of ids.slice(0, 13)) clerk.users.delete(id);
  // One stands a hundred places behind the creation time that Clerk tells of them.
  const key = (user: { id: string; created_at: number }) =>
    user.id === ids[100] ? LONG_AGO + 200_500 : user.created_at;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    pass(10);
    const { pathname, searchParams } = new URL(new Request(...args).url);
    if (pathname !== "/v1/users" || searchParams.get("order_by") !== "+created_at")
      return await clerk.fetch(...args);
    const after = Number(searchParams.get("created_at_after") ?? -Infinity);
    const offset = Number(searchParams.get("offset") ?? 0);
    const users = [...clerk.users.values()]
      .filter((user) => key(user) > after)
      .sort((a, b) => key(a) - key(b));
    return Response.json(users.slice(offset, offset + Number(searchParams.get("limit"))));
  });
  const { status, drift, repaired, held, scanned, unlisted } = await complete(t, { pageSize: 50 });
  expect({ status, drift, deleted: repaired.deleted, held, scanned, unlisted }).toEqual({
    status: "held",
    drift: { missing: 0, stale: 0, orphaned: 13 },
    deleted: 0,
    held: 13,
    scanned: 246,
    unlisted: 0,
  });
});

describe("whom events remove while a run asks about them,", () => {
  /**
   * Of users who are deleted at once so many have events, which come before a request; the others' are lost.
   * @returns the Report
   */
  async function race(told: number, untold: number, before: RegExp, nth?: number) {
    const { t, clerk } = setting;
    const ids = await mirrored();
    pass(DAY);
    const events: unknown[] = ids.slice(0, told).map((id) => clerk.deleteUser(id, Date.now()));
    loseDeletions(ids.slice(told, told + untold));
    const deliver = async () => {
      for (const event of events) await post(t, event);
    };
    beforeRequest(before, deliver, nth);
    return await complete(t);
  }

  test.each([
    ["for whether it knows them", 130, /user_id=/, 2],
    ["once more, right before it deletes", 5, /users\/user_/, 1],
  ])("no run holds or counts: it asks %s", async (_, count, before, nth) => {
    const report = await race(count, 0, before, nth);
    expect(report).toMatchObject({ status: "completed", held: 0, drift: { orphaned: 0 } });
    expect(report.summary).toMatch(/^In sync/);
    expect(await rows(setting.t)).toHaveLength(USERS - count);
    const { verdict } = await setting.t.query(internal.clerk.reconcile.status, {});
    expect(verdict).toBe("healthy");
  });

  test("no `next` allows anybody for: it has the number of those who are still there", async () => {
    const { status, held, drift, next } = await race(80, 50, /user_id=/, 2);
    expect({ status, held, drift: drift.orphaned }).toEqual({
      status: "held",
      held: 50,
      drift: 50,
    });
    expect(next).toMatch('{"maxDeletions":50}');
  });

  test("no run holds alone: one whom a run held before, while it asks about others", async () => {
    const { t, clerk } = setting;
    await mirrored();
    const clerkId = "user_0held";
    const made = { clerkId, clerkCreatedAt: LONG_AGO - SECOND };
    const known = { clerkId, kind: "live" as const, version: LONG_AGO, appliedAt: LONG_AGO };
    await t.run(async ({ db }) => {
      await db.insert("users", { ...made, color: "own" });
      await db.insert("clerkVersions", { ...known, appliedBy: "run", heldAt: Date.now() });
    });
    pass(DAY);
    // The list lacks so many that the run asks three times; each answer takes its time.
    let isList = true;
    clerk.onRequest = ({ query }) => {
      isList = !query.has("user_id");
      if (!isList) pass(11 * SECOND);
    };
    const isShown = ({ created_at }: { created_at: number }) => created_at >= LONG_AGO + MINUTE * 2;
    clerk.dropsFromPage = (users) => (isList ? users.filter(isShown) : users);
    const event = { object: "event", type: "user.deleted", instance_id: clerk.instanceId };
    const data = { id: clerkId, deleted: true, object: "user" };
    const deliver = async () => {
      await post(t, { ...event, data });
    };
    beforeRequest(/user_id=/, deliver, 3);
    const report = await complete(t);
    expect(report).toMatchObject({ status: "completed", held: 0, drift: { orphaned: 0 } });
  });
});
