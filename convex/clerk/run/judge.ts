/** What becomes of a doubt: absence from a listing is a doubt, only Clerk's answer about the very id is evidence. */
import {
  changeDoubt,
  endDoubt,
  leaveDoubt,
  noteVersion,
  readVersion,
  type Run,
} from "../memory/memory.js";
import {
  applyEvidence,
  isLone,
  isToldGone,
  type Kept,
  type Known,
  type KnownRows,
  mayPurge,
  type Outcome,
  purgeByEvidence,
  readKnown,
  removeByEvidence,
  type Remover,
  rowsLeft,
  LAG_MS,
  whyKept,
} from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import type { Reading } from "../shared/user.js";
import type { Findings } from "./findings.js";

/** How often it is looked whether a lockout has ended, each time when Clerk says that it will have. */
const MAX_ROUNDS = 5;

/** Sets an id aside: nothing is changed about it. @param answer what Clerk said of it */
export async function setAsideOne(
  findings: Findings,
  clerkId: string,
  answer: Reading | null,
  reason: string,
): Promise<void> {
  await endDoubt(findings.ctx, findings.run, clerkId);
  if (answer !== null) await findings.notMirrored(clerkId, reason);
  else {
    const { row, marked } = await readKnown(findings.ctx, clerkId);
    const kind = row === null && marked !== null ? "marked" : "orphaned";
    await findings.setAside({ clerkId, kind, fields: [], reason });
    if (kind === "orphaned") await goOnHolding(findings, clerkId);
  }
}

/**
 * Settles one id by Clerk's answer about it, null where unknown there: repairs the row, calls it an orphan, or leaves
 * it to later. `askedAt`: ms, taken before Clerk was asked. @returns what became of it; null where it is set aside
 */
export async function judgeOne(
  findings: Findings,
  clerkId: string,
  answer: Reading | null,
  askedAt: number,
): Promise<Outcome | null> {
  const { ctx, run, counts } = findings;
  if (answer?.kind === "unreadable") {
    await setAsideOne(findings, clerkId, answer, answer.reason);
    return null;
  }
  // Whoever a run finds missing, it counts itself.
  const isOfRun = run.mode !== "doubts";
  const untoldSince = isOfRun ? undefined : (await findings.state()).lastFullRunStartedAt;
  const how = { askedAt, dryRun: run.dryRun, untoldSince };
  const outcome = await applyEvidence(ctx, clerkId, answer, how);
  const { kind, reason = "", known } = outcome;
  const isAbsent = answer === null && known.row !== null;
  // A recent run never judges absence.
  if (isAbsent && run.mode === "recent") await endDoubt(ctx, run, clerkId);
  else if (kind === "orphaned") await suspect(findings, clerkId, outcome, askedAt);
  else if (kind === "gone" && run.mode === "full" && (await isToGo(findings, known, askedAt))) {
    await changeDoubt(ctx, run, clerkId, { state: "marked" });
  } else if (kind === "unclear") {
    const ours = known.row === null ? "missing" : "stale";
    await keep(findings, clerkId, isAbsent ? "orphaned" : ours, { kind, reason });
  } else if (kind === "refused") {
    await endDoubt(ctx, run, clerkId);
    await findings.notMirrored(clerkId, reason);
  } else {
    const { rounds = 0, unlistedAt } = (await endDoubt(ctx, run, clerkId)) ?? {};
    // Whom Clerk has at another place, the walk has met there.
    const isUnmet = unlistedAt !== undefined && unlistedAt === answer?.clerkCreatedAt;
    if (isUnmet && isFromBefore(known.row, run)) counts.confirmed += 1;
    const isWritten = kind === "created" || kind === "updated";
    // A lockout may last longer than was said; but not for ever.
    const isLeft = isWritten || (run.mode === "doubts" && rounds < MAX_ROUNDS);
    if (answer?.endsInMs !== undefined && isLeft && !run.dryRun) {
      await leaveDoubt(ctx, clerkId, answer.endsInMs, rounds + 1);
    }
  }
  await findings.repaired(clerkId, outcome, answer);
  if (answer !== null) await findings.leftOut(answer, outcome.leftOut);
  if (answer !== null && known.isDuplicated) await findings.duplicated(clerkId);
  return outcome;
}

/** Whether a row was there before a run. */
export function isFromBefore(row: Known["row"], run: Run): boolean {
  return row?._creationTime !== undefined && row._creationTime < run._creationTime;
}

async function isToGo(
  { ctx, run, counts }: Findings,
  known: KnownRows,
  askedAt: number,
): Promise<boolean> {
  return await mayPurge(ctx, known, { askedAt, left: rowsLeft(run, counts) });
}

/**
 * What held an id that a full run does not judge, as Clerk does not know it or does not answer, a move to another
 * instance or a run before, holds it alone from then on, though the run may complete.
 */
async function goOnHolding(findings: Findings, clerkId: string): Promise<void> {
  const { ctx, run } = findings;
  if (run.mode !== "full" || run.dryRun) return;
  const state = await findings.state();
  const known = await readKnown(ctx, clerkId);
  if (state.isMoved !== true && !isLone(known, state)) return;
  await noteVersion(ctx, known.version, { clerkId, heldAt: clock.now(), isHeldByLimit: false });
}

