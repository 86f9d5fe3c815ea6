/**
 * The steps of a run that compare what Clerk lists with the mirror. Each is one transaction: it
 * checks the checkpoint, repairs, notes suspects and writes the next checkpoint.
 */
import { v } from "convex/values";
import type { Id } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { decide } from "./judgement";
import { lookBackFrom } from "./lifecycle";
import { applyListed } from "./mirror";
import { isMirrored, type User } from "./rows";
import { Step, type StepResult } from "./step";
import {
  addSuspect,
  knownIdsBetween,
  markListed,
  markSuspect,
  suspectIds,
  suspectOf,
} from "./suspects";
import { comparePositions, idOf, positionOf } from "./sweep";
import {
  vCheckpoint,
  vCrowd,
  vPosition,
  vReading,
  type Position,
  type Reading,
} from "./validators";

/** Users counted whom events moved to another creation time during a walk: as good as none. */
const MAX_MOVED = 1000;

/**
 * Settles a span of positions, or as much of it as a transaction should read.
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
    const { phase } = step.run.state;
    const slice = await readRows(ctx, phase.settled, until);
    const inSlice = users.filter((user) => isUpTo(slice.until, positionOf(user)));
    const compared = await compareUsers(step, inSlice, slice.rows, seenAt);
    const settled = compared.stoppedAt ?? slice.until;

    const listed = new Set(users.map(idOf));
    const isCrowd = phase.crowd?.kind === "listed";
    const known = isCrowd ? await knownAmong(ctx, step.run._id, slice.rows) : listed;
    for (const { clerkId } of slice.rows) {
      if (clerkId !== undefined && !listed.has(clerkId) && !known.has(clerkId)) {
        await addSuspect(ctx, step.run._id, clerkId);
      }
    }
    if (settled === null) return await step.goTo(lookBackFrom(step.run, phase.expected));
    const isDone = until !== null && comparePositions(until, settled) <= 0;
    return await step.goTo({ ...phase, settled, crowd: isDone ? undefined : phase.crowd });
  },
});

/** Ids of a crowd's rows that are known to the run: read at once, as most of them are. */
async function knownAmong(
  ctx: QueryCtx,
  runId: Id<"reconcileRuns">,
  rows: User[],
): Promise<Set<string>> {
  const ids = rows.flatMap(({ clerkId }) => clerkId ?? []).sort();
  const [first, last] = [ids[0], ids.at(-1)];
  if (first === undefined || last === undefined) return new Set();
  return new Set(await knownIdsBetween(ctx, runId, [first, last], 2 * MAX_ROWS));
}

/**
 * Compares users of one page of a crowd, and remembers that they were listed: only once all are,
 * the rows that share their creation time can be judged.
 * @param users of the page those who are of the crowd and were not compared yet
 * @param crowd where the walk through the crowd stands after this page
 */
export const settleCrowd = internalMutation({
  args: { at: vCheckpoint, users: v.array(vReading), seenAt: v.number(), crowd: vCrowd },
  handler: async (ctx, { at, users, seenAt, crowd }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("walk")) return null;
    const { run } = step;
    const { phase } = run.state;
    for (const [index, user] of users.entries()) {
      const clerkId = idOf(user);
      const known = await suspectOf(ctx, run._id, clerkId);
      if (known?.isListed !== true) {
        const isLate = await compareUser(step, user, undefined, seenAt);
        await markListed(ctx, run._id, clerkId, isLate ? "open" : "settled");
      }
      const isLast = index === users.length - 1;
      // What is left of the page comes again: the crowd stands where it stood.
      if (!isLast && (await step.isNearBudget())) return await step.goTo(phase);
    }
    return await step.goTo({ ...phase, crowd });
  },
});

/**
 * Compares users by their latest change: in a full run those changed since it began, in a recent
 * run those changed since the run before.
 * @param users of the page those changed since, of whom the first are compared
 * @param next where the look-back stands after this page; null: at its end
 * @param clerkUsers Clerk's count at the end of a full run's look-back
 */
export const lookBack = internalMutation({
  args: {
    at: vCheckpoint,
    users: v.array(vReading),
    seenAt: v.number(),
    next: v.nullable(
      v.object({ offset: v.number(), seam: v.nullable(v.string()), restarts: v.number() }),
    ),
    clerkUsers: v.optional(v.number()),
  },
  handler: async (ctx, { at, users, seenAt, next, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("lookBack")) return null;
    const { phase } = step.run.state;
    const { count } = await compareUsers(step, users, [], seenAt);
    if (count < users.length) {
      const seam = users[count - 1];
      const offset = phase.offset + count - 1;
      return await step.goTo({ ...phase, offset, seam: seam ? idOf(seam) : null });
    }
    if (next !== null) return await step.goTo({ ...phase, ...next });
    if (step.run.mode === "recent") return await decide(step);
    step.counts.clerkUsers = clerkUsers ?? phase.expected;
    const expected = Math.min(phase.expected, step.counts.clerkUsers);
    const moved = await suspectIds(ctx, step.run._id, "moved", MAX_MOVED);
    const seen = step.counts.scanned + step.counts.placed + moved.length;
    if (seen >= expected) return await step.goTo({ kind: "undated", settledId: "" });
    const reason = `Clerk counts ${expected} users and listed only ${seen}: its listing can't be trusted, so nobody was judged by it.`;
    return await step.end({ kind: "failed", reason });
  },
});

