/** Places in Clerk's list, in settling order; and crowds: users who share one key and may be more than a page. */
import { type Infer, v } from "convex/values";
import type { Crowd, Position } from "../memory/memory.js";
import { keyOf, type Order, type Reading } from "../shared/user.js";

export const START: Position = { key: Number.MIN_SAFE_INTEGER, clerkId: "" };

/** Where a listed user stands in the order in which users are settled. */
export function positionOf(user: Reading, order: Order): Position {
  return { key: keyOf(user, order), clerkId: user.clerkId };
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

/** Idle passes before a crowd is taken for listed: where the order differs by page, about one in 3 omits the same user. */
const MAX_IDLE_PASSES = 16;

/** The beginning of a walk through the users who share a key. @param start where it begins in the list */
export function crowdOf(key: number, start = 0): Crowd {
  const pass = { offset: start, first: null, fresh: 0 };
  return { key, start, met: 0, idle: 0, ...pass };
}

/** What a page of a list shows of a crowd, beside the users. */
export const vCrowdPage = v.object({
  length: v.number(),
  /** Where in it the first of the crowd stands, and the first one beyond them; and the key of that one. */
  first: v.nullable(v.number()),
  beyond: v.nullable(v.number()),
  next: v.optional(v.number()),
  last: v.optional(v.string()),
  /** Whether it shows anybody of it who can be read, so has a time. */
  isDated: v.optional(v.boolean()),
  /** Whether more of it is left than was to be taken. */
  isCut: v.boolean(),
  /** Whether it brings nobody but the last one of the page before. */
  isEnd: v.boolean(),
  /** Whether it begins with that one. */
  isJoined: v.boolean(),
});
type CrowdPage = Infer<typeof vCrowdPage>;

/** What a page of a list shows of a crowd: at most `most` users of it, and where they stand. */
export function crowdIn(
  all: Reading[],
  { key, last }: Crowd,
  most: number,
  order: Order,
): { users: Reading[]; page: CrowdPage } {
  const isNew = (user: Reading) => user.clerkId !== last;
  // Whoever can't be read may have no time: up to the next one who has, they stand with the one before.
  const rest = all.findIndex((user) => user.kind === "profile" && keyOf(user, order) > key);
  const members = all.filter(
    (user, index) => keyOf(user, order) >= key && (rest === -1 || index < rest),
  );
  const isCut = members.filter(isNew).length > most;
  const users = members.filter(isNew).slice(0, most);
  const lastTaken = users[users.length - 1];
  const listed = isCut && lastTaken ? all.slice(0, all.indexOf(lastTaken) + 1) : all;
  const lastListed = listed[listed.length - 1];
  const [firstMember] = members;
  const next = isCut ? undefined : all[rest];
  const page = {
    length: listed.length,
    first: firstMember ? all.indexOf(firstMember) : null,
    beyond: next ? rest : null,
    ...(next && { next: keyOf(next, order) }),
    ...(lastListed && { last: lastListed.clerkId }),
    isDated: users.some(({ kind }) => kind === "profile"),
    isCut,
    isEnd: !listed.some(isNew),
    isJoined: last === undefined || listed[0]?.clerkId === last,
  };
  return { users, page };
}

/**
 * Where a listing of a crowd goes on: pass after pass, until as many different users were met as stand between the last
 * one before them and the first one after, whatever order each page has them in. Pages of a pass overlap by one: where
 * somebody was deleted meanwhile, the next lacks that one, and another pass looks for who slipped in between.
 * @param fresh users of the page who were not met before
 * @param scanned users whom the run has met by then
 * @returns with `isListed` once that is so; `end`: where the first one after them stands, null where nobody does;
 *   `isDated`: whether anybody of them has a time
 */
export function crowdAfter(
  crowd: Crowd,
  page: CrowdPage,
  fresh: number,
  scanned = 0,
): { isListed: false; crowd: Crowd } | { isListed: true; end: number | null; isDated: boolean } {
  const { key, start, offset } = crowd;
  const { length, first, beyond, last } = page;
  const met = crowd.met + fresh;
  const isDated = crowd.isDated === true || page.isDated === true;
  const freshOfPass = crowd.fresh + fresh;
  if (offset === start && first === 0 && start > 0) {
    // Those before were deleted: some of the crowd may stand further in front.
    const restarted = crowdOf(key, Math.max(0, start - length));
    const kept = { met, fresh: freshOfPass, idle: crowd.idle, isDated };
    return { isListed: false, crowd: { ...restarted, ...kept } };
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
      before: isSingle ? last : undefined,
    };
    const isUnsure = crowd.isUnsure === true || isSingle;
    const counted = { met, fresh: freshOfPass, first: begin, isBroken, isUnsure, isDated };
    return { isListed: false, crowd: { ...crowd, ...counted, ...next } };
  }
  const end = beyond === null ? null : offset + beyond;
  const stand = begin === null ? 0 : (end ?? offset + length) - begin;
  const idle = freshOfPass === 0 ? crowd.idle + 1 : 0;
  // Where a pass was broken, the order may differ from page to page, and the next one hold by chance.
  const isFirst = freshOfPass === met && crowd.isUnsure !== true;
  const isSure = freshOfPass === 0 ? begin !== null || idle > 1 : isFirst;
  const isWhole = met >= stand && !isBroken && isSure;
  if (isWhole || idle >= MAX_IDLE_PASSES) return { isListed: true, end, isDated };
  return { isListed: false, crowd: { ...crowdOf(key, start), met, idle, isDated } };
}
