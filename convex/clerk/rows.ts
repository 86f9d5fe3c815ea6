/**
 * The rows of `users` and `clerkVersions`: nothing else in this folder writes them, but through here (`columns.ts`
 * writes one row of `users`; old tombstones are deleted by `tombstones.ts`). What is to be written is decided in
 * `mirror.ts`; what the app adds to it, in `app.ts`.
 */
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api.js";
import type { Id } from "../_generated/dataModel.js";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server.js";
import * as app from "./app.js";
import { clock } from "./clock.js";
import type { Known } from "./plan.js";
import { COLUMNS, isClerkId } from "./profile.js";
import { databaseOf, insertRow, patchRow } from "./columns.js";
import { letGo, runRemovedHook } from "./erasure.js";
import { isBeingErased, isMarked } from "./gone.js";
import { isToPurge } from "./marks.js";
import { describeLeftOut } from "./misfit.js";
import { orRefuse, refusalOf } from "./refusal.js";
import type { Version } from "./runValidators.js";
import type { Key, User } from "./types.js";
import { EVENT_TYPES, type Columns, type EventType, type LeftOut } from "./validators.js";
import type { NewFields, Profile } from "./validators.js";

/** A version, and its document where there is one. */
type StoredVersion = Version & { _id?: Id<"clerkVersions"> };

/** What the database knows of one id. */
export type KnownRows = Known & {
  /** The mirror's row: of several, the oldest. */
  row: User | null;
  /** The row of a removed user, which takes the user up again. */
  marked: User | null;
  version: StoredVersion | null;
  /** Whether other rows have the same id. */
  isDuplicated: boolean;
  /** Whether its row is on its way out: then there is none any more. */
  isErasing?: boolean;
};

/** Rows of one id that a removal looks for: more than these no app has by accident. */
const MAX_DUPLICATES = 100;

/** Whether a row mirrors a user: the app's own have no Clerk user id, and removed users are marked. */
export function isMirrored(row: User): boolean {
  return hasClerkId(row) && !isMarked(row);
}

/** Whether a row is a user's. One without an id, or with one of another form, is the app's own. */
export function hasClerkId({ clerkId = "" }: User): boolean {
  return isClerkId(clerkId);
}

/** Whether a row has an id that is no Clerk user id. */
export function isAppOwned(row: User): boolean {
  return (row.clerkId ?? "") !== "" && !hasClerkId(row);
}

/** The row of an id that is mirrored, one that is marked as removed, and the version: four documents at most. */
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

/**
 * The same without the version: two documents, but where rows are marked beside others.
 * @param isThere whether Clerk has the user: then a row of the app's own that its `key` leads to is theirs, where they
 *   have no other
 */
export async function readRows(
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
  if (rows.length > 1 && !rows.every(isMirrored)) rows = await rowsOf(ctx, clerkId, MAX_DUPLICATES);
  const [row = null, second] = rows.filter(isMirrored);
  const marked = rows.find((other) => !isMirrored(other)) ?? null;
  return { row, marked, isDuplicated: second !== undefined };
}

/** Whether an id has a row in the mirror. */
export async function hasRow(ctx: QueryCtx, clerkId: string): Promise<boolean> {
  return (await readRows(ctx, clerkId)).row !== null;
}

/** Whether an id has a row of whatever kind: in the mirror, marked, or on its way out. */
export async function isAnyRow(ctx: QueryCtx, clerkId: string): Promise<boolean> {
  return (await rowsOf(ctx, clerkId, 1)).length > 0;
}

/** Rows of an id, the oldest first. */
async function rowsOf(ctx: QueryCtx, clerkId: string, most: number): Promise<User[]> {
  return await ctx.db
    .query("users")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
    .take(most);
}

/** What the app's `key` has for a user, and where. An `app.ts` of before may have none. */
async function keyOf(clerkId: string) {
  const key = app.key as Key | undefined;
  if (!key) return null;
  // Which columns and indexes there are, only the app's schema knows.
  const { column, index, read } = key as NonNullable<Key> & { index: "by_clerkId" };
  const value: unknown = await orRefuse("key.read", () => read(clerkId));
  // Of nothing there are many rows.
  return typeof value === "string" ? { column: column as "clerkId", index, value } : null;
}

/** The oldest row without a Clerk user id that the app knows by its `key`. */
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

