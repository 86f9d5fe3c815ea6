/** The phase "delete": only a 404 for the very id, right before, and the gate allow to remove a user. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { doubtOf, nextDoubts, type RunIn, vCheckpoint } from "../memory/memory.js";
import type { Remover } from "../mirror/mirror.js";
import { clock, SECOND } from "../shared/clock.js";
import { type Reading, vReading } from "../shared/user.js";
import { type Call, checkpoint, doubtsOf, type Taken, unlessSlowed } from "./call.js";
import { judgeOne, purgeOne, removeOne, setAsideOne } from "./judge.js";
import { decideDoubts, endFull } from "./next.js";
import { Step, type StepResult } from "./step.js";

/** Deletions in one step: each is asked for on its own first, for at most so long. */
const MAX_REMOVALS = 25;
const MAX_REMOVALS_MS = 20 * SECOND;

/** Asks for up to 25 orphans, else rows to purge, each by its id; not for one to be set aside. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"delete">): Taken {
  const { ctx, clerk, batch } = call;
  const askedAt = clock.now();
  const orphans = await doubtsOf(call, run, "orphaned", MAX_REMOVALS);
  const asked = orphans.length > 0 ? orphans : await doubtsOf(call, run, "marked", MAX_REMOVALS);
  const ids = asked.map(({ clerkId }) => clerkId);
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
  return await ctx.runMutation(internal.clerk.run.delete.settle, args);
}

/**
 * Removes or purges `gone`, whom Clerk has just answered with 404 `resource_not_found`, unless something touched them
 * since (`askedAt`: ms, before Clerk was asked), and repairs `alive`, whom it knows after all. `setAside`: why the one
 * id in `gone` can't be removed: it was not asked about, and nothing is changed about it.
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
      const doubt = await doubtOf(ctx, run, user.clerkId);
      if (doubt?.state !== "marked") counts.drift.orphaned -= 1;
      // Raised again since, it is to be asked about again, and counted then.
      if (doubt?.state === "open" || doubt?.state === "absent") continue;
      await judgeOne(step, user.clerkId, user, askedAt);
    }
    for (const clerkId of gone) {
      const doubt = await doubtOf(ctx, run, clerkId);
      // As above.
      if (doubt?.state === "open" || doubt?.state === "absent") counts.drift.orphaned -= 1;
      if (doubt?.state !== "orphaned" && doubt?.state !== "marked") continue;
      if (setAside !== undefined) await setAsideOne(step, clerkId, null, setAside);
      else if (doubt.state === "marked") await purgeOne(step, clerkId, askedAt);
      else await removeOne(step, clerkId, askedAt, removerOf(step));
    }
    const [next] = await nextDoubts(ctx, run, "orphaned", 1);
    if (next !== undefined) return await step.goTo(run.state.phase);
    return run.mode === "doubts" ? await decideDoubts(step) : await endFull(step);
  },
});

/** Answers to questions that are asked at once. @throws what the first one throws, once all are answered */
async function askAtOnce<Answer>(questions: Promise<Answer>[]): Promise<Answer[]> {
  await Promise.allSettled(questions);
  return await Promise.all(questions);
}

function removerOf({ run, counts }: Step<"delete">): Remover {
  if (run.mode === "doubts") return { by: "doubts" };
  const left = run.state.phase.allowed - counts.repaired.deleted;
  const isTold = run.maxDeletions !== undefined;
  const { instanceId, isScheduled } = run;
  return { by: "run", left, isTold, isByHand: !isScheduled, instanceId };
}
