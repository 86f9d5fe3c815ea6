/** The only writer of `reconcileRuns`, `driftEntries`, `reconcileSuspects` and `syncState`. */
import type { Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import type { Counts, Phase, RunState, vRunOptions } from "./validators";

const MINUTE = 60_000;
/** A run that does not reach its next checkpoint for this long is taken for dead. */
const LEASE_MS = 2 * MINUTE;
/** Suspects deleted in one transaction. */
const DISCARD_BATCH = 1000;

const NO_COUNTS: Counts = {
  clerkUsers: 0,
  scanned: 0,
  unchanged: 0,
  drift: { missing: 0, stale: 0, orphaned: 0 },
  repaired: { created: 0, updated: 0, deleted: 0 },
  setAside: 0,
  postponed: 0,
  requests: 0,
  lookedBack: 0,
  confirmed: 0,
  unversioned: 0,
  entries: 0,
};

export type Run = Doc<"reconcileRuns">;
export type RunOptions = Infer<typeof vRunOptions>;
type Phases = { [Each in Phase as Each["kind"]]: Each };
/** A run in a phase. */
export type RunIn<Kind extends Phase["kind"]> = Run & {
  state: { kind: "running"; phase: Phases[Kind] };
};
export type End =
  { kind: "completed" } | { kind: "held"; reason: string } | { kind: "failed"; reason: string };

export function isRunning(run: Run): run is RunIn<Phase["kind"]> {
  return run.state.kind === "running";
}

export function isIn<Kind extends Phase["kind"]>(run: Run, kind: Kind): run is RunIn<Kind> {
  return isRunning(run) && run.state.phase.kind === kind;
}

export async function readSyncState(ctx: QueryCtx): Promise<Doc<"syncState"> | null> {
  return await ctx.db.query("syncState").unique();
}

export async function updateSyncState(
  ctx: MutationCtx,
  fields: Partial<Pick<Doc<"syncState">, "instanceId" | "lastFullRunStartedAt">>,
): Promise<void> {
  const state = await readSyncState(ctx);
  if (state === null) await ctx.db.insert("syncState", fields);
  else await ctx.db.patch("syncState", state._id, fields);
}

/** The run that holds the lease, dead or alive. */
export async function runningRun(ctx: QueryCtx): Promise<Run | null> {
  return await ctx.db
    .query("reconcileRuns")
    .withIndex("by_state_kind", (q) => q.eq("state.kind", "running"))
    .first();
}

export async function insertRun(ctx: MutationCtx, options: RunOptions): Promise<Run> {
  const startedAt = Date.now();
  const state: RunState = { kind: "running", phase: { kind: "begin" }, step: 0, ...lease() };
  const runId = await ctx.db.insert("reconcileRuns", {
    ...options,
    startedAt,
    state,
    counts: NO_COUNTS,
  });
  return await readRun(ctx, runId);
}

async function readRun(ctx: QueryCtx, runId: Id<"reconcileRuns">): Promise<Run> {
  const run = await ctx.db.get("reconcileRuns", runId);
  if (run === null) throw new Error(`no run ${runId}`);
  return run;
}

/** A lease that begins now. */
export function lease() {
  return { leaseExpiresAt: Date.now() + LEASE_MS };
}

/** Writes the state of a run; one that ended leaves no open questions behind. */
export async function saveRun(ctx: MutationCtx, run: Run, state: RunState, counts: Counts) {
  await ctx.db.patch("reconcileRuns", run._id, { state, counts });
  if (state.kind === "running") return;
  if (!run.dryRun && (state.kind === "completed" || state.kind === "held")) {
    await updateSyncState(ctx, { lastFullRunStartedAt: run.startedAt });
  }
  await discardSuspects(ctx, run._id);
}

/** Deletes the suspects of a run, by further transactions where they are many. */
export async function discardSuspects(ctx: MutationCtx, runId: Id<"reconcileRuns">): Promise<void> {
  const suspects = await ctx.db
    .query("reconcileSuspects")
    .withIndex("by_runId_and_state", (q) => q.eq("runId", runId))
    .take(DISCARD_BATCH);
  for (const { _id } of suspects) await ctx.db.delete("reconcileSuspects", _id);
  if (suspects.length < DISCARD_BATCH) return;
  await ctx.scheduler.runAfter(0, internal.clerk.lifecycle.discard, { runId });
}

type SuspectState = Doc<"reconcileSuspects">["state"];

/** Writes down a suspect, unless the id is known already. */
export async function addSuspect(ctx: MutationCtx, runId: Id<"reconcileRuns">, clerkId: string) {
  const known = await suspectOf(ctx, runId, clerkId);
  if (known === null) await ctx.db.insert("reconcileSuspects", { runId, clerkId, state: "open" });
}

/** Turns an id into a suspect of this state, whether it was one or not. */
export async function markSuspect(
  ctx: MutationCtx,
  runId: Id<"reconcileRuns">,
  clerkId: string,
  state: SuspectState,
) {
  const known = await suspectOf(ctx, runId, clerkId);
  if (known === null) await ctx.db.insert("reconcileSuspects", { runId, clerkId, state });
  else await ctx.db.patch("reconcileSuspects", known._id, { state });
}

export async function dropSuspect(ctx: MutationCtx, runId: Id<"reconcileRuns">, clerkId: string) {
  const known = await suspectOf(ctx, runId, clerkId);
  if (known !== null) await ctx.db.delete("reconcileSuspects", known._id);
}

export async function suspectOf(ctx: QueryCtx, runId: Id<"reconcileRuns">, clerkId: string) {
  return await ctx.db
    .query("reconcileSuspects")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId).eq("clerkId", clerkId))
    .unique();
}

/** Ids of the next suspects in a state, at most `count`. */
export async function suspectIds(
  ctx: QueryCtx,
  runId: Id<"reconcileRuns">,
  state: SuspectState,
  count: number,
): Promise<string[]> {
  const suspects = await ctx.db
    .query("reconcileSuspects")
    .withIndex("by_runId_and_state", (q) => q.eq("runId", runId).eq("state", state))
    .take(count);
  return suspects.map(({ clerkId }) => clerkId);
}
