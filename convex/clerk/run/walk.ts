/** The phase "walk" of a full run: through Clerk's list by creation time, window by window. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation, internalQuery, type QueryCtx } from "../../_generated/server.js";
import { metAmong, type Position, type RunIn, vCheckpoint, vPosition } from "../memory/memory.js";
import { sortRows } from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import { type Reading, vReading } from "../shared/user.js";
import type { User } from "../types.js";
import { type Call, checkpoint, isLeftOf, List, type Taken } from "./call.js";
import { compareUsers, meetRows } from "./compare.js";
import { ask as askCrowd } from "./crowd.js";
import { afterWalk } from "./next.js";
import { before, comparePositions, crowdOf, isWithin, least, positionOf, START } from "./places.js";
import { FIRST_ROWS, Step, type StepResult } from "./step.js";
import {
  isLastAlone,
  pageStart,
  partOf,
  rangeOf,
  usersBetween,
  windowOf,
  type Young,
  youngIn,
} from "./sweep.js";

const ORDER = "+created_at";

/** Asks for the next page, and has its window settled, in batches. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"walk">): Taken {
  const { ctx, batch } = call;
  const { settled, crowd, metCrowd } = run.state.phase;
  const list = listOf(call, run);
  if (crowd !== undefined) return await askCrowd(call, run, crowd, list);
  if (metCrowd !== undefined) {
    const { key, isLast, next = key + 1 } = metCrowd;
    // Those who came since the run began are passed over; a crowd whose time lies ahead is behind them.
    const stop = key <= run.startedAt ? Math.min(next, run.startedAt + 1) : next;
    const until = isLast ? null : before(stop);
    call.window = { users: [], until, seenAt: clock.now() };
  }
  call.window ??= await nextWindow(call, run);
  if (call.window === undefined) return await askCrowd(call, run, crowdOf(settled.key), list);
  const { users, until } = partOf(call.window, settled, batch.limit, ORDER);
  const { seenAt } = call.window;
  const args = { at: checkpoint(call, run), users: batch.takeUsers(users), until, seenAt };
  const result: StepResult | null = await ctx.runMutation(internal.clerk.run.walk.settle, args);
  if (!isLeftOf(call.window, result, "walk")) call.window = undefined;
  return result;
}

function listOf({ clerk }: Call, { state, startedAt, pageSize }: RunIn<"walk">): List {
  return new List(async (offset) => {
    const from = pageStart(state.phase.settled, youngIn(startedAt, clock.now()));
    return await clerk.listByCreation({ from, limit: pageSize, offset });
  });
}

/** Users whom Clerk should have behind a full page; none that an offset leads to where it ends within a tie. */
function leftBehind(page: Reading[], { state, counts }: RunIn<"walk">): number {
  if (!isLastAlone(page, ORDER)) return 0;
  const { settled } = state.phase;
  return counts.clerkUsers - counts.scanned - usersBetween(page, settled, null, ORDER).length;
}

async function nextPage(call: Call, run: RunIn<"walk">) {
  const { settled } = run.state.phase;
  const seenAt = clock.now();
  const from = pageStart(settled, youngIn(run.startedAt, seenAt));
  const ahead = await call.ahead.take(settled, from);
  if (ahead !== null) return ahead;
  return { users: await listOf(call, run).page(0), seenAt };
}

/** The next window, the last one without end; undefined where a crowd may stand at the creation time of `settled`. */
async function nextWindow(call: Call, run: RunIn<"walk">): Promise<Call["window"]> {
  const { settled } = run.state.phase;
  const { users: page, seenAt } = await nextPage(call, run);
  const young = youngIn(run.startedAt, seenAt);
  const window = windowOf(page, settled, ORDER);
  if (window?.until) {
    const { key } = window.until;
    if (key <= young.after && page.length >= run.pageSize) {
      call.ahead.request(key, leftBehind(page, run));
    } else call.ahead.dropAll();
    // A creation time can be chosen, and have lain ahead when it was: a full page may hold none but those.
    const isAhead = key > young.after + 1 && page.length >= run.pageSize;
    if (key <= young.after || key > young.until || isAhead) return { ...window, seenAt };
    // From here on events and the look-back tell of whoever came. Who is on this page is compared all the same.
    const until = before(young.after + 1);
    return { users: usersBetween(page, settled, null, ORDER), until, seenAt };
  }
  call.ahead.dropAll();
  const rest = usersBetween(page, settled, null, ORDER);
  const isEnding = page.length < run.pageSize && (await listOf(call, run).isEnd(page, 0));
  if (page.length === 0 || isEnding) return { users: rest, until: null, seenAt };
  call.page = { users: page, offset: 0, seenAt };
  return undefined;
}

/**
 * Settles a span of positions up to `until`, included (null: all that is left), or as much of it as a transaction
 * should read. `users`: all whom Clerk lists there, by position; those of a crowd are settled. Rows of users who came
 * since the run began are none of its business. `seenAt`: ms, taken before the page was asked for.
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
    const rows = sortRows(span.rows);
    const compared = await compareUsers(step, inSpan, rows.mirrored, seenAt);
    const last = compared < inSpan.length ? inSpan[compared - 1] : undefined;
    const settled = last === undefined ? span.until : positionOf(last, ORDER);
    // What comes behind is read again.
    const reached = (of: User[]) => of.filter((row) => isUpTo(settled, positionOfRow(row)));
    const but = (of: User[], ids: Set<string>) =>
      of.filter(({ clerkId = "" }) => !ids.has(clerkId));
    const mirrored = reached(rows.mirrored);
    await meetRows(step, {
      mirrored: but(mirrored, await listedAmong(step, mirrored, users)),
      marked: but(reached(rows.marked), new Set(users.map(({ clerkId }) => clerkId))),
      appOwned: reached(rows.appOwned),
    });
    if (settled === null) return await afterWalk(step);
    const isDone = until !== null && comparePositions(until, settled) <= 0;
    return await step.goTo({ ...phase, settled, metCrowd: isDone ? undefined : phase.metCrowd });
  },
});

/** Ids of whom Clerk lists: those of a crowd were met before. */
async function listedAmong({ ctx, run }: Step<"walk">, rows: User[], users: Reading[]) {
  const { metCrowd } = run.state.phase;
  if (metCrowd === undefined) return new Set(users.map(({ clerkId }) => clerkId));
  const ids = rows.flatMap(({ clerkId }) => clerkId ?? []);
  return await metAmong(ctx, run, ids, metCrowd.key);
}

/** Reads a span's rows by one range of the index, and tells where it stopped: it may take several, or be too long. */
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
      ? await ctx.runQuery(internal.clerk.run.walk.rowsBetween, { after, until: stop })
      : { page: [], isDone: true };
  const { page, isDone } = found;
  const rows = page.filter((row) => isUpTo(stop, positionOfRow(row)));
  const last = isDone ? undefined : page[page.length - 1];
  const readUntil = last === undefined ? stop : least(positionOfRow(last), stop);
  if (comparePositions(readUntil, end) === 0) return { rows, until };
  // Rows of times that lie ahead are another range, and hardly ever there: then they take no step of their own.
  const isLast =
    last === undefined &&
    until === null &&
    !isWithin(after) &&
    !(await isAnyFrom(ctx, young.until + 1));
  return { rows, until: isLast ? null : readUntil };
}

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
      .paginate(FIRST_ROWS);
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
