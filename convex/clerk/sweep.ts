/** Pure: pages of Clerk's user list → users to compare, windows to settle, batches to send. */
import { readUser } from "./profile";
import { type Position, type Reading } from "./validators";

/** Before every user. */
export const START: Position = { clerkCreatedAt: Number.MIN_SAFE_INTEGER, clerkId: "" };

/** Characters of JSON, up to 3 bytes each, of users in one mutation, whose arguments hold 16 MiB. */
const MAX_BATCH_LENGTH = 4 * 1024 * 1024;

/** An answer of Clerk that can't be what was asked for. The message holds nothing of it. */
export class UnexpectedAnswer extends Error {}

/**
 * Reads a page of the user list.
 * @param json what Clerk answered
 * @throws UnexpectedAnswer for what is not a list of at most `limit` users in the order asked for,
 *   which must never be taken for a list with fewer users
 */
export function readPage(
  json: unknown,
  asked: { limit: number; orderBy: "+created_at" | "-updated_at" | null },
): Reading[] {
  if (!Array.isArray(json)) throw new UnexpectedAnswer(`not a list but ${nameOfType(json)}`);
  if (json.length > asked.limit) {
    throw new UnexpectedAnswer(`${json.length} users where at most ${asked.limit} were asked for`);
  }
  const users = json.map((entry) => {
    const user = readUser(entry);
    if (user === null) throw new UnexpectedAnswer("an entry without a user id and a created_at");
    return user;
  });
  if (asked.orderBy !== null && !isOrdered(users, asked.orderBy)) {
    throw new UnexpectedAnswer(`users that are not in the order asked for (${asked.orderBy})`);
  }
  return users;
}

function isOrdered(users: Reading[], orderBy: "+created_at" | "-updated_at"): boolean {
  const keys = users.flatMap((user) => {
    if (orderBy === "+created_at") return positionOf(user).clerkCreatedAt;
    return user.kind === "profile" ? -user.version : [];
  });
  return keys.every((key, index) => index === 0 || (keys[index - 1] ?? key) <= key);
}

/** A span of positions, after what is settled and up to `until` (null: to the end), with its users. */
export type Window = { users: Reading[]; until: Position | null };

/**
 * What a page of `+created_at` settles. The users who share the last creation time of a full page
 * may go on beyond it, so it settles up to that time only.
 * @returns null when a full page holds nothing new: more users share one creation time than fit a page
 */
export function windowOf(page: Reading[], settled: Position, limit: number): Window | null {
  const last = page.at(-1);
  const isFull = page.length === limit && last !== undefined;
  const until = isFull ? { ...positionOf(last), clerkId: "" } : null;
  if (until !== null && comparePositions(until, settled) <= 0) return null;
  const users = page.filter((user) => {
    const position = positionOf(user);
    const isBefore = until === null || comparePositions(position, until) < 0;
    return isBefore && comparePositions(position, settled) > 0;
  });
  const byPosition = (a: Reading, b: Reading) => comparePositions(positionOf(a), positionOf(b));
  return { users: users.sort(byPosition), until };
}

/** The part of a window, from `settled` on, whose users fit the arguments of one mutation. */
export function batchOf(window: Window, settled: Position): Window {
  const rest = window.users.filter((user) => comparePositions(positionOf(user), settled) > 0);
  let length = 0;
  const tooMany = rest.findIndex(
    (user) => (length += JSON.stringify(user).length) > MAX_BATCH_LENGTH,
  );
  const last = rest[tooMany - 1];
  if (last === undefined) return { users: rest, until: window.until };
  return { users: rest.slice(0, tooMany), until: positionOf(last) };
}

export function positionOf(user: Reading): Position {
  const { clerkId, clerkCreatedAt } = user.kind === "profile" ? user.profile : user;
  return { clerkId, clerkCreatedAt };
}

/** The order in which a full run settles users and rows. */
export function comparePositions(a: Position, b: Position): number {
  if (a.clerkCreatedAt !== b.clerkCreatedAt) return a.clerkCreatedAt - b.clerkCreatedAt;
  return a.clerkId < b.clerkId ? -1 : a.clerkId > b.clerkId ? 1 : 0;
}

function nameOfType(json: unknown): string {
  if (json === null) return "null";
  return typeof json === "object" ? "an object" : `a ${typeof json}`;
}
