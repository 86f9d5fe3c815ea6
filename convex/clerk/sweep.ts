/** Pure: pages of Clerk's user list → users to compare, windows to settle, batches to send. */
import type { Infer } from "convex/values";
import { readUser } from "./profile";
import type { Phase, Position, Reading, vCrowd } from "./validators";

/** Before every user. */
export const START: Position = { clerkCreatedAt: Number.MIN_SAFE_INTEGER, clerkId: "" };

/** Characters of JSON, up to 3 bytes each, of users in one mutation, whose arguments hold 16 MiB. */
const MAX_BATCH_LENGTH = 4 * 1024 * 1024;

/** How often a walk by offset begins again because the list shifted under it. */
const MAX_RESTARTS = 5;

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

/**
 * The part of a window, from `settled` on, whose users fit the arguments of one mutation.
 * @param limit users at most
 */
export function partOf(window: Window, settled: Position, limit = Infinity): Window {
  const rest = window.users.filter((user) => comparePositions(positionOf(user), settled) > 0);
  const users: Reading[] = [];
  let length = 0;
  for (const user of rest) {
    length += JSON.stringify(user).length;
    const last = users.at(-1);
    if (last && (length > MAX_BATCH_LENGTH || users.length >= limit)) {
      return { users, until: positionOf(last) };
    }
    users.push(user);
  }
  return { users, until: window.until };
}

type Crowd = Infer<typeof vCrowd>;
type Listing = Extract<Crowd, { kind: "listing" }>;

/** The beginning of a walk through a crowd. */
export const CROWD: Listing = { kind: "listing", offset: 0, seam: null, restarts: 0 };

/**
 * What a page of a crowd gives: pages overlap by one user, so that a shift is noticed.
 * @param most users to take of it
 * @returns null when the list shifts again and again
 */
export function crowdOf(
  page: Reading[],
  settled: Position,
  crowd: Listing,
  limit: number,
  most: number,
): { users: Reading[]; crowd: Crowd } | null {
  const ids = page.map(idOf);
  if (crowd.seam !== null && ids[0] !== crowd.seam) {
    const restarts = crowd.restarts + 1;
    return restarts > MAX_RESTARTS ? null : { users: [], crowd: { ...CROWD, restarts } };
  }
  const time = settled.clerkCreatedAt;
  const users = page.slice(crowd.seam === null ? 0 : 1).filter((user) => {
    const position = positionOf(user);
    return position.clerkCreatedAt === time && comparePositions(position, settled) > 0;
  });
  const last = users[most - 1];
  if (last !== undefined && most < users.length) {
    const seam = idOf(last);
    const offset = crowd.offset + ids.indexOf(seam);
    return { users: users.slice(0, most), crowd: { ...crowd, offset, seam } };
  }
  const beyond = page.map(positionOf).find(({ clerkCreatedAt }) => clerkCreatedAt > time);
  const isListed = beyond !== undefined || page.length < limit;
  const until = beyond ? { ...beyond, clerkId: "" } : null;
  if (isListed) return { users, crowd: { kind: "listed", until } };
  return { users, crowd: { ...crowd, offset: nextOffset(crowd, page), seam: ids.at(-1) ?? null } };
}

/** The creation time, ms, from which on the next page of a walk is asked for; null for the first page. */
export function pageStart(settled: Position): number | null {
  return comparePositions(settled, START) === 0 ? null : settled.clerkCreatedAt;
}

/** The beginning of a look-back. @param since ms */
export function lookBackTo(since: number, expected: number): Extract<Phase, { kind: "lookBack" }> {
  return { kind: "lookBack", since, offset: 0, seam: null, restarts: 0, expected };
}

type LookBack = { since: number; offset: number; seam: string | null; restarts: number };

/**
 * What a page of `-updated_at` gives. Whoever changes meanwhile moves to the front and pushes the
 * others on, so a page need not begin with the last user of the page before, but must hold them.
 * @returns the users changed since, and where to go on, null at the end; null when the list shifts
 *   again and again
 */
export function lookBackOf(
  page: Reading[],
  lookBack: LookBack,
  limit: number,
): { users: Reading[]; next: Omit<LookBack, "since"> | null } | null {
  const { since, seam } = lookBack;
  const ids = page.map(idOf);
  if (seam !== null && !ids.includes(seam)) {
    const restarts = lookBack.restarts + 1;
    if (restarts > MAX_RESTARTS) return null;
    return { users: [], next: { offset: 0, seam: null, restarts } };
  }
  const fresh = page.slice(seam === null ? 0 : ids.indexOf(seam) + 1);
  // Who can't be read has no version, and comes with every page.
  const users = fresh.filter((user) => user.kind === "unreadable" || user.version >= since);
  if (users.length < fresh.length || page.length < limit) return { users, next: null };
  const offset = nextOffset(lookBack, page);
  return { users, next: { offset, seam: ids.at(-1) ?? null, restarts: lookBack.restarts } };
}

function nextOffset({ offset }: { offset: number }, page: Reading[]): number {
  return offset + page.length - 1;
}

/** The Clerk user id of a listed user. */
export function idOf(user: Reading): string {
  return positionOf(user).clerkId;
}

/** Where a listed user stands in the order of a walk. */
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
