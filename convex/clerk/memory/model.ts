/** What is kept of runs and of ids: validators, and the types that follow from them. */
import { type Infer, v } from "convex/values";
import { vEventType } from "../shared/user.js";

/** A place in a list: `key` is Clerk's `created_at`, or its negated `updated_at`, then comes the id, "" first. */
export const vPosition = v.object({ key: v.number(), clerkId: v.string() });
export type Position = Infer<typeof vPosition>;

/** A listing of users who share one key and are more than a page: see `crowdAfter`. */
export const vCrowd = v.object({
  key: v.number(),
  /** Where a pass through them begins in the list, and where the next page does. */
  start: v.number(),
  offset: v.number(),
  /** Who ended the last page of this pass: the next one begins with that user, unless somebody slipped between. */
  last: v.optional(v.string()),
  /** Who made up a page of one, and stands right before the next page: it can't begin with them. */
  before: v.optional(v.string()),
  /** Whether anybody of it has a time. */
  isDated: v.optional(v.boolean()),
  /** Whether a page of this pass began otherwise; and whether one held nobody who could come again with the next. */
  isBroken: v.optional(v.boolean()),
  isUnsure: v.optional(v.boolean()),
  /** Where in the list the first of them stands, once this pass has seen it. */
  first: v.nullable(v.number()),
  /** How many different ones were met, how many of them in this pass, and how many passes met nobody new. */
  met: v.number(),
  fresh: v.number(),
  idle: v.number(),
});
export type Crowd = Infer<typeof vCrowd>;

/** How far a list is settled: everyone up to `settled`; `crowd` while the users there are listed. */
const vListed = { settled: vPosition, crowd: v.optional(vCrowd) };

/** What is known of users whose transactions throw, see `Batch`. */
export const vBatch = v.object({
  /** How many one takes at most, and how often it has thrown. */
  limit: v.number(),
  throws: v.number(),
  /** Who is to be set aside, and why. */
  setAside: v.optional(v.object({ clerkId: v.string(), reason: v.string() })),
  /** Whether Clerk failed about an id for the whole wait, so that the next such one is waited for less. */
  isWaitedFor: v.boolean(),
});

/** Through users changed after `since` (ms), the latest first. `isAgain`: Clerk's count did not add up. */
export const vLookBack = v.object({
  kind: v.literal("lookBack"),
  ...vListed,
  since: v.number(),
  offset: v.number(),
  isAgain: v.boolean(),
  /** Until when the walk, or the look before this one, has met users, ms. */
  metUntil: v.optional(v.number()),
  /** Whether the page before held none but settled ones; and how often it had to turn back since it last got further. */
  hasPassed: v.optional(v.boolean()),
  turns: v.optional(v.number()),
});

/** Where a run stands: enough to go on from here in another function call. */
const vPhase = v.union(
  v.object({ kind: v.literal("begin") }),
  /** All users by creation time. `metCrowd`: a crowd was met, whose rows are left; `isLast` perhaps the last of all, else `next` the time after it. */
  v.object({
    kind: v.literal("walk"),
    ...vListed,
    metCrowd: v.optional(
      v.object({ key: v.number(), isLast: v.boolean(), next: v.optional(v.number()) }),
    ),
  }),
  vLookBack,
  /**
   * Clerk is asked how many users it had when the run began. `metUntil`: when the look-back before has ended, ms;
   * `settledId`: once that is done, up to which id rows without a creation time are doubted.
   */
  v.object({
    kind: v.literal("count"),
    isAgain: v.boolean(),
    metUntil: v.optional(v.number()),
    settledId: v.optional(v.string()),
  }),
  v.object({ kind: v.literal("evidence") }),
  /** `allowed`: deletions that the run may have made in the end. */
  v.object({ kind: v.literal("delete"), allowed: v.number() }),
);
export type Phase = Infer<typeof vPhase>;

