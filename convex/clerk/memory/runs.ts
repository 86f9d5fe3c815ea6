/** Runs (`clerkRuns`) and what they found (`clerkDriftEntries`). `lease.ts` says who takes one further, `ended.ts` what one leaves. */
import type { PaginationResult } from "convex/server";
import type { GenericValidator, VObject } from "convex/values";
import type { Doc, Id } from "../../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import { clock } from "../shared/clock.js";
import { type Counts, type DriftEntry, type Phase, type RunState, vCounts } from "./model.js";
import { FINGERPRINTS } from "./state.js";

/** More than are ever under way at once: one run, and the worker's. */
const MAX_RUNNING = 10;
/** Entries kept each of users set aside, of orphans held, and of other findings; beside them every deletion. */
export const MAX_ENTRIES = 1000;
const MAX_ENTRIES_OF_ONE = 10;

export type Run = Doc<"clerkRuns">;
type Phases = { [Each in Phase as Each["kind"]]: Each };
export type Running = Extract<RunState, { kind: "running" }>;
export type RunIn<Kind extends Phase["kind"]> = Run & {
  state: Running & { phase: Phases[Kind] };
};
export type RunningRun = RunIn<Phase["kind"]>;
/** Whether a run is under way, alive or not. */
export function isRunning(run: Run): run is RunningRun {
  return run.state.kind === "running";
}

/** The run that holds the lease, dead or alive, or null. The worker's is none: it takes no lease from others. */
export async function runningRun(ctx: QueryCtx): Promise<RunningRun | null> {
  const runs = await ctx.db
    .query("clerkRuns")
    .withIndex("by_state_kind", (q) => q.eq("state.kind", "running"))
    .take(MAX_RUNNING);
  return runs.filter(isRunning).find(({ mode }) => mode !== "doubts") ?? null;
}

/** The runs of a mode, with findings or without, the newest first. */
export function runsOf(ctx: QueryCtx, mode: Run["mode"], hasFindings: boolean) {
  return ctx.db
    .query("clerkRuns")
    .withIndex("by_mode_and_hasFindings", (q) => q.eq("mode", mode).eq("hasFindings", hasFindings))
    .order("desc");
}

/** The run of a mode that began last, or null. */
export async function newestRun(ctx: QueryCtx, mode: Run["mode"]): Promise<Run | null> {
  const one = await runsOf(ctx, mode, true).first();
  const other = await runsOf(ctx, mode, false).first();
  return (one?._creationTime ?? 0) > (other?._creationTime ?? 0) ? one : other;
}

export type Options = Pick<Run, "mode" | "dryRun" | "maxDeletions" | "pageSize" | "isScheduled">;

/** Writes down a new run in a state, and returns it. */
export async function insertRun(ctx: MutationCtx, options: Options, state: RunState): Promise<Run> {
  const startedAt = clock.now();
  const counts = zerosOf(vCounts) as Counts;
  const made = { startedAt, state, counts, hasFindings: false, columns: FINGERPRINTS };
  const run = { ...options, ...made };
  const _id = await ctx.db.insert("clerkRuns", run);
  return { _id, _creationTime: startedAt, ...run };
}

/** 0 for each number that is not optional, within objects, too. */
function zerosOf({ fields }: VObject<unknown, Record<string, GenericValidator>>): unknown {
  const needed = Object.entries(fields).filter(([, { isOptional }]) => isOptional === "required");
  return Object.fromEntries(
    needed.map(([name, field]) => [name, field.kind === "object" ? zerosOf(field) : 0]),
  );
}

/** Writes down what is known of a run beside its state: the instance that it asks, or what a repair found. */
export async function noteRun(
  ctx: MutationCtx,
  { _id }: Run,
  known: Partial<Pick<Run, "instanceId" | "counts" | "hasFindings">>,
): Promise<void> {
  await ctx.db.patch("clerkRuns", _id, known);
}

/** Writes down one finding. */
export async function addEntry(ctx: MutationCtx, entry: DriftEntry): Promise<void> {
  await ctx.db.insert("clerkDriftEntries", entry);
}

/** What a run found about one id, at most ten entries. */
export async function entriesOf(
  ctx: QueryCtx,
  runId: Id<"clerkRuns">,
  clerkId: string,
): Promise<DriftEntry[]> {
  return await ctx.db
    .query("clerkDriftEntries")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId).eq("clerkId", clerkId))
    .take(MAX_ENTRIES_OF_ONE);
}

/** What a run found, by id: `count` entries from a cursor on, or, where it is null, from the first. */
export async function pageOfEntries(
  ctx: QueryCtx,
  runId: Id<"clerkRuns">,
  cursor: string | null,
  count: number,
): Promise<PaginationResult<DriftEntry>> {
  return await ctx.db
    .query("clerkDriftEntries")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId))
    .paginate({ cursor, numItems: count });
}
