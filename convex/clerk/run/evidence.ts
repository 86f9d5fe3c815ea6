/** The phase "evidence": Clerk is asked for each doubtful id. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation, internalQuery } from "../../_generated/server.js";
import { MAX_IDS } from "../api/api.js";
import { doubtOf, type RunIn, vCheckpoint } from "../memory/memory.js";
import { readKnown } from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import { inParallel } from "../shared/parallel.js";
import { isClerkId, vReading } from "../shared/user.js";
import { type Call, checkpoint, doubtsOf, type Taken } from "./call.js";
import { judgeOne, setAsideOne } from "./judge.js";
import { decide } from "./next.js";
import { Step, type StepResult } from "./step.js";

/** Asks for up to 100 ids; not for one that is to be set aside. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"evidence">): Taken {
  const { ctx, clerk, batch } = call;
  const asked = await doubtsOf(call, run, "open", MAX_IDS);
  const setAside = batch.take(asked);
  const askedAt = clock.now();
  // Of whom nothing is known here, nothing is lost by a page that lacks them: their own page asks again.
  const known = async (clerkIds: string[]): Promise<string[]> =>
    await ctx.runQuery(internal.clerk.run.evidence.knownAmong, { clerkIds });
  const ids = setAside === undefined ? asked.filter(isClerkId) : [];
  const found = await clerk.listByIds(ids, known);
  const args = { at: checkpoint(call, run), asked, found, askedAt, setAside };
  return await ctx.runMutation(internal.clerk.run.evidence.settle, args);
}

/** Which of some ids anything is known of: a row, marked or not, or a version. */
export const knownAmong = internalQuery({
  args: { clerkIds: v.array(v.string()) },
  returns: v.array(v.string()),
  handler: async (ctx, { clerkIds }): Promise<string[]> => {
    const known = await inParallel(clerkIds, async (clerkId) => {
      const { row, marked, version } = await readKnown(ctx, clerkId);
      return row === null && marked === null && version === null ? [] : clerkId;
    });
    return known.flat();
  },
});

/**
 * Settles doubts about `asked` by Clerk's answer, the users `found`; what is no Clerk id was not sent. `askedAt`: ms,
 * taken before Clerk was asked. `setAside`: why they can't be settled: nothing is changed about them.
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
    const answers = new Map(found.map((user) => [user.clerkId, user]));
    for (const clerkId of asked) {
      const doubt = await doubtOf(ctx, step.run, clerkId);
      // Raised again since, it is to be asked about again.
      if (doubt === null || doubt.raisedAt > askedAt) continue;
      const answer = answers.get(clerkId) ?? null;
      if (setAside === undefined) await judgeOne(step, clerkId, answer, askedAt);
      else await setAsideOne(step, clerkId, answer, setAside);
      if (await step.isNearBudget()) break;
    }
    return await decide(step);
  },
});
