/** Which Clerk instance is mirrored: pinned by the first full run, moved on purpose. */
import { internalQuery, type MutationCtx } from "../../_generated/server.js";
import { clock } from "../shared/clock.js";
import { newestEventInstance } from "./deliveries.js";
import { wakeForDoubts } from "./worker.js";
import { cancelRun } from "./ended.js";
import type { Run } from "./runs.js";
import { readSyncState, updateSyncState } from "./state.js";

/** The instance that is mirrored, or null before the first full run. */
export const pinned = internalQuery({
  args: {},
  handler: async (ctx): Promise<string | null> => (await readSyncState(ctx)).instanceId ?? null,
});

/** Pins an instance, the only one believed from then on, and cancels the run of the one before. @returns these two */
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
