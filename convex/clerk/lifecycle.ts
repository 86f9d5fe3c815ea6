/** The steps that begin, hand on and end a run. */
import { v } from "convex/values";
import { internal } from "../_generated/api";
import {
  internalMutation,
  internalQuery,
  type MutationCtx,
  type QueryCtx,
} from "../_generated/server";
import { clock, MINUTE } from "./clock";
import { isMirrored } from "./rows";
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
import { START } from "./sweep";
import { readSyncState, updateSyncState, type SyncState } from "./syncState";
import { vCheckpoint, vMode, vRunOptions } from "./validators";

/** Rows whose ids are asked of an instance before it is pinned. */
const SAMPLE_SIZE = 40;
/** So many rows of guests are passed over on the way to one of them. */
const MAX_GUESTS = 50;
/** So many times a run is resumed without getting any further. */
const MAX_RESUMPTIONS = 3;
/** How far Clerk's clock may be behind ours: changes of the run's first moments are looked back at. */
const CLOCK_SKEW_MS = MINUTE;
/** How far before its watermark a recent run looks: Clerk's list is "eventually consistent". */
const RECENT_OVERLAP_MS = 5 * MINUTE;

export type Begun = {
  run: Run;
  /** False when another call holds the lease: `run` is that one's. */
  acquired: boolean;
  pinnedInstanceId: string | null;
  /** While no instance is pinned: some ids of the mirror. */
  sample: string[];
  /** A dead run that was closed as failed. */
  closed?: Run;
};

/** Takes the lease and begins a run, or resumes a dead one, unless another call holds the lease. */
export const begin = internalMutation({
  args: { ...vRunOptions.fields, mode: v.union(vMode, v.literal("due")) },
  handler: async (ctx, { mode, ...args }): Promise<Begun> => {
    const state = await readSyncState(ctx);
    const isScheduled = mode === "due" && !args.dryRun;
    if (isScheduled) await updateSyncState(ctx, { lastTickAt: clock.now() });
    const options = { ...args, mode: mode === "due" ? dueMode(state) : mode, isScheduled };
    const other = await runningRun(ctx);
    if (other === null) return await begun(ctx, await insertRun(ctx, options), state);
    const deadMs = clock.now() - other.state.leaseExpiresAt;
    if (deadMs < 0) return { ...(await begun(ctx, other, state)), acquired: false };
    if (deadMs < RESUMABLE_MS && isResumable(other, options)) {
      const resumptions = other.state.resumptions + 1;
      return await begun(
        ctx,
        await passOn(ctx, other, { delayMs: 0, resumptions, failingSince: undefined, isScheduled }),
        state,
      );
    }
    const reason = `it stopped in the phase "${other.state.phase.kind}" and was not heard of again.`;
    const closed = await endRun(ctx, other, { kind: "failed", reason }, other.counts);
    return { ...(await begun(ctx, await insertRun(ctx, options), state)), closed };
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

async function begun(ctx: QueryCtx, run: Run, { instanceId }: SyncState): Promise<Begun> {
  const sample = instanceId === undefined ? await sampleIds(ctx) : [];
  return { run, acquired: true, pinnedInstanceId: instanceId ?? null, sample };
}

/** Ids of rows from all over the time in which rows were made: who came first, or last, may have left. */
async function sampleIds(ctx: QueryCtx): Promise<string[]> {
  const [first, last] = [
    await ctx.db.query("users").first(),
    await ctx.db.query("users").order("desc").first(),
  ];
  if (first === null || last === null) return [];
  const span = last._creationTime - first._creationTime;
  const ids = new Set<string>();
  for (let i = 0; i < SAMPLE_SIZE; i += 1) {
    const from = first._creationTime + (span * i) / SAMPLE_SIZE;
    const rows = ctx.db
      .query("users")
      .withIndex("by_creation_time", (q) => q.gte("_creationTime", from));
    for (const row of await rows.take(MAX_GUESTS)) {
      if (row.clerkId === undefined || !isMirrored(row) || ids.has(row.clerkId)) continue;
      ids.add(row.clerkId);
      break;
    }
  }
  return [...ids];
}

/** The instance is the right one: pins it where none is, and begins to walk or to look back. */
export const start = internalMutation({
  args: { at: vCheckpoint, instanceId: v.string(), expected: v.number() },
  handler: async (ctx, { at, instanceId, expected }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("begin")) return null;
    const { mode, dryRun } = step.run;
    const state = await readSyncState(ctx);
    step.counts.clerkUsers = expected;
    if (mode === "full") {
      const { startedAt: fullRunStartedAt } = step.run;
      if (!dryRun) await updateSyncState(ctx, { instanceId, fullRunStartedAt });
      return await step.goTo({ kind: "walk", settled: START, expected });
    }
    const { lastFullRunStartedAt: full, lastRecentRunStartedAt: recent } = state;
    if (full === undefined) {
      const reason = "a recent run needs a completed full run before it.";
      return await step.end({ kind: "failed", reason });
    }
    const since = Math.max(full, recent ?? full) - RECENT_OVERLAP_MS;
    return await step.goTo(lookBackTo(since, expected));
  },
});

function lookBackTo(since: number, expected: number) {
  return { kind: "lookBack" as const, since, offset: 0, seam: null, restarts: 0, expected };
}

/** The look-back of a full run: what changed since it began. */
export function lookBackFrom({ startedAt }: Run, expected: number) {
  return lookBackTo(startedAt - CLOCK_SKEW_MS, expected);
}

/** Where a run stands, for the call that goes on with it; null when another call has. */
export const resume = internalQuery({
  args: { runId: v.id("reconcileRuns"), step: v.number() },
  handler: async (ctx, { runId, step }): Promise<Begun | null> => {
    const run = await ctx.db.get("reconcileRuns", runId);
    if (run === null || !isRunning(run) || run.state.step !== step) return null;
    return await begun(ctx, run, await readSyncState(ctx));
  },
});

/** The instance that is mirrored, or null before the first full run. */
export const pinned = internalQuery({
  args: {},
  handler: async (ctx): Promise<string | null> => (await readSyncState(ctx)).instanceId ?? null,
});

/** The run as it is now. */
export const read = internalQuery({
  args: { runId: v.id("reconcileRuns") },
  handler: async (ctx, { runId }): Promise<Run | null> => await ctx.db.get("reconcileRuns", runId),
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

/** Ends the running run, if there is one: its next step finds itself overtaken. */
export async function cancelRun(ctx: MutationCtx): Promise<Run | null> {
  const run = await runningRun(ctx);
  return run && (await endRun(ctx, run, { kind: "cancelled" }, run.counts));
}

/** Deletes what is left of an ended run's suspects, or of an old run. */
export const discard = internalMutation({
  args: { runId: v.id("reconcileRuns"), what: v.union(v.literal("suspects"), v.literal("run")) },
  handler: async (ctx, { runId, what }): Promise<void> => {
    await (what === "run" ? discardRun(ctx, runId) : discardSuspects(ctx, runId));
  },
});
