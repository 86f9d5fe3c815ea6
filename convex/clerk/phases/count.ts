/** The phase "count" of a full run: does Clerk count whom it lists? */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { checkpoint, type Call, type Taken } from "../call.js";
import { clock, MINUTE } from "../clock.js";
import type { RunIn } from "../runs.js";
import { Step, type StepResult } from "../step.js";
import { lookBackTo } from "../sweep.js";
import { vCheckpoint } from "../runValidators.js";
import { doubtUndated } from "./undated.js";

/** Counts lag behind, and lists too: so long later both are asked once more. */
const LAG_MS = 5 * MINUTE;

/** Asks how many users Clerk had when the run began. */
export async function ask(call: Call, run: RunIn<"count">): Taken {
  const clerkUsers = await call.clerk.countUsers(run.startedAt);
  const args = { at: checkpoint(call, run), clerkUsers };
  return await call.ctx.runMutation(internal.clerk.phases.count.settle, args);
}

/**
 * Compares Clerk's count with the users met of whom it speaks. Where these are fewer, the run looks
 * back and counts again, once; whoever is still missing then is a finding, and no failure.
 */
export const settle = internalMutation({
  args: { at: vCheckpoint, clerkUsers: v.number() },
  handler: async (ctx, { at, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("count")) return null;
    const { counts, run } = step;
    counts.clerkUsers = clerkUsers;
    counts.unlisted = Math.max(0, clerkUsers - counts.listed);
    if (counts.unlisted === 0 || run.state.phase.isAgain) return await doubtUndated(step, "");
    const notBefore = clock.now() + LAG_MS;
    const waitsFor = `Clerk counts ${clerkUsers} users and listed ${counts.listed}: it is asked once more.`;
    const again = lookBackTo(run.startedAt - LAG_MS, true);
    return await step.goTo(again, { notBefore, waitsFor });
  },
});
