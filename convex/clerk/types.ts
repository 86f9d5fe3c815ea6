/** Types of what an adopter edits, `fields.ts` and `app.ts`, from the app's own schema; and Clerk's user. */
import type { WithoutSystemFields } from "convex/server";
import type { DataModel, Doc } from "../_generated/dataModel.js";
import type { MutationCtx } from "../_generated/server.js";
import type { fields } from "./fields.js";

/** A row of `users`, mirrored or not. */
export type User = Doc<"users">;

type Row = WithoutSystemFields<User>;
/** Columns that the sync writes by itself. */
type SyncColumn = "clerkId" | "clerkCreatedAt" | "deletedAt";
/** Columns that `fields.ts` may fill. */
type Column = Exclude<keyof Row, SyncColumn>;
/** Known by whether the key may be missing, which is the same with `strict` off. */
type IsOptional<Name extends keyof Row> = object extends Pick<Row, Name> ? true : false;
type RequiredOf<Names extends keyof Row> = {
  [Name in Names]: IsOptional<Name> extends true ? never : Name;
}[Names];

/** What a column can be given: a value; and an optional one null, which clears it, or undefined, which leaves it. */
type Value<Name extends keyof Row> =
  IsOptional<Name> extends true ? Row[Name] | null | undefined : Row[Name];

/** Reads a column from Clerk's user. Pure: a clock or a random number would be drift in every run. */
type Reader<Name extends keyof Row> = (user: ClerkUser) => Value<Name>;

type Readers = { [Name in Column]?: Reader<Name> };
type Indexes = DataModel["users"]["indexes"];

type Has<Name extends string, Type> = Name extends keyof Row
  ? Row[Name] extends Type | undefined
    ? true
    : false
  : false;

/** What the schema lacks for the sync, as a sentence that stands in the place of the readers' type. */
type Lacking = "clerkRuns" extends keyof DataModel ? UsersLack : "the schema lacks ...clerkTables";

type UsersLack =
  Has<"clerkId", string> extends true
    ? Has<"clerkCreatedAt", number> extends true
      ? Indexes extends { by_clerkId: ["clerkId", "_creationTime"] }
        ? Indexes extends {
            by_clerkCreatedAt_and_clerkId: ["clerkCreatedAt", "clerkId", "_creationTime"];
          }
          ? never
          : 'users lacks .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"])'
        : 'users lacks .index("by_clerkId", ["clerkId"])'
      : "users lacks clerkCreatedAt: v.optional(v.number())"
    : "users lacks clerkId: v.optional(v.string())";

/** Which columns of `users` mirror Clerk, and how each is read: `export const fields = { … } satisfies Fields`. */
export type Fields = [Lacking] extends [never] ? Readers : Lacking;

/** Columns that `fields.ts` fills: none of those that it only may have, as where it is not `satisfies Fields` but `: Fields`. */
type Filled = {
  [Name in keyof typeof fields]-?: object extends Pick<typeof fields, Name> ? never : Name;
}[keyof typeof fields];
/** Columns that are the app's: all but those of `fields.ts` and the sync's own. */
type OwnColumn = Exclude<Column, Filled>;
type OwnFields = Pick<Row, RequiredOf<OwnColumn>> & Partial<Pick<Row, OwnColumn>>;

/**
 * The app's own columns of a row that the sync creates: at least the required ones. It is called for each user that
 * is looked at, outside of the transaction, and only what it returns gets there; what it throws sets aside whoever
 * would have got a row.
 */
export type NewUserFields = (user: ClerkUser) => OwnFields;

/** What a marked row has in the place of what is erased: each required column of `fields.ts` a value; others may have one, null clears them. */
type Erased = { [Name in RequiredOf<Extract<Column, Filled>>]: Row[Name] } & {
  [Name in Column]?: Value<Name>;
};

/**
 * What becomes of the row of a user who is gone from Clerk.
 * - `"delete"`: the row goes.
 * - `{ mark: { … } }`: the row and its `_id` stay. `deletedAt` (ms) is set, the columns of `fields.ts` are cleared, or
 *   get the value that is given here; the app's own are left as they are, but for those that are named here. Should
 *   Clerk know the user again, the same row comes back. A full run reads the marked rows too.
 *   `purgeAfterMs`: how long after the mark the row goes for good, in the next full run, if Clerk still does not know
 *   the user; never where it is null or left out, nor where the app has set `deletedAt` by itself.
 */
