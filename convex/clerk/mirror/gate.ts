/** The gate before every purge, and every removal but by Clerk's own event, asked inside the transaction that removes.
 * No word overrides freshness (`whyTooEarly`); `maxDeletions` and a person's word override the grounds of a hold.
 */
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import * as app from "../app.js";
import {
  type Counts,
  readSyncState,
  isPastResuming,
  type Run,
  runningRun,
  stateFor,
  type SyncState,
  updateSyncState,
} from "../memory/memory.js";
import type { User } from "../types.js";
import { isMarked } from "../users.js";
import { isStranger, isToldGone, type Known, whyTooEarly } from "./plan.js";

/**
 * A full run with removals `left` (`isTold`: a person gave `maxDeletions`; `isByHand`: a person began it; `instanceId`:
 * the instance that it asks), the worker who judges the doubts of events, or a person who names this one id.
 */
export type Remover =
  | { by: "run"; left: number; isTold: boolean; isByHand: boolean; instanceId?: string }
  | { by: "doubts" }
  | { by: "person" };

/** Why somebody is not removed: it is too early to tell, or a person has to say so. */
export type Kept = { kind: "unclear" | "held"; reason: string };

/** Why a user of whom Clerk said 404 `resource_not_found`, asked about this id at `askedAt` (ms), stays; or null. */
export async function whyKept(
  ctx: QueryCtx,
  known: Known,
  { askedAt, remover }: { askedAt: number; remover: Remover },
): Promise<Kept | null> {
  const tooEarly = whyTooEarly(known, askedAt);
  if (tooEarly !== null) return { kind: "unclear", reason: tooEarly };
  if (remover.by === "person" || (remover.by === "run" && remover.isTold && remover.left > 0)) {
    return null;
  }
  const held = (reason: string): Kept => ({ kind: "held", reason });
  const state = await stateFor(ctx, remover.by === "run" ? remover : {});
  if (state.isMoved === true)
    return held("the instance was moved since the last completed full run");
  const isByHand = remover.by === "run" && remover.isByHand;
  if (isLone(known, state, isByHand)) return held(LONE);
  if (remover.by === "run") {
    return remover.left > 0 ? null : held("the run has removed as many as it was allowed to");
  }
  const run = await runningRun(ctx);
  if (run?.mode === "full" && !run.dryRun) {
    return isPastResuming(run)
      ? held("a full run died")
      : { kind: "unclear", reason: "a full run is under way" };
  }
  const last = state.lastFullRunId && (await ctx.db.get("clerkRuns", state.lastFullRunId));
  if (last?.state.kind === "held") return held("the last full run is held");
  const { removalsLeft = 0 } = state.completedFullRun ?? {};
  if (removalsLeft > 0 || isToldGone(known.version, state)) return null;
  return held("no more may be removed unasked before the next full run completes");
}

/**
 * Whether a marked row may go whose user Clerk did not know at `askedAt` (ms) either. Clerk's own word or this gate
 * marked it, so no number is too many. `left`: rows that a person still allows, Infinity if none said.
 */
export async function mayPurge(
  ctx: QueryCtx,
  { marked, version }: { marked: User | null; version: Known["version"] },
  { askedAt, left }: { askedAt: number; left: number },
): Promise<boolean> {
  // What the app has marked by itself, neither Clerk nor this gate has ever let go.
  if (left <= 0 || version?.kind !== "tombstone") return false;
  if (marked === null || !isToPurge(marked, askedAt)) return false;
  if (whyTooEarly({ row: marked, version }, askedAt) !== null) return false;
  return (await readSyncState(ctx)).isMoved !== true;
}

/** How many rows a run may still remove, where a person said how many; else Infinity. */
export function rowsLeft({ maxDeletions = Infinity, dryRun }: Run, counts: Counts): number {
  const { drift, held, repaired, purged = 0 } = counts;
  return maxDeletions - (dryRun ? drift.orphaned - held : repaired.deleted) - purged;
}

export const LONE =
  "neither a run nor an event of this instance ever saw them in Clerk, or a full run holds them until a person says otherwise";

