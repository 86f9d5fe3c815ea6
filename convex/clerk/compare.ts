/** Compares users whom Clerk lists with the mirror, within a step of a run. */
import { hooks } from "./app.js";
import { applyListed, isShown, type Outcome } from "./mirror.js";
import { chunksOf, inParallel, PARALLEL_READS } from "./parallel.js";
import { isAnyErased } from "./gone.js";
import { isMirrored, readKnown, readRows, readVersion, type KnownRows } from "./rows.js";
import type { User } from "./types.js";
import type { Step } from "./step.js";
import type { SyncState } from "./syncState.js";
import { leaveDoubt } from "./worker.js";
import { raiseAll } from "./doubts.js";
import { isFirstLook, type Run, type RunIn } from "./runs.js";
import { idOf, positionOf, type Order } from "./pages.js";
import type { QueryCtx } from "../_generated/server.js";
import type { Profile, Reading } from "./validators.js";

/** A user who can be read. */
type Mirrorable = Extract<Reading, { kind: "profile" }>;

/**
 * Compares users until the transaction has read or written enough: what is known of a few of them is read side by
 * side, then each has their turn.
 * @param users each once
 * @param rows rows that the caller has read; others are looked up by id
 * @returns how many were compared, from the first on
 */
export async function compareUsers(
  step: Step<"walk" | "lookBack">,
  users: Reading[],
  rows: User[],
  seenAt: number,
): Promise<number> {
  // While rows are on their way out, each is looked up.
  const rowsOf = groupById((await isAnyErased(step.ctx)) ? [] : rows);
  let compared = 0;
  // The app's own code may write the row of any user, and read and write as much as it likes.
  const hasHooks = Boolean(hooks.created ?? hooks.updated ?? hooks.database);
  for (const some of chunksOf(users, hasHooks ? 1 : PARALLEL_READS)) {
    const known = await readKnownOf(step, some, rowsOf);
    const late: string[] = [];
    let isWritten = false;
    for (const user of some) {
      const clerkId = idOf(user);
      const rowsOfUser = rowsOf.get(clerkId) ?? [];
      const kind =
        user.kind === "unreadable"
          ? await setAside(step, user, rowsOfUser.length > 0)
          : await compareUser(step, user, knownOf(known, clerkId), seenAt);
      isWritten ||= kind === "created" || kind === "updated";
      // What is known is newer than the list: Clerk is asked about the id itself.
      if (kind === "late") late.push(clerkId);
      if (rowsOfUser.length > 1) await step.findings.duplicated(clerkId);
      compared += 1;
    }
    await raiseAll(step.ctx, step.run._id, late);
    const isDue = isWritten || compared % PARALLEL_READS === 0;
    if (isDue && compared < users.length && (await step.isNearBudget())) return compared;
  }
  return compared;
}

/** What is known of those of some users who can be read. */
async function readKnownOf(
  step: Step<"walk" | "lookBack">,
  users: Reading[],
  rowsOf: Map<string, User[]>,
): Promise<Map<string, KnownRows>> {
  const { run, ctx } = step;
  const state = await step.state();
  const listed = users.flatMap((user) => {
    if (user.kind === "unreadable") return [];
    return { ...user, row: rowsOf.get(user.profile.clerkId)?.[0] };
  });
  const isConfirming = confirmsFor(run, state) !== undefined;
  return await readListed(ctx, listed, ({ profile }, row) => {
    return isConfirming || mayBePlaced(run, profile.clerkCreatedAt, row);
  });
}

/** A user of a listing, with a row of theirs where the caller has read one already. */
type Listed = { profile: Profile; row: User | undefined };

/**
 * What is known of users of a listing, by id, read side by side.
 * @param needsVersion of whom the version is to be read, too, beside those who are to be written
 */
export async function readListed(
  ctx: QueryCtx,
  users: Listed[],
  needsVersion: (user: Listed, row: User | null) => boolean,
): Promise<Map<string, KnownRows>> {
  const found = await inParallel(users, async (user) => {
    const { row, profile } = user;
    const isRead = row !== undefined && isMirrored(row);
    const rows = isRead
      ? { row, marked: null, isDuplicated: false }
      : await readRows(ctx, profile.clerkId, { isThere: true });
    return { user, isRead, rows };
  });
  const known = await inParallel(found, async ({ user, isRead, rows }) => {
    const { clerkId } = user.profile;
    const isWrong = !isShown(rows.row, user.profile);
    // Of several rows the oldest is to be written.
    if (isWrong && isRead) return [clerkId, await readKnown(ctx, clerkId)] as const;
    const isNeeded = isWrong || needsVersion(user, rows.row);
    const version = isNeeded ? await readVersion(ctx, clerkId) : null;
    return [clerkId, { ...rows, version }] as const;
  });
  return new Map(known);
}

/** @throws Error where it was not read: somebody who is known must never be taken for somebody who is not */
function knownOf(known: Map<string, KnownRows>, clerkId: string): KnownRows {
  const rows = known.get(clerkId);
  if (rows === undefined) throw new Error("expected what is known of each user");
  return rows;
}

