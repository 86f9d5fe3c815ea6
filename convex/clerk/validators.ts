/** Validators, and the types that follow from them. */
import { v, type Infer } from "convex/values";
import { profileFields } from "./app";

const vIdentity = { clerkId: v.string(), clerkCreatedAt: v.number() };

/** What the sync mirrors of one user. `clerkCreatedAt`: Clerk's `created_at`, ms. */
export const vProfile = v.object({ ...v.object(profileFields).partial().fields, ...vIdentity });
export type Profile = Infer<typeof vProfile>;
/** Names of the mirrored fields. `Object.keys` has no type for them. */
export const PROFILE_FIELDS = Object.keys(vProfile.fields) as (keyof Profile)[];

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

/** Times are ms since 1970 by Convex's clock. */
const vApplied = {
  clerkId: v.string(),
  appliedAt: v.number(),
  appliedBy: v.union(v.literal("event"), v.literal("run")),
};
/** What is known of an id beside its row: the newest change that was applied, or that it is gone. */
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

/**
 * A walk through the users who share the creation time at which the walk stands, because they are
 * more than a page. `offset` of them are compared, the last one is `seam`: the next page must begin
 * with that one, or something shifted and the crowd begins again.
 */
export const vCrowd = v.union(
  v.object({
    kind: v.literal("listing"),
    offset: v.number(),
    seam: v.nullable(v.string()),
    restarts: v.number(),
  }),
  /** All are listed; rows up to `until` (null: all that are left) can be settled. */
  v.object({ kind: v.literal("listed"), until: v.nullable(vPosition) }),
);

/** Where a run stands: enough to go on from here in another function call. */
const vPhase = v.union(
  v.object({ kind: v.literal("begin") }),
  /** All users and rows up to `settled` are compared. `expected`: Clerk's count as the run began. */
  v.object({
    kind: v.literal("walk"),
    settled: vPosition,
    expected: v.number(),
    crowd: v.optional(vCrowd),
  }),
  /** Users changed after `since` (ms) are compared, newest change first; see `vCrowd`. */
  v.object({
    kind: v.literal("lookBack"),
    since: v.number(),
    offset: v.number(),
    seam: v.nullable(v.string()),
    restarts: v.number(),
    expected: v.number(),
  }),
  /** Rows without a creation time up to `settledId` are taken as suspects. */
  v.object({ kind: v.literal("undated"), settledId: v.string() }),
  v.object({ kind: v.literal("evidence") }),
  v.object({ kind: v.literal("delete") }),
);
export type Phase = Infer<typeof vPhase>;

const vEnd = { finishedAt: v.number() };
/** How far a run is, or how it ended: see the diagram in README.md of this folder. */
export const vRunState = v.union(
  v.object({
    kind: v.literal("running"),
    phase: vPhase,
    /** The checkpoint: a step that names another one was overtaken and changes nothing. */
    step: v.number(),
    leaseExpiresAt: v.number(),
    /** How often it was resumed since a step last got further. */
    resumptions: v.number(),
    /** Since when every step has failed, ms. */
    failingSince: v.optional(v.number()),
  }),
  v.object({ kind: v.literal("completed"), ...vEnd }),
  v.object({ kind: v.literal("held"), ...vEnd, reason: v.string() }),
  v.object({ kind: v.literal("failed"), ...vEnd, reason: v.string() }),
  v.object({ kind: v.literal("cancelled"), ...vEnd }),
);
export type RunState = Infer<typeof vRunState>;

/** The events about users; nothing else concerns the sync. */
export const vEventType = v.union(
  v.literal("user.created"),
  v.literal("user.updated"),
  v.literal("user.deleted"),
);
export type EventType = Infer<typeof vEventType>;

/** How events of a type come, all times in ms. */
export const vDelivery = v.object({
  type: vEventType,
  lastEventAt: v.optional(v.number()),
  /** When a change was made that a run had to find out, and no event has come since. */
  missedAt: v.optional(v.number()),
});
export type Delivery = Infer<typeof vDelivery>;

/** Of each kind of change the newest that no event had told of, ms; 0 where there is none. */
const vMissed = v.object({ created: v.number(), updated: v.number(), deleted: v.number() });

/** What a run counts, all in users where nothing else is said. */
export const vCounts = v.object({
  /** How many Clerk has, as it counts them itself. */
  clerkUsers: v.number(),
  /** Compared, each once. */
  scanned: v.number(),
  /** Of the scanned those whose row was right. */
  unchanged: v.number(),
  /** Differences found, each id once a run, in a dry run too. */
  drift: v.object({ missing: v.number(), stale: v.number(), orphaned: v.number() }),
  /** Rows written; none in a dry run. */
  repaired: v.object({ created: v.number(), updated: v.number(), deleted: v.number() }),
  /** Not mirrored, or not wholly, for a reason that the report gives. */
  setAside: v.number(),
  /** Left to a repair of their own, five minutes later. */
  postponed: v.number(),
  /** Of the postponed those whom Clerk does not know: a repair removes them, unless the run is held. */
  postponedOrphans: v.number(),
  /** Requests to Clerk. */
  requests: v.number(),
  /** Users found by the look-back whom the walk can't have met: they came or moved behind it. */
  placed: v.number(),
  /** Rows of the mirror whose user the walk met. */
  confirmed: v.number(),
  /** Orphans that neither an event nor a run ever confirmed. */
  unversioned: v.number(),
  /** Rows of `driftEntries`. */
  entries: v.number(),
  missed: vMissed,
});
export type Counts = Infer<typeof vCounts>;

/** One finding of a run. */
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
  /** What was done about it; `none` in a dry run, `postponed` to a repair of its own, five minutes later. */
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

/** What a run has found out so far about an id that a listing left open. */
export const vSuspectState = v.union(
  /** To be asked about. */
  v.literal("open"),
  /** Clerk does not know it. */
  v.literal("orphaned"),
  /**
   * No suspect, but to be remembered: listed or counted where its row is not, a member of a crowd who
   * was compared, or one whose entry is past the cap.
   */
  v.literal("settled"),
  /** No suspect: an event moved its row to another creation time while the run walked. */
  v.literal("moved"),
);

/** What a step takes a run on from, and the requests that Clerk was sent on the way. */
export const vCheckpoint = v.object({
  runId: v.id("reconcileRuns"),
  step: v.number(),
  requests: v.number(),
});

/** Page size of Clerk's user list: its own maximum (`LimitParameter` of its OpenAPI document). */
export const MAX_PAGE_SIZE = 500;
/** `full`: everyone; `recent`: those changed since the run before. */
export const vMode = v.union(v.literal("full"), v.literal("recent"));
/** What a run was asked for: see `reconcile:run`. */
export const vRunOptions = v.object({
  mode: vMode,
  dryRun: v.boolean(),
  maxDeletions: v.optional(v.number()),
  pageSize: v.number(),
});