/** A place in the order of `by_clerkId`, in which rows without a `clerkId` come first. */
export const vPlace = v.object({ clerkId: v.optional(v.string()), createdAt: v.number() });
export type Place = Infer<typeof vPlace>;

/** Rows behind a place, all of them, in the order of `by_clerkId`. */
export async function* rowsFrom(ctx: QueryCtx, after: Place | null) {
  const users = () => ctx.db.query("users");
  const { clerkId, createdAt = -Infinity } = after ?? {};
  yield* users().withIndex("by_clerkId", (q) =>
    q.eq("clerkId", clerkId).gt("_creationTime", createdAt),
  );
  yield* users().withIndex("by_clerkId", (q) =>
    clerkId === undefined ? q.gte("clerkId", "") : q.gt("clerkId", clerkId),
  );
}

/** When the first user signed up, after one time and before another, of whom `user.created` has not told; null where there is none. */
export async function firstUntold(ctx: QueryCtx, after: number, until: number) {
  const version = await ctx.db
    .query("clerkVersions")
    .withIndex("by_untoldAt", (q) => q.gt("untoldAt", after).lt("untoldAt", until))
    .first();
  return version?.untoldAt ?? null;
}

/** The newest event of a type: when it came, and from which instance. */
type NewestEvent = { type: EventType; at: number; instanceId?: string };

/** The newest event of each type that came before a time, ms. */
export async function newestEvents(ctx: QueryCtx, until: number): Promise<NewestEvent[]> {
  const newest = await Promise.all(
    EVENT_TYPES.map(async (type) => {
      // Each has an index of the same form, which types can't say of three at once.
      const field = EVENT_TIMES[type] as "createdEventAt";
      const version = await ctx.db
        .query("clerkVersions")
        .withIndex(`by_${field}`, (q) => q.lt(field, until))
        .order("desc")
        .first();
      return { type, at: version?.[field], instanceId: version?.eventInstanceId };
    }),
  );
  return newest.flatMap(({ at, ...event }) => (at === undefined ? [] : { at, ...event }));
}

/** Which field of a version says when an event of a type last named its id. */
const EVENT_TIMES = {
  "user.created": "createdEventAt",
  "user.updated": "updatedEventAt",
  "user.deleted": "deletedEventAt",
} as const satisfies Record<EventType, keyof Version>;

/** Of an event: its type, and the instance that it is from. */
export type Source = { type: EventType; instanceId?: string };

const EVENT_MARKS = [
  "eventAt",
  ...Object.values(EVENT_TIMES),
  "eventInstanceId",
  "untoldAt",
] as const satisfies readonly (keyof Version)[];
type EventMarks = Pick<Version, (typeof EVENT_MARKS)[number]>;

/**
 * What is known of the events that named an id.
 * @param known what was known
 * @param source of an event that names it now
 */
export function eventMarks(known: Version | null, source?: Source): EventMarks {
  const marks: EventMarks = Object.fromEntries(EVENT_MARKS.map((mark) => [mark, known?.[mark]]));
  if (source === undefined) return marks;
  const { type, instanceId: eventInstanceId } = source;
  const [eventAt, untoldAt] = [clock.now(), type === "user.created" ? undefined : marks.untoldAt];
  return { ...marks, eventAt, [EVENT_TIMES[type]]: eventAt, eventInstanceId, untoldAt };
}

/** Gives a row the Clerk user id that the app kept elsewhere. */
export async function fillClerkId(ctx: MutationCtx, row: User, clerkId: string): Promise<void> {
  await orRefuse("the change", async () => {
    await databaseOf(ctx).patch("users", row._id, { clerkId });
  });
}

/** What was not written, since the schema does not take it: the whole row, or some of its columns, or none. */
type Misfit = { refusal: string } | { leftOut: LeftOut[] };

/**
 * Creates the row of a user, or lets a marked one come back with what it was.
 * @param isHearsay whether only an event says so: then it is written as a whole, or not at all
 */
