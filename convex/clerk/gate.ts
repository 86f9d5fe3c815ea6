/**
 * The gate before every removal but that by Clerk's own event, and before every purge, asked inside the
 * transaction that removes. Freshness (`whyTooEarly`) no word overrides; the grounds of a hold,
 * `maxDeletions` and a person's word do.
 */
import type { MutationCtx, QueryCtx } from "../_generated/server.js";
import { clock } from "./clock.js";
import { isToPurge } from "./marks.js";
import { isStranger, whyTooEarly, type Known } from "./plan.js";
import { RESUMABLE_MS, runningRun, type Run } from "./runs.js";
import type { Counts } from "./runValidators.js";
import { readSyncState, stateFor, updateSyncState, type SyncState } from "./syncState.js";
import type { User } from "./types.js";

/**
 * Who wants to remove: a full run, with the removals that it has left, the worker who judges the
 * doubts of events, or a person who names this one id. `isTold`: a person gave `maxDeletions`;
 * `isByHand`: a person began the run; `instanceId`: the instance that it asks.
 */
export type Remover =
  | { by: "run"; left: number; isTold: boolean; isByHand: boolean; instanceId?: string }
  | { by: "doubts" }
  | { by: "person" };

/** Why somebody is not removed: it is too early to tell, or a person has to say so. */
export type Kept = { kind: "unclear" | "held"; reason: string };

/**
 * Whether a user of whom Clerk said 404 `resource_not_found` may be removed now.
 * @param askedAt when Clerk was asked about this very id, ms
 * @returns null where nothing stands against it
 */
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
    const isDead = clock.now() - run.state.leaseExpiresAt >= RESUMABLE_MS;
    return isDead
      ? held("a full run died")
      : { kind: "unclear", reason: "a full run is under way" };
  }
  const last = state.lastFullRunId && (await ctx.db.get("clerkRuns", state.lastFullRunId));
  if (last?.state.kind === "held") return held("the last full run is held");
  const { removalsLeft = 0 } = state.completedFullRun ?? {};
  if (removalsLeft > 0) return null;
  return held("as many were removed since the last completed full run as may be unasked");
}

/**
 * Whether a row that is marked as removed may go for good now, of whose user Clerk said 404 once more. It was marked
 * by Clerk's own word, or through this gate, so no number of them is too many.
 * @param askedAt when Clerk was asked about this very id, ms
 * @param left how many rows a person still lets the run remove; Infinity where nobody said a number
 * @returns null where nothing stands against it
 */
export async function whyNotPurged(
  ctx: QueryCtx,
  { marked, version }: { marked: User | null; version: Known["version"] },
  { askedAt, left }: { askedAt: number; left: number },
): Promise<string | null> {
  if (marked === null || !isToPurge(marked, askedAt)) return "its time is not over";
  // What the app has marked by itself, neither Clerk nor this gate has ever let go.
  if (version?.kind !== "tombstone") return "the sync has not marked it";
  const tooEarly = whyTooEarly({ row: marked, version }, askedAt);
  if (tooEarly !== null) return tooEarly;
  const { isMoved = false } = await readSyncState(ctx);
  if (isMoved) return "the instance was moved since the last completed full run";
  return left > 0 ? null : "the run has removed as many as it was allowed to";
}

/** How many rows a run may still remove, where a person said how many; else Infinity. */
export function rowsLeft({ maxDeletions = Infinity, dryRun }: Run, counts: Counts): number {
  const { drift, held, repaired, purged = 0 } = counts;
  return maxDeletions - (dryRun ? drift.orphaned - held : repaired.deleted) - purged;
}

/** Why users are held whatever becomes of others. */
export const LONE =
  "neither a run nor an event of this instance ever saw them in Clerk, or a full run holds them until a person says otherwise";

/**
 * Whether an orphan is held whatever becomes of others: whom nobody ever confirmed, and whom a run held since
 * the last full run that completed.
 * @param isByHand whether a person began the run, who may have set a limit to the one before
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

/** Counts a removal against those that may be made before the next full run completes. */
export async function countRemoval(ctx: MutationCtx, { by }: Remover): Promise<void> {
  const { completedFullRun } = await readSyncState(ctx);
  if (by !== "doubts" || completedFullRun === undefined) return;
  const removalsLeft = completedFullRun.removalsLeft - 1;
  await updateSyncState(ctx, { completedFullRun: { ...completedFullRun, removalsLeft } });
}
