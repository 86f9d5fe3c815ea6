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
});
