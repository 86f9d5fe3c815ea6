/**
 * The only writer of `clerkDeliveries`: of each kind of event, when the last one came, and since when
 * runs have had to find out by themselves what such events should have told.
 */
import type { Doc } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { clock, MINUTE } from "./clock";
import type { EventType } from "./validators";

/**
 * A change that is younger may still be told of: Svix's first attempts are at once, after 5 s and
 * after 5 min (https://docs.svix.com/retries).
 */
const RETRIES_MS = 10 * MINUTE;

/** So often at most is it written down that events come: every event reads its row. */
const NOTED_EVERY_MS = MINUTE;

/** What came and was missed of another instance says nothing of this one. */
export async function forgetDeliveries(ctx: MutationCtx): Promise<void> {
  for (const { _id } of await ctx.db.query("clerkDeliveries").take(3)) {
    await ctx.db.delete("clerkDeliveries", _id);
  }
}

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
  else if (!isMissing(known) && isMissing({ ...known, missedAt })) {
    await ctx.db.patch("clerkDeliveries", known._id, { missedAt });
  }
}

type Delivery = Pick<Doc<"clerkDeliveries">, "missedAt" | "lastEventAt">;

/** Whether no event has come since a change was missed; one may have come that was not written down. */
function isMissing({ missedAt = -Infinity, lastEventAt = -Infinity }: Delivery): boolean {
  return missedAt > lastEventAt + NOTED_EVERY_MS;
}

/** Each kind of event that ever came or was missed, and whether deliveries of it look dead. @param now ms */
export async function readDeliveries(ctx: QueryCtx, now: number) {
  const deliveries = await ctx.db.query("clerkDeliveries").take(3);
  return deliveries.map((delivery) => {
    const { type, lastEventAt = null, missedAt = null } = delivery;
    const looksDead = isMissing(delivery) && (missedAt ?? now) <= now - RETRIES_MS;
    return { type, lastEventAt, missedAt, looksDead };
  });
}

async function deliveryOf(ctx: QueryCtx, type: EventType) {
  return await ctx.db
    .query("clerkDeliveries")
    .withIndex("by_type", (q) => q.eq("type", type))
    .unique();
}
