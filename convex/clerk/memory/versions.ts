/** What is known of each id beside its row, as `clerkVersions` has it. */
import type { Id } from "../../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import { clock } from "../shared/clock.js";
import type { EventType } from "../shared/user.js";
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

/**
 * Writes down what is new of an id: which change was applied, that it is gone, or only that it was heard of, met or held.
 * What is not named stays. `known`: what `readVersion` said; returned as it then is.
 */
export async function noteVersion(
  ctx: MutationCtx,
  known: StoredVersion | null,
  news: Partial<Version> & Pick<Version, "clerkId">,
): Promise<StoredVersion> {
  if (known?._id !== undefined) {
    await ctx.db.patch("clerkVersions", known._id, news);
    return { ...known, ...news };
  }
  const version = { ...metVersion(news.clerkId), ...news };
  return { ...version, _id: await ctx.db.insert("clerkVersions", version) };
}

/** The version of an id of which nothing was applied yet. */
export function metVersion(clerkId: string): Version {
  return { clerkId, kind: "met", appliedAt: clock.now(), appliedBy: "run" };
}

/** An event: its type, its instance, and what is to be known of the version that it told of. */
export type Source = { type: EventType; instanceId?: string } & Pick<Version, "heardVersion">;

/** In which field it stands when an event of each type last named an id: each has an index. */
export const EVENT_TIMES = {
  "user.created": "createdEventAt",
  "user.updated": "updatedEventAt",
  "user.deleted": "deletedEventAt",
} as const satisfies Record<EventType, keyof Version>;

/** What is new of an id that an event names at this moment: for five minutes Clerk's 404 may be older than that. */
export function eventMarks({ type, instanceId, heardVersion }: Source): Partial<Version> {
  const eventAt = clock.now();
  return {
    eventAt,
    [EVENT_TIMES[type]]: eventAt,
    eventInstanceId: instanceId,
    ...(heardVersion !== undefined && { heardVersion }),
    ...(type === "user.created" && { untoldAt: undefined }),
  };
}
