/**
 * How doubts are settled, those of a run and those of events and people: absence from a listing is a
 * doubt, only Clerk's answer about the very id is evidence.
 */
import type { MutationCtx } from "../_generated/server.js";
import { clock } from "./clock.js";
import { doubtOf, nextDoubts, put, settle, type Doubt } from "./doubts.js";
import { MAX_ENTRIES } from "./driftEntries.js";
import type { Findings } from "./findings.js";
import { isLone, LONE, rowsLeft, whyKept, whyNotPurged, type Kept, type Remover } from "./gate.js";
import { applyEvidence, removeByEvidence, type Outcome } from "./mirror.js";
import { mostRemovals, SETTLING_MS, whyHold, type Known } from "./plan.js";
import { ownerOf, type Run } from "./runs.js";
import { noteVersion, readKnown, readVersion, type KnownRows } from "./rows.js";
import type { Step, StepResult } from "./step.js";
import type { Counts, Phase } from "./runValidators.js";
import type { Reading } from "./validators.js";
import { readSyncState, stateFor } from "./syncState.js";
import { FAR_MS, leaveDoubt, PACE_MS } from "./worker.js";

/** So often is it looked whether a lockout has ended, each time when Clerk says that it will have. */
const MAX_ROUNDS = 5;

/** Who judges: a step of a run, or a person's repair; what is found is counted and listed there. */
export type Judge = { ctx: MutationCtx; run: Run; findings: Findings; counts: Counts };

/** Sets an id aside: nothing is changed about it. @param answer what Clerk said of it */
export async function setAsideOne(
  judge: Judge,
  clerkId: string,
  answer: Reading | null,
  reason: string,
): Promise<void> {
  await drop(judge, clerkId);
  if (answer !== null) await judge.findings.notMirrored(clerkId, reason);
  else {
    const { row, marked } = await readKnown(judge.ctx, clerkId);
    const kind = row === null && marked !== null ? "marked" : "orphaned";
    await judge.findings.setAside({ clerkId, kind, fields: [], reason });
    if (kind === "orphaned") await goOnHolding(judge, clerkId);
  }
}

/**
 * Settles one id by Clerk's answer about it: repairs the row, calls it an orphan, or leaves it to later.
 * @param answer null when Clerk does not know the id
 * @param askedAt ms, taken before Clerk was asked
 * @returns what became of it; null where it is set aside
 */
export async function judgeOne(
  judge: Judge,
  clerkId: string,
  answer: Reading | null,
  askedAt: number,
): Promise<Outcome | null> {
  const { ctx, run, findings, counts } = judge;
  if (answer?.kind === "unreadable") {
    await setAsideOne(judge, clerkId, answer, answer.reason);
    return null;
  }
  const outcome = await applyEvidence(ctx, clerkId, answer, { askedAt, dryRun: run.dryRun });
  const { kind, reason = "", known } = outcome;
  const isAbsent = answer === null && known.row !== null;
  // A recent run never judges absence.
  if (isAbsent && run.mode === "recent") await drop(judge, clerkId);
  else if (kind === "orphaned") await suspect(judge, clerkId, outcome, askedAt);
  else if (kind === "gone" && run.mode === "full" && (await isToGo(judge, known, askedAt))) {
    const doubt = await doubtOf(ctx, run._id, clerkId);
    if (doubt) await put(ctx, doubt, { state: "marked" });
  } else if (kind === "unclear") {
    const ours = known.row === null ? "missing" : "stale";
    await keep(judge, clerkId, isAbsent ? "orphaned" : ours, { kind, reason });
  } else if (kind === "refused") {
    await drop(judge, clerkId);
    await findings.notMirrored(clerkId, reason);
  } else {
    const { rounds = 0 } = (await drop(judge, clerkId)) ?? {};
    const isWritten = kind === "created" || kind === "updated";
    // A lockout may last longer than was said; but not for ever.
    const isLeft = isWritten || (run.mode === "doubts" && rounds < MAX_ROUNDS);
    if (answer?.endsInMs !== undefined && isLeft && !run.dryRun) {
      await leaveDoubt(ctx, clerkId, answer.endsInMs, rounds + 1);
    }
    if (known.row !== null && known.row._creationTime < run._creationTime) counts.confirmed += 1;
  }
  await findings.repaired(clerkId, outcome, answer);
  if (answer !== null) await findings.leftOut(answer, outcome.leftOut);
  if (answer !== null && known.isDuplicated) await findings.duplicated(clerkId);
  return outcome;
}

async function isToGo(
  { ctx, run, counts }: Judge,
  known: KnownRows,
  askedAt: number,
): Promise<boolean> {
  const how = { askedAt, left: rowsLeft(run, counts) };
  return (await whyNotPurged(ctx, known, how)) === null;
}

/**
 * A full run does not judge an id that Clerk does not know, or does not answer about: what held it until now, a
 * move to another instance or a run before, holds it alone from now on, though the run may complete.
 */
