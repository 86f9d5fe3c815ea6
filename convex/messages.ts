/** The chat room of the demo. */
import { ConvexError, v } from "convex/values";
import { asyncMap } from "convex-helpers";
import { mutation, query } from "./_generated/server.js";
import { getCurrentUserOrThrow } from "./clerk/users.js";
import { publicUser, vPublicUser } from "./users.js";

const MAX_BODY_LENGTH = 2000;
const MAX_LISTED = 100;

/**
 * Posts a message as the caller: 1 to 2,000 characters, without the white space around them.
 * @returns the id of the message
 * @throws ConvexError for another length, and for whoever has no row
 */
export const send = mutation({
  args: { body: v.string() },
  returns: v.id("messages"),
  handler: async (ctx, args) => {
    const author = await getCurrentUserOrThrow(ctx);
    const body = args.body.trim();
    const { length } = Array.from(body);
    if (length < 1 || length > MAX_BODY_LENGTH) {
      throw new ConvexError(
        `A message has 1 to ${MAX_BODY_LENGTH} characters; this one has ${length}.`,
      );
    }
    return await ctx.db.insert("messages", { author: author._id, body });
  },
});

/** The newest 100 messages, oldest first, each with its author as they are now. */
export const list = query({
  args: {},
  returns: v.array(
    v.object({
      _id: v.id("messages"),
      sentAt: v.number(),
      body: v.string(),
      author: v.union(vPublicUser, v.literal("deleted user")),
    }),
  ),
  handler: async (ctx) => {
    await getCurrentUserOrThrow(ctx);
    const newest = await ctx.db.query("messages").order("desc").take(MAX_LISTED);
    const ids = [...new Set(newest.map(({ author }) => author))];
    const users = new Map(
      await asyncMap(ids, async (id) => [id, await ctx.db.get("users", id)] as const),
    );
    return newest.reverse().map(({ _id, _creationTime, body, author }) => {
      const user = users.get(author);
      const shown = user && !user.deletedAt ? publicUser(user) : ("deleted user" as const);
      return { _id, sentAt: _creationTime, body, author: shown };
    });
  },
});
