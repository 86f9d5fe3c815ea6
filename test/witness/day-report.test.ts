/** The Report of a day, which tells what was repaired outside of runs: whose it is, what it counts, how long it is kept. */
import { describe, expect, test, vi } from "vitest";
import { insertRun } from "../../convex/clerk/memory/runs";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { backfill, beforeRequest } from "../world/people";
import {
  complete,
  internal,
  LONG_AGO,
  pass,
  post,
  report,
  rows,
  useSetting,
} from "../world/setting";

const setting = useSetting({ http: false });

async function settle(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
}

async function doubt(clerkId: string): Promise<void> {
  await setting.t.mutation(internal.clerk.memory.worker.doubt, { clerkId });
}

async function reportOfToday() {
  const today = await setting.t.query(report, { mode: "doubts" });
  if (today === null) throw new Error("no report");
  return today;
}

describe("however busy the worker is,", () => {
  /** What is due within so long happens. */
  const live = async (ms: number) => {
    for (let left = ms; left > 0; left -= 5 * MINUTE) {
      vi.advanceTimersByTime(Math.min(left, 5 * MINUTE));
      await setting.t.finishInProgressScheduledFunctions();
    }
  };

  /** Somebody is locked out at any time, so that a doubt is always about to be due. */
  async function lockOut(ids: string[], forMs: number): Promise<void> {
    const { t, clerk } = setting;
    const lockout = { locked: true, lockout_expires_in_seconds: 3000 };
    const end = Date.now() + forMs;
    for (let i = 0; Date.now() < end; i += 1) {
      const change = { ...lockout, first_name: `L${i}` };
      await post(t, clerk.updateUser(ids[i % 5] ?? "", change, Date.now()));
      await live(40 * MINUTE);
    }
  }

  test("the Report is of that day", async () => {
    await lockOut(await backfill(setting, 30), 2 * DAY);
    expect(Date.now() - (await reportOfToday()).startedAt).toBeLessThan(DAY + HOUR);
  });

  test("a deletion is in a Report that is kept for 30 days", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 30);
    await lockOut(ids, 3 * DAY);
    const [gone = "", other = ""] = ids.slice(20);
    clerk.users.delete(gone);
    await doubt(gone);
    await live(10 * MINUTE);
    const { runId, entries } = await reportOfToday();
    const deletion = { clerkId: gone, action: "deleted" };
    const named: unknown = expect.arrayContaining([expect.objectContaining(deletion)]);
    expect(entries).toEqual(named);
    for (const id of ids.slice(0, 5)) {
      await post(t, clerk.updateUser(id, { locked: false }, Date.now()));
    }
    await settle();
    pass(28 * DAY);
    clerk.updateUser(other, { first_name: "New" }, Date.now());
    await doubt(other);
    await settle();
    // A day of ticks that all find something.
    await t.run(async (ctx) => {
      const ended = { kind: "completed" as const, finishedAt: Date.now() };
      const options = { mode: "recent" as const, dryRun: false, pageSize: 500, isScheduled: true };
      for (let i = 0; i < 101; i += 1) {
        const { _id } = await insertRun(ctx, options, ended);
        await ctx.db.patch("clerkRuns", _id, { hasFindings: true });
      }
    });
    await t.mutation(internal.clerk.memory.retention.pruneRuns, {});
    await settle();
    expect(await t.query(report, { runId })).toMatchObject({ entries: named });
  });
});

test("an id counts once as drift, however often it is doubted in a day", async () => {
  const gone = (await backfill(setting, 40)).slice(0, 11);
  pass(HOUR);
  for (const id of gone) setting.clerk.users.delete(id);
  for (let round = 0; round < 3; round += 1) {
    for (const id of gone) await doubt(id);
    await settle();
    pass(HOUR);
  }
  expect(await reportOfToday()).toMatchObject({ held: 11, drift: { orphaned: 11 } });
});

