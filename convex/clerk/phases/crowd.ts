/** Of the phase "walk": users who share one creation time and are more than a page. */
import { v } from "convex/values";
import { internal } from "../../_generated/api";
import { internalMutation } from "../../_generated/server";
import { checkpoint, shifting, type Call, type Taken } from "../call";
import { clock } from "../clock";
import { compareUser } from "../compare";
import type { RunIn } from "../runs";
import { Step, type StepResult } from "../step";
import { markListed, suspectOf } from "../suspects";
import { crowdOf, idOf, pageStart, type CROWD } from "../sweep";
import { vCheckpoint, vCrowd, vReading, type Reading } from "../validators";

/**
 * Asks for the next page of a crowd.
 * @param listed the page, where it was asked for already
 */
export async function ask(
  call: Call,
  run: RunIn<"walk">,
  crowd: typeof CROWD,
  listed?: { page: Reading[]; seenAt: number },
): Taken {
  const { ctx, clerk, batch } = call;
  const { pageSize } = run;
  const { settled } = run.state.phase;
  const seenAt = listed?.seenAt ?? clock.now();
  const page =
    listed?.page ?? (await clerk.listByCreation(pageStart(settled), pageSize, crowd.offset));
  const taken = crowdOf(page, settled, crowd, pageSize, batch.limit);
  if (taken === null) throw shifting();
  const users = batch.takeUsers(taken.users);
  const args = { at: checkpoint(call, run), users, seenAt, crowd: taken.crowd };
  return await ctx.runMutation(internal.clerk.phases.crowd.settle, args);
}

/**
 * Compares users of one page of a crowd, and remembers that they were listed: only once all are,
 * the rows that share their creation time can be judged.
 * @param users of the page those who are of the crowd and were not compared yet
 * @param crowd where the walk through the crowd stands after this page
 */
export const settle = internalMutation({
  args: { at: vCheckpoint, users: v.array(vReading), seenAt: v.number(), crowd: vCrowd },
  handler: async (ctx, { at, users, seenAt, crowd }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("walk")) return null;
    const { run } = step;
    const { phase } = run.state;
    for (const [index, user] of users.entries()) {
      const clerkId = idOf(user);
      const known = await suspectOf(ctx, run._id, clerkId);
      if (known?.isListed !== true) {
        const isLate = await compareUser(step, user, undefined, seenAt);
        await markListed(ctx, run._id, clerkId, isLate ? "open" : "settled");
      }
      const isLast = index === users.length - 1;
      // What is left of the page comes again: the crowd stands where it stood.
      if (!isLast && (await step.isNearBudget())) return await step.goTo(phase);
    }
    return await step.goTo({ ...phase, crowd });
  },
});
