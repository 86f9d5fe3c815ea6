/** Runs: how they begin, are handed on and end, and which are kept. Steps write their progress. */
import type { Infer } from "convex/values";
import { internal } from "../_generated/api.js";
import type { Doc, Id } from "../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../_generated/server.js";
import { clock, DAY, HOUR, MINUTE, SECOND } from "./clock.js";
import { missedBy, readDeliveries } from "./deliveries.js";
import { deleteEntries, MAX_ENTRIES } from "./driftEntries.js";
import { deleteDoubts } from "./doubts.js";
import { mostRemovals } from "./plan.js";
import { FINGERPRINTS } from "./fingerprint.js";
import { readSyncState, updateSyncState, type SyncState } from "./syncState.js";
import type { Counts, Phase, RunState, vRunOptions } from "./runValidators.js";

/** A run that does not reach its next checkpoint for this long is taken for dead. */
const LEASE_MS = 3 * MINUTE;
/** A run that is dead for longer begins anew: too much has changed since. */
export const RESUMABLE_MS = HOUR;
/** A full run is due when the last one began this long ago. */
export const FULL_PERIOD_MS = DAY;
/** Runs under way at once: one, and the worker's. */
const MAX_RUNNING = 10;
/** Documents deleted in one transaction: few of the 16,000 that it may write, since it ends a run, too. */
const DISCARD_BATCH = 1000;
/** Runs with findings that are kept: a day of ticks that all find something. */
const KEPT_RUNS = 100;
/** Older ones that are kept beside them: those that deleted somebody, for so long. */
const DELETIONS_KEPT_MS = 30 * DAY;
/** Runs without findings that are kept for another reason: those remembered. */
const MAX_SPARED = 6;
/** Runs, from the oldest on, that one transaction looks at. */
const MAX_PRUNED = 300;

const NO_COUNTS: Counts = {
  clerkUsers: 0,
  scanned: 0,
  listed: 0,
  unlisted: 0,
  unchanged: 0,
  drift: { missing: 0, stale: 0, orphaned: 0 },
  repaired: { created: 0, updated: 0, deleted: 0 },
  setAside: 0,
  postponed: 0,
  postponedOrphans: 0,
  held: 0,
  requests: 0,
  confirmed: 0,
  lone: 0,
  entries: 0,
  missed: { created: 0, updated: 0, deleted: 0 },
};

export type Run = Doc<"clerkRuns">;
export type RunOptions = Infer<typeof vRunOptions>;
type Phases = { [Each in Phase as Each["kind"]]: Each };
type Running = Extract<RunState, { kind: "running" }>;
/** A run in a phase. */
export type RunIn<Kind extends Phase["kind"]> = Run & {
  state: Running & { phase: Phases[Kind] };
};
/** A run under way, in whatever phase. */
export type RunningRun = RunIn<Phase["kind"]>;
/** How a run ends, and why. */
export type End =
  | { kind: "completed" }
  | { kind: "held"; reason: string }
  | { kind: "failed"; reason: string; next?: string }
  | { kind: "cancelled" };

/** Whether a run is under way, alive or not. */
export function isRunning(run: Run): run is RunningRun {
  return run.state.kind === "running";
}

/** Whether a run is under way, and in a phase of this kind. */
export function isIn<Kind extends Phase["kind"]>(run: Run, kind: Kind): run is RunIn<Kind> {
  return isRunning(run) && run.state.phase.kind === kind;
}

/** Whether a run compares users whom it has not met before; a full run's look-back meets those of its walk. */
export function isFirstLook({ mode, state }: Run): boolean {
  const phase = state.kind === "running" ? state.phase.kind : null;
  return phase === "walk" || (phase === "lookBack" && mode === "recent");
}

/** Which mode a scheduled run has now. Only a full run gives rows that nothing happened to what is read otherwise now. */
export function dueMode({ lastFullRunStartedAt, columns }: SyncState): RunOptions["mode"] {
  const isDue = clock.now() - (lastFullRunStartedAt ?? -Infinity) >= FULL_PERIOD_MS;
  return isDue || columns?.join() !== FINGERPRINTS.join() ? "full" : "recent";
}

/** The run that holds the lease, dead or alive. The worker's is none: it takes no lease from others. */
export async function runningRun(ctx: QueryCtx): Promise<RunningRun | null> {
  const runs = await ctx.db
    .query("clerkRuns")
    .withIndex("by_state_kind", (q) => q.eq("state.kind", "running"))
    .take(MAX_RUNNING);
  return runs.filter(isRunning).find(({ mode }) => mode !== "doubts") ?? null;
}