export async function createRow(
  ctx: MutationCtx,
  { marked }: KnownRows,
  { profile, newFields = { columns: {} } }: { profile: Profile; newFields?: NewFields },
  isHearsay: boolean,
): Promise<Misfit> {
  let id: Id<"users">;
  let leftOut: LeftOut[];
  if (marked !== null) {
    id = marked._id;
    leftOut = await patchRow(ctx, id, { ...profile, deletedAt: null }, isHearsay);
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
  const { created } = app.hooks;
  const user = created && (await ctx.db.get("users", id));
  if (user) {
    await orRefuse("hooks.created", async () => {
      await created(ctx, user);
    });
  }
  return { leftOut };
}

/** Writes the named columns of a profile to a row. @returns those that the schema does not take, as `patchRow` does */
export async function updateRow(
  ctx: MutationCtx,
  row: User,
  profile: Profile,
  names: string[],
  isHearsay: boolean,
): Promise<LeftOut[]> {
  const changes = Object.fromEntries(names.map((name) => [name, profile[name]]));
  const leftOut = await patchRow(ctx, row._id, changes, isHearsay);
  const { updated } = app.hooks;
  const isWritten = leftOut.length === 0 || (!isHearsay && leftOut.length < names.length);
  const user = updated && isWritten && (await ctx.db.get("users", row._id));
  if (user) {
    await orRefuse("hooks.updated", async () => {
      await updated(ctx, user, row);
    });
  }
  return leftOut;
}

/** What became of the rows of an id: whether there were any, and why the app's hook did not do its part. */
export type Removed = { wasHere: boolean; refusal: string | null };

/**
 * Removes every row of an id, as `removal` has it. Where a row is marked, it stays marked though the hook
 * throws: whoever is gone must not go on acting. One that is to be deleted may go later: see `letGo`.
 * @param isBuried whether the id is known as gone: then a mark is the sync's own, and stays as it is
 */
export async function removeRows(
  ctx: MutationCtx,
  clerkId: string,
  isBuried: boolean,
): Promise<Removed> {
  const all = await rowsOf(ctx, clerkId, MAX_DUPLICATES);
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

/** Lets the marked rows of an id go whose time is over. @param now ms @returns how many */
export async function purgeRows(ctx: MutationCtx, clerkId: string, now: number): Promise<number> {
  const rows = (await rowsOf(ctx, clerkId, MAX_DUPLICATES)).filter((row) => isToPurge(row, now));
  for (const row of rows) await letGo(ctx, row);
  return rows.length;
}

/** What the hook does is undone alone where it throws. @returns why, or null */
async function hookApart(ctx: MutationCtx, before: User): Promise<string | null> {
  if (app.hooks.removed === undefined) return null;
  try {
    await ctx.runMutation(internal.clerk.rows.removedHook, { before });
    return null;
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    return `${refusal}: the row is marked as removed all the same`;
  }
}

/** The app's hook after a removal, as a transaction within another one. @param before the row as it was */
export const removedHook = internalMutation({
  args: { before: v.any() },
  returns: v.null(),
  handler: async (ctx, { before }): Promise<null> => {
    await runRemovedHook(ctx, before as User);
    return null;
  },
});

/**
 * Marks the row of somebody who is gone, and erases what `removal` says.
 * @returns the columns that the schema wants to keep, in words, or null
 */
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

/** The newest version of an id that was applied, its tombstone, or null. */
export async function readVersion(ctx: QueryCtx, clerkId: string) {
  const versions = ctx.db
    .query("clerkVersions")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId));
  // One read, where `first` and `unique` make two: there is never a second one.
  for await (const version of versions) return version;
  return null;
}

/**
 * Writes down which change of an id was applied, or that the id is gone.
 * @param known what `readVersion` said
 */
export async function writeVersion(
  ctx: MutationCtx,
  known: StoredVersion | null,
  version: Version,
): Promise<void> {
  if (known?._id === undefined) await ctx.db.insert("clerkVersions", version);
  else await ctx.db.replace("clerkVersions", known._id, version);
}

type Marks = EventMarks & Pick<Version, "metAt" | "heldAt" | "isHeldByLimit">;

/**
 * Writes down when an id was heard of, met or held, and nothing else.
 * @param known what `readVersion` said
 * @returns what it would say now
 */
export async function noteVersion(
  ctx: MutationCtx,
  known: StoredVersion | null,
  { clerkId, ...times }: Marks & Pick<Version, "clerkId">,
): Promise<StoredVersion> {
  if (known?._id !== undefined) {
    await ctx.db.patch("clerkVersions", known._id, times);
    return { ...known, ...times };
  }
  const version = metVersion(clerkId, times);
  return { ...version, _id: await ctx.db.insert("clerkVersions", version) };
}

/** Of an id of which nothing was applied yet. */
export function metVersion(clerkId: string, times: Marks): Version {
  return { clerkId, kind: "met", appliedAt: clock.now(), appliedBy: "run", ...times };
}
