/** Whether Clerk's events still come, each type judged apart: when the last one came, which each event writes down with
 * its own user's version, and since when there are changes that no event told of.
 */
import type { QueryCtx } from "../../_generated/server.js";
import { clock, MINUTE } from "../shared/clock.js";
import { EVENT_TYPES, type EventType } from "../shared/user.js";
import type { Counts, Delivery } from "./model.js";
import type { SyncState } from "./state.js";
import { EVENT_TIMES } from "./versions.js";

/** Younger changes may still be told of: Svix tries at once, after 5 s and 5 min (https://docs.svix.com/retries). */
const RETRIES_MS = 10 * MINUTE;

/** What runs wrote down of each type of event, and what came since, before `until` (ms). */
export async function readDeliveries(
  ctx: QueryCtx,
  state: SyncState,
  until = Infinity,
): Promise<Delivery[]> {
  const newest = await newestEvents(ctx, until);
  const deliveries = EVENT_TYPES.map((type): Delivery => {
    const known = state.deliveries?.find((delivery) => delivery.type === type) ?? { type };
    const at = newest.find((event) => event.type === type)?.at ?? -Infinity;
    // The instance before told nothing of this one.
    const isNews = at > (known.lastEventAt ?? -Infinity) && at >= (state.movedAt ?? -Infinity);
    return isNews ? { ...known, lastEventAt: at } : known;
  });
  const lastCreatedAt = deliveries.find(({ type }) => type === "user.created")?.lastEventAt ?? 0;
  const after = Math.max(lastCreatedAt, state.movedAt ?? 0);
  const created = (await firstUntold(ctx, after, until)) ?? 0;
  return missedBy(deliveries, { created, updated: 0, deleted: 0 });
}

/** The instance of the newest event, or null: written down where it is not the mirrored one, else known by its user. */
export async function newestEventInstance(
  ctx: QueryCtx,
  { newestEventInstanceId }: SyncState,
): Promise<string | null> {
  if (newestEventInstanceId !== undefined) return newestEventInstanceId;
  const [newest] = [...(await newestEvents(ctx, Infinity))].sort((a, b) => b.at - a.at);
  return newest?.instanceId ?? null;
}

/** Deliveries after changes that no event told of; `missed`: when the newest of each kind was made, ms, 0 for none. */
export function missedBy(deliveries: Delivery[], missed: Counts["missed"]): Delivery[] {
  const now = clock.now();
  const missedAt: Record<EventType, number> = {
    "user.created": missed.created,
    "user.updated": missed.updated,
    "user.deleted": missed.deleted,
  };
  return deliveries.map((delivery) => {
    const at = missedAt[delivery.type];
    // Of several that were missed since the last event, the first one says since when.
    const isNews = at > 0 && !isMissing(delivery);
    // A creation time can be chosen, and lie ahead.
    return isNews ? { ...delivery, missedAt: Math.min(at, now) } : delivery;
  });
}

/** Each type of event, its times (ms), and whether at `now` (ms) it looks dead: none came since a change long past. */
export function judgeDeliveries(deliveries: Delivery[], now: number) {
  return deliveries.map((delivery) => {
    const { type, lastEventAt = null, missedAt = null } = delivery;
    const looksDead = isMissing(delivery) && (missedAt ?? now) <= now - RETRIES_MS;
    return { type, lastEventAt, missedAt, looksDead };
  });
}

function isMissing({ missedAt = -Infinity, lastEventAt = -Infinity }: Delivery): boolean {
  return missedAt > lastEventAt;
}

/** When the first user signed up between two times (ms) of whom `user.created` has not told; or null. */
async function firstUntold(ctx: QueryCtx, after: number, until: number) {
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