/** The run of a mode that began last. */
export async function newestRun(ctx: QueryCtx, mode: Run["mode"]): Promise<Run | null> {
  const newest = async (hasFindings: boolean) =>
    await ctx.db
      .query("clerkRuns")
      .withIndex("by_mode_and_hasFindings", (q) =>
        q.eq("mode", mode).eq("hasFindings", hasFindings),
      )
      .order("desc")
      .first();
  const [one, other] = [await newest(true), await newest(false)];
  return (one?._creationTime ?? 0) > (other?._creationTime ?? 0) ? one : other;
}

/** Whose doubts a run judges. */
export function ownerOf({ _id, mode }: Run): Id<"clerkRuns"> | undefined {
  return mode === "doubts" ? undefined : _id;
}

/** Writes down a new run, with a lease for who begins it. */
export async function beginRun(ctx: MutationCtx, options: Options): Promise<RunningRun> {
  const phase = { kind: "begin" as const };
  const state: Running = { kind: "running", phase, step: 0, resumptions: 0, ...lease() };
  return { ...(await insertRun(ctx, options, state)), state };
}

type Options = Pick<Run, "mode" | "dryRun" | "maxDeletions" | "pageSize" | "isScheduled">;

/** Writes down a new run in a state. */
export async function insertRun(ctx: MutationCtx, options: Options, state: RunState): Promise<Run> {
  const startedAt = clock.now();
  const made = { startedAt, state, counts: NO_COUNTS, hasFindings: false, columns: FINGERPRINTS };
  const run = { ...options, ...made };
  const _id = await ctx.db.insert("clerkRuns", run);
  return { _id, _creationTime: startedAt, ...run };
}

/** A lease that begins after a delay, ms. */
export function lease(delayMs = 0): { leaseExpiresAt: number } {
  return { leaseExpiresAt: clock.now() + delayMs + LEASE_MS };
}

/** Lets another call go on where a run stands: whoever held it so far is overtaken. */
export async function passOn(
  ctx: MutationCtx,
  run: RunningRun,
  {
    delayMs,
    ...change
  }: { delayMs: number } & Partial<Pick<Run, "counts" | "isScheduled">> &
    Partial<
      Pick<Running, "resumptions" | "failingSince" | "waitsFor" | "notBefore" | "scheduledId">
    >,
): Promise<RunningRun> {
  const { counts = run.counts, isScheduled = run.isScheduled, ...rest } = change;
  const step = run.state.step + 1;
  const state = { ...run.state, ...rest, step, ...lease(delayMs) };
  await ctx.db.patch("clerkRuns", run._id, { state, counts, isScheduled });
  return { ...run, state, counts, isScheduled };
}

/** Ends a run: it leaves no open questions, and old runs are pruned. */
export async function endRun(ctx: MutationCtx, run: Run, end: End, counts: Counts): Promise<Run> {
  const state: RunState = { ...end, finishedAt: clock.now() };
  const hasFindings = hasAny(counts);
  await ctx.db.patch("clerkRuns", run._id, { state, counts, hasFindings });
  const isReal = !run.dryRun && run.mode !== "doubts";
  if (isReal) await updateSyncState(ctx, await marksOf(ctx, run, end, counts));
  await discardDoubts(ctx, run._id);
  if (hasFindings) await ctx.scheduler.runAfter(0, internal.clerk.lifecycle.prune, {});
  else await pruneQuietRuns(ctx, run.mode);
  return { ...run, state, counts, hasFindings };
}

/** Ends the running run, if there is one: its next step finds itself overtaken. */
export async function cancelRun(ctx: MutationCtx): Promise<Run | null> {
  const run = await runningRun(ctx);
  return run && (await endRun(ctx, run, { kind: "cancelled" }, run.counts));
}

/** What the sync remembers of a real run. */
async function marksOf(ctx: QueryCtx, run: Run, { kind }: End, counts: Counts) {
  const { _id, startedAt, mode } = run;
  const state = await readSyncState(ctx);
  // What a run repaired before it failed, no other run will find.
  const deliveries = await deliveriesAfter(ctx, state, counts);
  if (kind === "cancelled") return { deliveries };
  if (kind === "failed") return { deliveries, lastRunId: _id };
  const marks = { deliveries, lastRunId: _id };
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
  const removalsLeft = mostRemovals(counts.confirmed + counts.repaired.created);
  const completedFullRun = { runId: _id, startedAt, met, removalsLeft };
  const lifted = { isHeldAtLarge: undefined, isHeldAtLargeByLimit: undefined };
  const confirmed = { isMoved: undefined, isToConfirm: undefined };
  return { ...fullMarks, completedFullRun, ...lifted, ...confirmed };
}

