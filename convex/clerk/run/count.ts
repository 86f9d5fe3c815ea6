/** The phase "count" of a full run: does Clerk count whom it lists? */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { type RunIn, vCheckpoint } from "../memory/memory.js";
import { type Call, checkpoint, type Taken } from "./call.js";
import { lookAgain } from "./next.js";
import { Step, type StepResult } from "./step.js";
import { doubtUndated } from "./undated.js";

/** Asks how many users Clerk had when the run began. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"count">): Taken {
  const clerkUsers = await call.clerk.countUsers(run.startedAt);
  const args = { at: checkpoint(call, run), clerkUsers };
  return await call.ctx.runMutation(internal.clerk.run.count.settle, args);
}

/** Where Clerk counts more users than were met, looks back and counts again, once; who is missing then is a finding. */
export const settle = internalMutation({
  args: { at: vCheckpoint, clerkUsers: v.number() },
  handler: async (ctx, { at, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("count")) return null;
    const { counts, run } = step;
    counts.clerkUsers = clerkUsers;
    const { walked, looked } = counts.lately ?? { walked: 0, looked: 0 };
    counts.unlisted = Math.max(0, clerkUsers - counts.listed - Math.max(walked, looked));
    if (counts.unlisted === 0 || run.state.phase.isAgain) return await doubtUndated(step, "");
    return await lookAgain(step);
  },
});
