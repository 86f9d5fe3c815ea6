/** Validators, and the types that follow from them. */
import { v, type Infer } from "convex/values";
import { profileFields } from "./app";

const vIdentity = { clerkId: v.string(), clerkCreatedAt: v.number() };

/** What the sync mirrors of one user. `clerkCreatedAt`: Clerk's `created_at`, ms. */
export const vProfile = v.object({ ...v.object(profileFields).partial().fields, ...vIdentity });
export type Profile = Infer<typeof vProfile>;
/** Names of the mirrored fields. `Object.keys` has no type for them. */
export const PROFILE_FIELDS = Object.keys(vProfile.fields) as (keyof Profile)[];

/**
 * A user as Clerk's JSON shows it: a profile, or the reason (without any value) why there is none. What
 * a list entry lacks to be placed by, it has from the entry before (`readPage`).
 */
export const vReading = v.union(
  v.object({
    kind: v.literal("profile"),
    profile: vProfile,
    /** Clerk's `updated_at`, ms. */
    version: v.number(),
    /** After how long Clerk changes the user without an event, ms: see `endOfLockout`. */
    endsInMs: v.optional(v.number()),
    /** Fields that Convex can't hold, with the reason; the profile lacks them. */
    leftOut: v.array(v.object({ field: v.string(), reason: v.string() })),
  }),
  v.object({
    kind: v.literal("unreadable"),
    ...vIdentity,
    version: v.number(),
    reason: v.string(),
  }),
);
export type Reading = Infer<typeof vReading>;

const vBy = v.union(v.literal("event"), v.literal("run"));
/** What is known of an id beside its row. Times are ms since 1970 by Convex's clock. */
export const vVersion = v.object({
  clerkId: v.string(),
  /** Applied, gone from Clerk, or only heard of: by an event that changed nothing, or as a row of the app's. */
  kind: v.union(v.literal("live"), v.literal("tombstone"), v.literal("met")),
  /** Of one that is live: Clerk's `updated_at` (ms) of the newest change that was applied. */
  version: v.optional(v.number()),
  /** When, and by whom, it was applied last. */
  appliedAt: v.number(),
  appliedBy: vBy,
  /** The Clerk instance of the event that applied it. */
  instanceId: v.optional(v.string()),
  /** When an event last named it, and when one of each type did. */
  eventAt: v.optional(v.number()),
  createdEventAt: v.optional(v.number()),
  updatedEventAt: v.optional(v.number()),
  deletedEventAt: v.optional(v.number()),
  /** When the sync first met a row of it that it had not made; 0 where no full run had ended before. */
  metAt: v.optional(v.number()),
  /** When a full run held it: from then on a person has to say that it may go. */
  heldAt: v.optional(v.number()),
  /** Whether it did so for `maxDeletions` alone. */
  isHeldByLimit: v.optional(v.boolean()),
});
export type Version = Infer<typeof vVersion>;

/** The events about users; nothing else concerns the sync. */
export const vEventType = v.union(
  v.literal("user.created"),
  v.literal("user.updated"),
  v.literal("user.deleted"),
);
export type EventType = Infer<typeof vEventType>;
export const EVENT_TYPES = vEventType.members.map(({ value }) => value);

/** How events of a type come, all times in ms. */
export const vDelivery = v.object({
  type: vEventType,
  lastEventAt: v.optional(v.number()),
  /** When a change was made that a run had to find out, and no event has come since. */
  missedAt: v.optional(v.number()),
});
export type Delivery = Infer<typeof vDelivery>;
