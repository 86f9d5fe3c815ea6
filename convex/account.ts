/** What the caller may do about their own row; apart from `users.ts`, so that queries load less. */
import { ConvexError, v } from "convex/values";
import { internal } from "./_generated/api.js";
import type { Doc } from "./_generated/dataModel.js";
import { mutation, type QueryCtx } from "./_generated/server.js";
import { clerkIdOf, userByClerkId } from "./users.js";

/** One id may ask for a repair this often, ms: it costs two requests to Clerk. */
const SYNC_REQUEST_PERIOD_MS = 30_000;

/** The caller's Clerk user id. @throws ConvexError for whoever is not signed in with Clerk */
async function requireClerkId(ctx: QueryCtx): Promise<string> {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) throw new ConvexError("Sign in first.");
  const clerkId = clerkIdOf(identity);
  // What is no id, an e-mail address for instance, must get into no schedule and no log.
  if (clerkId === null || !/^user_\w+$/.test(clerkId)) throw new ConvexError("Sign in with Clerk.");
  return clerkId;
}

/** The caller's row. @throws ConvexError for whoever is not signed in, has no row yet, or is banned */
export async function requireUser(ctx: QueryCtx): Promise<Doc<"users">> {
  const user = await userByClerkId(ctx, await requireClerkId(ctx));
  if (user === null) throw new ConvexError("No Clerk User: your account has not arrived here yet.");
  if (user.banned === true) throw new ConvexError("Your account is banned.");
  return user;
}

/**
 * Has the caller's row repaired by what Clerk says of them, if it is missing: a lost webhook costs
 * them seconds then. At most once in 30 s; asked for earlier, it does nothing.
 * @throws ConvexError for whoever is not signed in
 */
export const ensureSynced = mutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    const clerkId = await requireClerkId(ctx);
    if (await userByClerkId(ctx, clerkId)) return null;
    const last = await ctx.db
      .query("syncRequests")
      .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
      .unique();
    const requestedAt = Date.now();
    if (last && requestedAt - last.requestedAt < SYNC_REQUEST_PERIOD_MS) return null;
    if (last) await ctx.db.patch("syncRequests", last._id, { requestedAt });
    else await ctx.db.insert("syncRequests", { clerkId, requestedAt });
    await ctx.scheduler.runAfter(0, internal.clerk.worker.doubt, { clerkId });
    return null;
  },
});

/**
 * Sets the colour of the caller's name: "#" and six hex digits, or letters, as CSS names colours.
 * @throws ConvexError for another colour, and for whoever has no row
 */
export const setColor = mutation({
  args: { color: v.string() },
  returns: v.null(),
  handler: async (ctx, { color }) => {
    const user = await requireUser(ctx);
    if (!/^(#[\da-f]{6}|[a-z]{3,20})$/i.test(color)) {
      throw new ConvexError('A colour is "#" and six hex digits, or a name of 3 to 20 letters.');
    }
    await ctx.db.patch("users", user._id, { color });
    return null;
  },
});