/**
 * Whether an orphan is held whatever becomes of others: one whom nobody ever confirmed, or whom a run held since the
 * last full run that completed. `isByHand`: a person began the run, who may have set a limit to the one before.
 */
export function isLone(known: Known, state: SyncState, isByHand = false): boolean {
  const { instanceId, isHeldAtLarge = false, isHeldAtLargeByLimit = false } = state;
  const isAtLarge = isHeldAtLarge || (isHeldAtLargeByLimit && !isByHand);
  if (isAtLarge || isStranger(known, instanceId)) return true;
  const { heldAt, isHeldByLimit = false } = known.version ?? {};
  if (heldAt === undefined || (isByHand && isHeldByLimit)) return false;
  const { startedAt = -Infinity } = state.completedFullRun ?? {};
  // A walk passes over creation times between its beginning and its end.
  const isPassedOver = (known.row?.clerkCreatedAt ?? 0) > startedAt;
  return startedAt <= heldAt || isPassedOver;
}

/** Takes so many off the removals that the worker may make before the next full run completes; Infinity: all. */
export async function spendRemovals(ctx: MutationCtx, count: number): Promise<void> {
  const { completedFullRun } = await readSyncState(ctx);
  if (completedFullRun === undefined) return;
  const removalsLeft = Math.max(0, completedFullRun.removalsLeft - count);
  await updateSyncState(ctx, { completedFullRun: { ...completedFullRun, removalsLeft } });
}

/** How long after the mark a row is purged, ms; null where that is never. */
export function purgeAfterMs(): number | null {
  return app.removal === "delete" ? null : (app.removal.purgeAfterMs ?? null);
}

/** Whether a row was marked so long before `now` (ms) that it is to be purged. */
export function isToPurge(row: User, now: number): boolean {
  const afterMs = purgeAfterMs();
  return isMarked(row) && afterMs !== null && (row.deletedAt ?? now) <= now - afterMs;
}

// Deletions that a run makes unasked: a share of the mirror, since a table that loses more at once is rather the sign
// of a mistake; of a large one no more than a person can look through; of a small one a few, whatever the share.
const MAX_DELETIONS_SHARE = 0.05;
const MAX_DELETIONS = 500;
const MIN_DELETIONS = 10;

/** Users whom a run, or repairs between two full runs, may remove unasked. @param mirrored rows of the mirror */
export function mostRemovals(mirrored: number): number {
  return Math.floor(
    Math.min(MAX_DELETIONS, Math.max(MIN_DELETIONS, mirrored * MAX_DELETIONS_SHARE)),
  );
}

/**
 * Why a full run must delete none of its orphans, or null. All or nothing: half of a false deletion is no better.
 * @param run `orphaned`: users whom Clerk does not know, too early to judge or not; `told`: those of them of whom it has
 *   told (`isToldGone`), who are no surprise; `mirrored`: rows, of which Clerk knows `confirmed`, from before the run;
 *   `isMoved`: no full run has completed since another instance was pinned; `metNobody`: no surprise, as the last
 *   completed full run of this instance met nobody either, or only its events had told of those who are gone;
 *   `maxDeletions` replaces all other grounds
 */
export function whyHold(run: {
  orphaned: number;
  told?: number;
  mirrored: number;
  confirmed: number;
  isMoved: boolean;
  metNobody: boolean;
  maxDeletions?: number;
}): string | null {
  const { orphaned, told = 0, mirrored, confirmed, isMoved, metNobody, maxDeletions } = run;
  if (maxDeletions !== undefined) {
    return orphaned > maxDeletions
      ? `${orphaned} users are gone from Clerk, and maxDeletions is ${maxDeletions}`
      : null;
  }
  if (isMoved) {
    return `${orphaned} of ${mirrored} mirrored users are unknown to the Clerk instance that was pinned since the last completed full run`;
  }
  if (orphaned > told && confirmed === 0 && !metNobody) {
    return `Clerk knows not one of the ${mirrored} mirrored users`;
  }
  const most = mostRemovals(mirrored - told);
  return orphaned - told > most
    ? `${orphaned} of ${mirrored} mirrored users are gone from Clerk, more than ${most} at once`
    : null;
}
