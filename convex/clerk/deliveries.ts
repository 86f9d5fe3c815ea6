/**
 * Whether Clerk's events still come, each type judged apart: when the last one came, and since when
 * runs have had to find out by themselves what such events should have told.
 */
import { v } from "convex/values";
import { internal } from "../_generated/api";
import { internalMutation, type MutationCtx } from "../_generated/server";
import { clock, MINUTE } from "./clock";
import { readSyncState, updateSyncState, type SyncState } from "./syncState";
import type { Counts } from "./runValidators";
import { vEventType, type Delivery, type EventType } from "./validators";

/**
 * A change that is younger may still be told of: Svix's first attempts are at once, after 5 s and
 * after 5 min (https://docs.svix.com/retries).
 */
const RETRIES_MS = 10 * MINUTE;

/** So often at most is it written down that events come: every event reads that row. */
const NOTED_EVERY_MS = MINUTE;

const TYPES = vEventType.members.map(({ value }) => value);

/**
 * An event of the mirrored instance came. That is written down in a transaction of its own, so that
 * the event's reads and writes no more than it must; but at once where it ends an alarm.
 */
export async function noteEvent(
  ctx: MutationCtx,
  state: SyncState,
  type: EventType,
): Promise<void> {
  const delivery = deliveryOf(state, type);
  const at = clock.now();
  if (isMissing(delivery)) await writeLastEvent(ctx, state, type, at);
  else if (at - (delivery.lastEventAt ?? -Infinity) >= NOTED_EVERY_MS) {
    await ctx.scheduler.runAfter(0, internal.clerk.deliveries.note, { type, at });
  }
}

/**
 * A user whom the last full run can't have met was made known by `user.updated`: unless it comes
 * yet, `user.created` was missed.
 */
export async function noteUntold(ctx: MutationCtx, createdAt: number): Promise<void> {
  // Read anew: the event itself may have just been written down.
  const state = await readSyncState(ctx);
  const { lastFullRunStartedAt = Infinity } = state;
  if (createdAt <= lastFullRunStartedAt) return;
  const missed = { created: createdAt, updated: 0, deleted: 0 };
  await updateSyncState(ctx, { deliveries: missedBy(state, missed) });
}

/** Writes down when an event came. Scheduled by `noteEvent`. @param at ms */
export const note = internalMutation({
  args: { type: vEventType, at: v.number() },
  returns: v.null(),
  handler: async (ctx, { type, at }): Promise<null> => {
    await writeLastEvent(ctx, await readSyncState(ctx), type, at);
    return null;
  },
});

async function writeLastEvent(ctx: MutationCtx, state: SyncState, type: EventType, at: number) {
  const delivery = deliveryOf(state, type);
  if (at <= (delivery.lastEventAt ?? -Infinity)) return;
  const noted = { ...delivery, lastEventAt: at };
  const deliveries = TYPES.map((each) => (each === type ? noted : deliveryOf(state, each)));
  await updateSyncState(ctx, { deliveries });
}

/**
 * What is known of deliveries after a run that found changes which no event had told of.
 * @param missed when the newest of each kind was made, ms; 0 where there is none
 */
export function missedBy(state: SyncState, missed: Counts["missed"]): Delivery[] {
  const now = clock.now();
  const missedAt: Record<EventType, number> = {
    "user.created": missed.created,
    "user.updated": missed.updated,
    "user.deleted": missed.deleted,
  };
  return TYPES.map((type) => {
    const delivery = deliveryOf(state, type);
    // Of several that were missed since the last event, the first one says since when.
    const isNews = missedAt[type] > 0 && !isMissing(delivery);
    // A creation time can be chosen, and lie ahead.
    return isNews ? { ...delivery, missedAt: Math.min(missedAt[type], now) } : delivery;
  });
}

/** Each type of event, and whether it looks dead: none came since a change that is long past. */
export function judgeDeliveries(state: SyncState, now: number) {
  return TYPES.map((type) => {
    const delivery = deliveryOf(state, type);
    const { lastEventAt = null, missedAt = null } = delivery;
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
