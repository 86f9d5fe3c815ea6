/** The tables of the sync, imported by the app's schema: so no file of the app's may be imported here. */
import { defineTable } from "convex/server";
import { v } from "convex/values";
import {
  vCounts,
  vDelivery,
  vDoubtState,
  vDriftEntry,
  vReportMode,
  vRunAsked,
  vRunState,
  vVersion,
} from "./memory/model.js";

/**
 * The sync's own tables, plain objects. Beside them stands the app's `users`, which needs `clerkId`, `clerkCreatedAt`
 * (both optional, where there are guests, or rows from before) and two indexes:
 * @example
 * export default defineSchema({
 *   ...clerkTables,
 *   users: defineTable({
 *     clerkId: v.optional(v.string()),
 *     clerkCreatedAt: v.optional(v.number()),
 *     // the app's columns
 *   })
 *     .index("by_clerkId", ["clerkId"])
 *     .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]),
 * });
 */
export const clerkTables = {
  /**
   * One row per Clerk id that a change was applied to. Written by `memory/versions.ts` in the transaction that writes
   * the user, deleted by `memory/retention.ts`. Apart from `users` because it changes with every event.
   */
  clerkVersions: defineTable(vVersion)
    .index("by_clerkId", ["clerkId"])
    .index("by_kind_and_appliedAt", ["kind", "appliedAt"])
    .index("by_createdEventAt", ["createdEventAt"])
    .index("by_updatedEventAt", ["updatedEventAt"])
    .index("by_deletedEventAt", ["deletedEventAt"])
    .index("by_untoldAt", ["untoldAt"]),
  /** One row per run, and one a day of doubts. Written by `memory/lease.ts`, ended by `memory/ended.ts`, deleted by `memory/retention.ts`; changes with every page, so subscribe to it sparingly. */
  clerkRuns: defineTable({
    ...vRunAsked.fields,
    mode: vReportMode,
    /** Whether the schedule began or resumed it: then its failure is thrown. */
    isScheduled: v.boolean(),
    startedAt: v.number(),
    /** The Clerk instance that it asks, once it has begun: a dry run pins none. */
    instanceId: v.optional(v.string()),
    state: vRunState,
    counts: vCounts,
    /** Whether it found anything; false until it ends. */
    hasFindings: v.boolean(),
    /** The columns of `fields.ts` as it began, as `memory/state.ts` tells them. */
    columns: v.optional(v.array(v.string())),
  })
    .index("by_state_kind", ["state.kind"])
    .index("by_mode_and_hasFindings", ["mode", "hasFindings"])
    .index("by_hasFindings", ["hasFindings"]),
  /** What a run found. Written by `memory/runs.ts`, deleted with its run by `memory/retention.ts`. */
  clerkDriftEntries: defineTable(vDriftEntry).index("by_runId_and_clerkId", ["runId", "clerkId"]),
  /** Open questions, one entry per id: of a run, gone when it ends, or, without `runId`, of events and people. Written by `memory/doubts.ts`. */
  clerkDoubts: defineTable({
    runId: v.optional(v.id("clerkRuns")),
    clerkId: v.string(),
    state: vDoubtState,
    /** When it was raised last, and from when on Clerk may be asked, ms. */
    raisedAt: v.number(),
    dueAt: v.number(),
    /** How often it was left again for a lockout that had not ended. */
    rounds: v.optional(v.number()),
    /** The key of the crowd in which it was met. */
    crowd: v.optional(v.number()),
    /** The creation time at which a row stood and Clerk listed nobody. */
    unlistedAt: v.optional(v.number()),
  })
    .index("by_runId_and_state_and_dueAt", ["runId", "state", "dueAt"])
    .index("by_runId_and_clerkId", ["runId", "clerkId"]),
  /** Rows of `users` on their way out, while the app's `erase` is at work on what hangs on them. Written by `mirror/erasure.ts`. */
  clerkErasures: defineTable({
    clerkId: v.string(),
    userId: v.id("users"),
    /** Whether it is a purge: of a mark the app's `removed` was told. */
    isPurge: v.boolean(),
    /** Which call goes on with it: another one was overtaken. And when that one was called, ms. */
    step: v.number(),
    calledAt: v.number(),
    /** Why the last one did not get further; and whether any has. */
    refusal: v.optional(v.string()),
    hasErased: v.optional(v.boolean()),
  })
    .index("by_clerkId", ["clerkId"])
    .index("by_calledAt", ["calledAt"]),
  /** One small row. Written by `memory/state.ts`. Every event reads it, so only one of another instance writes it, or the next one after it. */
  clerkSyncState: defineTable({
    /** The Clerk instance that is mirrored, set by the first full run, or by `pinInstance`. */
    instanceId: v.optional(v.string()),
    /** The instance of the newest verified event, where that is another one than the mirrored. */
    newestEventInstanceId: v.optional(v.string()),
    /** In rows of before 0.1.0 alone. */
    eventInstanceIds: v.optional(v.array(v.string())),
    /** Whether `instanceId` was changed on purpose and no full run has completed since; and when, ms. */
    isMoved: v.optional(v.boolean()),
    movedAt: v.optional(v.number()),
    /** Whether rows may stem from events of another instance: they came before this one was mirrored, and no full run has completed since. */
    isToConfirm: v.optional(v.boolean()),
    /** When the newest real run of each mode began, whatever becomes of it, ms. */
    fullRunStartedAt: v.optional(v.number()),
    recentRunStartedAt: v.optional(v.number()),
    /** When a run was last asked for as due, as the schedule does, ms. */
    lastTickAt: v.optional(v.number()),
    /** When the last real run of each mode that completed or was held began, ms. */
    lastFullRunStartedAt: v.optional(v.number()),
    lastRecentRunStartedAt: v.optional(v.number()),
    /** How events came, as the last run knew it; what came since stands with the versions. */
    deliveries: v.optional(v.array(vDelivery)),
    /** Whether a full run ever completed or was held, of whatever instance: from then on rows count from when they are met. */
    hasRunFull: v.optional(v.boolean()),
    /** The column from which `adopt:fill` fills in ids, until it is done. */
    fillsFrom: v.optional(v.string()),
    /** The last real run that completed, was held or failed. */
    lastRunId: v.optional(v.id("clerkRuns")),
    /** The columns of `fields.ts` as the last real full run that completed or was held began. */
    columns: v.optional(v.array(v.string())),
    /** The last real full run that completed or was held. */
    lastFullRunId: v.optional(v.id("clerkRuns")),
    /** Of the last full run that completed, of this instance: whom it met, and how many repairs may still remove. */
    completedFullRun: v.optional(
      v.object({
        runId: v.id("clerkRuns"),
        startedAt: v.number(),
        met: v.number(),
        removalsLeft: v.number(),
      }),
    ),
    /** Whether a full run held more users by itself than it could write down, and none has completed since. */
    isHeldAtLarge: v.optional(v.boolean()),
    /** The same of one that held them for `maxDeletions` alone. */
    isHeldAtLargeByLimit: v.optional(v.boolean()),
    /** The last recent run since that one that set users aside. */
    setAsideRunId: v.optional(v.id("clerkRuns")),
  }),
};
