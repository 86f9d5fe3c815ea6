/** The words in which rooms speak of a user of Clerk: ids, profiles, readings, events. */
import { type Infer, v, type VAny } from "convex/values";

/** Whether a text has the shape of a Clerk user id, `user_…`. */
export function isClerkId(id: string): boolean {
  return /^user_\w{1,64}$/.test(id);
}

/** The Clerk user id that a text is, or that stands behind its last "|", as in Convex's `tokenIdentifier`; or null. */
export function clerkIdWithin(text: string): string | null {
  const id = text.slice(text.lastIndexOf("|") + 1);
  return isClerkId(id) ? id : null;
}

/** The shape of the id of a Clerk instance, behind which no key can stand. */
export const INSTANCE_ID = /^ins_(?!.*([sp]k_(test|live)_|whsec_))\w{1,60}$/;

const vIdentity = { clerkId: v.string(), clerkCreatedAt: v.number() };

/** A validator that knew more of the columns would quote the record where it does not fit, and Convex logs that. */
export type Columns = Record<string, unknown>;
export const vColumns = v.any() as VAny<Columns>;

/** Columns that mirror a user: null is nothing, one left out stays as it is. `clerkCreatedAt`: Clerk's, ms. */
export type Profile = { clerkId: string; clerkCreatedAt: number } & Columns;
export const vProfile = v.any() as VAny<Profile>;

/** The app's own columns of a row that is created, or why there are none. */
export const vNewFields = v.union(
  v.object({ columns: vColumns }),
  v.object({ refusal: v.string() }),
);
export type NewFields = Infer<typeof vNewFields>;

/** A column, and why it is not mirrored as Clerk has it, without any value. */
const vLeftOut = v.object({ field: v.string(), reason: v.string() });
export type LeftOut = Infer<typeof vLeftOut>;

/** A user as Clerk's JSON shows it, or why it can't be read, without any value; in a place that `readPage` sees to. */
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
