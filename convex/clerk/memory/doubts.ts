/**
 * Open questions (`clerkDoubts`), one entry per id: of a run (its `runId`), which judges its own, or of events and people
 * (none), which the worker judges.
 */
import type { Infer } from "convex/values";
import type { Doc } from "../../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import { clock, SECOND } from "../shared/clock.js";
import { inParallel } from "../shared/parallel.js";
import type { vDoubtState } from "./model.js";
import type { Run } from "./runs.js";

type Doubt = Doc<"clerkDoubts">;
/** Who judges: a run its own doubts; the worker's, or null, those of events and people. */
type Judge = Pick<Run, "_id" | "mode"> | null;
type State = Infer<typeof vDoubtState>;

function runIdOf(judge: Judge): Doubt["runId"] {
  return judge === null || judge.mode === "doubts" ? undefined : judge._id;
}

/** The doubt about an id among those that this judge judges, or null. */
export async function doubtOf(ctx: QueryCtx, judge: Judge, clerkId: string): Promise<Doubt | null> {
  return await ctx.db
    .query("clerkDoubts")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runIdOf(judge)).eq("clerkId", clerkId))
    .unique();
}

/** Raises a doubt, or raises it again: due from `dueAt` (ms) on, or sooner if it was. */
export async function raise(
  ctx: MutationCtx,
  judge: Judge,
  clerkId: string,
  { dueAt = 0, rounds, unlistedAt }: Raised = {},
): Promise<void> {
  const known = await doubtOf(ctx, judge, clerkId);
  const isWaiting = known?.state === "open" || known?.state === "absent";
  const soonest = isWaiting ? Math.min(dueAt, known.dueAt) : dueAt;
  // Whoever asks anew does not use up the rounds of a lockout.
  const raised = {
    state: "open" as const,
    raisedAt: clock.now(),
    dueAt: soonest,
    rounds,
    unlistedAt,
  };
  if (known !== null) await ctx.db.patch("clerkDoubts", known._id, raised);
  else await ctx.db.insert("clerkDoubts", { runId: runIdOf(judge), clerkId, ...raised });
}

/** From when on it is due, ms; how often it was left for a lockout; see `clerkDoubts` for the rest. */
type Raised = { dueAt?: number } & Pick<Doubt, "rounds" | "unlistedAt">;

/** Raises doubts of a run about several ids, side by side. */
export async function raiseAll(
  ctx: MutationCtx,
  run: Run,
  doubts: Map<string, Raised>,
): Promise<void> {
  await inParallel([...doubts], async ([clerkId, how]) => {
    await raise(ctx, run, clerkId, how);
  });
}

/** Gives a doubt, if there is one, another state and, where given, another `dueAt` (ms). */
export async function changeDoubt(
  ctx: MutationCtx,
  judge: Judge,
  clerkId: string,
  to: { state: State; dueAt?: number },
): Promise<void> {
  const doubt = await doubtOf(ctx, judge, clerkId);
  if (doubt !== null) await ctx.db.patch("clerkDoubts", doubt._id, to);
}

/** Ends a doubt, but that it was met in a crowd stays known to its run. @returns what it was, or null */
export async function endDoubt(
  ctx: MutationCtx,
  judge: Judge,
  clerkId: string,
): Promise<Doubt | null> {
  const doubt = await doubtOf(ctx, judge, clerkId);
  if (doubt?.crowd !== undefined) await ctx.db.patch("clerkDoubts", doubt._id, { state: "met" });
  else if (doubt !== null) await ctx.db.delete("clerkDoubts", doubt._id);
  return doubt;
}

/** Remembers of a user that they were met in a crowd, given by its key. */
export async function markMet(
  ctx: MutationCtx,
  run: Run,
  clerkId: string,
  crowd: number,
): Promise<void> {
  const known = await doubtOf(ctx, run, clerkId);
  if (known !== null) await ctx.db.patch("clerkDoubts", known._id, { crowd });
  else {
    const met = { state: "met" as const, raisedAt: clock.now(), dueAt: 0, crowd };
    await ctx.db.insert("clerkDoubts", { runId: run._id, clerkId, ...met });
  }
}

/** Which of some ids were met in a crowd, given by its key. */
export async function metAmong(
  ctx: QueryCtx,
  run: Run,
  ids: string[],
  crowd: number,
): Promise<Set<string>> {
  const known = await inParallel(ids, async (clerkId) => await doubtOf(ctx, run, clerkId));
  return new Set(known.flatMap((doubt) => (doubt?.crowd === crowd ? doubt.clerkId : [])));
}

async function dueIn(
  ctx: QueryCtx,
  judge: Judge,
  state: State,
  count: number,
  until: number,
): Promise<Doubt[]> {
  return await ctx.db
    .query("clerkDoubts")
    .withIndex("by_runId_and_state_and_dueAt", (q) =>
      q.eq("runId", runIdOf(judge)).eq("state", state).lte("dueAt", until),
    )
    .take(count);
}

/** Those who were absent from a page wait so long at most for others of whom that is so. */
const MAX_WAIT_MS = 10 * SECOND;

/**
 * Up to `count` doubts in a state that are due by `until` (ms), those due first first; `open`: that Clerk is to be asked
 * about next, open ones, or absent ones together.
 */
export async function nextDoubts(
  ctx: QueryCtx,
  judge: Judge,
  state: Exclude<State, "absent">,
  count: number,
  until = clock.now(),
): Promise<Doubt[]> {
  const open = await dueIn(ctx, judge, state, count, until);
  if (state !== "open") return open;
  const absent = await dueIn(ctx, judge, "absent", count, until);
  const waitedMs = until - (absent[0]?.dueAt ?? Infinity);
  const isTheirTurn = open.length === 0 || absent.length >= count || waitedMs > MAX_WAIT_MS;
  return isTheirTurn && absent.length > 0 ? absent : open;
}