/** Takes the rows without a creation time as suspects: no window holds them. */
export const suspectUndated = internalMutation({
  args: { at: vCheckpoint },
  handler: async (ctx, { at }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("undated")) return null;
    const { settledId } = step.run.state.phase;
    const rows = ctx.db
      .query("users")
      .withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
        q.eq("clerkCreatedAt", undefined).gt("clerkId", settledId),
      );
    for await (const row of rows) {
      const { clerkId = settledId } = row;
      if (isMirrored(row)) await addSuspect(ctx, step.run._id, clerkId);
      if (await step.isNearBudget()) {
        return await step.goTo({ kind: "undated", settledId: clerkId });
      }
    }
    return await decide(step);
  },
});

/**
 * Compares users one by one until the transaction has read enough.
 * @param rows rows that the caller has read; others are looked up by id
 * @returns how many were compared, and the position of the last one if some are left
 */
async function compareUsers(
  step: Step<"walk" | "lookBack">,
  users: Reading[],
  rows: User[],
  seenAt: number,
): Promise<{ count: number; stoppedAt?: Position }> {
  const rowsOf = groupById(rows);
  for (const [index, user] of users.entries()) {
    const clerkId = idOf(user);
    const [row, ...duplicates] = rowsOf.get(clerkId) ?? [];
    await compareUser(step, user, row, seenAt);
    if (duplicates.length > 0) await step.duplicated(clerkId);
    const isLast = index === users.length - 1;
    if (!isLast && (await step.isNearBudget())) {
      return { count: index + 1, stoppedAt: positionOf(user) };
    }
  }
  return { count: users.length };
}

/** @returns whether the user is left to evidence */
async function compareUser(
  step: Step<"walk" | "lookBack">,
  user: Reading,
  row: User | undefined,
  seenAt: number,
): Promise<boolean> {
  const clerkId = idOf(user);
  const { counts, run, ctx } = step;
  // A full run's look-back looks at users whom the walk has met.
  const isFirstLook = run.mode === "recent" || run.state.phase.kind === "walk";
  if (isFirstLook) counts.scanned += 1;
  if (user.kind === "unreadable") {
    if (row && isFirstLook) counts.confirmed += 1;
    await step.setAside({ clerkId, kind: "stale", fields: [], reason: user.reason });
    return false;
  }
  const outcome = await applyListed(ctx, user, { row, seenAt, dryRun: run.dryRun });
  const { kind, fields, known } = outcome;
  if (isFirstLook && kind === "unchanged") counts.unchanged += 1;
  if (isFirstLook && known.row !== null) counts.confirmed += 1;
  if (kind === "late") await markSuspect(ctx, run._id, clerkId, "open");
  const isNew = await step.repaired(clerkId, outcome, user);
  const isPlaced = kind === "created" || fields.includes("clerkCreatedAt");
  if (!isFirstLook && isNew && isPlaced) counts.placed += 1;
  // In a dry run its row stays where it is, and must not count again there.
  const isElsewhere = kind === "updated" && row === undefined;
  if (run.dryRun && isElsewhere) await markSuspect(ctx, run._id, clerkId, "settled");
  await step.leftOut(user);
  if (known.isDuplicated) await step.duplicated(clerkId);
  return kind === "late";
}

/** The oldest row of an id first: that one is the mirror's. */
function groupById(rows: User[]): Map<string, User[]> {
  const groups = new Map<string, User[]>();
  for (const row of rows.toSorted((a, b) => a._creationTime - b._creationTime)) {
    if (row.clerkId === undefined) continue;
    groups.set(row.clerkId, [...(groups.get(row.clerkId) ?? []), row]);
  }
  return groups;
}

// Rows of a step: two pages' worth, and few enough bytes that each can be read again and repaired.
const MAX_ROWS = 1000;
const MAX_ROW_BYTES = 2 * 1024 * 1024;

/** Reads rows of a span by index, and where it stopped if the span holds more than it should read. */
async function readRows(
  ctx: MutationCtx,
  after: Position,
  until: Position | null,
): Promise<{ rows: User[]; until: Position | null }> {
  const rows: User[] = [];
  for await (const row of rowsBetween(ctx, after, until)) {
    rows.push(row);
    const { bytesRead } = await ctx.meta.getTransactionMetrics();
    const position = positionOfRow(row);
    const isEnough = rows.length >= MAX_ROWS || bytesRead.used >= MAX_ROW_BYTES;
    if (isEnough && position !== null) return { rows, until: position };
  }
  return { rows, until };
}

async function* rowsBetween(ctx: QueryCtx, after: Position, until: Position | null) {
  const users = () => ctx.db.query("users");
  if (until?.clerkCreatedAt === after.clerkCreatedAt) {
    yield* users().withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
      q
        .eq("clerkCreatedAt", after.clerkCreatedAt)
        .gt("clerkId", after.clerkId)
        .lte("clerkId", until.clerkId),
    );
    return;
  }
  yield* users().withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
    q.eq("clerkCreatedAt", after.clerkCreatedAt).gt("clerkId", after.clerkId),
  );
  yield* users().withIndex("by_clerkCreatedAt_and_clerkId", (q) => {
    const from = q.gt("clerkCreatedAt", after.clerkCreatedAt);
    return until === null ? from : from.lt("clerkCreatedAt", until.clerkCreatedAt);
  });
  if (until === null || until.clerkId === "") return;
  yield* users().withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
    q.eq("clerkCreatedAt", until.clerkCreatedAt).gt("clerkId", "").lte("clerkId", until.clerkId),
  );
}

/** Null for rows that are not the mirror's: guests and bots. */
function positionOfRow({ clerkId, clerkCreatedAt }: User): Position | null {
  if (clerkId === undefined || clerkCreatedAt === undefined) return null;
  return { clerkId, clerkCreatedAt };
}

function isUpTo(until: Position | null, position: Position): boolean {
  return until === null || comparePositions(position, until) <= 0;
}
