/** What is kept for how long, at the size that matters, without the runs that would take minutes. */
import { expect, test, vi } from "vitest";
import { insertRun } from "../../convex/clerk/memory/runs";
import { updateSyncState } from "../../convex/clerk/memory/state";
import { DAY } from "../../convex/clerk/shared/clock";
import { internal, pass, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const OPTIONS = { dryRun: false, pageSize: 500, isScheduled: true };

async function insert(count: number, counts: { deleted?: number } = {}) {
  return await setting.t.run(async (ctx) => {
    const ids = [];
    for (let i = 0; i < count; i += 1) {
      const ended = { kind: "completed" as const, finishedAt: Date.now() };
      const run = await insertRun(ctx, { ...OPTIONS, mode: "full" }, ended);
      const repaired = { ...run.counts.repaired, ...counts };
      await ctx.db.patch("clerkRuns", run._id, {
        hasFindings: true,
        counts: { ...run.counts, repaired },
      });
      ids.push(run._id);
    }
    return ids;
  });
}

async function prune(): Promise<Set<string>> {
  const { t } = setting;
  await t.mutation(internal.clerk.memory.retention.pruneRuns, {});
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 1000);
  const left = await t.run(async (ctx) => await ctx.db.query("clerkRuns").take(500));
  return new Set(left.map(({ _id }) => _id));
}

test("of runs with findings the newest hundred stay, whom status names, and for 30 days those that deleted", async () => {
  const [named, ...old] = await insert(6);
  const deleting = await insert(2, { deleted: 1 });
  const newest = await insert(100);
  await setting.t.run(async (ctx) => {
    await updateSyncState(ctx, { setAsideRunId: named });
  });
  expect(await prune()).toEqual(new Set([named, ...deleting, ...newest]));
  expect(old).toHaveLength(5);
  pass(31 * DAY);
  expect(await prune()).toEqual(new Set([named, ...newest]));
});

test("a run that goes takes doubts with it that a lost call has left", async () => {
  const { t } = setting;
  const [runId] = await insert(1);
  await insert(100);
  await t.run(async (ctx) => {
    const left = { state: "open" as const, raisedAt: 0, dueAt: 0 };
    for (let i = 0; i < 1301; i += 1) {
      await ctx.db.insert("clerkDoubts", { runId, clerkId: `user_${i}`, ...left });
    }
  });
  expect((await prune()).size).toBe(100);
  expect(await t.run(async (ctx) => await ctx.db.query("clerkDoubts").first())).toBeNull();
});
