/**
 * The steps of a run that settle its suspects: absence from a listing is a suspicion, only Clerk's
 * answer about the very id is evidence, and only a 404 right before it allows a deletion.
 */
import { v } from "convex/values";
import { internalMutation, internalQuery, type QueryCtx } from "../_generated/server";
import { clock } from "./clock";
import { applyEvidence, rehearse, removeUser } from "./mirror";
import { orphansOf, SETTLING_MS, whyHold } from "./plan";
import { isClerkId } from "./profile";
import { requestRepair } from "./pendingRepairs";
import { readSyncState } from "./syncState";
import { MAX_ENTRIES, Step, type StepResult } from "./step";
import { dropSuspect, markSuspect, suspectIds, suspectOf } from "./suspects";
import { idOf } from "./sweep";
import { vCheckpoint, vReading, type Phase, type Reading } from "./validators";

/** Ids of up to `count` suspects of a run. */
export const suspects = internalQuery({
  args: {
    runId: v.id("reconcileRuns"),
    state: v.union(v.literal("open"), v.literal("orphaned")),
    count: v.number(),
  },
  handler: async (ctx: QueryCtx, { runId, state, count }): Promise<string[]> =>
    await suspectIds(ctx, runId, state, count),
});

/**
 * Settles suspects by Clerk's answer.
 * @param asked ids of the suspects; those that are no Clerk ids were not sent
 * @param found the users among them whom Clerk knows
 * @param askedAt ms, taken before Clerk was asked
 * @param setAside why they can't be settled: nothing is changed about them
 */
export const judge = internalMutation({
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
      else await setAsideOne(step, clerkId, answer === null ? "orphaned" : "stale", setAside);
      if (await step.isNearBudget()) break;
    }
    return await decide(step);
  },
});

async function setAsideOne(
  step: Step<"evidence" | "delete">,
  clerkId: string,
  kind: "orphaned" | "stale",
  reason: string,
): Promise<void> {
  await dropSuspect(step.ctx, step.run._id, clerkId);
  await step.setAside({ clerkId, kind, fields: [], reason });
}

async function judgeOne(
  step: Step<"evidence" | "delete">,
  clerkId: string,
  answer: Reading | null,
  askedAt: number,
): Promise<void> {
  const { ctx, run, counts } = step;
  const cannot = isClerkId(clerkId)
    ? answer?.kind === "unreadable" && answer.reason
    : "its clerkId is not a Clerk user id, so Clerk can't be asked about it";
  if (cannot) {
    await setAsideOne(step, clerkId, answer === null ? "orphaned" : "stale", cannot);
    return;
  }
  if (answer === null && run.mode === "recent") {
    await dropSuspect(ctx, run._id, clerkId);
    return;
  }
  const user = answer?.kind === "profile" ? answer : null;
  const outcome = await applyEvidence(ctx, clerkId, user, { askedAt, dryRun: run.dryRun });
  if (outcome.kind === "orphaned") {
    counts.drift.orphaned += 1;
    if (outcome.known.version === null) counts.unversioned += 1;
    await markSuspect(ctx, run._id, clerkId, "orphaned");
    return;
  }
  await dropSuspect(ctx, run._id, clerkId);
  await step.repaired(clerkId, outcome, user);
  if (outcome.kind === "unclear") {
    await postpone(step, clerkId, user === null ? "orphaned" : "stale", outcome.reason);
  }
  if (user !== null) await step.leftOut(user);
  if (user !== null && outcome.known.isDuplicated) await step.duplicated(clerkId);
}

/** Leaves an id to a repair of its own, once the event that touched it has settled. */
async function postpone(
  step: Step<"evidence" | "delete">,
  clerkId: string,
  kind: "orphaned" | "stale",
  reason: string | undefined,
): Promise<void> {
  step.counts.postponed += 1;
  if (kind === "orphaned") step.counts.postponedOrphans += 1;
  await step.found({ clerkId, kind, fields: [], action: "postponed", reason });
  if (!step.run.dryRun) await requestRepair(step.ctx, clerkId, SETTLING_MS, step.run._id);
}

/** What follows once nothing is left to list: more evidence, a hold, deletions, or the end. */
export async function decide(step: Step<"lookBack" | "undated" | "evidence">): Promise<StepResult> {
  const { ctx, run, counts } = step;
  const [open] = await suspectIds(ctx, run._id, "open", 1);
  if (open !== undefined) return await step.goTo({ kind: "evidence" });

  const { drift, confirmed, unversioned } = counts;
  const orphaned = orphansOf(counts);
  const { isMoved = false } = await readSyncState(ctx);
  const mirrored = confirmed + orphaned;
  const { maxDeletions } = run;
  const reason = whyHold({ orphaned, mirrored, confirmed, unversioned, isMoved, maxDeletions });
  if (reason === null) {
    return drift.orphaned > 0
      ? await step.goTo({ kind: "delete" })
      : await step.end({ kind: "completed" });
  }
  if (drift.orphaned > unversioned) noteMissed(step);
  for (const clerkId of await suspectIds(ctx, run._id, "orphaned", MAX_ENTRIES)) {
    await step.found({ clerkId, kind: "orphaned", fields: [], action: "held" });
  }
  return await step.end({ kind: "held", reason });
}

/**
 * Removes orphans whom Clerk has just confirmed to be gone, unless something touched them since.
 * @param gone ids that Clerk answered with 404 `resource_not_found`
 * @param alive users whom Clerk knows after all: repaired, not deleted
 * @param askedAt ms, taken before Clerk was asked
 * @param setAside why they can't be removed: nothing is changed about them
 */
export const remove = internalMutation({
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
      else await setAsideOne(step, idOf(user), "stale", setAside);
    }
    for (const clerkId of gone) {
      if (setAside === undefined) await removeOne(step, clerkId, askedAt);
      else await setAsideOne(step, clerkId, "orphaned", setAside);
    }
    const [next] = await suspectIds(ctx, step.run._id, "orphaned", 1);
    return next === undefined
      ? await step.end({ kind: "completed" })
      : await step.goTo({ kind: "delete" });
  },
});

/** Clerk tells no time of a deletion: it was missed at the latest by the time it was found. */
function noteMissed({ counts }: Step<Phase["kind"]>): void {
  counts.missed.deleted = clock.now();
}

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
    if (outcome.known.version?.kind === "live") noteMissed(step);
    const action = dryRun ? "none" : "deleted";
    await step.found({ clerkId, kind: "orphaned", fields: [], action });
  }
}
