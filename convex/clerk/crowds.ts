/** Pure: users who share one key and may be more than a page → whether all of them were met, and where to look on. */
import { idOf, keyOf, type Order } from "./pages.js";
import type { Crowd } from "./runValidators.js";
import type { Reading } from "./validators.js";

/**
 * Passes through a crowd that meet nobody new before it is taken for listed: where the order differs
 * from page to page, one pass leaves out somebody in about every third case.
 */
const MAX_IDLE_PASSES = 8;

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
  /** Whether it brings nobody but the last one of the page before. */
  isEnd: boolean;
  /** Whether it begins with that one. */
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
  const lastTaken = users[users.length - 1];
  const listed = isCut && lastTaken ? all.slice(0, all.indexOf(lastTaken) + 1) : all;
  const lastListed = listed[listed.length - 1];
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
