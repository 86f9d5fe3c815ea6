/**
 * How a run settles its suspects: absence from a listing is a suspicion, only Clerk's answer about the
 * very id is evidence.
 */
import { clock } from "./clock";
import { MAX_ENTRIES } from "./findings";
import { applyEvidence } from "./mirror";
import { orphansOf, SETTLING_MS, whyHold } from "./plan";
import { isClerkId } from "./profile";
import { requestRepair } from "./pendingRepairs";
import type { Step, StepResult } from "./step";
import { dropSuspect, markSuspect, suspectIds } from "./suspects";
import { readSyncState } from "./syncState";
import type { Phase, Reading } from "./validators";

/** Clears an id of suspicion, and sets it aside instead. @param answer what Clerk said of it */
export async function setAsideOne(
  step: Step<"evidence" | "delete">,
  clerkId: string,
  answer: Reading | null,
  reason: string,
): Promise<void> {
  await dropSuspect(step.ctx, step.run._id, clerkId);
  if (answer !== null) await step.findings.notMirrored(clerkId, reason);
  else await step.findings.setAside({ clerkId, kind: "orphaned", fields: [], reason });
}

/**
 * Settles one id by Clerk's answer about it: repairs the row, calls it an orphan, or leaves it to later.
 * @param answer null when Clerk does not know the id
 * @param askedAt ms, taken before Clerk was asked
 */
export async function judgeOne(
  step: Step<"evidence" | "delete">,
  clerkId: string,
  answer: Reading | null,
  askedAt: number,
): Promise<void> {
  const { ctx, run, counts } = step;
  if (!isClerkId(clerkId)) {
    const reason = "its clerkId is not a Clerk user id, so Clerk can't be asked about it";
    await setAsideOne(step, clerkId, null, reason);
    return;
  }
  if (answer?.kind === "unreadable") {
    await setAsideOne(step, clerkId, answer, answer.reason);
    return;
  }
  if (answer === null && run.mode === "recent") {
    await dropSuspect(ctx, run._id, clerkId);
    return;
  }
  const outcome = await applyEvidence(ctx, clerkId, answer, { askedAt, dryRun: run.dryRun });
  if (outcome.kind === "orphaned") {
    counts.drift.orphaned += 1;
    if (outcome.known.version === null) counts.unversioned += 1;
    await markSuspect(ctx, run._id, clerkId, "orphaned");
    return;
  }
  await dropSuspect(ctx, run._id, clerkId);
  await step.findings.repaired(clerkId, outcome, answer);
  if (outcome.kind === "unclear") {
    const ours = outcome.known.row === null ? "missing" : "stale";
    await postpone(step, clerkId, answer === null ? "orphaned" : ours, outcome.reason);
  }
  if (answer !== null) await step.findings.leftOut(answer);
  if (answer !== null && outcome.known.isDuplicated) await step.findings.duplicated(clerkId);
}

/** Leaves an id to a repair of its own, once the event that touched it has settled. */
export async function postpone(
  step: Step<"evidence" | "delete">,
  clerkId: string,
  kind: "orphaned" | "missing" | "stale",
  reason: string | undefined,
): Promise<void> {
  step.counts.postponed += 1;
  if (kind === "orphaned") step.counts.postponedOrphans += 1;
  await step.findings.add({ clerkId, kind, fields: [], action: "postponed", reason });
  if (!step.run.dryRun) await requestRepair(step.ctx, clerkId, SETTLING_MS, step.run._id);
}

/**
 * What follows once nothing is left to list: evidence while a suspect is open; else, by `whyHold`, the
 * run is held with its orphans listed; else they are deleted; without any, it is completed.
 */
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
  if (drift.orphaned > unversioned) noteMissedDeletion(step);
  for (const clerkId of await suspectIds(ctx, run._id, "orphaned", MAX_ENTRIES)) {
    await step.findings.add({ clerkId, kind: "orphaned", fields: [], action: "held" });
  }
  return await step.end({ kind: "held", reason });
}

/** Clerk tells no time of a deletion: it was missed at the latest by the time it was found. */
export function noteMissedDeletion({ counts }: Step<Phase["kind"]>): void {
  counts.missed.deleted = clock.now();
}
