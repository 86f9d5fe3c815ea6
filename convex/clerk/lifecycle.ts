/** What calls ask of the database about their run: to begin it, to go on, to hand it on and to end it. */
import { v } from "convex/values";
import { internal } from "../_generated/api";
import { internalMutation, internalQuery, type QueryCtx } from "../_generated/server";
import { clock } from "./clock";
import { sampleIds } from "./instance";
import {
  discardRun,
  discardSuspects,
  dueMode,
  endRun,
  insertRun,
  isRunning,
  passOn,
  RESUMABLE_MS,
  runningRun,
  type Run,
  type RunningRun,
  type RunOptions,
} from "./runs";
import { Step, type StepResult } from "./step";
import { suspectIds } from "./suspects";
import { readSyncState, updateSyncState, type SyncState } from "./syncState";
import { vCheckpoint, vMode, vRunOptions } from "./validators";

/** Resumptions without a step in between: what has killed so many calls will kill the next one. */
const MAX_RESUMPTIONS = 3;

/** A run, and the right to take it further: a new one, or one that another call has left. */
export type Leased = {
  kind: "begun" | "resumed";
  run: RunningRun;
  pinnedInstanceId: string | null;
  /** While no instance is pinned: some ids of the mirror. */
  sample: string[];
  /** A dead run that was closed as failed, to make way for this one. */
  closed?: Run;
};
/** What a call got: the lease, or the run of the call that holds it. */
export type Begun = Leased | { kind: "busy"; run: RunningRun };

/**
 * Takes the lease. Where no run is under way, a new one begins. One that is alive keeps its lease. A
 * dead one is resumed if it was asked for the same and not given up; else it is closed as failed, and
 * a new one begins.
 */
export const begin = internalMutation({
  args: { ...vRunOptions.fields, mode: v.union(vMode, v.literal("due")) },
  handler: async (ctx, { mode, ...args }): Promise<Begun> => {
    const state = await readSyncState(ctx);
    const isScheduled = mode === "due" && !args.dryRun;
    if (isScheduled) await updateSyncState(ctx, { lastTickAt: clock.now() });
    const options = { ...args, mode: mode === "due" ? dueMode(state) : mode, isScheduled };
    const other = await runningRun(ctx);
    if (other === null) return await leased(ctx, "begun", await insertRun(ctx, options), state);
    const deadMs = clock.now() - other.state.leaseExpiresAt;
    if (deadMs < 0) return { kind: "busy", run: other };
    if (deadMs < RESUMABLE_MS && isResumable(other, options)) {
      const resumptions = other.state.resumptions + 1;
      const change = { delayMs: 0, resumptions, failingSince: undefined, isScheduled };
      return await leased(ctx, "resumed", await passOn(ctx, other, change), state);
    }
    const reason = `it stopped in the phase "${other.state.phase.kind}" and was not heard of again.`;
    const closed = await endRun(ctx, other, { kind: "failed", reason }, other.counts);
    return { ...(await leased(ctx, "begun", await insertRun(ctx, options), state)), closed };
  },
});

function isResumable({ state, ...dead }: RunningRun, options: RunOptions): boolean {
  return (
    state.resumptions < MAX_RESUMPTIONS &&
    dead.mode === options.mode &&
    dead.dryRun === options.dryRun &&
    dead.maxDeletions === options.maxDeletions
  );
}

async function leased(
  ctx: QueryCtx,
  kind: Leased["kind"],
  run: RunningRun,
  { instanceId }: SyncState,
): Promise<Leased> {
  const sample = instanceId === undefined ? await sampleIds(ctx) : [];
  return { kind, run, pinnedInstanceId: instanceId ?? null, sample };
}

/** Where a run stands, for the call that goes on with it; null when another call has. */
export const resume = internalQuery({
  args: { runId: v.id("reconcileRuns"), step: v.number() },
  handler: async (ctx, { runId, step }): Promise<Leased | null> => {
    const run = await ctx.db.get("reconcileRuns", runId);
    if (run === null || !isRunning(run) || run.state.step !== step) return null;
    return await leased(ctx, "resumed", run, await readSyncState(ctx));
  },
});

/** The run as it is now. */
export const read = internalQuery({
  args: { runId: v.id("reconcileRuns") },
  handler: async (ctx, { runId }): Promise<Run | null> => await ctx.db.get("reconcileRuns", runId),
});

/** Ids of up to `count` suspects of a run. */
export const suspects = internalQuery({
  args: {
    runId: v.id("reconcileRuns"),
    state: v.union(v.literal("open"), v.literal("orphaned")),
    count: v.number(),
  },
  handler: async (ctx, { runId, state, count }): Promise<string[]> =>
    await suspectIds(ctx, runId, state, count),
});

/** Hands the run to another call, which is scheduled together with it. */
export const continueLater = internalMutation({
  args: { at: vCheckpoint, delayMs: v.number(), failingSince: v.optional(v.number()) },
  handler: async (ctx, { at, delayMs, failingSince }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (step === null) return null;
    const { counts } = step;
    const run = await passOn(ctx, step.run, { delayMs, failingSince, counts });
    const args = { runId: run._id, step: run.state.step };
    await ctx.scheduler.runAfter(delayMs, internal.clerk.reconcile.advance, args);
    return { run, entries: [] };
  },
});

/** Ends a run that can't go on. Without effect on one that another call took further. */
export const fail = internalMutation({
  args: { at: vCheckpoint, reason: v.string() },
  handler: async (ctx, { at, reason }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    return (await step?.end({ kind: "failed", reason })) ?? null;
  },
});

/** Deletes what is left of an ended run's suspects, or of an old run. */
export const discard = internalMutation({
  args: { runId: v.id("reconcileRuns"), what: v.union(v.literal("suspects"), v.literal("run")) },
  handler: async (ctx, { runId, what }): Promise<void> => {
    await (what === "run" ? discardRun(ctx, runId) : discardSuspects(ctx, runId));
  },
});
