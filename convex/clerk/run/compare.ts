/** Compares users whom Clerk lists with the mirror, within a step of a run. */
import {
  leaveDoubt,
  MAX_ENTRIES,
  raiseAll,
  readVersion,
  type Run,
  type RunIn,
  type SyncState,
} from "../memory/memory.js";
import {
  applyListed,
  erasures,
  isToPurge,
  isWatched,
  type KnownRows,
  LAG_MS,
  MAX_COUNTED,
  type Outcome,
  purgeAfterMs,
  readListed,
  type sortRows,
} from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import { chunksOf, inParallel, PARALLEL_READS } from "../shared/parallel.js";
import type { Reading } from "../shared/user.js";
import type { User } from "../types.js";
import { isBeingErased } from "../users.js";
import { isFromBefore } from "./judge.js";
import type { Step } from "./step.js";

type Mirrorable = Extract<Reading, { kind: "profile" }>;

/**
 * Compares users, each given once, until the transaction has read or written enough: what is known of a few is read
 * side by side, then each has their turn.
 * @param rows rows that the caller has read; others are looked up by id
 * @param seenAt ms, taken before Clerk was asked
 * @returns how many were compared, from the first on
 */
export async function compareUsers(
  step: Step<"walk" | "lookBack">,
  users: Reading[],
  rows: User[],
  seenAt: number,
): Promise<number> {
  if (users.length === 0) return 0;
  // Whose row is on its way out is looked up; while they are many, everyone is.
  const erased = rows.length > 0 ? await erasures(step.ctx) : [];
  const ids = new Set(erased.map(({ clerkId }) => clerkId));
  const isMany = erased.length >= MAX_COUNTED;
  const rowsOf = groupById(isMany ? [] : rows.filter(({ clerkId = "" }) => !ids.has(clerkId)));
  // Of a row that is right the version tells who is to be confirmed, and whether the walk has counted a new one.
  const isConfirming = confirmsFor(step.run, await step.state()) !== undefined;
  const newSince = isConfirming
    ? -Infinity
    : isPlacing(step.run)
      ? step.run._creationTime
      : Infinity;
  let compared = 0;
  // The app's own code may write the row of any user, and read and write as much as it likes.
  const isApps = isWatched();
  for (const some of chunksOf(users, isApps ? 1 : PARALLEL_READS)) {
    const known = await readListed(step.ctx, some, rowsOf, newSince);
    const late: string[] = [];
    let isWritten = false;
    for (const user of some) {
      const clerkId = user.clerkId;
      const rowsOfUser = rowsOf.get(clerkId) ?? [];
      const kind =
        user.kind === "unreadable"
          ? await setAside(step, user, rowsOfUser.length > 0)
          : await compareUser(step, user, knownOf(known, clerkId), seenAt);
      // What was refused has read and written as much before it was undone.
      isWritten ||= kind === "created" || kind === "updated" || kind === "refused";
      // What is known is newer than the list: Clerk is asked about the id itself.
      if (kind === "late") late.push(clerkId);
      if (rowsOfUser.length > 1) await step.duplicated(clerkId);
      compared += 1;
    }
    if (late.length > 0) await raiseAll(step.ctx, step.run, new Map(late.map((id) => [id, {}])));
    const isDue = isWritten || compared % PARALLEL_READS === 0;
    if (isDue && compared < users.length && (await step.isNearBudget())) return compared;
  }
  return compared;
}

/** @throws Error where it was not read: somebody who is known must never be taken for somebody who is not */
function knownOf(known: Map<string, KnownRows>, clerkId: string): KnownRows {
  const rows = known.get(clerkId);
  if (rows === undefined) throw new Error("expected what is known of each user");
  return rows;
}

/** @param isThere whether their row is where they stand in the list */
async function setAside(
  step: Step<"walk" | "lookBack">,
  user: Extract<Reading, { kind: "unreadable" }>,
  isThere: boolean,
): Promise<null> {
  const { clerkId, reason } = user;
  // Who may have no time stands at another place on each page.
  const isKnown = await step.isListed(clerkId, "setAside");
  countMet(step, user, isKnown);
  if (!isKnown && isThere && step.isFirstLook) step.counts.confirmed += 1;
  await step.notMirrored(clerkId, reason);
  return null;
}

/** @param isKnown whether the run has met them before, who may stand at another place each time */
function countMet(
  { run, counts, isFirstLook }: Step<"walk" | "lookBack">,
  user: Reading,
  isKnown = false,
): void {
  if (isFirstLook && !isKnown) counts.scanned += 1;
  if (run.mode !== "full" || user.clerkCreatedAt > run.startedAt) return;
  // Whoever came last the walk may not meet yet, and a look-back, which should, not where they change meanwhile.
  const since = run.startedAt - LAG_MS;
  const isLate = user.clerkCreatedAt > since && user.version > since;
  const isWalk = run.state.phase.kind === "walk";
  if (isLate) {
    const lately = (counts.lately ??= { walked: 0, looked: 0 });
    lately[isWalk ? "walked" : "looked"] += 1;
  } else if (isWalk && !isKnown) counts.listed += 1;
}