/** Takes an id for an orphan; where the worker could not remove it anyway, it is held at once. */
async function suspect(findings: Findings, clerkId: string, { known }: Outcome, askedAt: number) {
  const { ctx, run, counts } = findings;
  const how = { askedAt, remover: { by: "doubts" as const } };
  const kept = run.mode === "doubts" && (await whyKept(ctx, known, how));
  if (kept) {
    await keep(findings, clerkId, "orphaned", kept);
    return;
  }
  const state = await findings.state();
  const isAlone = run.maxDeletions === undefined && isLone(known, state, !run.isScheduled);
  counts.drift.orphaned += 1;
  if (isToldGone(known.version, state)) counts.told = (counts.told ?? 0) + 1;
  if (isAlone) counts.lone += 1;
  // Due at once, also by a clock that is behind.
  await changeDoubt(ctx, run, clerkId, { state: isAlone ? "lone" : "orphaned", dueAt: 0 });
}

/** Removes somebody whom Clerk has just said to be gone, if the gate lets it. `askedAt`: ms, before Clerk was asked. */
export async function removeOne(
  findings: Findings,
  clerkId: string,
  askedAt: number,
  remover: Remover,
): Promise<void> {
  const { ctx, run, counts } = findings;
  const { dryRun } = run;
  const removal = await removeByEvidence(ctx, clerkId, { askedAt, remover, dryRun });
  const { kind } = removal;
  if (kind === "refused") {
    await setAsideOne(findings, clerkId, null, removal.reason);
    return;
  }
  if (kind === "unclear" || kind === "held") {
    if (kind === "unclear") counts.drift.orphaned -= 1;
    await keep(findings, clerkId, "orphaned", removal);
    return;
  }
  await endDoubt(ctx, run, clerkId);
  // Somebody else has removed them meanwhile.
  if (removal.kind === "gone") counts.drift.orphaned -= 1;
  if (removal.kind === "removed") await listRemoval(findings, clerkId, removal);
}

/** Counts and lists a removal, and what the app's hook refused of it. */
export async function listRemoval(
  findings: Findings,
  clerkId: string,
  { known: { version }, refusal }: { known: Known; refusal: string | null },
): Promise<void> {
  const { dryRun } = findings.run;
  if (!dryRun) findings.counts.repaired.deleted += 1;
  await noteMissed(findings, version);
  const action = dryRun ? "none" : "deleted";
  await findings.add({ clerkId, kind: "orphaned", fields: [], action });
  if (refusal !== null) {
    await findings.setAside({ clerkId, kind: "orphaned", fields: [], reason: refusal });
  }
}

/** Leaves an id as it is. Too early to judge, it is asked about in five minutes; held, the next full run finds it. */
export async function keep(
  findings: Findings,
  clerkId: string,
  kind: "orphaned" | "missing" | "stale",
  { kind: because, reason }: Kept,
): Promise<void> {
  const { ctx, run, counts } = findings;
  if (run.mode === "doubts" && because === "unclear") {
    const dueAt = clock.now() + LAG_MS;
    await changeDoubt(ctx, run, clerkId, { state: "open", dueAt });
    return;
  }
  await endDoubt(ctx, run, clerkId);
  const action = because === "held" ? "held" : "postponed";
  // The worker may hold an id several times a day.
  if (await findings.isListed(clerkId, action)) return;
  counts[action] += 1;
  if (action === "postponed" && kind === "orphaned") {
    counts.postponedOrphans += 1;
    const version = await readVersion(ctx, clerkId);
    if (isToldGone(version, await findings.state())) counts.told = (counts.told ?? 0) + 1;
    await goOnHolding(findings, clerkId);
  }
  await findings.add({ clerkId, kind, fields: [], action, reason });
  if (because === "unclear" && !run.dryRun) await leaveDoubt(ctx, clerkId, LAG_MS);
}

/**
 * Clerk tells no time of a deletion: it was missed at the latest by the time it was found. Not where an event told of it
 * and the app refused that, nor where an earlier run held the orphan.
 */
export async function noteMissed(findings: Findings, version: Known["version"]): Promise<void> {
  const { isHeldAtLarge, isHeldAtLargeByLimit, completedFullRun } = await findings.state();
  const { heldAt = -Infinity, deletedEventAt = -Infinity, appliedAt = -Infinity } = version ?? {};
  const isHeld = heldAt >= (completedFullRun?.startedAt ?? 0) || isHeldAtLarge;
  const isTold =
    version?.kind === "tombstone" ||
    deletedEventAt > (version?.kind === "met" ? -Infinity : appliedAt);
  if (findings.run.mode !== "full" || isHeld || isHeldAtLargeByLimit || isTold) return;
  findings.counts.missed.deleted = clock.now();
}

/**
 * Purges the marked row of whom Clerk has just said to be gone, if the gate lets it; else the next full run finds it.
 * `askedAt`: ms, before Clerk was asked about this very id.
 */
export async function purgeOne(
  findings: Findings,
  clerkId: string,
  askedAt: number,
): Promise<void> {
  const { ctx, run, counts } = findings;
  const { dryRun } = run;
  const how = { askedAt, left: rowsLeft(run, counts), dryRun };
  const purged = await purgeByEvidence(ctx, clerkId, how);
  if (typeof purged === "object") {
    await setAsideOne(findings, clerkId, null, purged.reason);
    return;
  }
  await endDoubt(ctx, run, clerkId);
  if (purged === 0) return;
  counts.purged = (counts.purged ?? 0) + purged;
  if (!dryRun) counts.waiting = Math.max(0, (counts.waiting ?? 0) - purged);
  const action = dryRun ? "none" : "purged";
  await findings.add({ clerkId, kind: "marked", fields: [], action });
}