test("a day has one Report, though Clerk failed meanwhile", async () => {
  const { t, clerk } = setting;
  const [gone = "", other = ""] = await backfill(setting, 40);
  pass(HOUR);
  clerk.users.delete(gone);
  await doubt(gone);
  await settle();
  expect(await reportOfToday()).toMatchObject({ repaired: { deleted: 1 } });
  pass(HOUR);
  clerk.order(/users/, { kind: "status", status: 401 }, 1);
  await doubt(other);
  await settle();
  pass(15 * MINUTE);
  await complete(t, { mode: "due" });
  expect(await reportOfToday()).toMatchObject({ repaired: { deleted: 1 } });
});

test("whom the worker holds it does not remove an hour later without a person's word", async () => {
  const { t, clerk } = setting;
  const gone = (await backfill(setting, 100)).slice(0, 12);
  pass(HOUR);
  const at = Date.now() - 2 * HOUR;
  const late = gone.map((id) => clerk.updateUser(id, { first_name: "Late" }, at));
  for (const id of gone) clerk.users.delete(id);
  for (const event of late) await post(t, event);
  await settle();
  expect(await reportOfToday()).toMatchObject({ held: 12, repaired: { deleted: 0 } });
  pass(HOUR);
  // Their messages are resent, one by one.
  for (const event of late) {
    await post(t, event);
    await settle();
    pass(10 * MINUTE);
  }
  expect(await rows(t)).toHaveLength(100);
});

test("whom the worker holds the day's Report does not call in sync, and says what judges them", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 40);
  pass(HOUR);
  for (const id of ids.slice(0, 11)) {
    clerk.users.delete(id);
    await doubt(id);
  }
  await settle();
  const { held, summary, next } = await reportOfToday();
  expect(held).toBe(11);
  expect(summary).toMatch("11 users held: the next full run judges them.");
  expect(summary).not.toMatch("In sync");
  expect(next).toBe("npx convex run clerk/reconcile:run");
  expect(await rows(t)).toHaveLength(40);
});

test("why the worker holds somebody is true", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 100);
  pass(HOUR);
  const settle = async () => {
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  };
  for (const id of ids.slice(0, 12)) clerk.users.delete(id);
  for (const clerkId of ids.slice(0, 12)) {
    await t.mutation(internal.clerk.memory.worker.doubt, { clerkId });
  }
  await settle();
  expect(await rows(t)).toHaveLength(100);
  pass(MINUTE);
  const one = ids[50] ?? "";
  clerk.users.delete(one);
  await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: one });
  await settle();
  const found = await t.query(report, { mode: "doubts" });
  const entry = found?.entries.find(({ clerkId }) => clerkId === one);
  console.warn(entry);
  expect(found?.repaired.deleted).toBe(0);
  expect(entry?.reason).not.toMatch("as many were removed");
});

test.each([
  [
    "an event raises its doubt again",
    async (id: string) => {
      const { t, clerk } = setting;
      const [other] = clerk.users.values();
      const data = { ...other, id, created_at: LONG_AGO, updated_at: LONG_AGO, first_name: "Late" };
      await post(t, userEvent("user.updated", data, { instanceId: clerk.instanceId, at: 0 }));
    },
  ],
  [
    "a person has it repaired",
    async (clerkId: string) => {
      await setting.t.action(internal.clerk.reconcile.user, { clerkId });
    },
  ],
])("an orphan counts once, though %s while Clerk is asked about it", async (_, act) => {
  const { t, clerk } = setting;
  const [gone = ""] = await backfill(setting, 40);
  pass(HOUR);
  clerk.users.delete(gone);
  beforeRequest(new RegExp(`/users/${gone}$`), async () => {
    await act(gone);
  });
  await doubt(gone);
  await settle();
  expect(await rows(t)).toHaveLength(39);
  expect(await reportOfToday()).toMatchObject({ drift: { orphaned: 1 }, repaired: { deleted: 1 } });
});
