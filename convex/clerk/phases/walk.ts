/** The phase "walk" of a full run: through Clerk's list by creation time, window by window. */
import { v } from "convex/values";
import { internal } from "../../_generated/api";
import type { Id } from "../../_generated/dataModel";
import { internalMutation, type MutationCtx, type QueryCtx } from "../../_generated/server";
import { checkpoint, type Call, type Taken } from "../call";
import { clock, MINUTE } from "../clock";
import { compareUsers } from "../compare";
import type { User } from "../rows";
import { isIn, type RunIn } from "../runs";
import { Step, type StepResult } from "../step";
import { addSuspect, knownIdsBetween } from "../suspects";
import {
  partOf,
  comparePositions,
  CROWD,
  idOf,
  lookBackTo,
  pageStart,
  positionOf,
  windowOf,
  type Window,
} from "../sweep";
import { vCheckpoint, vPosition, vReading, type Position, type Reading } from "../validators";
import { ask as listCrowd } from "./crowd";

/** How far Clerk's clock may be behind ours: changes of the run's first moments are looked back at. */
const CLOCK_SKEW_MS = MINUTE;
// Rows of a step: two pages' worth, and few enough bytes that each can be read again and repaired.
const MAX_ROWS = 1000;
const MAX_ROW_BYTES = 2 * 1024 * 1024;

/** Asks for the next page, and has its window settled, in batches. */
export async function ask(call: Call, run: RunIn<"walk">): Taken {
  const { settled, crowd } = run.state.phase;
  if (crowd?.kind === "listing") return await listCrowd(call, run, crowd);
  if (crowd?.kind === "listed") {
    call.window = { users: [], until: crowd.until, seenAt: clock.now() };
  }
  if (call.window === undefined) {
    const seenAt = clock.now();
    const page = await call.clerk.listByCreation(pageStart(settled), run.pageSize);
    const window = windowOf(page, settled, run.pageSize);
    if (window === null) return await listCrowd(call, run, CROWD, { page, seenAt });
    call.window = { ...window, seenAt };
  }
  return await settleBatch(call, run, call.window);
}

async function settleBatch(
  call: Call,
  run: RunIn<"walk">,
  window: Window & { seenAt: number },
): Taken {
  const { users, until } = partOf(window, run.state.phase.settled, call.batch.limit);
  const args = {
    at: checkpoint(call, run),
    users: call.batch.takeUsers(users),
    until,
    seenAt: window.seenAt,
  };
  const result: StepResult | null = await call.ctx.runMutation(
    internal.clerk.phases.walk.settle,
    args,
  );
  const phase = result && isIn(result.run, "walk") ? result.run.state.phase : null;
  const isLeft =
    phase !== null && (window.until === null || comparePositions(phase.settled, window.until) < 0);
  if (!isLeft) call.window = undefined;
  return result;
}

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
    const slice = await readSpan(ctx, phase.settled, until);
    const inSlice = users.filter((user) => isUpTo(slice.until, positionOf(user)));
    const compared = await compareUsers(step, inSlice, slice.rows, seenAt);
    await suspectUnlisted(step, slice.rows, users);
    const settled = compared.stoppedAt ?? slice.until;
    if (settled === null) {
      const since = step.run.startedAt - CLOCK_SKEW_MS;
      return await step.goTo(lookBackTo(since, phase.expected));
    }
    const isDone = until !== null && comparePositions(until, settled) <= 0;
    return await step.goTo({ ...phase, settled, crowd: isDone ? undefined : phase.crowd });
  },
});

/** Takes the rows as suspects that Clerk's list does not have. */
async function suspectUnlisted({ ctx, run }: Step<"walk">, rows: User[], users: Reading[]) {
  const isCrowd = run.state.phase.crowd?.kind === "listed";
  const listed = isCrowd ? await knownAmong(ctx, run._id, rows) : new Set(users.map(idOf));
  for (const { clerkId } of rows) {
    if (clerkId !== undefined && !listed.has(clerkId)) await addSuspect(ctx, run._id, clerkId);
  }
}

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

/** Reads rows of a span by index, and where it stopped if the span holds more than it should read. */
async function readSpan(
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
