/** Pages of Clerk's user lists → their entries, each with what it is sorted by. */
import { readUsers, type Unread } from "../profile/profile.js";
import { hashOf } from "../shared/hash.js";
import { keyOf, type Order, type Reading } from "../shared/user.js";
import { fieldOf, unexpected } from "./request.js";

/**
 * Reads a page of a user list in the `order` asked for; null: of users who were named. What can't be read has its place
 * by the entries around it, or, where none has a time, by `from` (creation, ms) or `settled` (change, ms: users are
 * settled back to it). So has what comes before the first with a time where a list begins (`isBegin`): asked for from
 * that time on, Clerk would no longer show it.
 * @throws ClerkError for what is not a list of at most `limit` users in the order asked for, which must never be
 *   taken for a list with fewer users
 */
export function readPage(
  json: unknown,
  asked: {
    limit: number;
    order: Order | null;
    from?: number | null;
    settled?: number;
    isBegin?: boolean;
  },
): Reading[] {
  const { limit, order, from = null, settled = 0, isBegin = false } = asked;
  const unfit = (what: string) => unexpected("/users", what, order === null);
  if (!Array.isArray(json)) throw unfit(`not a list but ${nameOfType(json)}`);
  if (json.length > limit) {
    throw unfit(`${json.length} users where at most ${limit} were asked for`);
  }
  const start = { clerkCreatedAt: from ?? 0, version: settled };
  const entries = placed(json, { order, start, isBegin });
  if (order === null) return entries;
  return ordered(entries, order, { from, isBegin });
}

/** Of so many entries one may stand out of the order. */
const FEW = 10;

/**
 * Gives the few who stand out of the order the key of the one before, or, where they begin a list, the time that it was
 * asked for from: what Clerk says of them is as good as any.
 */
function ordered(
  users: Reading[],
  order: Order,
  { from, isBegin }: { from: number | null; isBegin: boolean },
): Reading[] {
  const keys = users.map((user) => keyOf(user, order));
  // Whether the time asked for is included is not documented.
  const isEarly = (key = Infinity) => from !== null && key < from - 1;
  if (!isEarly(keys[0]) && keys.every((key, index) => (keys[index - 1] ?? key) <= key)) {
    return users;
  }
  const inOrder = longestAscent(keys.map((key) => (isEarly(key) ? NaN : key)));
  if (inOrder.size < users.length - Math.floor(users.length / FEW)) {
    const what = keys.some(isEarly)
      ? "users from before the time asked for"
      : `users that are not in the order asked for (${order})`;
    throw unexpected("/users", what);
  }
  const first = keys.find((_, index) => inOrder.has(index));
  let placedAt = (isBegin ? from : first) ?? 0;
  return users.map((user, index) => {
    if (!inOrder.has(index)) return { ...user, placedAt };
    placedAt = keys[index] ?? placedAt;
    return user;
  });
}

/** Places of a longest part of a list that does not descend; NaN is in none. */
function longestAscent(keys: number[]): Set<number> {
  const lengths: number[] = [];
  const before: number[] = [];
  for (const key of keys) {
    let [length, last] = [1, -1];
    for (const [index, other] of lengths.entries()) {
      if ((keys[index] ?? key) <= key && other >= length) [length, last] = [other + 1, index];
    }
    lengths.push(length);
    before.push(last);
  }
  const part = new Set<number>();
  let at = lengths.lastIndexOf(Math.max(...lengths));
  for (; at >= 0; at = before[at] ?? -1) if (!Number.isNaN(keys[at])) part.add(at);
  return part;
}

/**
 * Gives entries what they lack to have a place: a time from the entry before, or else from the next one, which one out
 * of place gets, too, if it can't be read; and a name that is the same on each page.
 */
function placed(
  json: unknown[],
  { order, start, isBegin }: { order: Order | null; start: Times; isBegin: boolean },
): Reading[] {
  const entries = readUsers(json);
  const created = entries.map(({ clerkCreatedAt }) => clerkCreatedAt).find(isGiven);
  const { clerkCreatedAt: from } = start;
  let at = {
    // A list may begin a millisecond before: see `ordered`.
    clerkCreatedAt: isBegin
      ? Math.min(from, Math.max(created ?? from, from - 1))
      : (created ?? from),
    version: entries.map(({ version }) => version).find(isGiven) ?? start.version,
  };
  let before: string | null = null;
  const names: string[] = [];
  return entries.map((entry, index) => {
    const own = {
      clerkCreatedAt: entry.clerkCreatedAt ?? at.clerkCreatedAt,
      version: entry.version ?? at.version,
    };
    if (entry.kind === "profile") {
      [before, at] = [entry.clerkId, own];
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

/** What of a user mostly stays as it is from page to page. */
const LASTING = [
  "created_at",
  "external_id",
  "username",
  "first_name",
  "last_name",
  "email_addresses",
];

/** A name for an entry without a usable id, which shows nothing of it. */
function nameOf(json: unknown): string {
  const id = fieldOf(json, "id");
  const known = typeof id === "string" ? id : LASTING.map((field) => fieldOf(json, field));
  return `entry ${hashOf(JSON.stringify(known))}`;
}

function isProfile(entry: Reading | Unread): entry is Extract<Reading, { kind: "profile" }> {
  return entry.kind === "profile";
}

type Times = Pick<Reading, "clerkCreatedAt" | "version">;

function isBetween(own: Times, last: Times, next: Reading | undefined, order: Order): boolean {
  const key = keyOf(own, order);
  return key >= keyOf(last, order) && (next === undefined || key <= keyOf(next, order));
}

function isGiven(value: number | null): value is number {
  return value !== null;
}

function nameOfType(json: unknown): string {
  if (json === null) return "null";
  return typeof json === "object" ? "an object" : `a ${typeof json}`;
}
