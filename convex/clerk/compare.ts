/** Compares users whom Clerk lists with the mirror, within a step of a run. */
import { applyListed, type Outcome } from "./mirror";
import { readVersion, type User } from "./rows";
import type { Step } from "./step";
import type { SyncState } from "./syncState";
import { leaveDoubt } from "./worker";
import { raise } from "./doubts";
import { isFirstLook, type Run, type RunIn } from "./runs";
import { idOf, positionOf, type Order } from "./pages";
import type { Position } from "./runValidators";
import type { Reading } from "./validators";

/**
 * Compares users one by one until the transaction has read enough.
 * @param rows rows that the caller has read; others are looked up by id
 * @returns the position of the last one compared if some are left, else null
 */
export async function compareUsers(
  step: Step<"walk" | "lookBack">,
  users: Reading[],
  rows: User[],
  seenAt: number,
): Promise<Position | null> {
  const rowsOf = groupById(rows);
  for (const [index, user] of users.entries()) {
    const clerkId = idOf(user);
    const [row, ...duplicates] = rowsOf.get(clerkId) ?? [];
    await compareUser(step, user, row, seenAt);
    if (duplicates.length > 0) await step.findings.duplicated(clerkId);
    const isLast = index === users.length - 1;
    if (!isLast && (await step.isNearBudget())) {
      return positionOf(user, orderOf(step.run));
    }
  }
  return null;
}

/** In which order a run goes through Clerk's users. */
export function orderOf({ state }: RunIn<"walk" | "lookBack">): Order {
  return state.phase.kind === "walk" ? "+created_at" : "-updated_at";
}

/** Compares one user, and counts, lists and repairs what differs. */
export async function compareUser(
  step: Step<"walk" | "lookBack">,
  user: Reading,
  row: User | undefined,
  seenAt: number,
): Promise<void> {
  const clerkId = idOf(user);
  const { counts, run, ctx } = step;
  // Who can't be read may have no time, and so stand at another place on each page.
  const isKnown = user.kind === "unreadable" && (await step.findings.isListed(clerkId, "setAside"));
  const isFirst = isFirstLook(run) && !isKnown;
  if (isFirst) counts.scanned += 1;
  if (run.state.phase.kind === "walk" && !isKnown && createdAtOf(user) <= run.startedAt)
    counts.listed += 1;
  if (user.kind === "unreadable") {
    if (row && isFirst) counts.confirmed += 1;
    await step.findings.notMirrored(clerkId, user.reason);
    return;
  }
  const confirms = run.mode === "full" && !run.dryRun && hasForeignRows(await step.state());
  const outcome = await applyListed(ctx, user, { row, seenAt, dryRun: run.dryRun, confirms });
  const { kind, known } = outcome;
  if (isFirst && kind === "unchanged") counts.unchanged += 1;
  if (isFirst && isFromBefore(known.row, run)) counts.confirmed += 1;
  if (kind === "late") await raise(ctx, run._id, clerkId);
  const isWritten = (kind === "created" || kind === "updated") && !run.dryRun;
  if (isWritten && user.endsInMs !== undefined) await leaveDoubt(ctx, clerkId, user.endsInMs);
  const isNew = await step.findings.repaired(clerkId, outcome, user);
  if (isNew || kind === "unchanged") await countPlaced(step, user, outcome);
  await step.findings.leftOut(user);
  if (known.isDuplicated) await step.findings.duplicated(clerkId);
}

/** Whether rows may stem from events of another instance, which no full run has confirmed yet. */
function hasForeignRows({ instanceId, eventInstanceIds = [], completedFullRun }: SyncState) {
  return completedFullRun === undefined && eventInstanceIds.some((id) => id !== instanceId);
}

function createdAtOf(user: Reading): number {
  return positionOf(user, "+created_at").key;
}

/** Whether a row was there before a run began. */
function isFromBefore(row: User | null, run: Run): boolean {
  return row !== null && row._creationTime < run._creationTime;
}

/**
 * Counts whom a full run's look-back finds at a place that its walk had passed: a user whose row is new
 * there, by this look or by an event since the run began. Clerk counts them, too.
 */
async function countPlaced(
  { ctx, counts, run, findings }: Step<"walk" | "lookBack">,
  user: Reading,
  { kind, fields, known }: Outcome,
): Promise<void> {
  const { phase } = run.state;
  const isLookBack = phase.kind === "lookBack" && run.mode === "full";
  if (!isLookBack || createdAtOf(user) > run.startedAt) return;
  const isMade = kind === "created" || fields.includes("clerkCreatedAt");
  const isNewRow = kind === "unchanged" && !phase.isAgain && !isFromBefore(known.row, run);
  // Whom the walk has made itself, it has counted.
  const isHeard =
    isNewRow &&
    (await readVersion(ctx, idOf(user)))?.appliedBy === "event" &&
    !(await findings.isListed(idOf(user), "created"));
  if (isMade || isHeard) counts.listed += 1;
}

/** The oldest row of an id first: that one is the mirror's. */
function groupById(rows: User[]): Map<string, User[]> {
  const groups = new Map<string, User[]>();
  for (const row of rows.toSorted((a, b) => a._creationTime - b._creationTime)) {
    if (row.clerkId === undefined) continue;
    groups.set(row.clerkId, [...(groups.get(row.clerkId) ?? []), row]);
  }
  return groups;
}
