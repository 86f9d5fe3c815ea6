/**
 * Validators and tables of the sync. Spread `clerkTables` into the app's schema and define its
 * `users` with `usersTable`.
 */
import { defineTable, type TableDefinition } from "convex/server";
import {
  v,
  type Infer,
  type ObjectType,
  type PropertyValidators,
  type VObject,
} from "convex/values";
import { profileFields } from "./app";

const vIdentity = { clerkId: v.string(), clerkCreatedAt: v.number() };

/** What the sync mirrors of one user. `clerkCreatedAt`: Clerk's `created_at`, ms. */
export const vProfile = v.object({ ...v.object(profileFields).partial().fields, ...vIdentity });
export type Profile = Infer<typeof vProfile>;

/** A user as Clerk's JSON shows it: a profile, or the reason (without any value) why there is none. */
export const vReading = v.union(
  v.object({
    kind: v.literal("profile"),
    profile: vProfile,
    /** Clerk's `updated_at`, ms. */
    version: v.number(),
    /** Fields that Convex can't hold, with the reason; the profile lacks them. */
    leftOut: v.array(v.object({ field: v.string(), reason: v.string() })),
  }),
  v.object({ kind: v.literal("unreadable"), ...vIdentity, reason: v.string() }),
);
export type Reading = Infer<typeof vReading>;

/** Fields that are mirrored, all optional: a guest's row has none, an old row may lack some. */
const mirroredFields = vProfile.partial().fields;

type NoProfileField<Own> = {
  [Field in keyof Own]: Field extends keyof typeof mirroredFields
    ? `${Field & string} is a mirrored profile field: rename yours, or drop it from clerk/app.ts`
    : Own[Field];
};

type MirroredIndexes = {
  by_clerkId: ["clerkId", "_creationTime"];
  by_clerkCreatedAt_and_clerkId: ["clerkCreatedAt", "clerkId", "_creationTime"];
};
type UsersTable<Fields extends PropertyValidators> = TableDefinition<
  VObject<ObjectType<Fields>, Fields>,
  MirroredIndexes
>;

/**
 * The `users` table: mirrored fields, written by `mirror.ts` only, beside the app's own fields,
 * which the sync writes once, on creation. Add the app's own indexes by chaining `.index(…)`.
 */
export function usersTable<Own extends PropertyValidators>(ownFields: Own & NoProfileField<Own>) {
  const table = defineTable({ ...(ownFields as PropertyValidators), ...mirroredFields })
    .index("by_clerkId", ["clerkId"])
    .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]);
  // `defineTable` can't work out field paths for fields that are still a type parameter.
  return table as unknown as UsersTable<Own & typeof mirroredFields>;
}

/** Times are ms since 1970 by Convex's clock. */
const vApplied = {
  clerkId: v.string(),
  appliedAt: v.number(),
  appliedBy: v.union(v.literal("event"), v.literal("run")),
};
export const vVersion = v.union(
  /** `version`: Clerk's `updated_at` (ms) of the newest change that was applied. */
  v.object({ kind: v.literal("live"), ...vApplied, version: v.number() }),
  /** The id is gone from Clerk. */
  v.object({ kind: v.literal("tombstone"), ...vApplied }),
);
export type Version = Infer<typeof vVersion>;

/** A place in the order in which a full run settles users; ids sort after "". */
export const vPosition = v.object(vIdentity);
export type Position = Infer<typeof vPosition>;

/** Where a run stands: enough to go on from here in another function call. */
export const vPhase = v.union(
  v.object({ kind: v.literal("begin") }),
  /** All users and rows up to `settled` are compared. `expected`: Clerk's count as the run began. */
  v.object({ kind: v.literal("walk"), settled: vPosition, expected: v.number() }),
  /** `offset` users, newest change first, are looked at again. */
  v.object({ kind: v.literal("lookBack"), offset: v.number(), expected: v.number() }),
  /** Rows without a creation time up to `settledId` are taken as suspects. */
  v.object({ kind: v.literal("undated"), settledId: v.string() }),
  v.object({ kind: v.literal("evidence") }),
  v.object({ kind: v.literal("delete") }),
);
export type Phase = Infer<typeof vPhase>;

