/** What the database shows the doctor. */
import { paginationOptsValidator, paginationResultValidator } from "convex/server";
import { v, type Infer } from "convex/values";
import { internalQuery } from "../_generated/server";
import { deadDeliveries } from "./deliveries";
import { isMirrored } from "./rows";
import { readSyncState } from "./runs";

/** So many rows of a kind are counted. */
export const MAX_COUNTED = 1000;

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

const vIds = paginationResultValidator(v.string());
export type Ids = Infer<typeof vIds>;

/** The `clerkId`s of the mirror in order, as often as they are there. */
export const ids = internalQuery({
  args: { paginationOpts: paginationOptsValidator },
  returns: vIds,
  handler: async (ctx, { paginationOpts }): Promise<Ids> => {
    const result = await ctx.db
      .query("users")
      .withIndex("by_clerkId", (q) => q.gt("clerkId", ""))
      .paginate(paginationOpts);
    const page = result.page.filter(isMirrored).flatMap(({ clerkId }) => clerkId ?? []);
    return { ...result, page };
  },
});
