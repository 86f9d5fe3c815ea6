/** Validators, and the types that follow from them. */
import { v, type Infer, type VAny } from "convex/values";

const vIdentity = { clerkId: v.string(), clerkCreatedAt: v.number() };

/**
 * A record of columns. A validator that knew more of them would quote the record where it does not fit, and Convex
 * logs that.
 */
export type Columns = Record<string, unknown>;
export const vColumns = v.any() as VAny<Columns>;

/**
 * What the sync mirrors of one user: columns, of which null stands for nothing; one that is to be left as it is, is
 * not there. `clerkCreatedAt`: Clerk's `created_at`, ms.
 */
export type Profile = { clerkId: string; clerkCreatedAt: number } & Columns;
export const vProfile = v.any() as VAny<Profile>;

/** The app's own columns of a row that were to be created, or why there are none. */
export const vNewFields = v.union(
  v.object({ columns: vColumns }),
  v.object({ refusal: v.string() }),
);
export type NewFields = Infer<typeof vNewFields>;

/** A column, and why it is not mirrored as Clerk has it, without any value. */
const vLeftOut = v.object({ field: v.string(), reason: v.string() });
export type LeftOut = Infer<typeof vLeftOut>;

/**
 * A user as Clerk's JSON shows it: a profile, or the reason (without any value) why there is none. What
 * a list entry lacks to be placed by, it has from the entry before (`readPage`).
 */
export const vReading = v.union(
  v.object({
    kind: v.literal("profile"),
    profile: vProfile,
    newFields: v.optional(vNewFields),
    /** Clerk's `updated_at`, ms. */
    version: v.number(),
    /** After how long Clerk changes the user without an event, ms: see `endOfLockout`. */
    endsInMs: v.optional(v.number()),
    /** Columns that Convex can't hold, or that could not be read. */
    leftOut: v.array(vLeftOut),
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
