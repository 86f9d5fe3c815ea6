/**
 * The worker, who judges the doubts that events and people leave: a run of mode `doubts`, whose Report is that of a day,
 * and which takes no lease from other runs.
 */
import { ConvexError, v } from "convex/values";
import { internalMutation, type MutationCtx, type QueryCtx } from "../../_generated/server.js";
import { clock, DAY, HOUR, SECOND } from "../shared/clock.js";
import { isClerkId } from "../shared/user.js";
import { doubtOf, nextDoubts, raise } from "./doubts.js";
import { handOn, openRun } from "./lease.js";
import { MAX_PAGE_SIZE } from "./model.js";
import { insertRun, isRunning, newestRun, type Run, type RunningRun } from "./runs.js";

/** Between two requests of the worker. */
const PACE_MS = SECOND;
/** A doubt that is due later than this is left to the tick before it. */
const FAR_MS = HOUR;
/** A worker who gave up rests until the next tick, or, where there is no schedule, for so long. */
const REST_MS = HOUR;

/** Has Clerk asked about an id, if it is a Clerk id, after `delayMs`. `rounds`: how often it was left for a lockout. */
export async function leaveDoubt(
  ctx: MutationCtx,
  clerkId: string,
  delayMs: number,
  rounds?: number,
): Promise<void> {
  if (!isClerkId(clerkId)) return;
  const dueAt = clock.now() + delayMs;
  await raise(ctx, null, clerkId, { dueAt, rounds });
  await wake(ctx, dueAt);
}

/**
 * The same at once, for an app's function that is to load little. For an id that waits it writes no doubt.
 * @throws ConvexError for what is no Clerk user id
 */
export const doubt = internalMutation({
  args: { clerkId: v.string() },
  returns: v.null(),
  handler: async (ctx, { clerkId }): Promise<null> => {
    if (!isClerkId(clerkId)) throw new ConvexError("Sign in with Clerk first.");
    const now = clock.now();
    const known = await doubtOf(ctx, null, clerkId);
    if (known === null || known.dueAt > now) await raise(ctx, null, clerkId, { dueAt: now });
    await wake(ctx, now);
    return null;
  },
});

/** Wakes the worker in time for what waits. `tick`: the schedule asks, which ends a rest; `void`: its work is void. */
export async function wakeForDoubts(ctx: MutationCtx, anew: "tick" | "void"): Promise<void> {
  const [doubt] = await nextDoubts(ctx, null, "open", 1, Infinity);
  const [orphan] = await nextDoubts(ctx, null, "orphaned", 1, Infinity);
  const dueAt = orphan?.dueAt ?? doubt?.dueAt;
  if (dueAt !== undefined) await wake(ctx, dueAt, anew);
}

/**
 * - Due later than in an hour: nothing, a tick sees to it.
 * - The worker is awake, and in time: nothing. So events only read its run, and do not conflict over it.
 * - It is late or dead, or its work is void: the call that goes on is scheduled anew.
 * - It rests: only a tick wakes it.
 * - Else today's Report is opened again.
 */
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
    await open(ctx, run, dueAt);
    return;
  }
  const isResting = run?.state.kind === "failed" && now - run.state.finishedAt < REST_MS;
  if (isResting && anew === undefined) return;
  const today = run !== null && isOfToday(run) ? run : null;
  // Events that come one by one are asked about together, too.
  const endedAt = today?.state.kind === "completed" ? today.state.finishedAt : 0;
  await open(ctx, today, Math.max(dueAt, endedAt + PACE_MS));
}

/** From when on, ms, the worker is to ask again; null where nothing is due before the next tick. */
export async function nextDue(ctx: QueryCtx): Promise<number | null> {
  const [next] = await nextDoubts(ctx, null, "open", 1, Infinity);
  const now = clock.now();
  return next === undefined || next.dueAt - now > FAR_MS
    ? null
    : Math.max(now + PACE_MS, next.dueAt);
}

const OPTIONS = {
  mode: "doubts",
  dryRun: false,
  pageSize: MAX_PAGE_SIZE,
  isScheduled: false,
} as const;

/** The run whose Report is that of today, ended or not; it is made where there is none. */
export async function reportOfToday(ctx: MutationCtx): Promise<Run> {
  const newest = await newestRun(ctx, "doubts");
  if (newest !== null && isOfToday(newest)) return newest;
  return await insertRun(ctx, OPTIONS, { kind: "completed", finishedAt: clock.now() });
}

/** There is one worker at most, however long it is at work. */
function isOfToday(run: Run): boolean {
  return isRunning(run) || clock.now() - run.startedAt < DAY;
}

async function open(ctx: MutationCtx, run: Run | null, dueAt: number): Promise<void> {
  const phase = { kind: "evidence" as const };
  const state = { kind: "running" as const, phase, resumptions: 0, notBefore: dueAt };
  const delayMs = Math.max(0, dueAt - clock.now());
  if (run === null) await openRun(ctx, OPTIONS, state, delayMs);
  else await handOn(ctx, run, state, { delayMs });
}

async function cancelCall(ctx: MutationCtx, { state: { scheduledId } }: RunningRun): Promise<void> {
  const job = scheduledId && (await ctx.db.system.get("_scheduled_functions", scheduledId));
  // A call that is at work, if cancelled, would take what it schedules with it.
  if (job?.state.kind === "pending") await ctx.scheduler.cancel(job._id);
}
