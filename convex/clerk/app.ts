/** What else of the sync is this app's: its own columns of a new row, what removal means, its code that runs with a change. */
import { environment } from "./shared/environment.js";
import type { Hooks, IsBanned, Issuer, Key, NewUserFields, Removal } from "./types.js";

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

/** The app's own columns of a row that the sync creates: at least the required ones. The sync never writes them again. */
export const newUserFields: NewUserFields = ({ created_at }) => ({
  color: COLORS[created_at % COLORS.length] ?? "teal",
});

/** What becomes of the row of a user who is gone from Clerk: `"delete"`, or `{ mark: { … } }`. See `Removal`. */
export const removal: Removal = "delete";

/** Another column by which the app knows its rows, such as `tokenIdentifier`; null where it is `clerkId`. See `Key`. */
export const key: Key = null;

/** Whose tokens `getCurrentUser` takes: Clerk's Frontend API URL. See `Issuer`. */
export const issuer: Issuer = () => environment("CLERK_JWT_ISSUER_DOMAIN");

/** Whom `getCurrentUser` takes for nobody, although they have a row. See `IsBanned`. */
export const isBanned: IsBanned = ({ banned }) => banned === true;

/** What the app does with a change, in the transaction that makes it: all or nothing. See `Hooks`. */
export const hooks: Hooks = {};
