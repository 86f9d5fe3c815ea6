/** The phase "evidence": Clerk is asked for each doubtful id. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation, type MutationCtx } from "../../_generated/server.js";
import { MAX_IDS } from "../api/api.js";
import { changeDoubt, doubtOf, type RunIn, vAsked, vCheckpoint } from "../memory/memory.js";
import { readKnown } from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import { isClerkId, vReading } from "../shared/user.js";
import { type Call, checkpoint, doubtsOf, type Taken } from "./call.js";
import { judgeOne, setAsideOne } from "./judge.js";
import { decide } from "./next.js";
import { Step, type StepResult } from "./step.js";

/** Asks for up to 100 ids; not for one that is to be set aside. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"evidence">): Taken {
  const { ctx, clerk, batch } = call;
  const asked = await doubtsOf(call, run, "open", MAX_IDS);
  const all = asked.map(({ clerkId }) => clerkId);
  const setAside = batch.take(all);
  const askedAt = clock.now();
  const ids = setAside === undefined ? all.filter(isClerkId) : [];
  const found = await clerk.listByIds(ids);
  const args = { at: checkpoint(call, run), asked, found, askedAt, setAside };
  return await ctx.runMutation(internal.clerk.run.evidence.settle, args);
}

/**
 * Settles doubts about `asked` by Clerk's answer, the users `found`; what is no Clerk id was not sent. A page may hold
 * fewer than it should: who is known here and lacks on one that holds somebody is asked for again, with others of whom
 * that is so, until a page holds nobody. `askedAt`: ms, taken before Clerk was asked. `setAside`: why they can't be
 * settled: nothing is changed about them.
 */
export const settle = internalMutation({
  args: {
    at: vCheckpoint,
    asked: v.array(vAsked),
    found: v.array(vReading),
    askedAt: v.number(),
    setAside: v.optional(v.string()),
  },
  handler: async (ctx, { at, asked, found, askedAt, setAside }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("evidence")) return null;
    const answers = new Map(found.map((user) => [user.clerkId, user]));
    for (const { clerkId, raisedAt } of asked) {
      const doubt = await doubtOf(ctx, step.run, clerkId);
      // Raised again since, it is to be asked about again. Another machine's clock could not tell.
      if (doubt?.raisedAt !== raisedAt) continue;
      const answer = answers.get(clerkId) ?? null;
      if (setAside !== undefined) await setAsideOne(step, clerkId, answer, setAside);
      else if (answer === null && found.length > 0 && (await isKnown(ctx, clerkId))) {
        // Due by this clock and by that of whoever asks next.
        const dueAt = Math.min(askedAt, clock.now());
        await changeDoubt(ctx, step.run, clerkId, { state: "absent", dueAt });
      } else await judgeOne(step, clerkId, answer, askedAt);
      if (await step.isNearBudget()) break;
    }
    return await decide(step);
  },
});

async function isKnown(ctx: MutationCtx, clerkId: string): Promise<boolean> {
  const { row, marked, version } = await readKnown(ctx, clerkId);
  return row !== null || marked !== null || version !== null;
}
