/** Which Clerk instance is mirrored: pinned by the first full run, asked for by every call, moved on purpose. */
import { internalQuery, type MutationCtx, type QueryCtx } from "../_generated/server";
import type { Clerk } from "./api";
import { isClerkId } from "./profile";
import { ClerkError } from "./request";
import { isMirrored } from "./rows";
import { cancelRun, type Run } from "./runs";
import { readSyncState, updateSyncState } from "./syncState";
import { wakeForDoubts } from "./worker";

/** Rows whose ids are asked of an instance before it is pinned: one request, and no chance result. */
const SAMPLE_SIZE = 40;
/** So many rows of guests are passed over on the way to one of them. */
const MAX_GUESTS = 50;

/** The instance that is mirrored, or null before the first full run. */
export const pinned = internalQuery({
  args: {},
  handler: async (ctx): Promise<string | null> => (await readSyncState(ctx)).instanceId ?? null,
});

/**
 * The instance that the secret key belongs to.
 * @throws ClerkError when it is another one than the one that is mirrored
 */
export async function checkInstance(clerk: Clerk, pinned: string | null): Promise<string> {
  const { id: instanceId } = await clerk.instance();
  if (pinned === null || instanceId === pinned) return instanceId;
  throw new ClerkError(
    `CLERK_SECRET_KEY belongs to the Clerk instance ${instanceId}, but this table mirrors ${pinned}: set the secret key of that instance, or move on purpose with clerk/reconcile:pinInstance.`,
    "give up",
  );
}

/**
 * Asks an instance, before it is pinned, for some users of the table.
 * @throws ClerkError when it knows fewer than half of them
 */
export async function checkSample(
  clerk: Clerk,
  instanceId: string,
  sample: string[],
): Promise<void> {
  const asked = sample.filter(isClerkId);
  const known = await clerk.listByIds(asked);
  if (known.length * 2 >= asked.length) return;
  throw new ClerkError(
    `The Clerk instance ${instanceId} knows only ${known.length} of ${asked.length} users sampled from this table: set the secret key of the instance that they come from, or, if this one is right, pin it with clerk/reconcile:pinInstance.`,
    "give up",
  );
}

/** Ids of rows from all over the time in which rows were made: who came first, or last, may have left. */
export async function sampleIds(ctx: QueryCtx): Promise<string[]> {
  const [first, last] = [
    await ctx.db.query("users").first(),
    await ctx.db.query("users").order("desc").first(),
  ];
  if (first === null || last === null) return [];
  const span = last._creationTime - first._creationTime;
  const ids = new Set<string>();
  for (let i = 0; i < SAMPLE_SIZE; i += 1) {
    const from = first._creationTime + (span * i) / SAMPLE_SIZE;
    const rows = ctx.db
      .query("users")
      .withIndex("by_creation_time", (q) => q.gte("_creationTime", from));
    for (const row of await rows.take(MAX_GUESTS)) {
      if (row.clerkId === undefined || !isMirrored(row) || ids.has(row.clerkId)) continue;
      ids.add(row.clerkId);
      break;
    }
  }
  return [...ids];
}

/**
 * Pins an instance: from now on only that one is believed. Ends a run of the one before.
 * @returns the one before, and the run that was ended
 */
export async function moveTo(
  ctx: MutationCtx,
  instanceId: string,
): Promise<{ before: string | null; cancelled: Run | null }> {
  const { instanceId: before = null } = await readSyncState(ctx);
  if (before === instanceId) return { before, cancelled: null };
  const cancelled = await cancelRun(ctx);
  // What runs of the other instance found says nothing of this one.
  await updateSyncState(ctx, {
    instanceId,
    isMoved: true,
    lastFullRunStartedAt: undefined,
    lastRecentRunStartedAt: undefined,
    lastRunId: undefined,
    lastFullRunId: undefined,
    isHeldAtLarge: undefined,
    isHeldAtLargeByLimit: undefined,
    setAsideRunId: undefined,
    completedFullRun: undefined,
    deliveries: undefined,
  });
  // What the worker has asked the other instance is void.
  await wakeForDoubts(ctx, "void");
  return { before, cancelled };
}
