/** The lease of a run: who may take it further, and how long. Each checkpoint renews it, and has another number. */
import type { Infer } from "convex/values";
import { internal } from "../../_generated/api.js";
import type { Id } from "../../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import { clock, DAY, HOUR, MINUTE } from "../shared/clock.js";
import { endRun } from "./ended.js";
import type { vRunAsked } from "./model.js";
import {
  insertRun,
  isRunning,
  type Options,
  type Run,
  type Running,
  runningRun,
  type RunningRun,
} from "./runs.js";
import { FINGERPRINTS, readSyncState, type SyncState, updateSyncState } from "./state.js";

/** A run that does not reach its next checkpoint for this long is taken for dead. */
const LEASE_MS = 3 * MINUTE;
/** A run that is dead for longer begins anew: too much has changed since. */
const RESUMABLE_MS = HOUR;
/** Resumptions without a step in between: what has killed so many calls will kill the next one. */
const MAX_RESUMPTIONS = 3;
/** A full run is due so long after the last one began. */
export const FULL_PERIOD_MS = DAY;

/** A run, and the right to take it further: a new one, or one that another call has left. */
export type Leased = {
  kind: "begun" | "resumed";
  run: RunningRun;
  pinnedInstanceId: string | null;
  /** A dead run that was closed as failed, to make way for this one. */
  closed?: Run;
};
export type Begun = Leased | { kind: "busy"; run: RunningRun };
type Asked = Infer<typeof vRunAsked>;

/**
 * Takes the lease for a new run (it reads the range of running runs, so that of two calls at once one finds the
 * other's), or resumes a dead one if it was asked for the same and is not given up. Any other dead
 * one is closed as failed; one that is alive keeps its lease.
 */
export async function takeLease(ctx: MutationCtx, asked: Asked): Promise<Begun> {
  const state = await readSyncState(ctx);
  const options = await dueOptions(ctx, asked, state);
  const other = await runningRun(ctx);
  if (other === null) return leased("begun", await beginRun(ctx, options), state);
  if (clock.now() < other.state.leaseExpiresAt) return { kind: "busy", run: other };
  if (!isPastResuming(other) && isResumable(other, options)) {
    const resumptions = other.state.resumptions + 1;
    const resumed = { ...other.state, resumptions, failingSince: undefined };
    const { isScheduled } = options;
    return leased("resumed", await renewLease(ctx, other, resumed, { isScheduled }), state);
  }
  const reason = `it stopped in the phase "${other.state.phase.kind}" and was not heard of again.`;
  const closed = await endRun(ctx, other, { kind: "failed", reason }, other.counts);
  return { ...leased("begun", await beginRun(ctx, options), state), closed };
}

/** Writes down a run that could not begin, as its first transaction threw: so `status` tells why nothing happens. */
export async function recordFailure(ctx: MutationCtx, asked: Asked, reason: string): Promise<Run> {
  const options = await dueOptions(ctx, asked, await readSyncState(ctx));
  const run = await beginRun(ctx, options);
  return await endRun(ctx, run, { kind: "failed", reason }, run.counts);
}

/** Of rows that nothing happened to, only a full run finds out that a reader changed. */
async function dueOptions(
  ctx: MutationCtx,
  { mode: asked, ...rest }: Asked,
  { lastFullRunStartedAt = -Infinity, columns }: SyncState,
): Promise<Options> {
  const now = clock.now();
  const isScheduled = asked === "due" && !rest.dryRun;
  if (isScheduled) await updateSyncState(ctx, { lastTickAt: now });
  const isOther = columns?.join() !== FINGERPRINTS.join();
  const due = isOther || now - lastFullRunStartedAt >= FULL_PERIOD_MS ? "full" : "recent";
  return { ...rest, mode: asked === "due" ? due : asked, isScheduled };
}

async function beginRun(ctx: MutationCtx, options: Options): Promise<RunningRun> {
  const leaseExpiresAt = clock.now() + LEASE_MS;
  const begun = { kind: "running" as const, phase: { kind: "begin" as const }, step: 0 };
  const state = { ...begun, resumptions: 0, leaseExpiresAt };
  return { ...(await insertRun(ctx, options, state)), state };
}

/** Whether a run was not heard of for so long that no tick resumes it. */
export function isPastResuming({ state }: RunningRun): boolean {
  return clock.now() - state.leaseExpiresAt >= RESUMABLE_MS;
}

function isResumable({ state, ...dead }: RunningRun, options: Options): boolean {
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

/** A run that stands at this step; null when another call has taken it further, or ended it. */
export async function readAt(
  ctx: QueryCtx,
  { runId, step }: { runId: Id<"clerkRuns">; step: number },
): Promise<RunningRun | null> {
  const run = await ctx.db.get("clerkRuns", runId);
  return run !== null && isRunning(run) && run.state.step === step ? run : null;
}

/** Writes the next checkpoint: whoever held the lease is overtaken. `delayMs`: how long the next call waits first. */
export async function renewLease(
  ctx: MutationCtx,
  run: RunningRun,
  state: Omit<Running, "step" | "leaseExpiresAt">,
  change: { delayMs?: number; counts?: Run["counts"]; isScheduled?: boolean },
): Promise<RunningRun> {
  const { delayMs = 0, counts = run.counts, isScheduled = run.isScheduled } = change;
  const leaseExpiresAt = clock.now() + delayMs + LEASE_MS;
  const renewed = { ...state, step: run.state.step + 1, leaseExpiresAt };
  await ctx.db.patch("clerkRuns", run._id, { state: renewed, counts, isScheduled });
  return { ...run, state: renewed, counts, isScheduled };
}

/** Writes down a new run together with its first call, in `delayMs` ms. */
export async function openRun(
  ctx: MutationCtx,
  options: Options,
  state: Omit<Running, "step" | "leaseExpiresAt" | "scheduledId">,
  delayMs: number,
): Promise<void> {
  const leaseExpiresAt = clock.now() + delayMs + LEASE_MS;
  const { _id: runId } = await insertRun(ctx, options, { ...state, step: 0, leaseExpiresAt });
  await ctx.scheduler.runAfter(delayMs, internal.clerk.reconcile.advance, { runId, step: 0 });
}

/**
 * Hands a run to another call, which is scheduled together with it, or opens one that has ended again.
 * @param delayMs how long that call waits first. `checked`: see `reconcile:advance`
 */
export async function handOn(
  ctx: MutationCtx,
  run: Run,
  state: Omit<Running, "step" | "leaseExpiresAt" | "scheduledId">,
  { delayMs, checked, counts }: { delayMs: number; checked?: string; counts?: Run["counts"] },
): Promise<RunningRun> {
  // Of one that is opened again no earlier call may take a step for its own: the clock never goes back.
  const step = isRunning(run) ? run.state.step : clock.now();
  const args = { runId: run._id, step: step + 1, checked };
  const scheduledId = await ctx.scheduler.runAfter(delayMs, internal.clerk.reconcile.advance, args);
  const from = { ...run, state: { ...state, step, leaseExpiresAt: 0 } };
  return await renewLease(ctx, from, { ...state, scheduledId }, { delayMs, counts });
}
