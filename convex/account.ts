/** What the caller asks and may do about their own row. */
import { ConvexError, v } from "convex/values";
import { mutation, query } from "./_generated/server.js";
import { currentUserQuery, ensureSyncedMutation, getCurrentUserOrThrow } from "./clerk/users.js";
import { publicUser } from "./users.js";

/** Who looks at the page, and what others may see of them. */
export const current = query(currentUserQuery(publicUser));

/** Has the caller's row made, or put right, where a webhook got lost. */
export const ensureSynced = mutation(ensureSyncedMutation());

/**
 * Sets the colour of the caller's name: "#" and six hex digits, or letters, as CSS names colours.
 * @throws ConvexError for another colour, and for whoever has no row
 */
export const setColor = mutation({
  args: { color: v.string() },
  returns: v.null(),
  handler: async (ctx, { color }) => {
    const user = await getCurrentUserOrThrow(ctx);
    if (!/^(#[\da-f]{6}|[a-z]{3,20})$/i.test(color)) {
      throw new ConvexError('A colour is "#" and six hex digits, or a name of 3 to 20 letters.');
    }
    await ctx.db.patch("users", user._id, { color });
    return null;
  },
});
