/**
 * What this app mirrors, what it adds, and what removal means: the one file of the folder to edit.
 * Types, validators, the diff and the report follow from here.
 */
import type { UserJSON } from "@clerk/backend";
import { v, type Infer } from "convex/values";
import type { Hooks, OwnFields } from "./rows";
import type { Profile } from "./validators";

/**
 * The fields of a `users` row that mirror Clerk, beside `clerkId` and `clerkCreatedAt`. Each is
 * absent where Clerk has nothing. Leave out what changes on every sign-in (each change of a row
 * re-runs the queries subscribed to it) and what clients must not see (`private_metadata`).
 *
 * To mirror one more, add it here and in `readProfileFields`; `npm run typecheck` finds one that is in
 * one place only. To drop one, take it out of both; once a run has filled it in, first let
 * `readProfileFields` say `null` for it until a full run has cleared it everywhere, since Convex
 * refuses a schema that rows don't fit. Rows that runs leave alone keep it (held, set aside, a second
 * one of an id): clear it there yourself.
 */
export const profileFields = {
  username: v.string(),
  firstName: v.string(),
  lastName: v.string(),
  /** First and last name in one, for display. */
  name: v.string(),
  /** The primary address, which need not be the first one listed. */
  email: v.string(),
  emailVerified: v.boolean(),
  phoneNumber: v.string(),
  imageUrl: v.string(),
  clerkExternalId: v.string(),
  publicMetadata: v.record(v.string(), v.any()),
  banned: v.boolean(),
  locked: v.boolean(),
};

type ProfileFields = {
  [Field in keyof typeof profileFields]: Infer<(typeof profileFields)[Field]> | null | undefined;
};

/**
 * Reads the fields above from Clerk's user JSON. Null, undefined and `{}` all mean "absent". What
 * this throws, or returns with a type other than declared above, sets that one user aside.
 */
export function readProfileFields(user: UserJSON): ProfileFields {
  const email = primary(user.email_addresses, user.primary_email_address_id);
  return {
    username: user.username,
    firstName: user.first_name,
    lastName: user.last_name,
    name: [user.first_name, user.last_name].filter(Boolean).join(" ") || null,
    email: email?.email_address,
    emailVerified: email && email.verification?.status === "verified",
    phoneNumber: primary(user.phone_numbers, user.primary_phone_number_id)?.phone_number,
    imageUrl: user.image_url,
    clerkExternalId: user.external_id,
    publicMetadata: user.public_metadata,
    banned: user.banned,
    locked: user.locked,
  };
}

/** The entry that Clerk names as the primary one, which need not be the first; none where it names none. */
function primary<Entry extends { id: string }>(entries: Entry[], id: string | null) {
  return entries.find((entry) => typeof id === "string" && entry.id === id);
}

/** Colours that new rows begin with. */
export const COLORS = [
  "tomato",
  "goldenrod",
  "seagreen",
  "teal",
  "royalblue",
  "slateblue",
  "orchid",
];

/**
 * The app's own fields of a row that the sync creates for a user: at least the required ones. The
 * sync never writes them again. What this throws sets that one user aside.
 */
export const newUserFields: (profile: Profile) => OwnFields = ({ clerkCreatedAt }) => ({
  color: COLORS[clerkCreatedAt % COLORS.length] ?? "teal",
});

/**
 * What becomes of the row of a user who is gone from Clerk.
 * - `"delete"`: the row goes.
 * - `"mark"`: the row and its `_id` stay. `deletedAt` (ms) is set, the mirrored fields but `clerkId`
 *   are cleared, and the app's own fields are left to `hooks.removed`. Should Clerk know the user
 *   again, the same row comes back. A full run reads the marked rows too.
 */
export const removal: "delete" | "mark" = "delete";

/**
 * What the app does with a change, in the transaction that makes it: all or nothing. Where a hook
 * throws, a run sets that one user aside, and an event is tried once more five minutes later, then
 * left to the next run. See `Hooks`.
 */
export const hooks: Hooks = {};
