/** The phase "begin": is the instance the right one? */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { checkpoint, type Call, type Taken } from "../call.js";
import { MINUTE } from "../clock.js";
import { newestEventInstance } from "../deliveries.js";
import { newestEvents } from "../rows.js";
import { checkTable } from "../firstDay.js";
import type { RunIn } from "../runs.js";
import { Step, type StepResult } from "../step.js";
import { START } from "../pages.js";
import { lookBackTo } from "../sweep.js";
import { updateSyncState } from "../syncState.js";
import { vCheckpoint } from "../runValidators.js";

/** How far before its watermark a recent run looks: Clerk's list is "eventually consistent". */
const RECENT_OVERLAP_MS = 5 * MINUTE;

/** Before an instance is pinned, looks at the table. Asks how many users there are to be listed. */
export async function ask(call: Call, run: RunIn<"begin">): Taken {
  const { ctx, clerk, instanceId, isPinned } = call;
  if (!isPinned) await checkTable(ctx, clerk, instanceId);
  const clerkUsers = await clerk.countUsers();
  const args = { at: checkpoint(call, run), instanceId, clerkUsers };
  return await ctx.runMutation(internal.clerk.phases.begin.settle, args);
}

/** Pins the instance where none is, and begins to walk or to look back. */
export const settle = internalMutation({
  args: { at: vCheckpoint, instanceId: v.string(), clerkUsers: v.number() },
  handler: async (ctx, { at, instanceId, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("begin")) return null;
    const { mode, dryRun } = step.run;
    step.counts.clerkUsers = clerkUsers;
    if (mode === "full") {
      if (!dryRun) await pin(step, instanceId);
      await ctx.db.patch("clerkRuns", step.run._id, { instanceId });
      return await step.goTo({ kind: "walk", settled: START });
    }
    const { lastFullRunStartedAt: full, lastRecentRunStartedAt: recent } = await step.state();
    if (full === undefined) {
      const reason = "a recent run needs a completed full run before it.";
      return await step.end({ kind: "failed", reason });
    }
    return await step.goTo(lookBackTo(Math.max(full, recent ?? full) - RECENT_OVERLAP_MS));
  },
});

/** From now on events of other instances are ignored; those that came before told of somebody. */
async function pin(step: Step<"begin">, instanceId: string): Promise<void> {
  const { ctx, run } = step;
  const state = await step.state();
  const { startedAt: fullRunStartedAt } = run;
  if (state.instanceId !== undefined) {
    await updateSyncState(ctx, { fullRunStartedAt });
    return;
  }
  const heardOf = await newestEventInstance(ctx, state);
  await updateSyncState(ctx, {
    instanceId,
    fullRunStartedAt,
    newestEventInstanceId: heardOf === instanceId ? undefined : (heardOf ?? undefined),
    isToConfirm: (await newestEvents(ctx, Infinity)).length > 0,
  });
}