async function compareUser(
  step: Step<"walk" | "lookBack">,
  user: Mirrorable,
  known: KnownRows,
  seenAt: number,
): Promise<Outcome["kind"]> {
  const { clerkId } = user;
  const { counts, run, ctx } = step;
  const isFirst = step.isFirstLook;
  countMet(step, user);
  const how = { seenAt, dryRun: run.dryRun, confirms: confirmsFor(run, await step.state()) };
  const outcome = await applyListed(ctx, user, known, how);
  const { kind } = outcome;
  if (isFirst && kind === "unchanged") counts.unchanged += 1;
  // Whose row stands at another place than they do, evidence confirms.
  const isInPlace = user.placedAt === undefined;
  if (isFirst && isInPlace && isFromBefore(known.row, run)) counts.confirmed += 1;
  const isWritten = (kind === "created" || kind === "updated") && !run.dryRun;
  if (isWritten && user.endsInMs !== undefined) await leaveDoubt(ctx, clerkId, user.endsInMs);
  if (kind === "refused") await step.notMirrored(clerkId, outcome.reason ?? "");
  const isNew = await step.repaired(clerkId, outcome, user);
  const isMade = kind === "created" && !run.dryRun;
  if (isNew || isMade || kind === "unchanged") await countPlaced(step, user, outcome);
  await step.leftOut(user, outcome.leftOut);
  if (known.isDuplicated) await step.duplicated(clerkId);
  return kind;
}

/** The mirrored instance, where rows that are right are to be confirmed by a full run. */
function confirmsFor({ mode, dryRun }: Run, state: SyncState): string | undefined {
  return mode === "full" && !dryRun && state.isToConfirm === true ? state.instanceId : undefined;
}

/** Whether `countPlaced` needs the version: what is right and new the walk wrote, or an event did, behind the walk. */
function isPlacing({ mode, state: { phase } }: RunIn<"walk" | "lookBack">): boolean {
  return phase.kind === "lookBack" && mode === "full" && !phase.isAgain;
}

/**
 * Counts who is new where a full run's walk had passed: Clerk counts them, too. Their row this look has made, or whoever
 * else, since the walk or the look before has met anybody; or, while the run walked, an event.
 */
async function countPlaced(
  step: Step<"walk" | "lookBack">,
  user: Mirrorable,
  { kind, fields, known }: Outcome,
): Promise<void> {
  const { counts, run } = step;
  const { clerkId, clerkCreatedAt } = user;
  const { phase } = run.state;
  const isLookBack = phase.kind === "lookBack" && run.mode === "full";
  if (!isLookBack || clerkCreatedAt > run.startedAt - LAG_MS) return;
  const { metUntil = Infinity } = phase;
  const isMade = kind === "created" || fields.includes("clerkCreatedAt");
  // What is made in that very millisecond, the last step of them has made.
  const isSince = (known.row?._creationTime ?? -Infinity) >= metUntil + 1;
  // Whom the walk has made itself, it has counted: past the entries that are kept, nobody can tell.
  const isHeard =
    kind === "unchanged" &&
    counts.entries < MAX_ENTRIES &&
    isPlacing(run) &&
    !isFromBefore(known.row, run) &&
    known.version?.appliedBy === "event" &&
    !(await step.isListed(clerkId, "created"));
  if (isMade || isSince || isHeard) counts.listed += 1;
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

/**
 * What becomes of rows that a full run meets and Clerk does not list, each once. A mirrored one is doubted; a marked one
 * is counted, and doubted once its time is over and if it was the sync that marked it; the app's own are counted.
 */
export async function meetRows(
  { ctx, run, counts }: Step<"walk" | "count">,
  { mirrored, marked, appOwned }: ReturnType<typeof sortRows>,
): Promise<void> {
  counts.appOwned = (counts.appOwned ?? 0) + appOwned.length;
  const doubts = new Map(
    mirrored.map(({ clerkId = "", clerkCreatedAt }) => [clerkId, { unlistedAt: clerkCreatedAt }]),
  );
  if (marked.length > 0 && purgeAfterMs() !== null) {
    const now = clock.now();
    const due = marked.filter((row) => isToPurge(row, now));
    const found = await inParallel(due, async ({ clerkId = "" }) => {
      const isOurs = (await readVersion(ctx, clerkId))?.kind === "tombstone";
      return isOurs && !(await isBeingErased(ctx, clerkId)) ? [clerkId] : [];
    });
    const ids = found.flat();
    counts.waiting = (counts.waiting ?? 0) + marked.length - due.length + ids.length;
    for (const id of ids) doubts.set(id, { unlistedAt: undefined });
  }
  if (doubts.size > 0) await raiseAll(ctx, run, doubts);
}
