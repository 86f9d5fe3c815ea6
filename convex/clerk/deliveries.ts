/**
 * Whether Clerk's events still come, each type judged apart: when the last one came, which each event
 * writes down with its own user's version, and since when there are changes that no event told of.
 */
import type { QueryCtx } from "../_generated/server.js";
import { clock, MINUTE } from "./clock.js";
import { firstUntold, newestEvents } from "./rows.js";
import type { SyncState } from "./syncState.js";
import type { Counts } from "./runValidators.js";
import { EVENT_TYPES, type Delivery, type EventType } from "./validators.js";

/**
 * A change that is younger may still be told of: Svix's first attempts are at once, after 5 s and
 * after 5 min (https://docs.svix.com/retries).
 */
const RETRIES_MS = 10 * MINUTE;

/**
 * Each type of event: what runs wrote down, and what came since.
 * @param until ms: events that came from then on are not looked at
 */
export async function readDeliveries(
  ctx: QueryCtx,
  state: SyncState,
  until = Infinity,
): Promise<Delivery[]> {
  const newest = await newestEvents(ctx, until);
  const deliveries = EVENT_TYPES.map((type): Delivery => {
    const known = deliveryOf(state, type);
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

/**
 * The instance that the newest event is from: one that is not mirrored, where that is written down, else what is
 * known with the user whom it named. Null where none came.
 */
export async function newestEventInstance(
  ctx: QueryCtx,
  { newestEventInstanceId }: SyncState,
): Promise<string | null> {
  if (newestEventInstanceId !== undefined) return newestEventInstanceId;
  const [newest] = [...(await newestEvents(ctx, Infinity))].sort((a, b) => b.at - a.at);
  return newest?.instanceId ?? null;
}

/**
 * What is known of deliveries after changes were found that no event had told of.
 * @param missed when the newest of each kind was made, ms; 0 where there is none
 */
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

/** Each type of event, and whether it looks dead: none came since a change that is long past. */
export function judgeDeliveries(deliveries: Delivery[], now: number) {
  return deliveries.map((delivery) => {
    const { type, lastEventAt = null, missedAt = null } = delivery;
    const looksDead = isMissing(delivery) && (missedAt ?? now) <= now - RETRIES_MS;
    return { type, lastEventAt, missedAt, looksDead };
  });
}

function deliveryOf({ deliveries = [] }: SyncState, type: EventType): Delivery {
  return deliveries.find((delivery) => delivery.type === type) ?? { type };
}

/** Whether no event has come since a change was missed. */
function isMissing({ missedAt = -Infinity, lastEventAt = -Infinity }: Delivery): boolean {
  return missedAt > lastEventAt;
}
