/** Pure: pages of Clerk's user lists → their entries, each with its place in the order in which users are settled. */
import { hashOf } from "./fingerprint.js";
import { readUser, type Unread } from "./profile.js";
import type { Position } from "./runValidators.js";
import type { Reading } from "./validators.js";

/** How Clerk sorts a list: by creation time, or by latest change, the latest first. */
export type Order = "+created_at" | "-updated_at";

/** Before every user. */
export const START: Position = { key: Number.MIN_SAFE_INTEGER, clerkId: "" };

/** An answer of Clerk that can't be what was asked for. The message holds nothing of it. */
export class UnexpectedAnswer extends Error {}

/**
 * Reads a page of a user list. What can't be read of it has its place by the entries around it.
 * @param json what Clerk answered
 * @param asked `order`: null where none was asked for; `from`: the creation time, ms; `settled`: the time of
 *   change back to which users are settled, ms. Where no entry of the page has a time, they have that one
 * @throws UnexpectedAnswer for what is not a list of at most `limit` users in the order asked for,
 *   which must never be taken for a list with fewer users
 */
export function readPage(
  json: unknown,
  asked: { limit: number; order: Order | null; from?: number | null; settled?: number },
): Reading[] {
  if (!Array.isArray(json)) throw new UnexpectedAnswer(`not a list but ${nameOfType(json)}`);
  if (json.length > asked.limit) {
    throw new UnexpectedAnswer(`${json.length} users where at most ${asked.limit} were asked for`);
  }
  const { order, from = null, settled = null } = asked;
  const users = placed(json, order, { clerkCreatedAt: from ?? 0, version: settled ?? 0 });
  if (order === null) return users;
  const keys = users.map((user) => keyOf(user, order));
  if (!keys.every((key, index) => index === 0 || (keys[index - 1] ?? key) <= key)) {
    throw new UnexpectedAnswer(`users that are not in the order asked for (${order})`);
  }
  // Whether the time asked for is included is not documented.
  if (from !== null && (keys[0] ?? from) < from - 1) {
    throw new UnexpectedAnswer("users from before the time asked for");
  }
  return users;
}

/**
 * Gives entries what they lack to have a place: a time from the entry before, or else from the next one,
 * which one that is out of place gets, too, if it can't be read; and a name that is the same on each page.
 */
function placed(json: unknown[], order: Order | null, otherwise: Times): Reading[] {
  const entries = json.map(readUser);
  let at = {
    clerkCreatedAt: entries.map(createdAtOf).find(isGiven) ?? otherwise.clerkCreatedAt,
    version: entries.map(({ version }) => version).find(isGiven) ?? otherwise.version,
  };
  let before: string | null = null;
  const names: string[] = [];
  return entries.map((entry, index) => {
    const own = {
      clerkCreatedAt: createdAtOf(entry) ?? at.clerkCreatedAt,
      version: entry.version ?? at.version,
    };
    if (entry.kind === "profile") {
      [before, at] = [entry.profile.clerkId, own];
      return entry;
    }
    const next = entries.slice(index).find(isProfile);
    if (order === null || isBetween(own, at, next, order)) at = own;
    const { kind, clerkId, reason } = entry;
    if (clerkId !== null) {
      before = clerkId;
      return { kind, clerkId, ...at, reason };
    }
    const name = nameOf(json[index]);
    const namesakes = names.filter((other) => other === name).length;
    names.push(name);
    return {
      kind,
      clerkId: namesakes === 0 ? name : `${name} +${namesakes}`,
      ...at,
      reason: `${reason} (${before === null ? "the first entry of its page" : `the entry after ${before}`})`,
    };
  });
}

/** A name for an entry without a usable id, which shows nothing of it. */
function nameOf(json: unknown): string {
  const id = typeof json === "object" && json !== null && "id" in json ? json.id : undefined;
  return `entry ${hashOf(JSON.stringify(typeof id === "string" ? id : json))}`;
}

function isProfile(entry: Reading | Unread): entry is Extract<Reading, { kind: "profile" }> {
  return entry.kind === "profile";
}

type Times = { clerkCreatedAt: number; version: number };

function isBetween(own: Times, last: Times, next: Reading | undefined, order: Order): boolean {
  const key = timeOf(own, order);
  return key >= timeOf(last, order) && (next === undefined || key <= keyOf(next, order));
}

function createdAtOf(entry: Reading | Unread): number | null {
  return entry.kind === "profile" ? entry.profile.clerkCreatedAt : entry.clerkCreatedAt;
}

function isGiven(value: number | null): value is number {
  return value !== null;
}

/** The Clerk user id of a listed user. */
export function idOf(user: Reading): string {
  return user.kind === "profile" ? user.profile.clerkId : user.clerkId;
}

/** What a list is sorted by, ascending: a creation time, or a negated time of change, ms. */
export function keyOf(user: Reading, order: Order): number {
  const { version } = user;
  return timeOf({ clerkCreatedAt: createdAtOf(user) ?? 0, version }, order);
}

function timeOf(at: Times, order: Order): number {
  return order === "-updated_at" ? -at.version : at.clerkCreatedAt;
}

/** Where a listed user stands in the order in which users are settled. */
export function positionOf(user: Reading, order: Order): Position {
  return { key: keyOf(user, order), clerkId: idOf(user) };
}

/** The order in which users and rows are settled. */
export function comparePositions(a: Position, b: Position): number {
  if (a.key !== b.key) return a.key - b.key;
  return a.clerkId < b.clerkId ? -1 : a.clerkId > b.clerkId ? 1 : 0;
}

/** The place before all users with this key. */
export function before(key: number): Position {
  return { key, clerkId: "" };
}

/** Sorts after every id. */
const LAST_ID = "\uffff";

/** The place behind all users with this key. */
export function behind(key: number): Position {
  return { key, clerkId: LAST_ID };
}

/** Whether a place is between users with the same key. */
export function isWithin({ clerkId }: Position): boolean {
  return clerkId !== "" && clerkId !== LAST_ID;
}

/** The one of two places that comes first. */
export function least(a: Position, b: Position): Position {
  return comparePositions(a, b) < 0 ? a : b;
}

function nameOfType(json: unknown): string {
  if (json === null) return "null";
  return typeof json === "object" ? "an object" : `a ${typeof json}`;
}
