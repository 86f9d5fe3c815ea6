/** The phase "begin": is the instance the right one, and how many users has it? */
import { v } from "convex/values";
import { internal } from "../../_generated/api";
import { internalMutation } from "../../_generated/server";
import { checkpoint, type Call, type Taken } from "../call";
import { MINUTE } from "../clock";
import { checkSample } from "../instance";
import type { RunIn } from "../runs";
import { Step, type StepResult } from "../step";
import { lookBackTo, START } from "../sweep";
import { readSyncState, updateSyncState } from "../syncState";
import { vCheckpoint } from "../validators";

/** How far before its watermark a recent run looks: Clerk's list is "eventually consistent". */
const RECENT_OVERLAP_MS = 5 * MINUTE;

/** Asks for the sample of users, and for the count. */
export async function ask(call: Call, run: RunIn<"begin">): Taken {
  const { ctx, clerk, instanceId, sample } = call;
  await checkSample(clerk, instanceId, sample);
  const expected = await clerk.countUsers();
  const args = { at: checkpoint(call, run), instanceId, expected };
  return await ctx.runMutation(internal.clerk.phases.begin.settle, args);
}

/** Pins the instance where none is, and begins to walk or to look back. */
export const settle = internalMutation({
  args: { at: vCheckpoint, instanceId: v.string(), expected: v.number() },
  handler: async (ctx, { at, instanceId, expected }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("begin")) return null;
    const { mode, dryRun } = step.run;
    const state = await readSyncState(ctx);
    step.counts.clerkUsers = expected;
    if (mode === "full") {
      const { startedAt: fullRunStartedAt } = step.run;
      if (!dryRun) await updateSyncState(ctx, { instanceId, fullRunStartedAt });
      return await step.goTo({ kind: "walk", settled: START, expected });
    }
    const { lastFullRunStartedAt: full, lastRecentRunStartedAt: recent } = state;
    if (full === undefined) {
      const reason = "a recent run needs a completed full run before it.";
      return await step.end({ kind: "failed", reason });
    }
    const since = Math.max(full, recent ?? full) - RECENT_OVERLAP_MS;
    return await step.goTo(lookBackTo(since, expected));
  },
});
