/** Which Clerk instance is mirrored: pinned by the first full run, asked for by every call, moved on purpose. */
import { internalQuery, type MutationCtx } from "../_generated/server.js";
import type { Clerk } from "./api.js";
import { clock } from "./clock.js";
import { newestEventInstance } from "./deliveries.js";
import { ClerkError } from "./request.js";
import { cancelRun, type Run } from "./runs.js";
import { readSyncState, updateSyncState } from "./syncState.js";
import { wakeForDoubts } from "./worker.js";

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
 * Pins an instance: from now on only that one is believed. Ends a run of the one before.
 * @returns the one before, and the run that was ended
 */
export async function moveTo(
  ctx: MutationCtx,
  instanceId: string,
): Promise<{ before: string | null; cancelled: Run | null }> {
  const state = await readSyncState(ctx);
  const { instanceId: before = null } = state;
  if (before === instanceId) return { before, cancelled: null };
  const heardOf = await newestEventInstance(ctx, state);
  const cancelled = await cancelRun(ctx);
  // What runs of the other instance found says nothing of this one.
  await updateSyncState(ctx, {
    instanceId,
    newestEventInstanceId: heardOf ?? undefined,
    isMoved: true,
    movedAt: clock.now(),
    isToConfirm: true,
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
