/**
 * The worker who judges the doubts that events and people leave: a run of mode `doubts`, whose Report
 * is that of a day. It takes no lease from other runs.
 */
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api.js";
import { internalMutation, type MutationCtx } from "../_generated/server.js";
import { clock, DAY, HOUR, SECOND } from "./clock.js";
import { doubtOf, nextDoubts, raise } from "./doubts.js";
import { isClerkId } from "./profile.js";
import { insertRun, isRunning, newestRun, passOn, type Run, type RunningRun } from "./runs.js";
import { MAX_PAGE_SIZE } from "./runValidators.js";

/** Between two requests of the worker. */
export const PACE_MS = SECOND;
/** What is due later than this the tick before it sees to. */
export const FAR_MS = HOUR;
/** A worker who gave up rests until the next tick; where there is no schedule, for so long. */
const REST_MS = HOUR;

/**
 * Leaves it to Clerk what is right about an id, from `delayMs` on. What is no Clerk id is not asked about.
 * @param rounds how often it was left again for a lockout
 */
export async function leaveDoubt(
  ctx: MutationCtx,
  clerkId: string,
  delayMs: number,
  rounds?: number,
): Promise<void> {
  if (!isClerkId(clerkId)) return;
  const dueAt = clock.now() + delayMs;
  await raise(ctx, undefined, clerkId, dueAt, rounds);
  await wake(ctx, dueAt);
}

/**
 * The same, at once, for an app's function that is to load little. However often it is called for one id, only what is
 * not waiting yet is written.
 * @throws ConvexError for what is no Clerk user id
 */
export const doubt = internalMutation({
  args: { clerkId: v.string() },
  returns: v.null(),
  handler: async (ctx, { clerkId }): Promise<null> => {
    if (!isClerkId(clerkId)) throw new ConvexError("Sign in with Clerk first.");
    const now = clock.now();
    const known = await doubtOf(ctx, undefined, clerkId);
    if (known === null || known.dueAt > now) await raise(ctx, undefined, clerkId, now);
    await wake(ctx, now);
    return null;
  },
});

/**
 * Has the worker at work from a time on, if a doubt waits, unless it is or will be by then.
 * @param anew whether it is the schedule that asks, which ends a rest; or what it does is void
 */
export async function wakeForDoubts(ctx: MutationCtx, anew: "tick" | "void"): Promise<void> {
  const [doubt] = await nextDoubts(ctx, undefined, "open", 1, Infinity);
  const [orphan] = await nextDoubts(ctx, undefined, "orphaned", 1, Infinity);
  const dueAt = orphan?.dueAt ?? doubt?.dueAt;
  if (dueAt !== undefined) await wake(ctx, dueAt, anew);
}

async function wake(ctx: MutationCtx, dueAt: number, anew?: "tick" | "void"): Promise<void> {
  const now = clock.now();
  // A Report is of a day: it must not stay under way until then.
  if (dueAt - now > FAR_MS) return;
  const run = await newestRun(ctx, "doubts");
  if (run !== null && isRunning(run)) {
    const isAlive = run.state.leaseExpiresAt > now;
    const isInTime = (run.state.notBefore ?? 0) <= Math.max(dueAt, now) + PACE_MS;
    if (isAlive && isInTime && anew !== "void") return;
    await cancelCall(ctx, run);
    await schedule(ctx, run, dueAt);
    return;
  }
  const isResting = run?.state.kind === "failed" && now - run.state.finishedAt < REST_MS;
  if (isResting && anew === undefined) return;
  const today = await reportOfToday(ctx);
  // Events that come one by one are asked about together, too.
  const endedAt = today.state.kind === "completed" ? today.state.finishedAt : 0;
  await schedule(ctx, today, Math.max(dueAt, endedAt + PACE_MS));
}

/** The run whose Report is that of today, ended or not: there is one from now on. */
export async function reportOfToday(ctx: MutationCtx): Promise<Run> {
  const newest = await newestRun(ctx, "doubts");
  const isOfToday = newest !== null && clock.now() - newest.startedAt < DAY;
  // There is one worker at most, however long it is at work.
  if (newest !== null && isRunning(newest)) return newest;
  if (isOfToday && newest.state.kind !== "failed") return newest;
  const options = { mode: "doubts" as const, dryRun: false, pageSize: MAX_PAGE_SIZE };
  const ended = { kind: "completed" as const, finishedAt: clock.now() };
  return await insertRun(ctx, { ...options, isScheduled: false }, ended);
}

async function schedule(ctx: MutationCtx, run: Run, dueAt: number): Promise<void> {
  const delayMs = Math.max(0, dueAt - clock.now());
  const step = isRunning(run) ? run.state.step + 1 : 1;
  const args = { runId: run._id, step };
  const scheduledId = await ctx.scheduler.runAfter(delayMs, internal.clerk.reconcile.advance, args);
  const phase = { kind: "evidence" as const };
  const running = { kind: "running" as const, phase, step: step - 1, resumptions: 0 };
  const reopened: RunningRun = { ...run, state: { ...running, leaseExpiresAt: 0 } };
  await passOn(ctx, reopened, { delayMs, scheduledId, notBefore: dueAt });
}

/** The call that was to go on later goes on now, or sooner, instead. */
async function cancelCall(ctx: MutationCtx, { state: { scheduledId } }: RunningRun): Promise<void> {
  const job = scheduledId && (await ctx.db.system.get("_scheduled_functions", scheduledId));
  // One that is at work would take what it schedules with it.
  if (job?.state.kind === "pending") await ctx.scheduler.cancel(job._id);
}
