/**
 * The phase "count" of a full run: does Clerk count whom it lists? Then rows without a creation time, which no window of
 * the walk holds, are doubted, or counted.
 */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { type RunIn, vCheckpoint } from "../memory/memory.js";
import { sortRows } from "../mirror/mirror.js";
import { type Call, checkpoint, type Taken } from "./call.js";
import { meetRows } from "./compare.js";
import { decide, lookAgain } from "./next.js";
import { FIRST_ROWS, Step, type StepResult } from "./step.js";

/** Asks how many users Clerk had when the run began, once. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"count">): Taken {
  const isCounted = run.state.phase.settledId !== undefined;
  const known = run.counts.clerkUsers;
  const clerkUsers = isCounted ? known : await call.clerk.countUsers(run.startedAt);
  const args = { at: checkpoint(call, run), clerkUsers };
  return await call.ctx.runMutation(internal.clerk.run.count.settle, args);
}

/**
 * Where Clerk counts more users than were met, looks back and counts again, once; who is missing then is a finding. Goes
 * on with rows where the transaction before had read enough of them.
 */
export const settle = internalMutation({
  args: { at: vCheckpoint, clerkUsers: v.number() },
  handler: async (ctx, { at, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("count")) return null;
    const { counts, run } = step;
    counts.clerkUsers = clerkUsers;
    const { walked, looked } = counts.lately ?? { walked: 0, looked: 0 };
    counts.unlisted = Math.max(0, clerkUsers - counts.listed - Math.max(walked, looked));
    if (counts.unlisted > 0 && !run.state.phase.isAgain) return await lookAgain(step);
    return await doubtUndated(step);
  },
});

async function doubtUndated(step: Step<"count">): Promise<StepResult> {
  const { phase } = step.run.state;
  const { page, isDone } = await step.ctx.db
    .query("users")
    .withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
      q.eq("clerkCreatedAt", undefined).gt("clerkId", phase.settledId ?? ""),
    )
    .paginate(FIRST_ROWS);
  await meetRows(step, sortRows(page));
  const { clerkId } = page[page.length - 1] ?? {};
  if (isDone || clerkId === undefined) return await decide(step);
  return await step.goTo({ ...phase, settledId: clerkId });
}
