/**
 * The steps of a run that compare what Clerk lists with the mirror. Each is one transaction: it
 * checks the checkpoint, repairs, notes suspects and writes the next checkpoint.
 */
import { v } from "convex/values";
import type { Doc } from "../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server";
import { decideAfterWalk } from "./judgement";
import { applyListed } from "./mirror";
import { addSuspect, markSuspect } from "./runs";
import { Step, type StepResult } from "./step";
import { comparePositions, positionOf } from "./sweep";
import { vCheckpoint, vPosition, vReading, type Position, type Reading } from "./validators";

type User = Doc<"users">;

/**
 * Settles a span of positions, or as much of it as a transaction should read.
 * @param users all users whom Clerk lists in the span, by position
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
    const { settled, expected } = step.run.state.phase;
    const slice = await readRows(ctx, settled, until);
    const inSlice = users.filter((user) => isUpTo(slice.until, positionOf(user)));
    const compared = await compareUsers(step, inSlice, slice.rows, seenAt);
    const end = compared.stoppedAt ?? slice.until;

    const listed = new Set(users.map((user) => positionOf(user).clerkId));
    for (const { clerkId } of slice.rows) {
      if (clerkId !== undefined && !listed.has(clerkId)) {
        await addSuspect(ctx, step.run._id, clerkId);
      }
    }
    return end === null
      ? await step.goTo({ kind: "lookBack", offset: 0, expected })
      : await step.goTo({ kind: "walk", settled: end, expected });
  },
});

/**
 * Compares users who changed since the run began, newest change first.
 * @param seenAt ms, taken before the page was asked for
 * @param clerkUsers Clerk's count, once nothing is left to look back at; else null
 */
export const lookBack = internalMutation({
  args: {
    at: vCheckpoint,
    users: v.array(vReading),
    seenAt: v.number(),
    clerkUsers: v.nullable(v.number()),
  },
  handler: async (ctx, { at, users, seenAt, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("lookBack")) return null;
    const { offset, expected } = step.run.state.phase;
    const { count } = await compareUsers(step, users, [], seenAt);
    if (count < users.length || clerkUsers === null) {
      return await step.goTo({ kind: "lookBack", offset: offset + count, expected });
    }
    step.counts.clerkUsers = clerkUsers;
    const seen = step.counts.scanned + step.counts.lookedBack;
    if (seen < Math.min(expected, clerkUsers)) {
      const reason = `Clerk counts ${clerkUsers} users and listed only ${seen}: its listing can't be trusted, so nobody was judged by it.`;
      return await step.end({ kind: "failed", reason });
    }
    return await step.goTo({ kind: "undated", settledId: "" });
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
    for await (const { clerkId } of rows) {
      if (clerkId === undefined) continue;
      await addSuspect(ctx, step.run._id, clerkId);
      if (await step.isNearBudget())
        return await step.goTo({ kind: "undated", settledId: clerkId });
    }
    return await decideAfterWalk(step);
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
    const { clerkId } = positionOf(user);
    const [row, ...duplicates] = rowsOf.get(clerkId) ?? [];
    await compareUser(step, user, row, seenAt);
    if (duplicates.length > 0) {
      const reason = "another row, which is older, has this clerkId";
      await step.setAside({ clerkId, kind: "duplicate", fields: [], reason });
    }
    const isLast = index === users.length - 1;
    if (!isLast && (await step.isNearBudget())) {
      return { count: index + 1, stoppedAt: positionOf(user) };
    }
  }
  return { count: users.length };
}

async function compareUser(
  step: Step<"walk" | "lookBack">,
  user: Reading,
  row: User | undefined,
  seenAt: number,
): Promise<void> {
  const { clerkId } = positionOf(user);
  const { counts, run, ctx } = step;
  const isWalk = run.state.phase.kind === "walk";
  if (isWalk) counts.scanned += 1;
  else counts.lookedBack += 1;
  if (user.kind === "unreadable") {
    if (row && isWalk) counts.confirmed += 1;
    await step.setAside({ clerkId, kind: "stale", fields: [], reason: user.reason });
    return;
  }
  const outcome = await applyListed(ctx, user, { row, seenAt, dryRun: run.dryRun });
  for (const { field, reason } of user.leftOut) {
    await step.setAside({ clerkId, kind: "stale", fields: [field], reason });
  }
  if (isWalk && outcome.kind === "unchanged") counts.unchanged += 1;
  if (isWalk && outcome.kind !== "created") counts.confirmed += 1;
  if (outcome.kind === "late") await markSuspect(ctx, run._id, clerkId, "open");
  if (outcome.kind !== "created" && outcome.kind !== "updated") return;
  await step.repaired(clerkId, outcome);
  // In a dry run its row stays where it is, and must not count again there.
  const isElsewhere = outcome.kind === "updated" && row === undefined;
  if (run.dryRun && isElsewhere) await markSuspect(ctx, run._id, clerkId, "settled");
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
