/** The store of what runs found, `driftEntries`. */
import type { PaginationResult } from "convex/server";
import type { Id } from "../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../_generated/server.js";
import type { DriftEntry } from "./runValidators.js";

/**
 * So many entries are kept of the users that a run sets aside, of the orphans that it holds, and of
 * its other findings; beside them every deletion.
 */
export const MAX_ENTRIES = 1000;

/** Entries that one id can have in a run. */
const MAX_ENTRIES_OF_ONE = 10;

/** Keeps an entry. */
export async function addEntry(ctx: MutationCtx, entry: DriftEntry): Promise<void> {
  await ctx.db.insert("clerkDriftEntries", entry);
}

/** What a run found about one id. */
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

/** What a run found, by id: `count` entries from a cursor on. */
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

/** Deletes up to `count` of a run's entries. @returns whether none is left */
export async function deleteEntries(
  ctx: MutationCtx,
  runId: Id<"clerkRuns">,
  count: number,
): Promise<boolean> {
  const entries = await ctx.db
    .query("clerkDriftEntries")
    .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", runId))
    .take(count);
  for (const { _id } of entries) await ctx.db.delete("clerkDriftEntries", _id);
  return entries.length < count;
}
