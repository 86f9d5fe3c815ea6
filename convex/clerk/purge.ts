/** What a full run does about rows that are marked as removed: it counts them, and lets those go whose time is over. */
import { clock } from "./clock.js";
import { raiseAll } from "./doubts.js";
import { drop, type Judge } from "./judgement.js";
import { rowsLeft } from "./gate.js";
import { isBeingErased, isMarked } from "./gone.js";
import { isToPurge, purgeAfterMs } from "./marks.js";
import { purgeByEvidence } from "./mirror.js";
import { inParallel } from "./parallel.js";
import { hasClerkId, readVersion } from "./rows.js";
import type { Step } from "./step.js";
import type { User } from "./types.js";

/**
 * Counts the marked rows among those that a full run meets, each once, and doubts those whose time is over. What the
 * app has marked by itself is its own, and what is on its way out is purged already.
 */
export async function meetMarked(
  { ctx, run, counts }: Step<"walk" | "count" | "undated">,
  rows: User[],
): Promise<void> {
  if (purgeAfterMs() === null) return;
  const marked = rows.filter((row) => hasClerkId(row) && isMarked(row));
  const now = clock.now();
  const due = marked.filter((row) => isToPurge(row, now));
  const found = await inParallel(due, async ({ clerkId = "" }) => {
    const isOurs = (await readVersion(ctx, clerkId))?.kind === "tombstone";
    return isOurs && !(await isBeingErased(ctx, clerkId)) ? [clerkId] : [];
  });
  const ids = found.flat();
  counts.waiting = (counts.waiting ?? 0) + marked.length - due.length + ids.length;
  await raiseAll(ctx, run._id, ids);
}

/**
 * Purges the row of a removed user of whom Clerk has just said that the id is not there, if the gate lets it. Where it
 * does not, the row waits for the next full run.
 * @param askedAt ms, taken before Clerk was asked about this very id
 */
export async function purgeOne(judge: Judge, clerkId: string, askedAt: number): Promise<void> {
  const { ctx, run, findings, counts } = judge;
  const { dryRun } = run;
  const how = { askedAt, left: rowsLeft(run, counts), dryRun };
  const purged = await purgeByEvidence(ctx, clerkId, how);
  await drop(judge, clerkId);
  if (purged === 0) return;
  counts.purged = (counts.purged ?? 0) + purged;
  if (!dryRun) counts.waiting = (counts.waiting ?? 0) - purged;
  const action = dryRun ? "none" : "purged";
  await findings.add({ clerkId, kind: "marked", fields: [], action });
}
