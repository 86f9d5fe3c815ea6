/** What the crons to compare with have in common: their table, its rows, and how they list users. */
import {
  defineSchema,
  defineTable,
  type DataModelFromSchemaDefinition,
  type FunctionReference,
} from "convex/server";
import { v } from "convex/values";
import type { ClerkUserJSON } from "../stand-in/clerk-json";

export const peerFields = {
  clerkId: v.string(),
  email: v.optional(v.string()),
  firstName: v.optional(v.string()),
  lastName: v.optional(v.string()),
  imageUrl: v.optional(v.string()),
  name: v.string(),
};

export const peerSchema = defineSchema({
  users: defineTable(peerFields).index("by_clerkId", ["clerkId"]),
});
export type PeerDataModel = DataModelFromSchemaDefinition<typeof peerSchema>;

/** Such a cron, for convex-test. */
export type CronToCompare = {
  modules: Record<string, () => Promise<unknown>>;
  syncReference: FunctionReference<"action">;
};

/** The row that they keep of a user. */
export function peerRowOf(user: ClerkUserJSON) {
  const [address] = user.email_addresses;
  const name = [user.first_name, user.last_name].filter(Boolean).join(" ");
  return {
    clerkId: user.id,
    email: address?.email_address,
    firstName: user.first_name ?? undefined,
    lastName: user.last_name ?? undefined,
    imageUrl: user.image_url,
    name,
  };
}

export async function listPeerPage(offset: number, limit: number): Promise<ClerkUserJSON[]> {
  const response = await fetch(
    `${process.env.CLERK_API_URL}/v1/users?limit=${limit}&offset=${offset}`,
    { headers: { Authorization: `Bearer ${process.env.CLERK_SECRET_KEY}` } },
  );
  return (await response.json()) as ClerkUserJSON[];
}
