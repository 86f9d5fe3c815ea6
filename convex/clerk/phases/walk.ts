/** The phase "walk" of a full run: through Clerk's list by creation time, window by window. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation, internalQuery, type QueryCtx } from "../../_generated/server.js";
import { checkpoint, isEnd, isLeftOf, listTwice, type Call, type Taken } from "../call.js";
import { clock, MINUTE } from "../clock.js";
import { compareUsers } from "../compare.js";
import { metAmong, raiseAll } from "../doubts.js";
import { meetMarked } from "../purge.js";
import { isAppOwned, isMirrored } from "../rows.js";
import type { User } from "../types.js";
import type { RunIn } from "../runs.js";
import { MAX_ROW_BYTES, MAX_ROWS, Step, type StepResult } from "../step.js";
import { crowdOf } from "../crowds.js";
import {
  before,
  comparePositions,
  idOf,
  isWithin,
  keyOf,
  least,
  positionOf,
  START,
} from "../pages.js";
import {
  isTimeless,
  lookBackTo,
  pageStart,
  partOf,
  rangeOf,
  seamOf,
  usersBetween,
  windowOf,
  youngIn,
  type Young,
} from "../sweep.js";
import { vCheckpoint, vPosition, type Position } from "../runValidators.js";
import { vReading, type Reading } from "../validators.js";
import { ask as askCrowd } from "./crowd.js";

const ORDER = "+created_at";
/** How far before its beginning a full run looks back: Clerk's list is "eventually consistent". */
const OVERLAP_MS = 5 * MINUTE;

/** Asks for the next page, and has its window settled, in batches. */
export async function ask(call: Call, run: RunIn<"walk">): Taken {
  const { ctx, batch } = call;
  const { settled, crowd, metCrowd } = run.state.phase;
  const list = async (offset: number) => await listFrom(call, run, offset);
  if (crowd !== undefined) return await askCrowd(call, run, crowd, list);
  if (metCrowd !== undefined) {
    const until = metCrowd.isLast ? null : before(metCrowd.key + 1);
    call.window = { users: [], until, seenAt: clock.now() };
  }
  call.window ??= await nextWindow(call, run);
  if (call.window === undefined) return await askCrowd(call, run, crowdOf(settled.key), list);
  const { users, until } = partOf(call.window, settled, batch.limit, ORDER);
  const { seenAt } = call.window;
  const args = { at: checkpoint(call, run), users: batch.takeUsers(users), until, seenAt };
  const result: StepResult | null = await ctx.runMutation(internal.clerk.phases.walk.settle, args);
  if (!isLeftOf(call.window, result)) call.window = undefined;
  return result;
}

async function listFrom(call: Call, run: RunIn<"walk">, offset: number): Promise<Reading[]> {
  const from = pageStart(run.state.phase.settled, youngIn(run.startedAt, clock.now()));
  return await call.clerk.listByCreation({ from, limit: run.pageSize, offset });
}

/** Users whom Clerk should have behind a full page; none that an offset leads to where it ends within a tie. */
function leftBehind(page: Reading[], { state, counts }: RunIn<"walk">): number {
  const [one, other] = page.slice(-2).map((user) => keyOf(user, ORDER));
  if (one === other) return 0;
  const { settled } = state.phase;
  return counts.clerkUsers - counts.scanned - usersBetween(page, settled, null, ORDER).length;
}

/** The next page from where the walk stands on, and a time before it was asked for. */
async function nextPage(call: Call, run: RunIn<"walk">) {
  const { settled } = run.state.phase;
  const seenAt = clock.now();
  const from = pageStart(settled, youngIn(run.startedAt, seenAt));
  const ahead = await call.ahead.take(settled, from);
  if (ahead !== null) return ahead;
  return { users: await listTwice(async () => await listFrom(call, run, 0)), seenAt };
}

/**
 * The next window; the last one has no end. A list ends with a page that brings nobody new.
 * @returns undefined where more users than a page may share the creation time at which the walk stands
 */
async function nextWindow(call: Call, run: RunIn<"walk">): Promise<Call["window"]> {
  const { settled } = run.state.phase;
  const { users: page, seenAt } = await nextPage(call, run);
  const young = youngIn(run.startedAt, seenAt);
  const window = windowOf(page, settled, ORDER);
  if (window?.until) {
    // Clerk may take `created_at_after` as inclusive.
    call.seam = seamOf(page, window.until.key, window.until.key - 1, ORDER);
    const { key } = window.until;
    if (key <= young.after && page.length >= run.pageSize) {
      call.ahead.request(key, leftBehind(page, run));
    } else call.ahead.dropAll();
    // A creation time can be chosen, and have lain ahead when it was: a full page may hold none but those.
    const isAhead = key > young.after + 1 && page.length >= run.pageSize;
    if (key <= young.after || key > young.until || isAhead) return { ...window, seenAt };
    // From here on events and the look-back tell of whoever came. Who is on this page is compared all the
    // same.
    const until = before(young.after + 1);
    return { users: usersBetween(page, settled, null, ORDER), until, seenAt };
  }
  call.ahead.dropAll();
  const rest = usersBetween(page, settled, null, ORDER);
  const isNothingNew = rest.every((user) => call.seam?.has(idOf(user)) === true);
  const hasEnded =
    page.length === 0 ||
    ((isTimeless(page, settled, ORDER) || (rest.length > 0 && isNothingNew)) &&
      (await isEnd(page.length, async (at) => await listFrom(call, run, at))));
  if (hasEnded) return { users: rest, until: null, seenAt };
  call.page = { users: page, offset: 0, seenAt };
  return undefined;
}

