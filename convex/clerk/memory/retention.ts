/** What is kept for how long: runs and what they found, doubts of runs that ended, tombstones. */
import { type Infer, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import type { Id } from "../../_generated/dataModel.js";
import { internalMutation, type MutationCtx, type QueryCtx } from "../../_generated/server.js";
import { clock, DAY } from "../shared/clock.js";
import { rowsOf } from "../users.js";
import { type Run, runsOf } from "./runs.js";
import { readSyncState } from "./state.js";

/** Documents deleted in one transaction: few of the 16,000 that it may write, since it ends a run, too. */
const DISCARD_BATCH = 1000;
/** Runs with findings that are kept: a day of ticks that all find something. */
const KEPT_RUNS = 100;
/** Beside them, runs that deleted somebody are kept for so long. */
const DELETIONS_KEPT_MS = 30 * DAY;
/** Runs without findings that are kept, at most, because `rememberedRuns` names them. */
const MAX_SPARED = 6;
/** Runs, from the oldest on, that one transaction looks at. */
const MAX_PRUNED = 300;
/** How long an id stays known as gone: far longer than an event is sent again. */
const TOMBSTONE_MS = 30 * DAY;
/** Versions that one transaction looks at. */
const PRUNE_BATCH = 500;

/** Of the runs of a mode that found nothing, only the newest is kept, beside those that `status` tells of. */
export async function pruneQuietRuns(ctx: MutationCtx, mode: Run["mode"]): Promise<void> {
  const runs = await runsOf(ctx, mode, false).take(1 + MAX_SPARED);
  const remembered = await rememberedRuns(ctx);
  for (const { _id, state } of runs.slice(1)) {
    if (state.kind === "running" || remembered.includes(_id)) continue;
    if (await deleteOf(ctx, "clerkDoubts", _id)) await ctx.db.delete("clerkRuns", _id);
  }
}

/** Discards runs with findings past `KEPT_RUNS`, but young deletions, each mode's newest and what `status` tells of. */
export const pruneRuns = internalMutation({
  args: {},
  handler: async (ctx): Promise<void> => {
    const runs = () =>
      ctx.db.query("clerkRuns").withIndex("by_hasFindings", (q) => q.eq("hasFindings", true));
    const kept = new Set((await runs().order("desc").take(KEPT_RUNS)).map(({ _id }) => _id));
    for (const id of await rememberedRuns(ctx)) if (id !== undefined) kept.add(id);
    for (const { _id: runId, counts, mode, startedAt, state } of await runs().take(MAX_PRUNED)) {
      const { repaired, purged = 0 } = counts;
      const isDeletion =
        repaired.deleted + purged > 0 && clock.now() - startedAt < DELETIONS_KEPT_MS;
      if (isDeletion || kept.has(runId) || state.kind === "running") continue;
      if ((await runsOf(ctx, mode, true).first())?._id === runId) continue;
      const args = { runId, what: "run" as const };
      await ctx.scheduler.runAfter(0, internal.clerk.memory.retention.discard, args);
    }
  },
});

async function rememberedRuns(ctx: QueryCtx) {
  const { lastRunId, lastFullRunId, completedFullRun, setAsideRunId } = await readSyncState(ctx);
  return [lastRunId, lastFullRunId, completedFullRun?.runId, setAsideRunId];
}

const vDiscard = v.object({
  runId: v.id("clerkRuns"),
  what: v.union(v.literal("doubts"), v.literal("run")),
});

/** The same as `discardOf`, in a transaction of its own. */
export const discard = internalMutation({
  args: vDiscard,
  handler: async (ctx, args): Promise<void> => {
    await discardOf(ctx, args);
  },
});

/** Deletes the doubts of a run, or an old run with its entries as well, by further calls where they are many. */
export async function discardOf(ctx: MutationCtx, args: Infer<typeof vDiscard>): Promise<void> {
  const { runId, what } = args;
  // A deploy may have lost the call that was to delete the rest of an old run's doubts.
  const isDone =
    (await deleteOf(ctx, "clerkDoubts", runId)) &&
    (what === "doubts" || (await deleteOf(ctx, "clerkDriftEntries", runId)));
  if (!isDone) await ctx.scheduler.runAfter(0, internal.clerk.memory.retention.discard, args);
  else if (what === "run" && (await ctx.db.get("clerkRuns", runId)) !== null) {
    await ctx.db.delete("clerkRuns", runId);
  }
}

/** @returns whether none is left */
async function deleteOf(
  ctx: MutationCtx,
  table: "clerkDoubts" | "clerkDriftEntries",
  runId: Id<"clerkRuns">,
): Promise<boolean> {
  // Both have this index, which types can't say of two tables at once.
  const rows = await ctx.db
    .query(table as "clerkDoubts")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId))
    .take(DISCARD_BATCH);
  for (const { _id } of rows) await ctx.db.delete(table as "clerkDoubts", _id);
  return rows.length < DISCARD_BATCH;
}

/**
 * Deletes old tombstones, and what is known of ids only heard of, unless a row stands. A later event must still find a
 * full run that went through and began after the change it tells of: only then is Clerk asked about it.
 */
export const pruneTombstones = internalMutation({
  args: {},
  handler: async (ctx): Promise<void> => {
    const { lastFullRunStartedAt = -Infinity } = await readSyncState(ctx);
    const before = Math.min(clock.now() - TOMBSTONE_MS, lastFullRunStartedAt);
    let left = PRUNE_BATCH;
    for (const kind of ["tombstone", "met"] as const) {
      const old = await ctx.db
        .query("clerkVersions")
        .withIndex("by_kind_and_appliedAt", (q) => q.eq("kind", kind).lt("appliedAt", before))
        .take(left);
      for (const { _id, clerkId } of old) {
        // While a row stands, marked or not, it stays known when it was met and held, and when an event named it.
        if ((await rowsOf(ctx, clerkId, 1)).length > 0) {
          await ctx.db.patch("clerkVersions", _id, { appliedAt: clock.now() });
        } else await ctx.db.delete("clerkVersions", _id);
      }
      left -= old.length;
    }
    if (left > 0) return;
    await ctx.scheduler.runAfter(0, internal.clerk.memory.retention.pruneTombstones, {});
  },
});
