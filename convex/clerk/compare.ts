/** Compares users whom Clerk lists with the mirror, within a step of a run. */
import { applyListed } from "./mirror";
import type { User } from "./rows";
import type { Step } from "./step";
import { markSuspect } from "./suspects";
import { idOf, positionOf } from "./sweep";
import type { Position, Reading } from "./validators";

/**
 * Compares users one by one until the transaction has read enough.
 * @param rows rows that the caller has read; others are looked up by id
 * @returns how many were compared, and the position of the last one if some are left
 */
export async function compareUsers(
  step: Step<"walk" | "lookBack">,
  users: Reading[],
  rows: User[],
  seenAt: number,
): Promise<{ count: number; stoppedAt?: Position }> {
  const rowsOf = groupById(rows);
  for (const [index, user] of users.entries()) {
    const clerkId = idOf(user);
    const [row, ...duplicates] = rowsOf.get(clerkId) ?? [];
    await compareUser(step, user, row, seenAt);
    if (duplicates.length > 0) await step.findings.duplicated(clerkId);
    const isLast = index === users.length - 1;
    if (!isLast && (await step.isNearBudget())) {
      return { count: index + 1, stoppedAt: positionOf(user) };
    }
  }
  return { count: users.length };
}

/**
 * Compares one user, and counts, lists and repairs what differs.
 * @returns whether the user is left to evidence
 */
export async function compareUser(
  step: Step<"walk" | "lookBack">,
  user: Reading,
  row: User | undefined,
  seenAt: number,
): Promise<boolean> {
  const clerkId = idOf(user);
  const { counts, run, ctx } = step;
  // A full run's look-back looks at users whom the walk has met.
  const isFirstLook = run.mode === "recent" || run.state.phase.kind === "walk";
  if (isFirstLook) counts.scanned += 1;
  if (user.kind === "unreadable") {
    if (row && isFirstLook) counts.confirmed += 1;
    await step.findings.notMirrored(clerkId, user.reason);
    return false;
  }
  const outcome = await applyListed(ctx, user, { row, seenAt, dryRun: run.dryRun });
  const { kind, fields, known } = outcome;
  if (isFirstLook && kind === "unchanged") counts.unchanged += 1;
  if (isFirstLook && known.row !== null) counts.confirmed += 1;
  if (kind === "late") await markSuspect(ctx, run._id, clerkId, "open");
  const isNew = await step.findings.repaired(clerkId, outcome, user);
  const isPlaced = kind === "created" || fields.includes("clerkCreatedAt");
  if (!isFirstLook && isNew && isPlaced) counts.placed += 1;
  // In a dry run its row stays where it is, and must not count again there.
  const isElsewhere = kind === "updated" && row === undefined;
  if (run.dryRun && isElsewhere) await markSuspect(ctx, run._id, clerkId, "settled");
  await step.findings.leftOut(user);
  if (known.isDuplicated) await step.findings.duplicated(clerkId);
  return kind === "late";
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
