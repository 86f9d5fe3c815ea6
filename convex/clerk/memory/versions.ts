/** What is known of each id beside its row, as `clerkVersions` has it. */
import type { Id } from "../../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import { clock } from "../shared/clock.js";
import { EVENT_TYPES, type EventType } from "../shared/user.js";
import type { Version } from "./model.js";

export type StoredVersion = Version & { _id?: Id<"clerkVersions"> };

/** What is known of an id beside its row, or null. */
export async function readVersion(ctx: QueryCtx, clerkId: string) {
  const versions = ctx.db
    .query("clerkVersions")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId));
  // One read, where `first` and `unique` make two: there is never a second one.
  for await (const version of versions) return version;
  return null;
}

/** Writes down which change was applied, or that the id is gone. @param known what `readVersion` said */
export async function writeVersion(
  ctx: MutationCtx,
  known: StoredVersion | null,
  version: Version,
): Promise<void> {
  if (known?._id === undefined) await ctx.db.insert("clerkVersions", version);
  else await ctx.db.replace("clerkVersions", known._id, version);
}

type Marks = EventMarks & Pick<Version, "metAt" | "heldAt" | "isHeldByLimit">;

/** Writes down only when an id was heard of, met or held. `known`: what `readVersion` said; returned as it then is. */
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

/** The version of an id of which nothing was applied yet. */
export function metVersion(clerkId: string, times: Marks): Version {
  return { clerkId, kind: "met", appliedAt: clock.now(), appliedBy: "run", ...times };
}

/** An event: its type, its instance, and what is to be known of the version that it told of. */
export type Source = { type: EventType; instanceId?: string } & Pick<Version, "heardVersion">;

const EVENT_TIMES = {
  "user.created": "createdEventAt",
  "user.updated": "updatedEventAt",
  "user.deleted": "deletedEventAt",
} as const satisfies Record<EventType, keyof Version>;

const EVENT_MARKS = [
  "eventAt",
  ...Object.values(EVENT_TIMES),
  "eventInstanceId",
  "heardVersion",
  "untoldAt",
] as const satisfies readonly (keyof Version)[];
type EventMarks = Pick<Version, (typeof EVENT_MARKS)[number]>;

/** What is known of the events that named an id, with one that names it at this moment (`source`), if any. */
export function eventMarks(known: Version | null, source?: Source): EventMarks {
  const marks: EventMarks = Object.fromEntries(EVENT_MARKS.map((mark) => [mark, known?.[mark]]));
  if (source === undefined) return marks;
  const { type, instanceId: eventInstanceId, heardVersion = marks.heardVersion } = source;
  const [eventAt, untoldAt] = [clock.now(), type === "user.created" ? undefined : marks.untoldAt];
  const named = { eventAt, [EVENT_TIMES[type]]: eventAt, eventInstanceId, heardVersion };
  return { ...marks, ...named, untoldAt };
}

/** When the first user signed up between two times (ms) of whom `user.created` has not told; or null. */
export async function firstUntold(ctx: QueryCtx, after: number, until: number) {
  const version = await ctx.db
    .query("clerkVersions")
    .withIndex("by_untoldAt", (q) => q.gt("untoldAt", after).lt("untoldAt", until))
    .first();
  return version?.untoldAt ?? null;
}

type NewestEvent = { type: EventType; at: number; instanceId?: string };

/** The newest event of each type before a time (ms): when it came, and the instance of the last event of its user. */
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
