/** Builders of the functions that only signed-in users with a row may call. */
import { ConvexError } from "convex/values";
import { customCtx, customMutation, customQuery } from "convex-helpers/server/customFunctions";
import type { Doc } from "./_generated/dataModel";
import { mutation, query, type QueryCtx } from "./_generated/server";
import { userByClerkId } from "./users";

async function requireUser(ctx: QueryCtx): Promise<{ user: Doc<"users"> }> {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) throw new ConvexError("Sign in first.");
  const user = await userByClerkId(ctx, identity.subject);
  if (user === null) throw new ConvexError("No Clerk User: your account has not arrived here yet.");
  return { user };
}

/** A query with the caller's row as `ctx.user`; it throws for whoever has none. */
export const userQuery = customQuery(query, customCtx(requireUser));

/** A mutation with the caller's row as `ctx.user`; it throws for whoever has none. */
export const userMutation = customMutation(mutation, customCtx(requireUser));