const vEnd = { finishedAt: v.number() };
export const vRunState = v.union(
  v.object({
    kind: v.literal("running"),
    phase: vPhase,
    /** The checkpoint: a step that names another one was overtaken and changes nothing. */
    step: v.number(),
    leaseExpiresAt: v.number(),
  }),
  v.object({ kind: v.literal("completed"), ...vEnd }),
  v.object({ kind: v.literal("held"), ...vEnd, reason: v.string() }),
  v.object({ kind: v.literal("failed"), ...vEnd, reason: v.string() }),
);
export type RunState = Infer<typeof vRunState>;

export const vCounts = v.object({
  clerkUsers: v.number(),
  scanned: v.number(),
  unchanged: v.number(),
  drift: v.object({ missing: v.number(), stale: v.number(), orphaned: v.number() }),
  repaired: v.object({ created: v.number(), updated: v.number(), deleted: v.number() }),
  setAside: v.number(),
  postponed: v.number(),
  requests: v.number(),
  /** Users seen in the look-back; with `scanned`, what is held against Clerk's count. */
  lookedBack: v.number(),
  /** Rows of the mirror whose user the walk met. */
  confirmed: v.number(),
  /** Orphans that neither an event nor a run ever confirmed. */
  unversioned: v.number(),
  /** Rows of `driftEntries`. */
  entries: v.number(),
});
export type Counts = Infer<typeof vCounts>;

export const vDriftEntry = v.object({
  runId: v.id("reconcileRuns"),
  clerkId: v.string(),
  /** In Clerk only, in both but different, in Convex only, twice in Convex. */
  kind: v.union(
    v.literal("missing"),
    v.literal("stale"),
    v.literal("orphaned"),
    v.literal("duplicate"),
  ),
  /** Names of the profile fields that differed. */
  fields: v.array(v.string()),
  /** What was done about it; `none` in a dry run, `postponed` to a later run. */
  action: v.union(
    v.literal("created"),
    v.literal("updated"),
    v.literal("deleted"),
    v.literal("held"),
    v.literal("setAside"),
    v.literal("postponed"),
    v.literal("none"),
  ),
  reason: v.optional(v.string()),
});
export type DriftEntry = Infer<typeof vDriftEntry>;

/** What a step takes a run on from, and the requests that Clerk was sent on the way. */
export const vCheckpoint = v.object({
  runId: v.id("reconcileRuns"),
  step: v.number(),
  requests: v.number(),
});

/** Page size of Clerk's user list: its own maximum (`LimitParameter` of its OpenAPI document). */
export const MAX_PAGE_SIZE = 500;
export const vRunOptions = v.object({
  mode: v.literal("full"),
  dryRun: v.boolean(),
  maxDeletions: v.optional(v.number()),
  pageSize: v.number(),
});

export const clerkTables = {
  /**
   * One row per Clerk id that a change was applied to. Written by `mirror.ts` in the transaction
   * that writes the user. Apart from `users` because it changes with every event.
   */
  clerkVersions: defineTable(vVersion).index("by_clerkId", ["clerkId"]),
  /** One row per run. Written by `runs.ts`; changes with every page, so subscribe to it sparingly. */
  reconcileRuns: defineTable(
    v.object({ ...vRunOptions.fields, startedAt: v.number(), state: vRunState, counts: vCounts }),
  ).index("by_state_kind", ["state.kind"]),
  /** What a run found. Written by `runs.ts`. */
  driftEntries: defineTable(vDriftEntry).index("by_runId_and_clerkId", ["runId", "clerkId"]),
  /** Open questions of the running run, gone when it ends. Written by `runs.ts`. */
  reconcileSuspects: defineTable({
    runId: v.id("reconcileRuns"),
    clerkId: v.string(),
    /** `settled`: a dry run counted this id already, in another window than its row's. */
    state: v.union(v.literal("open"), v.literal("orphaned"), v.literal("settled")),
  })
    .index("by_runId_and_state", ["runId", "state"])
    .index("by_runId_and_clerkId", ["runId", "clerkId"]),
  /** One small row. Written by `runs.ts`; read by every event, so it changes with runs only. */
  syncState: defineTable({
    /** The Clerk instance that is mirrored, set by the first full run. */
    instanceId: v.optional(v.string()),
    /** When the last completed or held full run began, ms. */
    lastFullRunStartedAt: v.optional(v.number()),
  }),
};
