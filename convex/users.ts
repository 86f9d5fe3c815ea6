/** What the app asks of `users`. */
import { v, type Infer } from "convex/values";
import type { Doc } from "./_generated/dataModel";
import { internalQuery, query, type QueryCtx } from "./_generated/server";

/** What users may see of each other. */
export const vPublicUser = v.object({
  _id: v.id("users"),
  name: v.string(),
  color: v.string(),
  imageUrl: v.optional(v.string()),
});

/** What others see of a row: a name whatever the profile lacks, and nothing private. */
export function publicUser({ _id, name, username, color, imageUrl }: Doc<"users">) {
  const shown: Infer<typeof vPublicUser> = {
    _id,
    name: name ?? username ?? "Somebody",
    color,
    imageUrl,
  };
  return shown;
}

/** The row of a Clerk user id, unless it is marked as removed: of several, the oldest, as the sync has it. */
export async function userByClerkId(ctx: QueryCtx, clerkId: string): Promise<Doc<"users"> | null> {
  const user = await ctx.db
    .query("users")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
    .first();
  return user?.deletedAt === undefined ? user : null;
}

/** The row of a Clerk user id, or null. */
export const getUser = internalQuery({
  args: { clerkId: v.string() },
  handler: async (ctx, { clerkId }) => await userByClerkId(ctx, clerkId),
});

/** Whether the caller is signed in, and whether the webhook has made their row yet. */
export const loginStatus = query({
  args: {},
  returns: v.union(
    v.object({ status: v.literal("No JWT Token") }),
    v.object({ status: v.literal("No Clerk User") }),
    v.object({ status: v.literal("Logged In"), user: vPublicUser }),
  ),
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) return { status: "No JWT Token" as const };
    const user = await userByClerkId(ctx, identity.subject);
    if (user === null) return { status: "No Clerk User" as const };
    return { status: "Logged In" as const, user: publicUser(user) };
  },
});
