/** What others may see of users. */
import { v, type Infer } from "convex/values";
import type { Doc } from "./_generated/dataModel.js";
import { internalQuery } from "./_generated/server.js";

/** What users may see of each other. */
export const vPublicUser = v.object({
  _id: v.id("users"),
  name: v.string(),
  color: v.string(),
  imageUrl: v.optional(v.string()),
});

/** What others see of a row: a name whatever the profile lacks, and nothing private. */
export function publicUser({ _id, name, username, color, imageUrl }: Doc<"users">) {
  return {
    _id,
    name: name ?? username ?? "Somebody",
    color,
    imageUrl,
  } satisfies Infer<typeof vPublicUser>;
}

/** The row of a Clerk user id, for the dashboard; null where there is none, or it is marked as removed. */
export const getUser = internalQuery({
  args: { clerkId: v.string() },
  handler: async (ctx, { clerkId }) => {
    const rows = await ctx.db
      .query("users")
      .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
      .take(9);
    return rows.find(({ deletedAt }) => deletedAt === undefined) ?? null;
  },
});
