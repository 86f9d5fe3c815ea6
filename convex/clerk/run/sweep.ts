/** Pages of users → windows to settle, where the next page begins, batches to send. */
import type { Crowd, Phase, Position } from "../memory/memory.js";
import { jsonOf } from "../profile/profile.js";
import { MINUTE } from "../shared/clock.js";
import { keyOf, type Order, type Reading } from "../shared/user.js";
import {
  before,
  behind,
  comparePositions,
  crowdOf,
  isWithin,
  least,
  positionOf,
  START,
} from "./places.js";

/** By how much Clerk's clock may be ahead of ours. */
const CLOCK_SKEW_MS = MINUTE;

/** Characters of JSON, up to 3 bytes each, of users in one mutation, whose arguments hold 16 MiB. */
const MAX_BATCH_LENGTH = 4 * 1024 * 1024;

/** Whether a page holds none but entries without a time, which stand where they are met: see `readPage`. */
function isTimeless(page: Reading[], settled: Position, order: Order): boolean {
  const [first] = page;
  const isHere = first !== undefined && keyOf(first, order) === settled.key;
  return isHere && page.every(({ kind }) => kind === "unreadable");
}

/** Whether nobody else on a page has its last key: several who share it may be more than the page shows. */
export function isLastAlone(page: Reading[], order: Order): boolean {
  const [one, other] = page.slice(-2).map((user) => keyOf(user, order));
  return one !== other;
}

/** A span of positions, after what is settled and up to `until` (null: to the end), with its users. */
export type Window = { users: Reading[]; until: Position | null };

/**
 * What a page settles: everyone before its last key. Those who share it may go on beyond the page, however short it is,
 * and come again with the next one. Null when it holds nobody beyond what is settled.
 */
export function windowOf(page: Reading[], settled: Position, order: Order): Window | null {
  const last = page[page.length - 1];
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
  const ids = page.map(({ clerkId }) => clerkId);
  return page
    .filter((user, index) => {
      // Listed twice, somebody is one.
      if (ids.indexOf(user.clerkId) !== index) return false;
      const position = positionOf(user, order);
      const isBefore = until === null || comparePositions(position, until) < 0;
      return isBefore && comparePositions(position, settled) > 0;
    })
    .sort((a, b) => comparePositions(positionOf(a, order), positionOf(b, order)));
}

/** The part of a window beyond `settled`, of at most `limit` users, that fits the arguments of one mutation. */
export function partOf(window: Window, settled: Position, limit: number, order: Order): Window {
  const rest = window.users.filter(
    (user) => comparePositions(positionOf(user, order), settled) > 0,
  );
  const users: Reading[] = [];
  let length = 0;
  for (const user of rest) {
    length += jsonOf(user).length;
    const last = users[users.length - 1];
    if (last && (length > MAX_BATCH_LENGTH || users.length >= limit)) {
      return { users, until: positionOf(last, order) };
    }
    users.push(user);
  }
  return { users, until: window.until };
}

/** Times, ms, between which a walk passes over who was created: since its run began, as far as clocks may differ. */
export type Young = { after: number; until: number };

/** The young ones of a run that began at `startedAt`, ms. */
export function youngIn(startedAt: number, now: number): Young {
  return { after: startedAt, until: now + CLOCK_SKEW_MS };
}

/** Creation time, ms, from which a walk's next page is asked for, past the young it has reached; null for the first. */
export function pageStart({ key }: Position, young: Young): number | null {
  if (key === START.key) return null;
  return key === young.after + 1 ? young.until + 1 : key;
}

/** The part of a span in one index range: what is left of a half settled key, what comes before the young, or after. */
export function rangeOf(
  settled: Position,
  end: Position,
  young: Young,
): { after: Position; until: Position } {
  const from = before(young.after + 1);
  const to = before(young.until + 1);
  const isOld = comparePositions(settled, from) < 0;
  const after = !isOld && comparePositions(settled, to) < 0 ? to : settled;
  const until = isOld ? least(end, from) : end;
  return { after, until: isWithin(after) ? least(until, behind(after.key)) : until };
}

/** Between pages requested ahead: each begins with the two who end the one before, so before its last creation time. */
function strideOf(pageSize: number): number {
  return pageSize - 2;
}

/**
 * Where the next page worth requesting ahead begins, counted from the last user (0) of the newest page known; null
 * where none is. `last`: where the one requested before it begins. `left`: users whom Clerk should have behind.
 */
export function nextAhead(last: number | undefined, left: number, pageSize: number): number | null {
  if (last === undefined) return 0;
  const stride = strideOf(pageSize);
  const isWorthIt = stride >= pageSize / 2 && last + stride + 1 < left;
  return isWorthIt ? last + stride : null;
}

