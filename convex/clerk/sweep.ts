/** Pure: pages of Clerk's user lists → users to compare, windows to settle, batches to send. */
import { readUser, type Unread } from "./profile";
import { MINUTE } from "./clock";
import type { Crowd, Phase, Position } from "./runValidators";
import type { Reading } from "./validators";

/** How Clerk sorts a list: by creation time, or by latest change, the latest first. */
export type Order = "+created_at" | "-updated_at";

/** Before every user. */
export const START: Position = { key: Number.MIN_SAFE_INTEGER, clerkId: "" };

/** By how much Clerk's clock may be ahead of ours. */
const CLOCK_SKEW_MS = MINUTE;

/** Characters of JSON, up to 3 bytes each, of users in one mutation, whose arguments hold 16 MiB. */
const MAX_BATCH_LENGTH = 4 * 1024 * 1024;

/**
 * Passes through a crowd that meet nobody new before it is taken for listed: where the order differs
 * from page to page, one pass leaves out somebody in about every third case.
 */
const MAX_IDLE_PASSES = 8;

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

/** A name for an entry without a usable id, which shows nothing of it: FNV-1a, 32 bits. */
function nameOf(json: unknown): string {
  const id = typeof json === "object" && json !== null && "id" in json ? json.id : undefined;
  const text = JSON.stringify(typeof id === "string" ? id : json);
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return `entry ${hash.toString(16).padStart(8, "0")}`;
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

/** Whether a page holds none but entries without a time, which stand where they are met: see `readPage`. */
export function isTimeless(page: Reading[], settled: Position, order: Order): boolean {
  const [first] = page;
  const isHere = first !== undefined && keyOf(first, order) === settled.key;
  return isHere && page.every(({ kind }) => kind === "unreadable");
}

/** A span of positions, after what is settled and up to `until` (null: to the end), with its users. */
export type Window = { users: Reading[]; until: Position | null };

/**
 * What a page settles: everyone before its last key. Those who share it may go on beyond the page,
 * however short it is, and come again with the next one.
 * @returns null when the page holds nobody beyond what is settled
 */
export function windowOf(page: Reading[], settled: Position, order: Order): Window | null {
  const last = page.at(-1);
  if (last === undefined || keyOf(last, order) <= settled.key) return null;
  const until = before(keyOf(last, order));
  return { users: usersBetween(page, settled, until, order), until };
}

/** Users of a page beyond what is settled and before a position, in order. */
export function usersBetween(
  page: Reading[],
  settled: Position,
  until: Position | null,
  order: Order,
): Reading[] {
  const ids = page.map(idOf);
  return page
    .filter((user, index) => {
      // Listed twice, somebody is one.
      if (ids.indexOf(idOf(user)) !== index) return false;
      const position = positionOf(user, order);
      const isBefore = until === null || comparePositions(position, until) < 0;
      return isBefore && comparePositions(position, settled) > 0;
    })
    .sort((a, b) => comparePositions(positionOf(a, order), positionOf(b, order)));
}

/**
 * Who stood at the last key of a page, where the next request shows more than this one did: if it
 * brings none but these, the list has ended.
 * @param shown keys below this one the next request does not show again
 */
export function seamOf(
  page: Reading[],
  key: number,
  shown: number,
  order: Order,
): Set<string> | null {
  const [first] = page;
  if (first === undefined || keyOf(first, order) >= shown) return null;
  return new Set(page.filter((user) => keyOf(user, order) === key).map(idOf));
}

/**
 * The part of a window, from `settled` on, whose users fit the arguments of one mutation.
 * @param limit users at most
 */
export function partOf(window: Window, settled: Position, limit: number, order: Order): Window {
  const rest = window.users.filter(
    (user) => comparePositions(positionOf(user, order), settled) > 0,
  );
  const users: Reading[] = [];
  let length = 0;
  for (const user of rest) {
    length += JSON.stringify(user).length;
    const last = users.at(-1);
    if (last && (length > MAX_BATCH_LENGTH || users.length >= limit)) {
      return { users, until: positionOf(last, order) };
    }
    users.push(user);
  }
  return { users, until: window.until };
}

/** The times, ms, between which a walk passes over who was created: since its run began, as far as clocks may differ. */
export type Young = { after: number; until: number };

/** @param startedAt when the run began, ms */
export function youngIn(startedAt: number, now: number): Young {
  return { after: startedAt, until: now + CLOCK_SKEW_MS };
}

/**
 * The creation time, ms, from which on the next page of a walk is asked for; null for the first page.
 * A walk that stands at the beginning of the young ones has passed them over.
 */
export function pageStart({ key }: Position, young: Young): number | null {
  if (key === START.key) return null;
  return key === young.after + 1 ? young.until + 1 : key;
}

/** The beginning of a look-back. @param since ms */
export function lookBackTo(since: number, isAgain = false): LookBack {
  return { kind: "lookBack", since, settled: START, offset: 0, isAgain };
}

type LookBack = Extract<Phase, { kind: "lookBack" }>;
/** What a page of a look-back settles, and where that goes on: at an offset, in a crowd, or (null) nowhere. */
export type Looked = Window & {
  until: Position;
  next: { offset: number; crowd?: Crowd } | null;
  /** Where it goes on if the list has not ended with this page, which brought nobody new. */
  unless?: { offset: number; crowd: Crowd };
};

/**
 * What a page of `-updated_at` gives. Whoever changes meanwhile moves to the front and pushes the
 * others on; whoever is deleted pulls them up. So a page is used where it begins with somebody who is settled:
 * then nobody is left out in between.
 * @param seam see `seamOf`
 * @param how `still`: pages before it that led no further, so that this goes back the farther the more;
 *   `isTrusted`: whether the page is used all the same, as no page begins so
 */
export function lookBackOf(
  page: Reading[],
  at: LookBack,
  seam: Set<string> | null,
  { isTrusted, still }: { isTrusted: boolean; still: number } = { isTrusted: false, still: 0 },
): Looked {
  const order = "-updated_at";
  const { settled, offset } = at;
  const oldest = before(1 - at.since);
  const keys = page.map((user) => keyOf(user, order));
  const [first = Infinity, last = Infinity] = [keys[0], keys.at(-1)];
  const stay = (next: number): Looked => ({ users: [], until: settled, next: { offset: next } });
  // The list may have become shorter than that.
  if (page.length === 0 && offset > 0 && !isTrusted) return stay(Math.floor(offset / 2));
  if (page.length === 0) return { users: [], until: oldest, next: null };
  if (offset > 0 && first >= settled.key && !isTrusted) {
    return stay(Math.max(0, offset - Math.ceil(page.length / 2) * 2 ** still));
  }
  if (last < settled.key) return stay(offset + page.length);
  if (isTimeless(page, settled, order)) return { ...stay(offset + page.length), users: page };
  const rest = (until: Position) => usersBetween(page, settled, until, order);
  const isOver = last >= oldest.key;
  const isNothingNew = page.every(
    (user, index) => keys[index] !== last || seam?.has(idOf(user)) === true,
  );
  if (isOver) return { users: rest(oldest), until: oldest, next: null };
  if (last === settled.key && isNothingNew) {
    const crowd = crowdOf(last, offset);
    return { users: rest(oldest), until: oldest, next: null, unless: { offset, crowd } };
  }
  const until = before(last);
  const ties = keys.indexOf(last);
  const isCrowd = ties < 2 || last === settled.key;
  const next = isCrowd ? { offset, crowd: crowdOf(last, offset) } : { offset: offset + ties - 1 };
  return { users: rest(until), until: last === settled.key ? settled : until, next };
}

/** The beginning of a walk through the users who share a key. @param start where it begins in the list */
export function crowdOf(key: number, start = 0): Crowd {
  const pass = { offset: start, first: null, fresh: 0 };
  return { key, start, met: 0, idle: 0, ...pass };
}

/** A page in a crowd, see `crowdIn`. */
export type CrowdPage = {
  length: number;
  /** Where in it the first of the crowd stands, and the first one beyond them. */
  first: number | null;
  beyond: number | null;
  last?: string;
  /** Whether more of it is left than was to be taken. */
  isCut: boolean;
  /** Whether it brings anybody beside the last one of the page before, and has that one. */
  isEnd: boolean;
  isJoined: boolean;
};

/**
 * What a page of a list shows of a crowd.
 * @param most users to take of it
 */
export function crowdIn(
  all: Reading[],
  { key, last }: Crowd,
  most: number,
  order: Order,
): { users: Reading[]; page: CrowdPage } {
  const isNew = (user: Reading) => idOf(user) !== last;
  const members = all.filter((user) => keyOf(user, order) === key);
  const isCut = members.filter(isNew).length > most;
  const users = members.filter(isNew).slice(0, most);
  const lastTaken = users.at(-1);
  const listed = isCut && lastTaken ? all.slice(0, all.indexOf(lastTaken) + 1) : all;
  const lastListed = listed.at(-1);
  const placeOf = (is: (user: Reading) => boolean) => {
    const index = listed.findIndex(is);
    return index === -1 ? null : index;
  };
  const page = {
    length: listed.length,
    first: placeOf((user) => keyOf(user, order) === key),
    beyond: placeOf((user) => keyOf(user, order) > key),
    ...(lastListed && { last: idOf(lastListed) }),
    isCut,
    isEnd: !listed.some(isNew),
    isJoined: last === undefined || (listed[0] !== undefined && idOf(listed[0]) === last),
  };
  return { users, page };
}

/**
 * Where a listing of a crowd goes on: pass after pass, until as many different users were met as
 * stand between the last one before them and the first one after, whatever order each page has them in.
 * The pages of a pass overlap by one: where somebody was deleted meanwhile, the next page lacks that
 * one, and another pass looks for who slipped in between.
 * @param fresh users of the page who were not met before
 * @param scanned users whom the run has met by now
 * @returns with `isListed` once that is so; `end` is where the first one after them stands, null where
 *   nobody does
 */
export function crowdAfter(
  crowd: Crowd,
  page: CrowdPage,
  fresh: number,
  scanned = 0,
): { isListed: false; crowd: Crowd } | { isListed: true; end: number | null } {
  const { key, start, offset } = crowd;
  const { length, first, beyond, last } = page;
  const met = crowd.met + fresh;
  const freshOfPass = crowd.fresh + fresh;
  if (offset === start && first === 0 && start > 0) {
    // Those before were deleted: some of the crowd may stand further in front.
    const restarted = crowdOf(key, Math.max(0, start - length));
    return { isListed: false, crowd: { ...restarted, met, fresh: freshOfPass, idle: crowd.idle } };
  }
  const begin = crowd.first ?? (first === null ? null : offset + first);
  const isBroken = crowd.isBroken === true || !page.isJoined;
  // Of a page of one nobody can come again, unless it is part of a longer one.
  const isSingle = length < 2 && !page.isCut;
  // A page that is the same wherever it is asked for would go on for ever.
  const most = begin === null ? 2 * scanned : begin - start + 2 * met;
  const isLost = fresh === 0 && offset - start > most + length;
  if (!page.isEnd && beyond === null && !isLost) {
    const next = {
      offset: offset + length - (isSingle ? 0 : 1),
      last: isSingle ? undefined : last,
    };
    const isUnsure = crowd.isUnsure === true || isSingle;
    const counted = { met, fresh: freshOfPass, first: begin, isBroken, isUnsure };
    return { isListed: false, crowd: { ...crowd, ...counted, ...next } };
  }
  const end = beyond === null ? null : offset + beyond;
  const stand = begin === null ? 0 : (end ?? offset + length) - begin;
  const idle = freshOfPass === 0 ? crowd.idle + 1 : 0;
  // Where a pass was broken, the order may differ from page to page, and the next one hold by chance.
  const isFirst = freshOfPass === met && crowd.isUnsure !== true;
  const isSure = freshOfPass === 0 ? begin !== null || idle > 1 : isFirst;
  const isWhole = met >= stand && !isBroken && isSure;
  if (isWhole || idle >= MAX_IDLE_PASSES) return { isListed: true, end };
  return { isListed: false, crowd: { ...crowdOf(key, start), met, idle } };
}

function nameOfType(json: unknown): string {
  if (json === null) return "null";
  return typeof json === "object" ? "an object" : `a ${typeof json}`;
}
