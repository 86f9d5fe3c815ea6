/** Creates, updates, marks and removes the rows of `users`. `mirror.ts` decides what is written, `app.ts` what the app
 * adds to it; `columns.ts` writes a row, `erasure.ts` lets one go.
 */
import { ConvexError, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import type { Id } from "../../_generated/dataModel.js";
import { internalMutation, type MutationCtx, type QueryCtx } from "../../_generated/server.js";
import * as app from "../app.js";
import { readVersion, type StoredVersion } from "../memory/memory.js";
import { COLUMNS } from "../profile/profile.js";
import { clock } from "../shared/clock.js";
import { refusalOf } from "../shared/log.js";
import { inParallel } from "../shared/parallel.js";
import {
  type Columns,
  isClerkId,
  type LeftOut,
  type NewFields,
  type Profile,
  type Reading,
} from "../shared/user.js";
import type { Key, User } from "../types.js";
import { isBeingErased, isMarked, MAX_DUPLICATES, rowsOf } from "../users.js";
import { databaseOf, describeLeftOut, insertRow, orRefuse, patchRow } from "./columns.js";
import { letGo, runRemovedHook } from "./erasure.js";
import { isToPurge } from "./gate.js";
import { columnsOf, insertOrPatch, type Known } from "./plan.js";

export type KnownRows = Known & {
  /** The mirror's row: of several, the oldest. */
  row: User | null;
  /** The row of a removed user, which takes the user up again. */
  marked: User | null;
  version: StoredVersion | null;
  isDuplicated: boolean;
  isErasing?: boolean;
};

/** Whether a row mirrors a user: the app's own have no Clerk user id, and removed users are marked. */
export function isMirrored(row: User): boolean {
  return hasClerkId(row) && !isMarked(row);
}

/** Whether a row is a user's. One without an id, or with one of another form, is the app's own. */
export function hasClerkId({ clerkId = "" }: User): boolean {
  return isClerkId(clerkId);
}

/** Rows by whose they are: the mirror's, marked as removed, and the app's own with an id that is no Clerk user id. */
export function sortRows(rows: User[]) {
  const users = rows.filter(hasClerkId);
  return {
    mirrored: users.filter((row) => !isMarked(row)),
    marked: users.filter(isMarked),
    appOwned: rows.filter((row) => (row.clerkId ?? "") !== "" && !hasClerkId(row)),
  };
}

/** What is known of an id, mostly four documents. `how`: see `readRows`. @throws like `orRefuse`, for `key.read` */
export async function readKnown(
  ctx: QueryCtx,
  clerkId: string,
  how?: { isThere: boolean },
): Promise<KnownRows> {
  const [rows, version] = await Promise.all([
    readRows(ctx, clerkId, how),
    readVersion(ctx, clerkId),
  ]);
  return { ...rows, version };
}

/** `isThere`: Clerk has the user, whose row, if there is no other, is one of the app's own that its `key` leads to. */
async function readRows(
  ctx: QueryCtx,
  clerkId: string,
  { isThere }: { isThere: boolean } = { isThere: false },
): Promise<Omit<KnownRows, "version">> {
  let rows = await rowsOf(ctx, clerkId, 2);
  if (rows.length > 0 && (await isBeingErased(ctx, clerkId))) {
    return { row: null, marked: null, isDuplicated: false, isErasing: true };
  }
  if (rows.length === 0 && isThere) {
    const own = await ownRow(ctx, clerkId);
    const isGone = own !== null && isMarked(own);
    return { row: isGone ? null : own, marked: isGone ? own : null, isDuplicated: false };
  }
  if (rows.length > 1 && !rows.every(isMirrored)) rows = await rowsOf(ctx, clerkId);
  const [row = null, second] = rows.filter(isMirrored);
  const marked = rows.find((other) => !isMirrored(other)) ?? null;
  return { row, marked, isDuplicated: second !== undefined };
}

/**
 * What is known of users of a listing who can be read, by id, read side by side. `rowsOf`: mirrored rows that the
 * caller has read; `newSince`: right rows that were made since then, ms, have their versions read, too. @throws like `readKnown`
 */
export async function readListed(
  ctx: QueryCtx,
  users: Reading[],
  rowsOf: Map<string, User[]>,
  newSince: number,
): Promise<Map<string, KnownRows>> {
  const profiles = users.flatMap((user) => (user.kind === "profile" ? user : []));
  const found = await inParallel(profiles, async (profile) => {
    const [row] = (rowsOf.get(profile.clerkId) ?? []).filter(isMirrored);
    const rows = row
      ? { row, marked: null, isDuplicated: false }
      : await readRows(ctx, profile.clerkId, { isThere: true });
    return { profile, isGiven: row !== undefined, rows };
  });
  const known = await inParallel(found, async ({ profile, isGiven, rows }) => {
    const { clerkId } = profile;
    const isWrong = insertOrPatch(rows, profile) !== null;
    // Of several rows the oldest is to be written.
    if (isWrong && isGiven) return [clerkId, await readKnown(ctx, clerkId)] as const;
    const isNew = rows.row !== null && rows.row._creationTime >= newSince;
    const version = isWrong || isNew ? await readVersion(ctx, clerkId) : null;
    return [clerkId, { ...rows, version }] as const;
  });
  return new Map(known);
}

/** Whether an id has a row in the mirror. */
export async function hasRow(ctx: QueryCtx, clerkId: string): Promise<boolean> {
  return (await readRows(ctx, clerkId)).row !== null;
}

/** What the app's `key` has for a user, and where. An older `app.ts` may have none. */
async function keyOf(clerkId: string) {
  const key = app.key as Key | undefined;
  if (!key) return null;
  // Which columns and indexes there are, only the app's schema knows.
  const { column, index, read } = key as NonNullable<Key> & { index: "by_clerkId" };
  const value: unknown = await orRefuse("key.read", () => read(clerkId));
  // Of nothing there are many rows.
  return typeof value === "string" ? { column: column as "clerkId", index, value } : null;
}

async function ownRow(ctx: QueryCtx, clerkId: string): Promise<User | null> {
  const key = await keyOf(clerkId);
  if (key === null) return null;
  const rows = await ctx.db
    .query("users")
    .withIndex(key.index, (q) => q.eq(key.column, key.value))
    .take(MAX_DUPLICATES);
  return rows.find((row) => !hasClerkId(row)) ?? null;
}

/** What a row holds in a column, or, where the name has dots, within an object there; undefined where it has none. */
export function valueAt(row: User, column: string): unknown {
  return column.split(".").reduce<unknown>((value, name) => {
    const isObject = typeof value === "object" && value !== null;
    return isObject ? (value as Record<string, unknown>)[name] : undefined;
  }, row);
}

/** Gives a row the Clerk user id that the app kept elsewhere. @throws like `orRefuse` */
export async function fillClerkId(ctx: MutationCtx, row: User, clerkId: string): Promise<void> {
  await orRefuse("the change", async () => {
    await databaseOf(ctx).patch("users", row._id, { clerkId });
  });
}

/** What was not written, since the schema does not take it: the whole row, or some of its columns, or none. */
type Misfit = { refusal: string } | { leftOut: LeftOut[] };

/**
 * Creates the row of a user, or lets a marked one come back with what it was; if `isHearsay`, as only an event says so,
 * as a whole or not at all. @throws ConvexError with a `refusal` where a hook or the write throws
 */
export async function createRow(
  ctx: MutationCtx,
  { marked }: KnownRows,
  { newFields = { columns: {} }, ...profile }: Profile & { newFields?: NewFields },
  isHearsay: boolean,
): Promise<Misfit> {
  let id: Id<"users">;
  let leftOut: LeftOut[];
  if (marked !== null) {
    id = marked._id;
    leftOut = await patchRow(ctx, id, { ...columnsOf(profile), deletedAt: null }, isHearsay);
    if (isHearsay && leftOut.length > 0) return { refusal: describeLeftOut(leftOut) };
  } else {
    if ("refusal" in newFields) return newFields;
    // By this the app's own sign-in finds the row.
    const key = await keyOf(profile.clerkId);
    // What lies within an object comes with the object, of which a reader makes the whole.
    const isColumn = key !== null && !key.column.includes(".");
    const own = { ...(isColumn && { [key.column]: key.value }), ...newFields.columns };
    const inserted = await insertRow(ctx, own, profile, isHearsay);
    if ("refusal" in inserted) return inserted;
    ({ id, leftOut } = inserted);
  }
  const user = app.hooks.created && (await ctx.db.get("users", id));
  if (user) await orRefuse("hooks.created", async () => await app.hooks.created?.(ctx, user));
  return { leftOut };
}

/** Writes the named columns of a profile to a row. @returns like `patchRow` @throws like `createRow` */
export async function updateRow(
  ctx: MutationCtx,
  row: User,
  profile: Profile,
  names: string[],
  isHearsay: boolean,
): Promise<LeftOut[]> {
  const columns = columnsOf(profile);
  const changes = Object.fromEntries(names.map((name) => [name, columns[name]]));
  const leftOut = await patchRow(ctx, row._id, changes, isHearsay);
  const isWritten = leftOut.length === 0 || (!isHearsay && leftOut.length < names.length);
  const user = app.hooks.updated && isWritten && (await ctx.db.get("users", row._id));
  if (user) await orRefuse("hooks.updated", async () => await app.hooks.updated?.(ctx, user, row));
  return leftOut;
}

/** Whether there were rows, and why the app's hook did not do its part, or which columns the schema keeps. */
export type Removed = { wasHere: boolean; refusal: string | null };

/**
 * Removes every row of an id, as `removal` has it. A marked one stays marked though the hook throws: who is gone must
 * not go on acting; one to be deleted may go later (`letGo`). `isBuried`: the id is known as gone, so a mark is the
 * sync's own, and stays. @throws ConvexError with a `refusal` if one can't be deleted or marked
 */
export async function removeRows(
  ctx: MutationCtx,
  clerkId: string,
  isBuried: boolean,
): Promise<Removed> {
  const all = await rowsOf(ctx, clerkId);
  const rows = all.filter((row) => isMirrored(row) || (isMarked(row) && !isBuried));
  let refusal: string | null = null;
  let wasHere = false;
  for (const row of rows) {
    if (app.removal === "delete") {
      wasHere = (await letGo(ctx, row)) || wasHere;
      continue;
    }
    wasHere = true;
    const unmarked = await markRow(ctx, row);
    // Of several rows each has its turn, whatever became of the one before.
    const reason = await hookApart(ctx, row);
    refusal ??= unmarked ?? reason;
  }
  return { wasHere, refusal };
}

/** Lets the marked rows of an id go whose time is over at `now` (ms). @returns how many @throws like `letGo` */
export async function purgeRows(ctx: MutationCtx, clerkId: string, now: number): Promise<number> {
  const rows = (await rowsOf(ctx, clerkId)).filter((row) => isToPurge(row, now));
  for (const row of rows) await letGo(ctx, row);
  return rows.length;
}

/** What the hook does is undone alone where it throws. @returns why, or null */
async function hookApart(ctx: MutationCtx, before: User): Promise<string | null> {
  if (app.hooks.removed === undefined) return null;
  try {
    await ctx.runMutation(internal.clerk.mirror.rows.removedHook, { before });
    return null;
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    return `${refusal}: the row is marked as removed all the same`;
  }
}

/** The app's hook after a removal, with the row as it was, as a transaction within another. @throws like `orRefuse` */
export const removedHook = internalMutation({
  args: { before: v.any() },
  returns: v.null(),
  handler: async (ctx, { before }): Promise<null> => {
    await runRemovedHook(ctx, before as User);
    return null;
  },
});

/** @returns the columns that the schema wants to keep, in words, or null @throws ConvexError where it takes no mark */
async function markRow(ctx: MutationCtx, { _id, clerkId }: User): Promise<string | null> {
  const cleared = Object.fromEntries(COLUMNS.map((name) => [name, null]));
  const erased = typeof app.removal === "object" ? (app.removal.mark as Columns) : {};
  const mark = { clerkId, deletedAt: clock.now() };
  const columns = { ...cleared, clerkCreatedAt: null, ...erased, ...mark };
  // An app may require it of every row; it tells nothing of anybody.
  const leftOut = (await patchRow(ctx, _id, columns)).filter(
    ({ field }) => field !== "clerkCreatedAt",
  );
  if (leftOut.length === 0) return null;
  if (leftOut.some(({ field }) => field === "deletedAt")) {
    throw new ConvexError({ refusal: `the mark: ${describeLeftOut(leftOut)}` });
  }
  return `the row is marked as removed, and keeps ${describeLeftOut(leftOut)}`;
}