/**
 * Whether a page requested ahead goes on from where a walk stands. One by offset must begin with somebody before:
 * creations and deletions move the others, but a list in order holds everybody between two whom it shows.
 */
export function leadsOn(
  page: Reading[],
  { from, offset }: { from: number; offset: number },
  settled: Position,
): boolean {
  const [first, last] = [page[0], page[page.length - 1]];
  if (first === undefined || last === undefined) return false;
  if (offset === 0) return from === settled.key;
  const order = "+created_at";
  return keyOf(first, order) < settled.key && keyOf(last, order) > settled.key;
}

/** The beginning of a look-back. Times are ms. */
export function lookBackTo(since: number, metUntil: number, isAgain = false): LookBack {
  return { kind: "lookBack", since, settled: START, offset: 0, isAgain, metUntil };
}

type LookBack = Extract<Phase, { kind: "lookBack" }>;
/** What a page of a look-back settles, and where that goes on: at an offset, in a crowd, or (null) nowhere. */
export type Looked = Window & {
  until: Position;
  next: ({ offset: number; crowd?: Crowd } & Pick<LookBack, "hasPassed" | "turns">) | null;
  /** Where it goes on if the list has not ended with this page, which leads no further. */
  unless?: { offset: number; crowd: Crowd };
};

/** After so many turns a page is used whatever it begins with; one by which nobody can tell, after fewer. */
const MAX_TURNS = 8;
const FEW_TURNS = 2;

/**
 * What a page of `-updated_at` gives. Whoever changes meanwhile moves to the front and pushes the others on; whoever is
 * deleted pulls them up. So a page is used where it begins with somebody who is settled: nobody is left out in between.
 * Else it turns back, the farther the more often; it goes on past as many settled ones as there are.
 * @param how `most`: users whom the list can't have, `pageSize`: users asked for
 */
export function lookBackOf(
  page: Reading[],
  at: LookBack,
  how: { pageSize: number; most: number },
): Looked {
  const looked = lookedAt(page, at, how.pageSize);
  const { until, next } = looked;
  if (next === null) return looked;
  const isProgress = comparePositions(until, at.settled) > 0 || next.crowd !== undefined;
  const hasPassed = !isProgress && page.length > 0 && next.offset > at.offset;
  const isTurn = next.offset <= at.offset || next.offset > how.most;
  const turns = isProgress ? 0 : (at.turns ?? 0) + Number(isTurn);
  return { ...looked, next: turns < 2 * MAX_TURNS ? { ...next, hasPassed, turns } : null };
}

function lookedAt(page: Reading[], at: LookBack, pageSize: number): Looked {
  const order = "-updated_at";
  const { settled, offset, turns = 0, hasPassed = false } = at;
  const oldest = before(1 - at.since);
  const keys = page.map((user) => keyOf(user, order));
  const [first = Infinity, last = Infinity] = [keys[0], keys[keys.length - 1]];
  const stay = (next: number): Looked => ({ users: [], until: settled, next: { offset: next } });
  const back = (by: number) => stay(Math.max(0, offset - by * 2 ** turns));
  if (page.length === 0) {
    // Behind a page of settled ones the list ends, unless one was deleted meanwhile; else it has become shorter.
    const isEnd = offset === 0 || turns >= MAX_TURNS || (hasPassed && turns >= FEW_TURNS);
    if (isEnd) return { users: [], until: oldest, next: null };
    return hasPassed ? back(pageSize) : stay(Math.floor(offset / 2));
  }
  // Of pages of one none begins with somebody settled and shows another one.
  const isTrusted = turns >= (page.length === 1 ? FEW_TURNS : MAX_TURNS);
  if (offset > 0 && first >= settled.key && !isTrusted) return back(Math.ceil(page.length / 2));
  // The next one begins with the last of this one, so that it leads on.
  if (last < settled.key) return stay(offset + Math.max(1, page.length - 1));
  if (isTimeless(page, settled, order)) return { ...stay(offset + page.length), users: page };
  const rest = (until: Position) => usersBetween(page, settled, until, order);
  const isOver = last >= oldest.key;
  if (isOver) return { users: rest(oldest), until: oldest, next: null };
  if (last === settled.key && isLastAlone(page, order)) {
    const crowd = crowdOf(last, offset);
    return { users: rest(oldest), until: oldest, next: null, unless: { offset, crowd } };
  }
  const until = before(last);
  const ties = keys.indexOf(last);
  const isCrowd = ties < 2 || last === settled.key;
  const next = isCrowd ? { offset, crowd: crowdOf(last, offset) } : { offset: offset + ties - 1 };
  return { users: rest(until), until: last === settled.key ? settled : until, next };
}