const vEnd = { finishedAt: v.number() };
/** How far a run is, or how it ended: see the diagram in convex/clerk/README.md. */
export const vRunState = v.union(
  v.object({
    kind: v.literal("running"),
    phase: vPhase,
    /** The checkpoint: a step that names another one was overtaken and changes nothing. */
    step: v.number(),
    leaseExpiresAt: v.number(),
    /** How often it was resumed since a step last got further. */
    resumptions: v.number(),
    /** Since when every step has failed, ms; and how few users it takes at once by now, see `Batch`. */
    failingSince: v.optional(v.number()),
    batch: v.optional(vBatch),
    /** Until when, ms, nothing is to be done, and what it waits for, as a sentence. */
    notBefore: v.optional(v.number()),
    waitsFor: v.optional(v.string()),
    /** The call that is scheduled to go on. */
    scheduledId: v.optional(v.id("_scheduled_functions")),
  }),
  v.object({ kind: v.literal("completed"), ...vEnd }),
  v.object({ kind: v.literal("held"), ...vEnd, reason: v.string() }),
  v.object({
    kind: v.literal("failed"),
    ...vEnd,
    reason: v.string(),
    /** The command that mends it, where there is one. */
    next: v.optional(v.string()),
  }),
  v.object({ kind: v.literal("cancelled"), ...vEnd }),
);
export type RunState = Infer<typeof vRunState>;

/** Of each kind of change the newest that no event had told of, ms; 0 where there is none. */
const vMissed = v.object({ created: v.number(), updated: v.number(), deleted: v.number() });

/** The counts that a Report tells, all in users where nothing else is said. */
export const vReported = v.object({
  /** How many Clerk has, as it counts them itself; in a full run, of those who were there when it began. */
  clerkUsers: v.number(),
  /** Compared, each once. */
  scanned: v.number(),
  /** Of the scanned those whose row was right. */
  unchanged: v.number(),
  /** Differences found, each id once a run, in a dry run too. */
  drift: v.object({ missing: v.number(), stale: v.number(), orphaned: v.number() }),
  /** Rows written; none in a dry run. */
  repaired: v.object({ created: v.number(), updated: v.number(), deleted: v.number() }),
  /** Orphaned and not deleted. */
  held: v.number(),
  /** Not mirrored, or not wholly, for a reason that the report gives. */
  setAside: v.number(),
  /** Too early to judge: asked about again five minutes later. */
  postponed: v.number(),
  /** How many fewer were met than Clerk counts, of those created before the run began. */
  unlisted: v.number(),
  /** Requests to Clerk. */
  requests: v.number(),
  /** Rows with a `clerkId` that is no Clerk user id: they are the app's own, and not judged. */
  appOwned: v.number(),
  /** Rows marked as removed long ago that are gone for good; in a dry run, that would be. */
  purged: v.number(),
  /** Rows that are marked as removed and wait for that: see `purgeAfterMs`. */
  waiting: v.number(),
});

/** All that is counted of a run. What came to a Report later, stored counts of an older version lack. */
export const vCounts = v.object({
  ...vReported.fields,
  ...vReported.pick("appOwned", "purged", "waiting").partial().fields,
  /** Met, of those whom Clerk's count is compared with: created before the run began. */
  listed: v.number(),
  /** Of those created in the last five minutes before, whom the walk met, and whom the look-back. */
  lately: v.optional(v.object({ walked: v.number(), looked: v.number() })),
  /** Of the postponed those whom Clerk does not know. */
  postponedOrphans: v.number(),
  /** Rows from before the run whose user Clerk has, each once. */
  confirmed: v.number(),
  /** Orphans that are held whatever becomes of others. */
  lone: v.number(),
  /** Of the orphaned and the postponed ones those of whom Clerk itself has told. */
  told: v.optional(v.number()),
  /** Rows of `clerkDriftEntries`. */
  entries: v.number(),
  missed: vMissed,
});
export type Counts = Infer<typeof vCounts>;

