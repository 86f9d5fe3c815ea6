/**
 * The store of open questions, `clerkDoubts`: one entry per id, of a run (its `runId`), or of events and
 * people (none). A run judges its own alone, the worker the others.
 */
import type { Infer } from "convex/values";
import type { Doc, Id } from "../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../_generated/server.js";
import { clock } from "./clock.js";
import { inParallel } from "./parallel.js";
import type { vDoubtState } from "./runValidators.js";

/** An open question about an id, as it is stored. */
export type Doubt = Doc<"clerkDoubts">;
/** Whose doubts: a run's, or, where undefined, those of events and people. */
export type Owner = Id<"clerkRuns"> | undefined;
type State = Infer<typeof vDoubtState>;

/** What is doubted of an id, or null. */
export async function doubtOf(ctx: QueryCtx, runId: Owner, clerkId: string): Promise<Doubt | null> {
  return await ctx.db
    .query("clerkDoubts")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId).eq("clerkId", clerkId))
    .unique();
}

/** Raises a doubt, or raises it again: the id is to be asked about from `dueAt` (ms) on, or sooner if it was. */
export async function raise(
  ctx: MutationCtx,
  runId: Owner,
  clerkId: string,
  dueAt = 0,
  rounds?: number,
): Promise<void> {
  const known = await doubtOf(ctx, runId, clerkId);
  const raised = { state: "open" as const, raisedAt: clock.now() };
  if (known === null)
    await ctx.db.insert("clerkDoubts", { runId, clerkId, ...raised, dueAt, rounds });
  else {
    const soonest = known.state === "open" ? Math.min(dueAt, known.dueAt) : dueAt;
    // Whoever asks anew does not use up the rounds of a lockout.
    await ctx.db.patch("clerkDoubts", known._id, { ...raised, dueAt: soonest, rounds });
  }
}

/** Raises doubts of a run about several ids, side by side. */
export async function raiseAll(
  ctx: MutationCtx,
  runId: Id<"clerkRuns">,
  clerkIds: Iterable<string>,
): Promise<void> {
  // Of an id that is given twice, both would find that there is no doubt yet.
  const ids = [...new Set(clerkIds)];
  await inParallel(ids, async (clerkId) => {
    await raise(ctx, runId, clerkId);
  });
}

/** Gives a doubt another state, and another time from which on it is due, ms. */
export async function put(
  ctx: MutationCtx,
  { _id }: Doubt,
  to: { state: State; dueAt?: number },
): Promise<void> {
  await ctx.db.patch("clerkDoubts", _id, to);
}

/** Ends a doubt. That it was met in a crowd stays known to its run. */
export async function settle(ctx: MutationCtx, { _id, crowd }: Doubt): Promise<void> {
  if (crowd === undefined) await ctx.db.delete("clerkDoubts", _id);
  else await ctx.db.patch("clerkDoubts", _id, { state: "met" });
}

/** Remembers of a user that they were met in a crowd. @param known what `doubtOf` said */
export async function markMet(
  ctx: MutationCtx,
  runId: Id<"clerkRuns">,
  clerkId: string,
  crowd: number,
): Promise<void> {
  const known = await doubtOf(ctx, runId, clerkId);
  if (known !== null) await ctx.db.patch("clerkDoubts", known._id, { crowd });
  else {
    const met = { state: "met" as const, raisedAt: clock.now(), dueAt: 0, crowd };
    await ctx.db.insert("clerkDoubts", { runId, clerkId, ...met });
  }
}

/** Which of some ids were met in a crowd. */
export async function metAmong(
  ctx: QueryCtx,
  runId: Id<"clerkRuns">,
  ids: string[],
  crowd: number,
): Promise<Set<string>> {
  const known = await inParallel(ids, async (clerkId) => await doubtOf(ctx, runId, clerkId));
  return new Set(known.flatMap((doubt) => (doubt?.crowd === crowd ? doubt.clerkId : [])));
}

/** The next doubts in a state that are due, at most `count`, those due first first. */
export async function nextDoubts(
  ctx: QueryCtx,
  runId: Owner,
  state: State,
  count: number,
  until = clock.now(),
): Promise<Doubt[]> {
  return await ctx.db
    .query("clerkDoubts")
    .withIndex("by_runId_and_state_and_dueAt", (q) =>
      q.eq("runId", runId).eq("state", state).lte("dueAt", until),
    )
    .take(count);
}

/** Deletes up to `count` of a run's doubts. @returns whether none is left */
export async function deleteDoubts(
  ctx: MutationCtx,
  runId: Id<"clerkRuns">,
  count: number,
): Promise<boolean> {
  const doubts = await ctx.db
    .query("clerkDoubts")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId))
    .take(count);
  for (const { _id } of doubts) await ctx.db.delete("clerkDoubts", _id);
  return doubts.length < count;
}
