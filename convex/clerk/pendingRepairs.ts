/** The only writer of `clerkPendingRepairs`: at most one scheduled repair per id. */
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { readSyncState } from "./syncState";

/**
 * Schedules the repair of one user, unless one is waiting already.
 * @param runId the run that leaves the user to it, if one does
 */
export async function requestRepair(
  ctx: MutationCtx,
  clerkId: string,
  delayMs: number,
  runId?: Id<"reconcileRuns">,
): Promise<void> {
  const pending = await pendingRepair(ctx, clerkId);
  const job = pending && (await ctx.db.system.get("_scheduled_functions", pending.scheduledId));
  // One under way may have asked Clerk already.
  if (job?.state.kind === "pending") return;
  const { instanceId } = await readSyncState(ctx);
  const run = internal.clerk.reconcile.repair;
  const args = { clerkId, instanceId, runId };
  const scheduledId = await ctx.scheduler.runAfter(delayMs, run, args);
  if (pending === null) await ctx.db.insert("clerkPendingRepairs", { clerkId, scheduledId });
  else await ctx.db.patch("clerkPendingRepairs", pending._id, { scheduledId });
}

/** A repair was made: the next one may be scheduled. */
export async function forgetRepair(ctx: MutationCtx, clerkId: string): Promise<void> {
  const pending = await pendingRepair(ctx, clerkId);
  const job = pending && (await ctx.db.system.get("_scheduled_functions", pending.scheduledId));
  if (pending !== null && job?.state.kind !== "pending") {
    await ctx.db.delete("clerkPendingRepairs", pending._id);
  }
}

async function pendingRepair(ctx: QueryCtx, clerkId: string) {
  return await ctx.db
    .query("clerkPendingRepairs")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
    .unique();
}
