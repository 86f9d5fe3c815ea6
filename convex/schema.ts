import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { clerkTables, usersTable } from "./clerk/tables";

export default defineSchema({
  ...clerkTables,
  users: usersTable({
    /** Colour of the user's name in the chat: the app's own field. */
    color: v.string(),
  }),
  messages: defineTable({ author: v.id("users"), body: v.string() }),
  /** When a signed-in user without a row last asked for it: at most one row per Clerk id. */
  syncRequests: defineTable({ clerkId: v.string(), requestedAt: v.number() }).index("by_clerkId", [
    "clerkId",
  ]),
});
