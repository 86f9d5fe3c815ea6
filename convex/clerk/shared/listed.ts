/** Users as Clerk lists them: who it is, and what the list is sorted by; and a hash. */
import type { Reading } from "./user.js";

/** The Clerk user id of a listed user. */
export function idOf(user: Reading): string {
  return user.kind === "profile" ? user.profile.clerkId : user.clerkId;
}

export type Order = "+created_at" | "-updated_at";

/** What a list is sorted by, ascending: a creation time, or a negated time of change, ms. */
export function keyOf(user: Reading, order: Order): number {
  const { clerkCreatedAt } = user.kind === "profile" ? user.profile : user;
  return keyAt({ clerkCreatedAt, version: user.version }, order);
}

/** The same of the two times alone. */
export function keyAt(at: { clerkCreatedAt: number; version: number }, order: Order): number {
  return order === "-updated_at" ? -at.version : at.clerkCreatedAt;
}

/** The FNV-1a hash of a text: 32 bits, in hexadecimal. */
export function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return hash.toString(16).padStart(8, "0");
}
