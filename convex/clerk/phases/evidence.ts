/** The phase "evidence": Clerk is asked for each suspect by id. */
import { v } from "convex/values";
import { internal } from "../../_generated/api";
import { internalMutation } from "../../_generated/server";
import { MAX_IDS } from "../api";
import { checkpoint, suspectsOf, type Call, type Taken } from "../call";
import { clock } from "../clock";
import { decide, judgeOne, setAsideOne } from "../judgement";
import { isClerkId } from "../profile";
import type { RunIn } from "../runs";
import { Step, type StepResult } from "../step";
import { idOf } from "../sweep";
import { vCheckpoint, vReading } from "../validators";

/** Asks for up to 100 suspects. */
export async function ask(call: Call, run: RunIn<"evidence">): Taken {
  const { ctx, clerk, batch } = call;
  const asked = await suspectsOf(call, run, "open", MAX_IDS);
  const askedAt = clock.now();
  const found = await clerk.listByIds(asked.filter(isClerkId));
  const setAside = batch.take(asked);
  const args = { at: checkpoint(call, run), asked, found, askedAt, setAside };
  return await ctx.runMutation(internal.clerk.phases.evidence.settle, args);
}

/**
 * Settles suspects by Clerk's answer.
 * @param asked ids of the suspects; those that are no Clerk ids were not sent
 * @param found the users among them whom Clerk knows
 * @param askedAt ms, taken before Clerk was asked
 * @param setAside why they can't be settled: nothing is changed about them
 */
export const settle = internalMutation({
  args: {
    at: vCheckpoint,
    asked: v.array(v.string()),
    found: v.array(vReading),
    askedAt: v.number(),
    setAside: v.optional(v.string()),
  },
  handler: async (ctx, { at, asked, found, askedAt, setAside }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("evidence")) return null;
    const answers = new Map(found.map((user) => [idOf(user), user]));
    for (const clerkId of asked) {
      const answer = answers.get(clerkId) ?? null;
      if (setAside === undefined) await judgeOne(step, clerkId, answer, askedAt);
      else await setAsideOne(step, clerkId, answer, setAside);
      if (await step.isNearBudget()) break;
    }
    return await decide(step);
  },
});
