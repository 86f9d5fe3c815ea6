/** What runs found, as `clerkDriftEntries` has it. */
import type { PaginationResult } from "convex/server";
import type { Id } from "../../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import type { DriftEntry } from "./model.js";

/** Entries kept each of users set aside, of orphans held, and of other findings; beside them every deletion. */
export const MAX_ENTRIES = 1000;

const MAX_ENTRIES_OF_ONE = 10;

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