async function goOnHolding({ ctx, run }: Judge, clerkId: string): Promise<void> {
  if (run.mode !== "full" || run.dryRun) return;
  const state = await readSyncState(ctx);
  const known = await readKnown(ctx, clerkId);
  if (state.isMoved !== true && !isLone(known, state)) return;
  await noteVersion(ctx, known.version, { clerkId, heldAt: clock.now(), isHeldByLimit: false });
}

/** Takes an id for an orphan; where the worker could not remove it anyway, it is held at once. */
async function suspect(judge: Judge, clerkId: string, { known }: Outcome, askedAt: number) {
  const { ctx, run, counts } = judge;
  const how = { askedAt, remover: { by: "doubts" as const } };
  const kept = run.mode === "doubts" && (await whyKept(ctx, known, how));
  if (kept) {
    await keep(judge, clerkId, "orphaned", kept);
    return;
  }
  const isAlone =
    run.maxDeletions === undefined && isLone(known, await stateFor(ctx, run), !run.isScheduled);
  counts.drift.orphaned += 1;
  if (isAlone) counts.lone += 1;
  const doubt = await doubtOf(ctx, ownerOf(run), clerkId);
  if (doubt) await put(ctx, doubt, { state: isAlone ? "lone" : "orphaned" });
}

/**
 * Removes somebody of whom Clerk has just said that the id is not there, if the gate lets it.
 * @param askedAt ms, taken before Clerk was asked about this very id
 */
export async function removeOne(
  judge: Judge,
  clerkId: string,
  askedAt: number,
  remover: Remover,
): Promise<void> {
  const { ctx, run, counts } = judge;
  const { dryRun } = run;
  const removal = await removeByEvidence(ctx, clerkId, { askedAt, remover, dryRun });
  const { kind } = removal;
  if (kind === "unclear" || kind === "held") {
    if (kind === "unclear") counts.drift.orphaned -= 1;
    await keep(judge, clerkId, "orphaned", removal);
    return;
  }
  await drop(judge, clerkId);
  if (removal.kind === "removed") await listRemoval(judge, clerkId, removal);
}

/** Counts and lists a removal. */
export async function listRemoval(
  { run, findings, counts }: Judge,
  clerkId: string,
  { known: { version }, refusal }: { known: Known; refusal: string | null },
): Promise<void> {
  if (!run.dryRun) counts.repaired.deleted += 1;
  // What has a tombstone, an event had told of.
  if (version?.kind === "live") noteMissedDeletion({ run, counts });
  const action = run.dryRun ? "none" : "deleted";
  await findings.add({ clerkId, kind: "orphaned", fields: [], action });
  if (refusal !== null) {
    await findings.setAside({ clerkId, kind: "orphaned", fields: [], reason: refusal });
  }
}

/**
 * Leaves an id as it is. Where it is too early to judge, it is asked about again in five minutes;
 * whom only a hold keeps the next full run finds.
 */
async function keep(
  judge: Judge,
  clerkId: string,
  kind: "orphaned" | "missing" | "stale",
  { kind: because, reason }: Kept,
): Promise<void> {
  const { ctx, run, findings, counts } = judge;
  const doubt = await doubtOf(ctx, ownerOf(run), clerkId);
  if (run.mode === "doubts" && because === "unclear") {
    // It waits where it is.
    if (doubt) await put(ctx, doubt, { state: "open", dueAt: clock.now() + SETTLING_MS });
    return;
  }
  if (doubt) await settle(ctx, doubt);
  const action = because === "held" ? "held" : "postponed";
  // The worker may hold an id several times a day.
  if (await findings.isListed(clerkId, action)) return;
  counts[action] += 1;
  if (action === "postponed" && kind === "orphaned") {
    counts.postponedOrphans += 1;
    await goOnHolding(judge, clerkId);
  }
  await findings.add({ clerkId, kind, fields: [], action, reason });
  if (because === "unclear" && !run.dryRun) await leaveDoubt(ctx, clerkId, SETTLING_MS);
}

/** Ends the doubt about an id. @returns what it was, or null */
export async function drop({ ctx, run }: Judge, clerkId: string): Promise<Doubt | null> {
  const doubt = await doubtOf(ctx, ownerOf(run), clerkId);
  if (doubt !== null) await settle(ctx, doubt);
  return doubt;
}

/** A full run has Clerk count; a recent one has listed all that it looks for. */
export async function endLookBack(step: Step<"lookBack">): Promise<StepResult> {
  if (step.run.mode === "recent") return await decide(step);
  return await step.goTo({ kind: "count", isAgain: step.run.state.phase.isAgain });
}

/** What follows once nothing is left to list, and after each batch of evidence. */
export async function decide(
  step: Step<"lookBack" | "count" | "undated" | "evidence">,
): Promise<StepResult> {
  const { ctx, run } = step;
  if (run.mode === "doubts") return await decideDoubts(step);
  const [open] = await nextDoubts(ctx, run._id, "open", 1);
  if (open !== undefined) return await step.goTo({ kind: "evidence" });
  return run.mode === "recent" ? await step.end({ kind: "completed" }) : await decideFull(step);
}