/** In which order a run goes through Clerk's users. */
export function orderOf({ state }: RunIn<"walk" | "lookBack">): Order {
  return state.phase.kind === "walk" ? "+created_at" : "-updated_at";
}

/** Sets a user aside who can't be read. @param isThere whether their row is where they stand in the list */
async function setAside(
  step: Step<"walk" | "lookBack">,
  user: Extract<Reading, { kind: "unreadable" }>,
  isThere: boolean,
): Promise<null> {
  const { clerkId, reason } = user;
  // Who may have no time stands at another place on each page.
  const isKnown = await step.findings.isListed(clerkId, "setAside");
  if (!isKnown) countMet(step, user);
  if (!isKnown && isThere && isFirstLook(step.run)) step.counts.confirmed += 1;
  await step.findings.notMirrored(clerkId, reason);
  return null;
}

function countMet({ run, counts }: Step<"walk" | "lookBack">, user: Reading): void {
  if (isFirstLook(run)) counts.scanned += 1;
  const isCounted = run.state.phase.kind === "walk" && createdAtOf(user) <= run.startedAt;
  if (isCounted) counts.listed += 1;
}

/** Compares one user, and counts, lists and repairs what differs. */
async function compareUser(
  step: Step<"walk" | "lookBack">,
  user: Mirrorable,
  known: KnownRows,
  seenAt: number,
): Promise<Outcome["kind"]> {
  const { clerkId } = user.profile;
  const { counts, run, ctx } = step;
  const isFirst = isFirstLook(run);
  countMet(step, user);
  const how = { seenAt, dryRun: run.dryRun, confirms: confirmsFor(run, await step.state()) };
  const outcome = await applyListed(ctx, user, known, how);
  const { kind } = outcome;
  if (isFirst && kind === "unchanged") counts.unchanged += 1;
  // Whoever is late is confirmed by the evidence that is asked for.
  if (isFirst && kind !== "late" && isFromBefore(known.row, run)) counts.confirmed += 1;
  const isWritten = (kind === "created" || kind === "updated") && !run.dryRun;
  if (isWritten && user.endsInMs !== undefined) await leaveDoubt(ctx, clerkId, user.endsInMs);
  if (kind === "refused") await step.findings.notMirrored(clerkId, outcome.reason ?? "");
  const isNew = await step.findings.repaired(clerkId, outcome, user);
  if (isNew || kind === "unchanged") await countPlaced(step, user, outcome);
  await step.findings.leftOut(user, outcome.leftOut);
  if (known.isDuplicated) await step.findings.duplicated(clerkId);
  return kind;
}

/** The mirrored instance, where rows that are right are to be confirmed by a full run. */
function confirmsFor({ mode, dryRun }: Run, state: SyncState): string | undefined {
  return mode === "full" && !dryRun && state.isToConfirm === true ? state.instanceId : undefined;
}

function createdAtOf(user: Reading): number {
  return positionOf(user, "+created_at").key;
}

/** Whether a row was there before a run began. */
function isFromBefore(row: User | null, run: Run): boolean {
  return row !== null && row._creationTime < run._creationTime;
}

/**
 * Whether it takes the version to tell if the walk has counted a user (`countPlaced`): in a full run's look-back,
 * where the row is right and new, either the walk wrote it or an event did, behind the walk.
 */
function mayBePlaced(
  run: RunIn<"walk" | "lookBack">,
  createdAt: number,
  row: User | null,
): boolean {
  const { phase } = run.state;
  const isFirstLookBack = phase.kind === "lookBack" && run.mode === "full" && !phase.isAgain;
  return isFirstLookBack && createdAt <= run.startedAt && !isFromBefore(row, run);
}

/**
 * Counts whom a full run's look-back finds at a place that its walk had passed: a user whose row is new
 * there, by this look or by an event since the run began. Clerk counts them, too.
 */
async function countPlaced(
  { counts, run, findings }: Step<"walk" | "lookBack">,
  user: Mirrorable,
  { kind, fields, known }: Outcome,
): Promise<void> {
  const { clerkId, clerkCreatedAt } = user.profile;
  const isLookBack = run.state.phase.kind === "lookBack" && run.mode === "full";
  if (!isLookBack || clerkCreatedAt > run.startedAt) return;
  const isMade = kind === "created" || fields.includes("clerkCreatedAt");
  // Whom the walk has made itself, it has counted.
  const isHeard =
    kind === "unchanged" &&
    mayBePlaced(run, clerkCreatedAt, known.row) &&
    known.version?.appliedBy === "event" &&
    !(await findings.isListed(clerkId, "created"));
  if (isMade || isHeard) counts.listed += 1;
}

/** The oldest row of an id first: that one is the mirror's. */
function groupById(rows: User[]): Map<string, User[]> {
  const groups = new Map<string, User[]>();
  for (const row of [...rows].sort((a, b) => a._creationTime - b._creationTime)) {
    if (row.clerkId === undefined) continue;
    groups.set(row.clerkId, [...(groups.get(row.clerkId) ?? []), row]);
  }
  return groups;
}
