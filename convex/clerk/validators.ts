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
