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

/** A validator that knew more of the columns would quote the record where it does not fit, and Convex logs that. */
export type Columns = Record<string, unknown>;
export const vColumns = v.any() as VAny<Columns>;

/** What mirrors a user. Of the columns of `fields.ts` null is nothing, and one that is left out stays as it is. */
export const vProfile = v.object({
  clerkId: v.string(),
  /** Clerk's `created_at`, ms. */
  clerkCreatedAt: v.number(),
  columns: vColumns,
});
export type Profile = Infer<typeof vProfile>;

/** The app's own columns of a row that is created, or why there are none. */
export const vNewFields = v.union(
  v.object({ columns: vColumns }),
  v.object({ refusal: v.string() }),
);
export type NewFields = Infer<typeof vNewFields>;

/** A column, and why it is not mirrored as Clerk has it, without any value. */
const vLeftOut = v.object({ field: v.string(), reason: v.string() });
export type LeftOut = Infer<typeof vLeftOut>;

const vPlaced = {
  /** Clerk's `updated_at`, ms. */
  version: v.number(),
  /** Its key in the list, see `keyOf`, where Clerk lists it out of the order asked for. */
  placedAt: v.optional(v.number()),
};
/** A user as Clerk's JSON shows it, or why it can't be read, without any value; in a place that `readPage` sees to. */
export const vReading = v.union(
  vProfile.extend({
    kind: v.literal("profile"),
    ...vPlaced,
    newFields: v.optional(vNewFields),
    /** After how long Clerk changes the user without an event, ms: see `endOfLockout`. */
    endsInMs: v.optional(v.number()),
    /** Columns that Convex can't hold, or that could not be read. */
    leftOut: v.array(vLeftOut),
  }),
  vProfile
    .omit("columns")
    .extend({ kind: v.literal("unreadable"), ...vPlaced, reason: v.string() }),
);
export type Reading = Infer<typeof vReading>;

export type Order = "+created_at" | "-updated_at";

/** What a list of users is sorted by, ascending: a creation time, or a negated time of change, ms. */
export function keyOf(
  at: Pick<Reading, "clerkCreatedAt" | "version" | "placedAt">,
  order: Order,
): number {
  if (at.placedAt !== undefined) return at.placedAt;
  return order === "-updated_at" ? -at.version : at.clerkCreatedAt;
}

/** The events about users; nothing else concerns the sync. */
export const vEventType = v.union(
  v.literal("user.created"),
  v.literal("user.updated"),
  v.literal("user.deleted"),
);
export type EventType = Infer<typeof vEventType>;
export const EVENT_TYPES = vEventType.members.map(({ value }) => value);
