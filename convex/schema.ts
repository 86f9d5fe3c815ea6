import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { clerkTables } from "./clerk/tables.js";

export default defineSchema({
  ...clerkTables,
  users: defineTable({
    // Without them a row is the app's own, of a guest or a bot: the sync leaves it alone.
    clerkId: v.optional(v.string()),
    clerkCreatedAt: v.optional(v.number()),

    // As `clerk/fields.ts` reads them from Clerk's user; absent where Clerk has nothing.
    username: v.optional(v.string()),
    firstName: v.optional(v.string()),
    lastName: v.optional(v.string()),
    name: v.optional(v.string()),
    email: v.optional(v.string()),
    emailVerified: v.optional(v.boolean()),
    phoneNumber: v.optional(v.string()),
    imageUrl: v.optional(v.string()),
    clerkExternalId: v.optional(v.string()),
    publicMetadata: v.optional(v.record(v.string(), v.any())),
    banned: v.optional(v.boolean()),
    locked: v.optional(v.boolean()),

    /** Colour of the user's name in the chat: the app's own. */
    color: v.string(),

    /** When the user went, where `removal` in `clerk/app.ts` marks rows. */
    deletedAt: v.optional(v.number()),
  })
    .index("by_clerkId", ["clerkId"])
    .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]),
  messages: defineTable({ author: v.id("users"), body: v.string() }),
});
