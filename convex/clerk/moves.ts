/** Rows that come or move behind the back of a running full run. */
import type { MutationCtx } from "../_generated/server";
import type { Outcome } from "./mirror";
import { runningRun, type RunningRun } from "./runs";
import { markSuspect, suspectOf } from "./suspects";
import type { Profile } from "./validators";

/**
 * Where an event or a repair brought a row to a place that the run has walked past, the run counts
 * the user all the same.
 * @param outcome what became of the user, and which fields were written
 */
export async function noteMove(
  ctx: MutationCtx,
  { clerkId, clerkCreatedAt }: Profile,
  { kind, fields }: Outcome,
): Promise<void> {
  const isWritten = kind === "created" || kind === "updated";
  if (!isWritten || !fields.includes("clerkCreatedAt")) return;
  const run = await runningRun(ctx);
  if (run === null || !hasPassed(run, clerkCreatedAt)) return;
  const known = await suspectOf(ctx, run._id, clerkId);
  if (known === null || known.state === "open") {
    await markSuspect(ctx, run._id, clerkId, "moved");
  }
}

function hasPassed({ startedAt, state: { phase } }: RunningRun, clerkCreatedAt: number): boolean {
  if (phase.kind === "begin") return false;
  if (phase.kind !== "walk") return clerkCreatedAt < startedAt;
  const { settled, crowd } = phase;
  const isAmongListed = crowd?.kind === "listed" && clerkCreatedAt === settled.clerkCreatedAt;
  return isAmongListed || clerkCreatedAt < settled.clerkCreatedAt;
}
