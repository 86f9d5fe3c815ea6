/** The end of a run: what it leaves to `status`, to the gate and to the next runs. */
import { internal } from "../../_generated/api.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import { clock, SECOND } from "../shared/clock.js";
import { missedBy, readDeliveries } from "./deliveries.js";
import type { Counts, RunState } from "./model.js";
import { discardOf, pruneQuietRuns } from "./retention.js";
import { MAX_ENTRIES, type Run, runningRun } from "./runs.js";
import { readSyncState, type SyncState, updateSyncState } from "./state.js";

export type End =
  | { kind: "completed" }
  | { kind: "held"; reason: string }
  | { kind: "failed"; reason: string; next?: string }
  | { kind: "cancelled" };

/**
 * Ends a run: it leaves no open questions, and old runs are pruned.
 * @param removalsLeft how many users repairs may remove, once it has completed as a full one, before the next
 * @returns the run as it ended
 */
export async function endRun(
  ctx: MutationCtx,
  run: Run,
  end: End,
  counts: Counts,
  removalsLeft = 0,
): Promise<Run> {
  const state: RunState = { ...end, finishedAt: clock.now() };
  const hasFindings = hasAny(counts);
  await ctx.db.patch("clerkRuns", run._id, { state, counts, hasFindings });
  const isReal = !run.dryRun && run.mode !== "doubts";
  if (isReal) await updateSyncState(ctx, await marksOf(ctx, run, end, counts, removalsLeft));
  await discardOf(ctx, { runId: run._id, what: "doubts" });
  if (hasFindings) await ctx.scheduler.runAfter(0, internal.clerk.memory.retention.pruneRuns, {});
  else await pruneQuietRuns(ctx, run.mode);
  return { ...run, state, counts, hasFindings };
}

/** Ends the running run: its next step finds itself overtaken. @returns it, or null where there is none */
export async function cancelRun(ctx: MutationCtx): Promise<Run | null> {
  const run = await runningRun(ctx);
  return run && (await endRun(ctx, run, { kind: "cancelled" }, run.counts));
}

async function marksOf(
  ctx: QueryCtx,
  run: Run,
  { kind }: End,
  counts: Counts,
  removalsLeft: number,
) {
  const { _id, startedAt, mode } = run;
  const state = await readSyncState(ctx);
  // What a run repaired before it failed, no other run will find.
  const deliveries = await deliveriesAfter(ctx, state, counts);
  if (kind === "cancelled") return { deliveries };
  const marks = { deliveries, lastRunId: _id };
  if (kind === "failed") return marks;
  if (mode === "recent") {
    const setAsideRunId = counts.setAside > 0 ? _id : state.setAsideRunId;
    return { ...marks, lastRecentRunStartedAt: startedAt, setAsideRunId };
  }
  const fullMarks = {
    ...marks,
    lastFullRunId: _id,
    lastFullRunStartedAt: startedAt,
    setAsideRunId: undefined,
    hasRunFull: true,
    columns: run.columns,
  };
  if (kind === "held") {
    if (counts.held <= MAX_ENTRIES) return fullMarks;
    const isByLimit = run.maxDeletions !== undefined;
    return { ...fullMarks, [isByLimit ? "isHeldAtLargeByLimit" : "isHeldAtLarge"]: true };
  }
  const met = counts.scanned + counts.postponed + counts.setAside;
  const completedFullRun = { runId: _id, startedAt, met, removalsLeft };
  const lifted = { isHeldAtLarge: undefined, isHeldAtLargeByLimit: undefined };
  const confirmed = { isMoved: undefined, isToConfirm: undefined };
  return { ...fullMarks, completedFullRun, ...lifted, ...confirmed };
}

async function deliveriesAfter(ctx: QueryCtx, state: SyncState, counts: Counts) {
  // The first full run is a backfill: nobody was to tell of what it finds.
  if (state.lastFullRunStartedAt === undefined) return state.deliveries;
  // What comes at this moment would have the run's end made again and again.
  const deliveries = await readDeliveries(ctx, state, clock.now() - SECOND * 10);
  return missedBy(deliveries, counts.missed);
}

function hasAny({ drift, setAside, postponed, held, unlisted, purged = 0 }: Counts): boolean {
  const { missing, stale, orphaned } = drift;
  return missing + stale + orphaned + setAside + postponed + held + unlisted + purged > 0;
}
