/** The store of a run's open questions, `reconcileSuspects`. */
import type { Doc, Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";

type Suspect = Doc<"reconcileSuspects">;

/** Writes down a suspect, unless the id is known already, in whatever state. */
export async function addSuspect(
  ctx: MutationCtx,
  runId: Id<"reconcileRuns">,
  clerkId: string,
  state: Suspect["state"] = "open",
): Promise<void> {
  const known = await suspectOf(ctx, runId, clerkId);
  if (known === null) await ctx.db.insert("reconcileSuspects", { runId, clerkId, state });
}

/** Turns an id into a suspect of this state, whether it was one or not. */
export async function markSuspect(
  ctx: MutationCtx,
  runId: Id<"reconcileRuns">,
  clerkId: string,
  state: Suspect["state"],
): Promise<void> {
  await mark(ctx, { runId, clerkId, state });
}

/** Remembers of a user of a crowd that they were compared, and turns the id into a suspect of this state. */
export async function markListed(
  ctx: MutationCtx,
  runId: Id<"reconcileRuns">,
  clerkId: string,
  state: Suspect["state"],
): Promise<void> {
  await mark(ctx, { runId, clerkId, state, isListed: true });
}

async function mark(ctx: MutationCtx, suspect: Omit<Suspect, "_id" | "_creationTime">) {
  const known = await suspectOf(ctx, suspect.runId, suspect.clerkId);
  if (known === null) await ctx.db.insert("reconcileSuspects", suspect);
  else await ctx.db.patch("reconcileSuspects", known._id, suspect);
}

/** Clears an id of suspicion, if it is suspected. */
export async function dropSuspect(ctx: MutationCtx, runId: Id<"reconcileRuns">, clerkId: string) {
  const known = await suspectOf(ctx, runId, clerkId);
  if (known !== null) await ctx.db.delete("reconcileSuspects", known._id);
}

/** What a run suspects of an id, or null. */
export async function suspectOf(
  ctx: QueryCtx,
  runId: Id<"reconcileRuns">,
  clerkId: string,
): Promise<Suspect | null> {
  return await ctx.db
    .query("reconcileSuspects")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId).eq("clerkId", clerkId))
    .unique();
}

/** Ids from one to another, both included, that are known in whatever state; by id, at most `count`. */
export async function knownIdsBetween(
  ctx: QueryCtx,
  runId: Id<"reconcileRuns">,
  [first, last]: [string, string],
  count: number,
): Promise<string[]> {
  const known = await ctx.db
    .query("reconcileSuspects")
    .withIndex("by_runId_and_clerkId", (q) =>
      q.eq("runId", runId).gte("clerkId", first).lte("clerkId", last),
    )
    .take(count);
  return known.map(({ clerkId }) => clerkId);
}

/** Deletes up to `count` of a run's suspects. @returns whether none is left */
export async function deleteSuspects(
  ctx: MutationCtx,
  runId: Id<"reconcileRuns">,
  count: number,
): Promise<boolean> {
  const suspects = await ctx.db
    .query("reconcileSuspects")
    .withIndex("by_runId_and_state", (q) => q.eq("runId", runId))
    .take(count);
  for (const { _id } of suspects) await ctx.db.delete("reconcileSuspects", _id);
  return suspects.length < count;
}

/** Ids of the next suspects in a state, at most `count`. */
export async function suspectIds(
  ctx: QueryCtx,
  runId: Id<"reconcileRuns">,
  state: Suspect["state"],
  count: number,
): Promise<string[]> {
  const suspects = await ctx.db
    .query("reconcileSuspects")
    .withIndex("by_runId_and_state", (q) => q.eq("runId", runId).eq("state", state))
    .take(count);
  return suspects.map(({ clerkId }) => clerkId);
}
