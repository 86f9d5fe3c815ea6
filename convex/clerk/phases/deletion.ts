/** The phase "delete": only a 404 for the very id, right before, and the gate allow to remove a user. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { askAtOnce, checkpoint, doubtsOf, unlessSlowed, type Call, type Taken } from "../call.js";
import { clock, SECOND } from "../clock.js";
import { doubtOf, nextDoubts } from "../doubts.js";
import type { Remover } from "../gate.js";
import { decideDoubts, endFull, judgeOne, removeOne, setAsideOne } from "../judgement.js";
import { purgeOne } from "../purge.js";
import { ownerOf, type RunIn } from "../runs.js";
import { Step, type StepResult } from "../step.js";
import { idOf } from "../pages.js";
import { vCheckpoint } from "../runValidators.js";
import { vReading, type Reading } from "../validators.js";

/** Deletions in one step: each is asked for on its own first, for at most so long. */
const MAX_REMOVALS = 25;
const MAX_REMOVALS_MS = 20 * SECOND;

/** Asks for each of up to 25 orphans by itself; not for one that is to be set aside. */
export async function ask(call: Call, run: RunIn<"delete">): Taken {
  const { ctx, clerk, batch } = call;
  const askedAt = clock.now();
  const orphans = await doubtsOf(call, run, "orphaned", MAX_REMOVALS);
  const ids = orphans.length > 0 ? orphans : await doubtsOf(call, run, "marked", MAX_REMOVALS);
  const setAside = batch.take(ids);
  const gone: string[] = [];
  const alive: Reading[] = [];
  const ask = async (clerkId: string) =>
    setAside === undefined ? await clerk.getUser(clerkId) : null;
  for (let from = 0; from < ids.length && clock.now() - askedAt <= MAX_REMOVALS_MS;) {
    const some = ids.slice(from, from + clerk.requests.atOnce);
    const answers = await askAtOnce(
      some.map(async (clerkId, index) => {
        const isFirst = from + index === 0;
        const user = isFirst
          ? await ask(clerkId)
          : await unlessSlowed(async () => await ask(clerkId), undefined);
        return { clerkId, user };
      }),
    );
    for (const { clerkId, user } of answers) {
      if (user === null) gone.push(clerkId);
      else if (user !== undefined) alive.push(user);
    }
    if (answers.some(({ user }) => user === undefined)) break;
    from += some.length;
  }
  const args = { at: checkpoint(call, run), gone, alive, askedAt, setAside };
  return await ctx.runMutation(internal.clerk.phases.deletion.settle, args);
}

/**
 * Removes orphans whom Clerk has just confirmed to be gone, unless something touched them since.
 * @param gone ids that Clerk answered with 404 `resource_not_found`, or one that is set aside
 * @param alive users whom Clerk knows after all: repaired, not deleted
 * @param askedAt ms, taken before Clerk was asked
 * @param setAside why it can't be removed: nothing is changed about it
 */
export const settle = internalMutation({
  args: {
    at: vCheckpoint,
    gone: v.array(v.string()),
    alive: v.array(vReading),
    askedAt: v.number(),
    setAside: v.optional(v.string()),
  },
  handler: async (ctx, { at, gone, alive, askedAt, setAside }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("delete")) return null;
    const { run, counts } = step;
    for (const user of alive) {
      const doubt = await doubtOf(ctx, ownerOf(run), idOf(user));
      if (doubt?.state !== "marked") counts.drift.orphaned -= 1;
      await judgeOne(step, idOf(user), user, askedAt);
    }
    for (const clerkId of gone) {
      const doubt = await doubtOf(ctx, ownerOf(run), clerkId);
      if (doubt?.state !== "orphaned" && doubt?.state !== "marked") continue;
      if (setAside !== undefined) await setAsideOne(step, clerkId, null, setAside);
      else if (doubt.state === "marked") await purgeOne(step, clerkId, askedAt);
      else await removeOne(step, clerkId, askedAt, removerOf(step));
    }
    const [next] = await nextDoubts(ctx, ownerOf(run), "orphaned", 1);
    if (next !== undefined) return await step.goTo(run.state.phase);
    return run.mode === "doubts" ? await decideDoubts(step) : await endFull(step);
  },
});

function removerOf({ run, counts }: Step<"delete">): Remover {
  if (run.mode === "doubts") return { by: "doubts" };
  const left = run.state.phase.allowed - counts.repaired.deleted;
  const isTold = run.maxDeletions !== undefined;
  const { instanceId, isScheduled } = run;
  return { by: "run", left, isTold, isByHand: !isScheduled, instanceId };
}
