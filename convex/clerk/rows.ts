/**
 * The rows of `users` and `clerkVersions`: nothing else in this folder writes them (old tombstones
 * are deleted by `tombstones.ts`). What is to be written is decided in `mirror.ts`; what the app adds
 * to it, in `app.ts`.
 */
import type { WithoutSystemFields } from "convex/server";
import { v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import type { Doc, Id } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { hooks, newUserFields, removal } from "./app";
import { clock } from "./clock";
import type { Known } from "./plan";
import { orRefuse, refusalOf } from "./refusal";
import type { Version } from "./runValidators";
import { EVENT_TYPES, PROFILE_FIELDS, type EventType, type Profile } from "./validators";

/** A row of `users`, mirrored or not. */
export type User = Doc<"users">;
/** The fields of a `users` row that are the app's. */
export type OwnFields = Omit<WithoutSystemFields<User>, keyof Profile | "deletedAt">;

/** The app's own code that runs with a change, in its transaction, and undoes it where it throws. */
export type Hooks = {
  /** A row was created, or, after `removal` by mark, came back: then it is the row that it was. */
  created?: (ctx: MutationCtx, user: User) => Promise<void>;
  /** Mirrored fields of a row changed. */
  updated?: (ctx: MutationCtx, user: User, before: User) => Promise<void>;
  /** A row was deleted or marked. `before` is the row with its profile; marked rows are still there. */
  removed?: (ctx: MutationCtx, before: User) => Promise<void>;
  /**
   * The database through which rows of users are written, for an app whose own triggers are to see
   * these writes: `(ctx) => triggers.wrapDB(ctx).db` (convex-helpers/server/triggers).
   */
  database?: (ctx: MutationCtx) => MutationCtx["db"];
};

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
};

/** Rows of one id that a removal looks for: more than these no app has by accident. */
const MAX_DUPLICATES = 100;

/** Whether a row mirrors a user: guests have no `clerkId`, or an empty one, and removed users are marked. */
export function isMirrored({ clerkId = "", deletedAt }: User): boolean {
  return clerkId !== "" && deletedAt === undefined;
}

/** The row of an id that is mirrored, one that is marked as removed, and the version: four documents at most. */
export async function readKnown(ctx: QueryCtx, clerkId: string): Promise<KnownRows> {
  const [rows, version] = await Promise.all([readRows(ctx, clerkId), readVersion(ctx, clerkId)]);
  return { ...rows, version };
}

/** The same without the version: two documents, but where rows are marked beside others. */
export async function readRows(
  ctx: QueryCtx,
  clerkId: string,
): Promise<Omit<KnownRows, "version">> {
  let rows = await rowsOf(ctx, clerkId, 2);
  if (rows.length > 1 && !rows.every(isMirrored)) rows = await rowsOf(ctx, clerkId, MAX_DUPLICATES);
  const [row = null, second] = rows.filter(isMirrored);
  const marked = rows.find((other) => !isMirrored(other)) ?? null;
  return { row, marked, isDuplicated: second !== undefined };
}

/** Whether an id has a row in the mirror. */
export async function hasRow(ctx: QueryCtx, clerkId: string): Promise<boolean> {
  return (await readRows(ctx, clerkId)).row !== null;
}

/** Rows of an id, the oldest first. */
async function rowsOf(ctx: QueryCtx, clerkId: string, most: number): Promise<User[]> {
  return await ctx.db
    .query("users")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
    .take(most);
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
] as const satisfies (keyof Version)[];
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
  await patchRow(ctx, row._id, { clerkId });
}

/** Creates the row of a user, or lets a marked one come back with what it was. */
export async function createRow(ctx: MutationCtx, { marked }: KnownRows, profile: Profile) {
  const id = marked?._id ?? (await insertRow(ctx, profile));
  if (marked !== null) await patchRow(ctx, id, { ...profile, deletedAt: undefined });
  const user = hooks.created && (await ctx.db.get("users", id));
  if (user) await orRefuse("hooks.created", async () => await hooks.created?.(ctx, user));
}

/** Writes the named fields of a profile to a row. */
export async function updateRow(
  ctx: MutationCtx,
  row: User,
  profile: Profile,
  fields: (keyof Profile)[],
) {
  // A field that Clerk no longer has is undefined here, which removes it from the row.
  const changes = Object.fromEntries(fields.map((field) => [field, profile[field]]));
  await patchRow(ctx, row._id, changes);
  const user = hooks.updated && (await ctx.db.get("users", row._id));
  if (user) await orRefuse("hooks.updated", async () => await hooks.updated?.(ctx, user, row));
}

/** What became of the rows of an id: whether there were any, and why the app's hook did not do its part. */
export type Removed = { wasHere: boolean; refusal: string | null };

/**
 * Removes every row of an id, as `removal` has it. Where a row is marked, it stays marked though the hook
 * throws: whoever is gone must not go on acting.
 */
export async function removeRows(ctx: MutationCtx, clerkId: string): Promise<Removed> {
  const rows = (await rowsOf(ctx, clerkId, MAX_DUPLICATES)).filter(isMirrored);
  let refusal: string | null = null;
  for (const row of rows) {
    if (removal === "mark") {
      await patchRow(ctx, row._id, markOf(clerkId));
      // Of several rows each has its turn, whatever became of the one before.
      const reason = await hookApart(ctx, row);
      refusal ??= reason;
      continue;
    }
    await orRefuse("the deletion", async () => {
      await databaseOf(ctx).delete("users", row._id);
    });
    await runRemovedHook(ctx, row);
  }
  return { wasHere: rows.length > 0, refusal };
}

async function runRemovedHook(ctx: MutationCtx, before: User): Promise<void> {
  await orRefuse("hooks.removed", async () => await hooks.removed?.(ctx, before));
}

/** What the hook does is undone alone where it throws. @returns why, or null */
async function hookApart(ctx: MutationCtx, before: User): Promise<string | null> {
  if (hooks.removed === undefined) return null;
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

/** What a marked row has in the place of its profile. */
function markOf(clerkId: string) {
  const cleared = PROFILE_FIELDS.map((field) => [field, undefined]);
  return { ...(Object.fromEntries(cleared) as object), clerkId, deletedAt: clock.now() };
}

async function insertRow(ctx: MutationCtx, profile: Profile): Promise<Id<"users">> {
  const ownFields = await orRefuse("newUserFields", () => newUserFields(profile));
  const row = { ...ownFields, ...profile };
  return await orRefuse("the insertion", async () => await databaseOf(ctx).insert("users", row));
}

async function patchRow(ctx: MutationCtx, id: Id<"users">, changes: Partial<User>): Promise<void> {
  await orRefuse("the change", async () => {
    await databaseOf(ctx).patch("users", id, changes);
  });
}

function databaseOf(ctx: MutationCtx): MutationCtx["db"] {
  return hooks.database?.(ctx) ?? ctx.db;
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
