/** What the app asks of `users`. */
import type { UserIdentity } from "convex/server";
import { v, type Infer } from "convex/values";
import type { Doc } from "./_generated/dataModel.js";
import { env, internalQuery, query, type QueryCtx } from "./_generated/server.js";

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

/**
 * The Clerk user id of whoever is signed in with Clerk, or null: of another issuer the same subject would be
 * somebody else.
 */
export function clerkIdOf({ issuer, subject }: UserIdentity): string | null {
  return issuer === (env.CLERK_JWT_ISSUER_DOMAIN ?? issuer) ? subject : null;
}

/** The row of a Clerk user id, unless it is marked as removed: of several, the oldest, as the sync has it. */
export async function userByClerkId(ctx: QueryCtx, clerkId: string): Promise<Doc<"users"> | null> {
  const rows = await ctx.db
    .query("users")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
    .take(9);
  return rows.find((row) => !row.deletedAt) ?? null;
}

/** The row of a Clerk user id, or null. */
export const getUser = internalQuery({
  args: { clerkId: v.string() },
  handler: (ctx, { clerkId }) => userByClerkId(ctx, clerkId),
});

/** Whether the caller is signed in, whether the webhook has made their row yet, and whether they may enter. */
export const loginStatus = query({
  args: {},
  returns: v.union(
    v.object({
      status: v.union(v.literal("No JWT Token"), v.literal("No Clerk User"), v.literal("Banned")),
    }),
    v.object({ status: v.literal("Logged In"), user: vPublicUser }),
  ),
  handler: async (ctx) => {
    const caller = await ctx.auth.getUserIdentity();
    const id = caller && clerkIdOf(caller);
    if (id === null) return { status: "No JWT Token" as const };
    const user = await userByClerkId(ctx, id);
    if (user === null) return { status: "No Clerk User" as const };
    if (user.banned) return { status: "Banned" as const };
    return { status: "Logged In" as const, user: publicUser(user) };
  },
});
