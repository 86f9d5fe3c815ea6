/** What the database shows the doctor. */
import { v, type Infer } from "convex/values";
import { internalQuery } from "../_generated/server";
import { deadDeliveries } from "./deliveries";
import { isMirrored } from "./rows";
import { readSyncState } from "./runs";

/** So many rows of a kind are counted. */
export const MAX_COUNTED = 1000;
// What one query looks at, rows with all that the app keeps on them.
const MAX_ROWS = 2000;
const MAX_BYTES = 4 * 1024 * 1024;

const vSeen = v.object({
  now: v.number(),
  instanceId: v.nullable(v.string()),
  lastTickAt: v.nullable(v.number()),
  lastFullRunStartedAt: v.nullable(v.number()),
  /** Kinds of events that look dead, and since when. */
  dead: v.array(v.object({ type: v.string(), missedAt: v.number() })),
  /** Rows with a `clerkId` and without a creation time, at most 1,000. */
  undated: v.number(),
});
export type Seen = Infer<typeof vSeen>;

/** What the database says. @param now ms: a query reads no clock */
export const see = internalQuery({
  args: { now: v.number() },
  returns: vSeen,
  handler: async (ctx, { now }): Promise<Seen> => {
    const { instanceId, lastTickAt, lastFullRunStartedAt } = await readSyncState(ctx);
    const undated = await ctx.db
      .query("users")
      .withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
        q.eq("clerkCreatedAt", undefined).gt("clerkId", ""),
      )
      .take(MAX_COUNTED);
    const dead = await deadDeliveries(ctx, now);
    return {
      now,
      instanceId: instanceId ?? null,
      lastTickAt: lastTickAt ?? null,
      lastFullRunStartedAt: lastFullRunStartedAt ?? null,
      dead: dead.map(({ type, missedAt = 0 }) => ({ type, missedAt })),
      undated: undated.filter(isMirrored).length,
    };
  },
});

const vDuplicates = v.object({
  ids: v.array(v.string()),
  rows: v.number(),
  /** Where to go on; null at the end. */
  next: v.nullable(v.string()),
});
export type Duplicates = Infer<typeof vDuplicates>;

/**
 * The `clerkId`s, from one on, that are on more than one row of the mirror.
 * @returns those of as many rows as a query should read; the next query begins with the next id
 */
export const duplicates = internalQuery({
  args: { from: v.string() },
  returns: vDuplicates,
  handler: async (ctx, { from }): Promise<Duplicates> => {
    const ids = new Set<string>();
    let [rows, last] = [0, ""];
    const mirror = ctx.db.query("users").withIndex("by_clerkId", (q) => q.gte("clerkId", from));
    for await (const row of mirror) {
      const { clerkId = "" } = row;
      const { bytesRead } = await ctx.meta.getTransactionMetrics();
      const isEnough = rows >= MAX_ROWS || bytesRead.used >= MAX_BYTES;
      if (isEnough && clerkId !== last) return { ids: [...ids], rows, next: clerkId };
      if (!isMirrored(row)) continue;
      if (clerkId === last) ids.add(clerkId);
      [rows, last] = [rows + 1, clerkId];
    }
    return { ids: [...ids], rows, next: null };
  },
});
