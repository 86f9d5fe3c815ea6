/** Old tombstones go, and what is known of ids that were only heard of. */
import { internal } from "../_generated/api.js";
import { internalMutation } from "../_generated/server.js";
import { clock, DAY } from "./clock.js";
import { isAnyRow } from "./rows.js";
import { readSyncState } from "./syncState.js";

/** How long an id stays known as gone: far longer than an event is sent again. */
const TOMBSTONE_MS = 30 * DAY;
/** Tombstones deleted in one transaction. */
const PRUNE_BATCH = 500;

/**
 * Deletes old tombstones, but those of rows that are still there. An event that comes later still must find a full run that went through and began
 * after the change it tells of: only then is Clerk asked about it.
 */
export const prune = internalMutation({
  args: {},
  handler: async (ctx): Promise<void> => {
    const { lastFullRunStartedAt = -Infinity } = await readSyncState(ctx);
    const before = Math.min(clock.now() - TOMBSTONE_MS, lastFullRunStartedAt);
    let left = PRUNE_BATCH;
    for (const kind of ["tombstone", "met"] as const) {
      const old = await ctx.db
        .query("clerkVersions")
        .withIndex("by_kind_and_appliedAt", (q) => q.eq("kind", kind).lt("appliedAt", before))
        .take(left);
      for (const { _id, clerkId } of old) {
        // What is known of a row that still stands, marked or not, stays as long: when it was met and held, and when
        // an event named it.
        if (await isAnyRow(ctx, clerkId)) {
          await ctx.db.patch("clerkVersions", _id, { appliedAt: clock.now() });
        } else await ctx.db.delete("clerkVersions", _id);
      }
      left -= old.length;
    }
    if (left > 0) return;
    await ctx.scheduler.runAfter(0, internal.clerk.tombstones.prune, {});
  },
});