/**
 * Settles a span of positions, or as much of it as a transaction should read. Rows of users who came
 * since the run began are none of its business.
 * @param users all users whom Clerk lists in the span, by position; those of a crowd are settled
 * @param until end of the span, included; null: settles all that is left
 * @param seenAt ms, taken before the page was asked for
 */
export const settle = internalMutation({
  args: {
    at: vCheckpoint,
    users: v.array(vReading),
    until: v.nullable(vPosition),
    seenAt: v.number(),
  },
  handler: async (ctx, { at, users, until, seenAt }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("walk")) return null;
    const { phase, ...run } = { ...step.run, phase: step.run.state.phase };
    const span = await readSpan(ctx, phase.settled, until, youngIn(run.startedAt, seenAt));
    const isWhole = span.until === null || comparePositions(span.until, until ?? span.until) === 0;
    const inSpan = users.filter((user) => isWhole || isUpTo(span.until, positionOf(user, ORDER)));
    const compared = await compareUsers(step, inSpan, span.rows.filter(isMirrored), seenAt);
    const last = compared < inSpan.length ? inSpan[compared - 1] : undefined;
    const settled = last === undefined ? span.until : positionOf(last, ORDER);
    // What comes behind is read again.
    const judged = span.rows.filter((row) => isUpTo(settled, positionOfRow(row)));
    const { counts } = step;
    counts.appOwned = (counts.appOwned ?? 0) + judged.filter(isAppOwned).length;
    // Of whom Clerk lists, no row is marked any more.
    const listed = new Set(users.map(idOf));
    await meetMarked(
      step,
      judged.filter(({ clerkId = "" }) => !listed.has(clerkId)),
    );
    await doubtUnlisted(step, judged.filter(isMirrored), users);
    if (settled === null) return await step.goTo(lookBackTo(run.startedAt - OVERLAP_MS));
    const isDone = until !== null && comparePositions(until, settled) <= 0;
    return await step.goTo({ ...phase, settled, metCrowd: isDone ? undefined : phase.metCrowd });
  },
});

/** Doubts the rows that Clerk's list does not have. */
async function doubtUnlisted({ ctx, run }: Step<"walk">, rows: User[], users: Reading[]) {
  const { metCrowd } = run.state.phase;
  const ids = rows.flatMap(({ clerkId }) => clerkId ?? []);
  const listed =
    metCrowd === undefined
      ? new Set(users.map(idOf))
      : await metAmong(ctx, run._id, ids, metCrowd.key);
  const unlisted = ids.filter((clerkId) => !listed.has(clerkId));
  await raiseAll(ctx, run._id, unlisted);
}

/**
 * Reads rows of a span by one range of the index, and where it stopped if the span takes several ranges, or
 * holds more rows than a step should read.
 */
async function readSpan(
  ctx: QueryCtx,
  settled: Position,
  until: Position | null,
  young: Young,
): Promise<{ rows: User[]; until: Position | null }> {
  const end = until ?? before(Infinity);
  const { after, until: stop } = rangeOf(settled, end, young);
  // In a query of its own, since a function may paginate once, and the app's hooks may want to.
  const found: RowsOfSpan =
    comparePositions(after, stop) < 0
      ? await ctx.runQuery(internal.clerk.phases.walk.rowsBetween, { after, until: stop })
      : { page: [], isDone: true };
  const { page, isDone } = found;
  const rows = page.filter((row) => isUpTo(stop, positionOfRow(row)));
  const last = isDone ? undefined : page[page.length - 1];
  const readUntil = last === undefined ? stop : least(positionOfRow(last), stop);
  if (comparePositions(readUntil, end) === 0) return { rows, until };
  // Rows of times that lie ahead are another range, and hardly ever there: then they take no step of their own.
  const isLast = last === undefined && until === null && !(await isAnyFrom(ctx, young.until + 1));
  return { rows, until: isLast ? null : readUntil };
}

/** Whether a row has a creation time from then on, ms. */
async function isAnyFrom(ctx: QueryCtx, createdAt: number): Promise<boolean> {
  const first = await ctx.db
    .query("users")
    .withIndex("by_clerkCreatedAt_and_clerkId", (q) => q.gte("clerkCreatedAt", createdAt))
    .first();
  return first !== null;
}

type RowsOfSpan = { page: User[]; isDone: boolean };

/** Rows of a range, as many as a step should read at once; those at the place `after` not included. */
export const rowsBetween = internalQuery({
  args: { after: vPosition, until: vPosition },
  handler: async (ctx, { after, until }): Promise<RowsOfSpan> => {
    const { page, isDone } = await ctx.db
      .query("users")
      .withIndex("by_clerkCreatedAt_and_clerkId", (q) => {
        if (isWithin(after) || after.key === until.key) {
          const rest = q.eq("clerkCreatedAt", after.key).gt("clerkId", after.clerkId);
          return after.key === until.key ? rest.lte("clerkId", until.clerkId) : rest;
        }
        const later =
          after.clerkId === ""
            ? q.gte("clerkCreatedAt", after.key)
            : q.gt("clerkCreatedAt", after.key);
        return until.clerkId === ""
          ? later.lt("clerkCreatedAt", until.key)
          : later.lte("clerkCreatedAt", until.key);
      })
      .paginate({ cursor: null, numItems: MAX_ROWS, maximumBytesRead: MAX_ROW_BYTES });
    return { page, isDone };
  },
});

/** Rows that are not the mirror's may have a creation time, and stand before those with a `clerkId`. */
function positionOfRow({ clerkId = "", clerkCreatedAt: key = START.key }: User): Position {
  // Behind `before(key)`, so that a step that reads none but these goes on.
  return { key, clerkId: clerkId === "" ? "\0" : clerkId };
}

function isUpTo(until: Position | null, position: Position): boolean {
  return until === null || comparePositions(position, until) <= 0;
}