/**
 * A full run is held with all of its orphans listed, by `whyHold`; else some are held alone
 * (`isLone`), and the others are deleted; without any, it is completed.
 */
async function decideFull(
  step: Step<"lookBack" | "count" | "undated" | "evidence">,
): Promise<StepResult> {
  const { run, counts } = step;
  const { drift, lone, confirmed, postponedOrphans } = counts;
  if (drift.orphaned === 0) return await endFull(step);
  const { isMoved = false, completedFullRun } = await step.state();
  const metNobody = completedFullRun?.met === 0 || (await isOfEventsAlone(step));
  const orphaned = drift.orphaned + postponedOrphans;
  const reason = whyHold({
    orphaned,
    mirrored: confirmed + orphaned,
    confirmed,
    isMoved,
    metNobody,
    maxDeletions: run.maxDeletions,
  });
  if (reason !== null) {
    if (drift.orphaned > lone) noteMissedDeletion(step);
    await hold(step, "lone", lone, LONE);
    await hold(step, "orphaned", drift.orphaned - lone, reason);
    return await step.end({ kind: "held", reason });
  }
  await hold(step, "lone", lone, LONE);
  const allowed = drift.orphaned - lone;
  return allowed > 0 ? await step.goTo({ kind: "delete", allowed }) : await endFull(step);
}

/**
 * Whether a first full run's few orphans were all made by events of the very instance that it asks: then they
 * are users who were deleted again, or made up, and no sign of another instance.
 */
async function isOfEventsAlone(
  step: Step<"lookBack" | "count" | "undated" | "evidence">,
): Promise<boolean> {
  const { ctx, run, counts } = step;
  const { hasRunFull = false, instanceId } = await step.state();
  if (hasRunFull || counts.lone > 0 || counts.drift.orphaned > mostRemovals(0)) return false;
  const orphans = await nextDoubts(ctx, run._id, "orphaned", counts.drift.orphaned);
  for (const { clerkId } of orphans) {
    const version = await readVersion(ctx, clerkId);
    const isByEvent = version?.kind === "live" && version.appliedBy === "event";
    if (!isByEvent || version.instanceId !== instanceId) return false;
  }
  return true;
}

/** Ends a full run that has deleted whom it may: one that holds nobody once it has purged what is due. */
export async function endFull(step: Step<Phase["kind"]>): Promise<StepResult> {
  const { ctx, run } = step;
  const { held } = step.counts;
  if (held > 0) {
    const who = held === 1 ? "1 user" : `${held} users`;
    return await step.end({ kind: "held", reason: `${who} to delete: ${LONE}` });
  }
  const [marked] = await nextDoubts(ctx, run._id, "marked", 1);
  return marked === undefined
    ? await step.end({ kind: "completed" })
    : await step.goTo({ kind: "delete", allowed: 0 });
}

async function hold(
  step: Step<Phase["kind"]>,
  state: "orphaned" | "lone",
  count: number,
  reason: string,
) {
  const { ctx, run, counts, findings } = step;
  const left = Math.max(0, MAX_ENTRIES - counts.held);
  counts.held += count;
  for (const { clerkId } of await nextDoubts(ctx, run._id, state, left)) {
    await findings.add({ clerkId, kind: "orphaned", fields: [], action: "held", reason });
    if (run.dryRun) continue;
    const version = await readVersion(ctx, clerkId);
    // Held by a rule before, it stays so, whatever limit a person sets.
    const isByLimit =
      run.maxDeletions !== undefined && (version?.heldAt === undefined || version.isHeldByLimit);
    const held = { heldAt: clock.now(), isHeldByLimit: isByLimit };
    await noteVersion(ctx, version, { clerkId, ...held });
  }
}

/** The worker deletes the orphans of a batch, all or none, then goes on with what is due next. */
export async function decideDoubts(step: Step<Phase["kind"]>): Promise<StepResult> {
  const { ctx } = step;
  const orphans = await nextDoubts(ctx, undefined, "orphaned", MAX_ENTRIES);
  const { removalsLeft = 0 } = (await step.state()).completedFullRun ?? {};
  if (orphans.length > removalsLeft) {
    const reason = `${orphans.length} users at once, and ${removalsLeft} more may be removed before the next full run completes`;
    for (const { clerkId } of orphans) {
      await keep(step, clerkId, "orphaned", { kind: "held", reason });
    }
  } else if (orphans.length > 0) return await step.goTo({ kind: "delete", allowed: 0 });
  const [next] = await nextDoubts(ctx, undefined, "open", 1, Infinity);
  const isFar = next !== undefined && next.dueAt - clock.now() > FAR_MS;
  if (next === undefined || isFar) return await step.end({ kind: "completed" });
  const notBefore = Math.max(clock.now() + PACE_MS, next.dueAt);
  return await step.goTo({ kind: "evidence" }, { notBefore, waitsFor: "what is due next" });
}

/** Clerk tells no time of a deletion: it was missed at the latest by the time it was found. */
function noteMissedDeletion({ run, counts }: Pick<Judge, "run" | "counts">): void {
  if (run.mode !== "doubts") counts.missed.deleted = clock.now();
}
