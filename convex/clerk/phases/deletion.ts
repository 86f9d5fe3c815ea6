/** The phase "delete": only a 404 for the very id, right before, allows to remove a user. */
import { v } from "convex/values";
import { internal } from "../../_generated/api";
import { internalMutation } from "../../_generated/server";
import { checkpoint, suspectsOf, type Call, type Taken } from "../call";
import { clock, SECOND } from "../clock";
import { judgeOne, noteMissedDeletion, postpone, setAsideOne } from "../judgement";
import { applyEvidence, rehearse, removeUser } from "../mirror";
import type { RunIn } from "../runs";
import { Step, type StepResult } from "../step";
import { dropSuspect, suspectIds, suspectOf } from "../suspects";
import { idOf } from "../sweep";
import { vCheckpoint, vReading, type Reading } from "../validators";

/** Deletions in one step: each is asked for on its own first, for at most so long. */
const MAX_REMOVALS = 25;
const MAX_REMOVALS_MS = 20 * SECOND;

/** Asks for each of up to 25 orphans by itself. */
export async function ask(call: Call, run: RunIn<"delete">): Taken {
  const { ctx, clerk, batch } = call;
  const askedAt = clock.now();
  const gone: string[] = [];
  const alive: Reading[] = [];
  for (const clerkId of await suspectsOf(call, run, "orphaned", MAX_REMOVALS)) {
    const user = await clerk.getUser(clerkId);
    if (user === null) gone.push(clerkId);
    else alive.push(user);
    if (clock.now() - askedAt > MAX_REMOVALS_MS) break;
  }
  const setAside = batch.take([...gone, ...alive.map(idOf)]);
  const args = { at: checkpoint(call, run), gone, alive, askedAt, setAside };
  return await ctx.runMutation(internal.clerk.phases.deletion.settle, args);
}

/**
 * Removes orphans whom Clerk has just confirmed to be gone, unless something touched them since.
 * @param gone ids that Clerk answered with 404 `resource_not_found`
 * @param alive users whom Clerk knows after all: repaired, not deleted
 * @param askedAt ms, taken before Clerk was asked
 * @param setAside why they can't be removed: nothing is changed about them
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
    for (const user of alive) {
      step.counts.drift.orphaned -= 1;
      if (setAside === undefined) await judgeOne(step, idOf(user), user, askedAt);
      else await setAsideOne(step, idOf(user), user, setAside);
    }
    for (const clerkId of gone) {
      if (setAside === undefined) await removeOne(step, clerkId, askedAt);
      else await setAsideOne(step, clerkId, null, setAside);
    }
    const [next] = await suspectIds(ctx, step.run._id, "orphaned", 1);
    return next === undefined
      ? await step.end({ kind: "completed" })
      : await step.goTo({ kind: "delete" });
  },
});

async function removeOne(step: Step<"delete">, clerkId: string, askedAt: number): Promise<void> {
  const { ctx, run, counts } = step;
  if ((await suspectOf(ctx, run._id, clerkId))?.state !== "orphaned") return;
  await dropSuspect(ctx, run._id, clerkId);
  // An event may have come since the run took this id for an orphan.
  const { dryRun } = run;
  const outcome = await applyEvidence(ctx, clerkId, null, { askedAt, dryRun });
  if (outcome.kind === "unclear") {
    counts.drift.orphaned -= 1;
    await postpone(step, clerkId, "orphaned", outcome.reason);
  } else if (outcome.kind === "orphaned") {
    if (dryRun) await rehearse(ctx, { kind: "removed", clerkId });
    else await removeUser(ctx, clerkId, "run");
    if (!dryRun) counts.repaired.deleted += 1;
    // What has a tombstone, an event had told of.
    if (outcome.known.version?.kind === "live") noteMissedDeletion(step);
    const action = dryRun ? "none" : "deleted";
    await step.findings.add({ clerkId, kind: "orphaned", fields: [], action });
  }
}