export const vDriftEntry = v.object({
  runId: v.id("clerkRuns"),
  clerkId: v.string(),
  /** In Clerk only, in both but different, in Convex only, twice in Convex, marked as removed long ago. */
  kind: v.union(
    v.literal("missing"),
    v.literal("stale"),
    v.literal("orphaned"),
    v.literal("duplicate"),
    v.literal("marked"),
  ),
  /** Names of the columns that differed. */
  fields: v.array(v.string()),
  /** What was done about it; `none` in a dry run, `postponed` for five minutes. */
  action: v.union(
    v.literal("created"),
    v.literal("updated"),
    v.literal("deleted"),
    v.literal("purged"),
    v.literal("held"),
    v.literal("setAside"),
    v.literal("postponed"),
    v.literal("none"),
  ),
  reason: v.optional(v.string()),
});
export type DriftEntry = Infer<typeof vDriftEntry>;

/** What is found out so far about an id that a listing, an event or a person left open. */
export const vDoubtState = v.union(
  v.literal("open"),
  /** The same of one that lacked on a page which held others, and is to be asked about once more. */
  v.literal("absent"),
  /** Clerk does not know it. */
  v.literal("orphaned"),
  /** The same of one that is held whatever becomes of others. */
  v.literal("lone"),
  /** The same of one whose row was marked long ago, and is to be purged. */
  v.literal("marked"),
  /** No doubt: met among users who share one key, see `vCrowd`. */
  v.literal("met"),
);

/** A doubt that Clerk is asked about: raised at another time (ms), it is another one. */
export const vAsked = v.object({ clerkId: v.string(), raisedAt: v.number() });
export type Asked = Infer<typeof vAsked>;

/** What a step takes a run on from, and the requests that Clerk was sent on the way. */
export const vCheckpoint = v.object({
  runId: v.id("clerkRuns"),
  step: v.number(),
  requests: v.number(),
});

/** Page size of Clerk's user list: its own maximum (`LimitParameter` of its OpenAPI document). */
export const MAX_PAGE_SIZE = 500;
/** `full`: everyone; `recent`: those changed since the run before; `doubts`: those that events and people left, of one day. */
export const vReportMode = v.union(v.literal("full"), v.literal("recent"), v.literal("doubts"));
/** What a run is asked for: see `reconcile:run`. `due`: whichever mode is, as the schedule asks. */
export const vRunAsked = v.object({
  mode: v.union(v.literal("full"), v.literal("recent"), v.literal("due")),
  dryRun: v.boolean(),
  maxDeletions: v.optional(v.number()),
  pageSize: v.number(),
});

const vBy = v.union(v.literal("event"), v.literal("run"));
/** What is known of an id beside its row. Times are ms since 1970 by Convex's clock. */
export const vVersion = v.object({
  clerkId: v.string(),
  /** Applied, gone from Clerk, or only heard of: by an event that changed nothing, or as a row of the app's. */
  kind: v.union(v.literal("live"), v.literal("tombstone"), v.literal("met")),
  /** Of one that is live: Clerk's `updated_at` (ms) of the newest change that was applied. */
  version: v.optional(v.number()),
  appliedAt: v.number(),
  appliedBy: vBy,
  /** The Clerk instance of the event that applied it. */
  instanceId: v.optional(v.string()),
  /** When an event last named it, when one of each type did, and the Clerk instance of the last one. */
  eventAt: v.optional(v.number()),
  createdEventAt: v.optional(v.number()),
  updatedEventAt: v.optional(v.number()),
  deletedEventAt: v.optional(v.number()),
  eventInstanceId: v.optional(v.string()),
  /** Clerk's `updated_at` (ms) of what the last events said, the newest of five minutes. */
  heardVersion: v.optional(v.number()),
  /** When somebody signed up whom another event than `user.created` made known, until one comes. */
  untoldAt: v.optional(v.number()),
  /** When the sync first met a row of it that it had not made; 0 where no full run had ended before. */
  metAt: v.optional(v.number()),
  /** When a full run held it, until a person says that it may go; and whether it did so for `maxDeletions` alone. */
  heldAt: v.optional(v.number()),
  isHeldByLimit: v.optional(v.boolean()),
});
export type Version = Infer<typeof vVersion>;

/** How events of a type come, all times in ms. */
export const vDelivery = v.object({
  type: vEventType,
  lastEventAt: v.optional(v.number()),
  /** When a change was made that a run had to find out, and no event has come since. */
  missedAt: v.optional(v.number()),
});
export type Delivery = Infer<typeof vDelivery>;
