/** What a full run does about rows that are marked as removed: it counts them, and lets those go whose time is over. */
import { clock } from "./clock.js";
import { raiseAll } from "./doubts.js";
import { drop, type Judge } from "./judgement.js";
import { isMarked } from "./gone.js";
import { isToPurge, purgeAfterMs } from "./marks.js";
import { purgeByEvidence } from "./mirror.js";
import { hasClerkId } from "./rows.js";
import type { Step } from "./step.js";
import type { User } from "./types.js";

/** Counts the marked rows among those that a full run meets, each once, and doubts those that are due. */
export async function meetMarked(
  { ctx, run, counts }: Step<"walk" | "count" | "undated">,
  rows: User[],
): Promise<void> {
  if (purgeAfterMs() === null) return;
  const marked = rows.filter((row) => hasClerkId(row) && isMarked(row));
  counts.waiting = (counts.waiting ?? 0) + marked.length;
  const now = clock.now();
  const due = marked.filter((row) => isToPurge(row, now));
  await raiseAll(
    ctx,
    run._id,
    due.flatMap(({ clerkId }) => clerkId ?? []),
  );
}

/**
 * Purges the row of a removed user of whom Clerk has just said that the id is not there, if the gate lets it. Where it
 * does not, the row waits for the next full run.
 * @param askedAt ms, taken before Clerk was asked about this very id
 */
export async function purgeOne(judge: Judge, clerkId: string, askedAt: number): Promise<void> {
  const { ctx, run, findings, counts } = judge;
  const { dryRun, maxDeletions = Infinity } = run;
  const { purged = 0, waiting = 0, repaired } = counts;
  const left = maxDeletions - repaired.deleted - purged;
  const kept = await purgeByEvidence(ctx, clerkId, { askedAt, left, dryRun });
  await drop(judge, clerkId);
  if (kept !== null) return;
  counts.purged = purged + 1;
  if (!dryRun) counts.waiting = waiting - 1;
  const action = dryRun ? "none" : "purged";
  await findings.add({ clerkId, kind: "marked", fields: [], action });
}