async function deliveriesAfter(ctx: QueryCtx, state: SyncState, counts: Counts) {
  // The first full run is a backfill: nobody was to tell of what it finds.
  if (state.lastFullRunStartedAt === undefined) return state.deliveries;
  // Those that the run before held are no news.
  const before = state.lastFullRunId && (await ctx.db.get("clerkRuns", state.lastFullRunId));
  const known = before?.state.kind === "held" ? before.counts.drift.orphaned : 0;
  const { missed } = counts;
  const isNews = counts.drift.orphaned > known;
  // What comes at this moment would have the run's end made again and again.
  const deliveries = await readDeliveries(ctx, state, clock.now() - SECOND * 10);
  return missedBy(deliveries, isNews ? missed : { ...missed, deleted: 0 });
}

function hasAny({ drift, setAside, postponed, held, unlisted, purged = 0 }: Counts): boolean {
  const { missing, stale, orphaned } = drift;
  return missing + stale + orphaned + setAside + postponed + held + unlisted + purged > 0;
}

/** Of the runs that found nothing, only the newest of each mode is kept. */
async function pruneQuietRuns(ctx: MutationCtx, mode: Run["mode"]): Promise<void> {
  const runs = await ctx.db
    .query("clerkRuns")
    .withIndex("by_mode_and_hasFindings", (q) => q.eq("mode", mode).eq("hasFindings", false))
    .order("desc")
    .take(1 + MAX_SPARED);
  const remembered = await rememberedRuns(ctx);
  for (const { _id, state } of runs.slice(1)) {
    if (state.kind !== "running" && !remembered.includes(_id)) {
      await ctx.db.delete("clerkRuns", _id);
    }
  }
}

/**
 * Keeps the newest runs with findings, those that deleted somebody within a month, the newest of each
 * mode, and those that `status` tells of. The others go, each by a call of its own.
 */
export async function pruneRuns(ctx: MutationCtx): Promise<void> {
  const runs = () =>
    ctx.db.query("clerkRuns").withIndex("by_hasFindings", (q) => q.eq("hasFindings", true));
  const kept = new Set((await runs().order("desc").take(KEPT_RUNS)).map(({ _id }) => _id));
  const remembered = await rememberedRuns(ctx);
  for (const run of await runs().take(MAX_PRUNED)) {
    const { repaired, purged = 0 } = run.counts;
    const isDeletion =
      repaired.deleted + purged > 0 && clock.now() - run.startedAt < DELETIONS_KEPT_MS;
    const isSpared = isDeletion || kept.has(run._id) || remembered.includes(run._id);
    if (isSpared || run.state.kind === "running" || (await isNewestWithFindings(ctx, run)))
      continue;
    const args = { runId: run._id, what: "run" as const };
    await ctx.scheduler.runAfter(0, internal.clerk.lifecycle.discard, args);
  }
}

async function rememberedRuns(ctx: QueryCtx) {
  const { lastRunId, lastFullRunId, completedFullRun, setAsideRunId } = await readSyncState(ctx);
  return [lastRunId, lastFullRunId, completedFullRun?.runId, setAsideRunId];
}

/** Whether a run is the newest of its mode that found anything. */
async function isNewestWithFindings(ctx: QueryCtx, { _id, mode }: Run): Promise<boolean> {
  const newest = await ctx.db
    .query("clerkRuns")
    .withIndex("by_mode_and_hasFindings", (q) => q.eq("mode", mode).eq("hasFindings", true))
    .order("desc")
    .first();
  return newest?._id === _id;
}

/** Deletes a run and its entries, by further transactions where they are many. */
export async function discardRun(ctx: MutationCtx, runId: Id<"clerkRuns">): Promise<void> {
  if (!(await deleteEntries(ctx, runId, DISCARD_BATCH))) {
    await ctx.scheduler.runAfter(0, internal.clerk.lifecycle.discard, { runId, what: "run" });
  } else if ((await ctx.db.get("clerkRuns", runId)) !== null) {
    await ctx.db.delete("clerkRuns", runId);
  }
}

/** Deletes the doubts of a run, by further transactions where they are many. */
export async function discardDoubts(ctx: MutationCtx, runId: Id<"clerkRuns">): Promise<void> {
  if (await deleteDoubts(ctx, runId, DISCARD_BATCH)) return;
  await ctx.scheduler.runAfter(0, internal.clerk.lifecycle.discard, { runId, what: "doubts" });
}
