/** Of the phases "walk" and "lookBack": users who share one key and may be more than a page. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import {
  type Crowd,
  markMet,
  metAmong,
  type RunIn,
  vCheckpoint,
  vCrowd,
} from "../memory/memory.js";
import { clock } from "../shared/clock.js";
import { chunksOf, inParallel } from "../shared/parallel.js";
import { type Reading, vReading } from "../shared/user.js";
import { type Call, checkpoint, type List, phaseAfter, type Taken } from "./call.js";
import { compareUsers } from "./compare.js";
import { afterLookBack } from "./next.js";
import { before, crowdAfter, crowdIn, vCrowdPage } from "./places.js";
import { Step, type StepResult } from "./step.js";

/** Takes the next page of a crowd. @throws ClerkError */
export async function ask(
  call: Call,
  run: RunIn<"walk" | "lookBack">,
  crowd: Crowd,
  list: List,
): Taken {
  const { ctx, batch } = call;
  const order = run.state.phase.kind === "walk" ? "+created_at" : "-updated_at";
  call.page ??= { seenAt: clock.now(), offset: crowd.offset, users: await list.page(crowd.offset) };
  const { users: all, offset, seenAt } = call.page;
  const listed = all.slice(crowd.offset - offset);
  const { users, page } = crowdIn(listed, crowd, batch.limit, order);
  const isLast = page.isEnd && (await isOver(listed, crowd, list));
  // Pages may be short: behind one that brings nobody new somebody may stand all the same.
  if (page.length > 0) page.isEnd = isLast;
  const args = { at: checkpoint(call, run), users: batch.takeUsers(users), page, seenAt, isLast };
  const settled = internal.clerk.run.crowd.settle;
  const result: StepResult | null = await ctx.runMutation(settled, { ...args, crowd });
  // What is left of a page is taken from it: asked for again, it may be in another order.
  if (!page.isCut && !isPart(crowd, result)) call.page = undefined;
  return result;
}

/** Whether Clerk's list ends with a page, or, where that is empty, before it. */
async function isOver(
  page: Reading[],
  { offset, before, last }: Crowd,
  list: List,
): Promise<boolean> {
  // Of a page of several the last one has come again, alone.
  if (page.length === 1 && last !== undefined) return await list.isEmpty(offset + 1);
  if (page.length > 0) return await list.isEnd(page, offset);
  return before !== undefined && (await list.isAt(before, offset - 1));
}

/** Whether a page was settled in part, for all that a transaction may take. */
function isPart({ offset, fresh }: Crowd, result: StepResult | null): boolean {
  const phase = phaseAfter(result);
  const after = phase !== undefined && "crowd" in phase ? phase.crowd : undefined;
  return after?.offset === offset && after.fresh > fresh;
}

/**
 * Compares a page's users of a crowd, met before or not, and marks them as met: only once all were, the rows that share
 * their creation time can be judged. `isLast`: Clerk has nobody after the crowd. `seenAt`: ms, before Clerk was asked.
 */
export const settle = internalMutation({
  args: {
    at: vCheckpoint,
    users: v.array(vReading),
    page: vCrowdPage,
    seenAt: v.number(),
    isLast: v.boolean(),
    crowd: vCrowd,
  },
  handler: async (ctx, { at, users, page, seenAt, isLast, crowd }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("walk") && !step?.isIn("lookBack")) return null;
    const { run } = step;
    const { phase } = run.state;
    // A second look-back meets them anew.
    const isAgain = phase.kind === "lookBack" && phase.isAgain;
    const mark = isAgain ? crowd.key + 0.5 : crowd.key;
    let fresh = 0;
    const chunks = chunksOf(users);
    for (const [index, some] of chunks.entries()) {
      const ids = some.map(({ clerkId }) => clerkId);
      const met = await metAmong(ctx, run, ids, mark);
      // Listed twice, somebody is one.
      const unmet = some.filter(
        (user, i) => !met.has(user.clerkId) && ids.indexOf(user.clerkId) === i,
      );
      const compared = await compareUsers(step, unmet, [], seenAt);
      await inParallel(unmet.slice(0, compared), async (user) => {
        await markMet(ctx, run, user.clerkId, mark);
      });
      fresh += compared;
      const isLeft = compared < unmet.length || index < chunks.length - 1;
      // What is left of the page comes again: the crowd stands where it stood.
      if (isLeft && (compared < unmet.length || (await step.isNearBudget()))) {
        const grown = { ...crowd, met: crowd.met + fresh, fresh: crowd.fresh + fresh };
        return await step.goTo({ ...phase, crowd: grown });
      }
    }
    const after = crowdAfter(crowd, page, fresh, step.counts.scanned);
    if (!after.isListed) return await step.goTo({ ...phase, crowd: after.crowd });
    if (step.isIn("lookBack")) {
      if (isLast) return await afterLookBack(step);
      return await goBeyond(step, crowd.key, after.end ?? crowd.offset + page.length);
    }
    const { settled } = phase;
    // Of people without a time alone nobody knows from when on they would no longer be listed.
    const isEndless = page.beyond === null && !after.isDated;
    // Who begins a page need not stand right behind the last one of the page before.
    const isUnsure = page.beyond === 0 && after.isDated;
    const next = isUnsure ? undefined : page.next;
    const metCrowd = { key: crowd.key, isLast: isLast || isEndless, next };
    return await step.goTo({ kind: "walk", settled, metCrowd });
  },
});

/** @param end where the first one after a crowd stands in the list, or would */
async function goBeyond(step: Step<"lookBack">, key: number, end: number): Promise<StepResult> {
  // From the last of them on: that nobody is left out in between.
  const offset = Math.max(0, end - 1);
  const { phase } = step.run.state;
  return await step.goTo({ ...phase, crowd: undefined, settled: before(key + 1), offset });
}
