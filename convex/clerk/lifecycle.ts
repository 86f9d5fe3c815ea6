/** What calls ask of the database about their run: to begin it, to go on, to hand it on and to end it. */
import { v } from "convex/values";
import { internal } from "../_generated/api.js";
import { internalMutation, internalQuery } from "../_generated/server.js";
import { clock } from "./clock.js";
import {
  discardRun,
  discardDoubts,
  dueMode,
  endRun,
  beginRun,
  isRunning,
  passOn,
  pruneRuns,
  RESUMABLE_MS,
  runningRun,
  type Run,
  type RunningRun,
  type RunOptions,
} from "./runs.js";
import { Step, type StepResult } from "./step.js";
import { nextDoubts } from "./doubts.js";
import { wakeErasures } from "./erasure.js";
import { readSyncState, updateSyncState, type SyncState } from "./syncState.js";
import { vCheckpoint, vDoubtState, vMode, vRunOptions } from "./runValidators.js";
import { wakeForDoubts } from "./worker.js";

/** Resumptions without a step in between: what has killed so many calls will kill the next one. */
const MAX_RESUMPTIONS = 3;

/** A run, and the right to take it further: a new one, or one that another call has left. */
export type Leased = {
  kind: "begun" | "resumed";
  run: RunningRun;
  pinnedInstanceId: string | null;
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
    if (!args.dryRun) {
      await wakeForDoubts(ctx, "tick");
      await wakeErasures(ctx);
    }
    const other = await runningRun(ctx);
    if (other === null) return leased("begun", await beginRun(ctx, options), state);
    const deadMs = clock.now() - other.state.leaseExpiresAt;
    if (deadMs < 0) return { kind: "busy", run: other };
    if (deadMs < RESUMABLE_MS && isResumable(other, options)) {
      const resumptions = other.state.resumptions + 1;
      const change = { delayMs: 0, resumptions, failingSince: undefined, isScheduled };
      return leased("resumed", await passOn(ctx, other, change), state);
    }
    const reason = `it stopped in the phase "${other.state.phase.kind}" and was not heard of again.`;
    const closed = await endRun(ctx, other, { kind: "failed", reason }, other.counts);
    return { ...leased("begun", await beginRun(ctx, options), state), closed };
  },
});

/**
 * Writes down a run that could not begin, as its first transaction threw: so `status` tells why nothing
 * happens.
 */
export const failToBegin = internalMutation({
  args: { ...vRunOptions.fields, mode: v.union(vMode, v.literal("due")), reason: v.string() },
  handler: async (ctx, { mode, reason, ...args }): Promise<Run> => {
    const state = await readSyncState(ctx);
    const isScheduled = mode === "due" && !args.dryRun;
    if (isScheduled) await updateSyncState(ctx, { lastTickAt: clock.now() });
    const options = { ...args, mode: mode === "due" ? dueMode(state) : mode, isScheduled };
    const run = await beginRun(ctx, options);
    return await endRun(ctx, run, { kind: "failed", reason }, run.counts);
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

function leased(kind: Leased["kind"], run: RunningRun, { instanceId }: SyncState): Leased {
  return { kind, run, pinnedInstanceId: instanceId ?? null };
}

/** Where a run stands, for the call that goes on with it; null when another call has. */
export const resume = internalQuery({
  args: { runId: v.id("clerkRuns"), step: v.number() },
  handler: async (ctx, { runId, step }): Promise<Leased | null> => {
    const run = await ctx.db.get("clerkRuns", runId);
    if (run === null || !isRunning(run) || run.state.step !== step) return null;
    return leased("resumed", run, await readSyncState(ctx));
  },
});

/** The run as it is now. */
export const read = internalQuery({
  args: { runId: v.id("clerkRuns") },
  handler: async (ctx, { runId }): Promise<Run | null> => await ctx.db.get("clerkRuns", runId),
});

/** Ids of up to `count` doubts in a state that are due, of a run, or of events and people. */
export const doubts = internalQuery({
  args: { runId: v.optional(v.id("clerkRuns")), state: vDoubtState, count: v.number() },
  handler: async (ctx, { runId, state, count }): Promise<string[]> => {
    const found = await nextDoubts(ctx, runId, state, count);
    return found.map(({ clerkId }) => clerkId);
  },
});

/**
 * Hands the run to another call, which is scheduled together with it.
 * @param waitsFor why it has to wait
 * @param checked see `reconcile:advance`
 */
export const continueLater = internalMutation({
  args: {
    at: vCheckpoint,
    delayMs: v.number(),
    failingSince: v.optional(v.number()),
    waitsFor: v.optional(v.string()),
    checked: v.optional(v.string()),
  },
  handler: async (ctx, { at, checked, ...change }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (step === null) return null;
    const args = { runId: at.runId, step: at.step + 1, checked };
    const { delayMs } = change;
    const scheduledId = await ctx.scheduler.runAfter(
      delayMs,
      internal.clerk.reconcile.advance,
      args,
    );
    const run = await passOn(ctx, step.run, { ...change, scheduledId, counts: step.counts });
    return { run, entries: [] };
  },
});

/** Ends a run that can't go on. Without effect on one that another call took further. */
export const fail = internalMutation({
  args: { at: vCheckpoint, reason: v.string(), next: v.optional(v.string()) },
  handler: async (ctx, { at, ...why }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    return (await step?.end({ kind: "failed", ...why })) ?? null;
  },
});

/** Has old runs deleted. Scheduled as a run ends. */
export const prune = internalMutation({
  args: {},
  handler: async (ctx): Promise<void> => {
    await pruneRuns(ctx);
  },
});

/** Deletes what is left of an ended run's suspects, or of an old run. */
export const discard = internalMutation({
  args: { runId: v.id("clerkRuns"), what: v.union(v.literal("doubts"), v.literal("run")) },
  handler: async (ctx, { runId, what }): Promise<void> => {
    await (what === "run" ? discardRun(ctx, runId) : discardDoubts(ctx, runId));
  },
});