export type Removal =
  | "delete"
  | (Has<"deletedAt", number> extends true
      ? { mark: Erased; purgeAfterMs?: number | null }
      : { mark: "users lacks deletedAt: v.optional(v.number()), to mark its rows with" });

/** A column, or a place within one that is an object. */
type Place = keyof Row | `${keyof Row}.${string}`;
/** What a key's column holds; within an object, text. */
type TextAt<Name extends Place> = Name extends keyof Row ? NonNullable<Row[Name]> : string;

/**
 * Another column by which the app knows its rows (`clerkUser.id` where it is within an object), and an index that
 * begins with it: before the sync inserts a row it looks for one that has no Clerk user id yet, and takes that over;
 * one that it inserts gets the column, too (within an object a reader of `fields.ts` has to make it). `read` gives the
 * text that the column holds for a Clerk id.
 */
export type Key =
  | {
      [Index in keyof Indexes]: Indexes[Index] extends [infer Name extends Place, ...unknown[]]
        ? { column: Name; index: Index; read: (clerkId: string) => TextAt<Name> }
        : never;
    }[keyof Indexes]
  | null;

/** Clerk's Frontend API URL, as `auth.config.ts` has it; a function where it is read from a variable. */
export type Issuer = string | undefined | (() => string | undefined);

/** Whether a user with this row is shut out: `getCurrentUser` takes them for nobody. */
export type IsBanned = (user: User) => boolean;

/** The app's own code that runs with a change, in its transaction, and undoes it where it throws. */
export type Hooks = {
  /** A row was created, or, after `removal` by mark, came back: then it is the row that it was. */
  created?: (ctx: MutationCtx, user: User) => Promise<void>;
  /** Mirrored columns of a row changed. */
  updated?: (ctx: MutationCtx, user: User, before: User) => Promise<void>;
  /**
   * A row was deleted or marked. `before` is the row with its profile; marked rows are still there. Of a row that is
   * purged, it was told when it was marked.
   */
  removed?: (ctx: MutationCtx, before: User) => Promise<void>;
  /**
   * Erases what hangs on a row before that one is deleted or purged, as much as a transaction should take (a few
   * hundred documents): "more" has it called again, in another transaction; anything else lets the row go. Where it
   * throws, its transaction is undone, the row stays, and the next tick tries again.
   */
  erase?: (ctx: MutationCtx, user: User) => Promise<"more" | undefined> | Promise<void>;
  /**
   * The database through which rows of users are written, for an app whose own triggers are to see
   * these writes: `(ctx) => triggers.wrapDB(ctx).db` (convex-helpers/server/triggers).
   */
  database?: (ctx: MutationCtx) => MutationCtx["db"];
};

/** Proof of an address or a number, as far as there is one. */
type Verification = { status: string | null; strategy: string | null } | null;

/**
 * A user as Clerk's Backend API and its webhooks have them (`User` of bapi-2026-05-12): what of it one may want to
 * mirror. An event may lack a key; where a column's reader asks for it, Clerk is asked instead. Metadata can hold
 * anything: look at what you take out of it. Each change of a row re-runs the queries that are subscribed to it, so
 * leave out what changes with every sign-in (`last_sign_in_at`, `last_active_at`), and what clients must not see
 * (`private_metadata`). Times are ms.
 */
export type ClerkUser = {
  id: string;
  external_id: string | null;
  username: string | null;
  first_name: string | null;
  last_name: string | null;
  /** Its document calls it optional, its SDK does not. */
  image_url: string;
  has_image: boolean;
  locale?: string | null;
  primary_email_address_id: string | null;
  primary_phone_number_id: string | null;
  primary_web3_wallet_id: string | null;
  email_addresses: { id: string; email_address: string; verification: Verification }[];
  phone_numbers: { id: string; phone_number: string; verification: Verification }[];
  web3_wallets: { id: string; web3_wallet: string; verification: Verification }[];
  external_accounts: { id: string; provider: string; email_address: string }[];
  public_metadata: Record<string, unknown>;
  private_metadata?: Record<string, unknown> | null;
  unsafe_metadata?: Record<string, unknown>;
  password_enabled: boolean;
  two_factor_enabled: boolean;
  totp_enabled: boolean;
  backup_code_enabled: boolean;
  banned: boolean;
  locked: boolean;
  deprovisioned?: boolean;
  delete_self_enabled: boolean;
  create_organization_enabled: boolean;
  create_organizations_limit?: number | null;
  legal_accepted_at: number | null;
  last_sign_in_at: number | null;
  last_active_at: number | null;
  created_at: number;
  updated_at: number;
};
