/**
 * The only writer of `clerkDeliveries`: of each kind of event, when the last one came, and the newest
 * change that a run had to find out by itself.
 */
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { clock, MINUTE } from "./clock";
import type { EventType } from "./validators";

/**
 * A change that is younger may still be told of: Svix's first attempts are at once, after 5 s and
 * after 5 min (https://docs.svix.com/retries).
 */
export const RETRIES_MS = 10 * MINUTE;

/** So often at most is it written down that events come: every event reads its row. */
const NOTED_EVERY_MS = MINUTE;

/** An event of the mirrored instance came. */
export async function noteEvent(ctx: MutationCtx, type: EventType): Promise<void> {
  const known = await deliveryOf(ctx, type);
  const lastEventAt = clock.now();
  if (known === null) await ctx.db.insert("clerkDeliveries", { type, lastEventAt });
  else if (lastEventAt - (known.lastEventAt ?? -Infinity) >= NOTED_EVERY_MS) {
    await ctx.db.patch("clerkDeliveries", known._id, { lastEventAt });
  }
}

/**
 * A run found changes that no event had told of.
 * @param missedAt when the newest of them was made, ms
 */
export async function noteMissed(ctx: MutationCtx, type: EventType, missedAt: number) {
  const known = await deliveryOf(ctx, type);
  if (known === null) await ctx.db.insert("clerkDeliveries", { type, missedAt });
  else if (missedAt > (known.missedAt ?? -Infinity)) {
    await ctx.db.patch("clerkDeliveries", known._id, { missedAt });
  }
}

/**
 * The kinds of events that look dead: a change was missed, and none has come since it was made.
 * @param now ms
 */
export async function deadDeliveries(ctx: QueryCtx, now: number) {
  const deliveries = await ctx.db.query("clerkDeliveries").take(3);
  return deliveries.filter(
    ({ missedAt = Infinity, lastEventAt = -Infinity }) =>
      missedAt <= now - RETRIES_MS && lastEventAt <= missedAt,
  );
}

async function deliveryOf(ctx: QueryCtx, type: EventType) {
  return await ctx.db
    .query("clerkDeliveries")
    .withIndex("by_type", (q) => q.eq("type", type))
    .unique();
}
