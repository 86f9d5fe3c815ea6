/** The phase "begin": is the instance the right one? */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import {
  newestEventInstance,
  newestEvents,
  noteRun,
  type RunIn,
  updateSyncState,
  vCheckpoint,
  wakeForDoubts,
} from "../memory/memory.js";
import { type Call, checkpoint, type Taken, unlessSlowed } from "./call.js";
import { checkTable } from "./firstDay.js";
import { afterBegin } from "./next.js";
import { Step, type StepResult } from "./step.js";

/** Looks at the table before an instance is pinned, and asks how many users there are to list. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"begin">): Taken {
  const { ctx, clerk, instanceId, isPinned } = call;
  const count = async () => await clerk.countUsers();
  // Until the count in the end, only a Report that is not final tells it.
  const isSecond = !isPinned && (await checkTable(ctx, clerk, instanceId)) > 0;
  const clerkUsers = isSecond ? await unlessSlowed(count, 0) : await count();
  const args = { at: checkpoint(call, run), instanceId, clerkUsers };
  return await ctx.runMutation(internal.clerk.run.begin.settle, args);
}

/** Pins the instance where none is (full, and no dry run), and begins to walk or to look back. Null where overtaken. */
export const settle = internalMutation({
  args: { at: vCheckpoint, instanceId: v.string(), clerkUsers: v.number() },
  handler: async (ctx, { at, instanceId, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("begin")) return null;
    const { mode, dryRun } = step.run;
    step.counts.clerkUsers = clerkUsers;
    if (mode === "full") {
      if (!dryRun) await pin(step, instanceId);
      await noteRun(ctx, step.run, { instanceId });
    } else if (!dryRun) await updateSyncState(ctx, { recentRunStartedAt: step.run.startedAt });
    return await afterBegin(step);
  },
});

/** Once one is pinned, events of other instances are ignored; rows that came by earlier ones are to be confirmed. */
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
  // Of which instance the worker asked as long as none was pinned, nobody has checked.
  await wakeForDoubts(ctx, "void");
}
