/** Which phase follows, and how a run ends. */
import {
  endDoubt,
  MAX_ENTRIES,
  nextDoubts,
  nextDue,
  noteVersion,
  readSyncState,
  readVersion,
  wakeForDoubts,
} from "../memory/memory.js";
import {
  hasRow,
  isToldGone,
  LAG_MS,
  LONE,
  mostRemovals,
  spendRemovals,
  whyHold,
} from "../mirror/mirror.js";
import { clock, DAY } from "../shared/clock.js";
import { inParallel } from "../shared/parallel.js";
import { keep, noteMissed } from "./judge.js";
import { START } from "./places.js";
import type { Step, StepResult } from "./step.js";
import { lookBackTo } from "./sweep.js";

/** A full run walks through all users; a recent one looks back to the last that went through, or fails without one. */
export async function afterBegin(step: Step<"begin">): Promise<StepResult> {
  if (step.run.mode === "full") return await step.goTo({ kind: "walk", settled: START });
  const { lastFullRunStartedAt: full, lastRecentRunStartedAt: recent } = await step.state();
  if (full === undefined) {
    const reason = "a recent run needs a completed full run before it.";
    return await step.end({ kind: "failed", reason });
  }
  return await step.goTo(lookBackTo(Math.max(full, recent ?? full) - LAG_MS, clock.now()));
}

/** A full run looks back at what changed meanwhile. */
export async function afterWalk(step: Step<"walk">): Promise<StepResult> {
  return await step.goTo(lookBackTo(step.run.startedAt - LAG_MS, clock.now()));
}

/** Once more, five minutes later, where Clerk counts more users than it listed. */
export async function lookAgain(step: Step<"count">): Promise<StepResult> {
  const { clerkUsers, unlisted, lately } = step.counts;
  // This look-back meets them anew.
  if (lately) lately.looked = 0;
  const listed = clerkUsers - unlisted;
  const waitsFor = `Clerk counts ${clerkUsers} users and listed ${listed}: it is asked once more.`;
  const { metUntil = clock.now() } = step.run.state.phase;
  const lookBack = lookBackTo(step.run.startedAt - LAG_MS, metUntil, true);
  return await step.goTo(lookBack, { notBefore: clock.now() + LAG_MS, waitsFor });
}

/** A full run has Clerk count; a recent one has listed all that it looks for. */
export async function afterLookBack(step: Step<"lookBack">): Promise<StepResult> {
  if (step.run.mode === "recent") return await decide(step);
  const { isAgain } = step.run.state.phase;
  return await step.goTo({ kind: "count", isAgain, metUntil: clock.now() });
}

/** What follows once nothing is left to list, and after each batch of evidence. */
export async function decide(step: Step): Promise<StepResult> {
  const { ctx, run } = step;
  if (run.mode === "doubts") return await decideDoubts(step);
  const [open] = await nextDoubts(ctx, run, "open", 1);
  if (open !== undefined) return await step.goTo({ kind: "evidence" });
  return run.mode === "recent" ? await step.end({ kind: "completed" }) : await decideFull(step);
}

/** Held with all orphans listed, by `whyHold`; else some are held alone (`isLone`), and the others deleted. */
async function decideFull(step: Step): Promise<StepResult> {
  const { run, counts } = step;
  // Who is left, with none of them, is asked about no more, and judged by another transaction.
  const again = { kind: "evidence" as const };
  if (counts.lone > 0 && (await dropRemoved(step, "lone"))) return await step.goTo(again);
  const { drift, lone, told, confirmed, postponedOrphans } = counts;
  if (drift.orphaned === 0) return await endFull(step);
  const { isMoved = false, completedFullRun } = await step.state();
  const metNobody = completedFullRun?.met === 0 || (await isOfEventsAlone(step));
  const orphaned = drift.orphaned + postponedOrphans;
  const reason = whyHold({
    orphaned,
    told,
    mirrored: confirmed + orphaned,
    confirmed,
    isMoved,
    metNobody,
    maxDeletions: run.maxDeletions,
  });
  if (reason !== null && (await dropRemoved(step, "orphaned"))) return await step.goTo(again);
  if (reason !== null) {
    await hold(step, "lone", lone, LONE);
    await hold(step, "orphaned", drift.orphaned - lone, reason);
    return await step.end({ kind: "held", reason });
  }
  await hold(step, "lone", lone, LONE);
  const allowed = drift.orphaned - lone;
  return allowed > 0 ? await step.goTo({ kind: "delete", allowed }) : await endFull(step);
}

/** Orphans that are looked at for whether they are still there: a hold may read and write as much as a transaction takes. */
const MAX_DROPPED = 200;

/** Ends the doubts about orphans whom events have removed since Clerk was asked about them. @returns whether there are any */
async function dropRemoved(
  { ctx, run, counts }: Step,
  state: "orphaned" | "lone",
): Promise<boolean> {
  const orphans = await nextDoubts(ctx, run, state, MAX_DROPPED);
  const found = await inParallel(orphans, async ({ clerkId }) => await hasRow(ctx, clerkId));
  const removed = orphans.filter((_, index) => found[index] === false);
  for (const { clerkId } of removed) await endDoubt(ctx, run, clerkId);
  counts.drift.orphaned -= removed.length;
  if (state === "lone") counts.lone -= removed.length;
  // Who of them was counted there is not known: rather too few.
  counts.told = Math.max(0, (counts.told ?? 0) - removed.length);
  return removed.length > 0;
}

/** Whether a first run's few orphans came by this instance's events: deleted again, or made up, no sign of another. */
async function isOfEventsAlone(step: Step): Promise<boolean> {
  const { ctx, run, counts } = step;
  const { hasRunFull = false, instanceId } = await step.state();
  if (hasRunFull || counts.lone > 0 || counts.drift.orphaned > mostRemovals(0)) return false;
  const orphans = await nextDoubts(ctx, run, "orphaned", counts.drift.orphaned);
  for (const { clerkId } of orphans) {
    const version = await readVersion(ctx, clerkId);
    const isByEvent = version?.kind === "live" && version.appliedBy === "event";
    if (!isByEvent || version.instanceId !== instanceId) return false;
  }
  return true;
}

/** Ends a full run that has deleted whom it may: one that holds nobody once it has purged what is due. */
export async function endFull(step: Step): Promise<StepResult> {
  const { ctx, run } = step;
  const { held } = step.counts;
  if (held > 0) {
    const who = held === 1 ? "1 user" : `${held} users`;
    return await step.end({ kind: "held", reason: `${who} to delete: ${LONE}` });
  }
  const [marked] = await nextDoubts(ctx, run, "marked", 1);
  return marked === undefined
    ? await step.end({ kind: "completed" })
    : await step.goTo({ kind: "delete", allowed: 0 });
}

async function hold(step: Step, state: "orphaned" | "lone", count: number, reason: string) {
  const { ctx, run, counts } = step;
  const left = Math.max(0, MAX_ENTRIES - counts.held);
  counts.held += count;
  const { startedAt: completedAt = -Infinity } = (await step.state()).completedFullRun ?? {};
  for (const { clerkId } of await nextDoubts(ctx, run, state, left)) {
    await step.add({ clerkId, kind: "orphaned", fields: [], action: "held", reason });
    if (run.dryRun) continue;
    const version = await readVersion(ctx, clerkId);
    if (state === "orphaned") await noteMissed(step, version);
    // Held by a rule before, and not found alive since, it stays so, whatever limit a person sets.
    const { heldAt = -Infinity, isHeldByLimit = false } = version ?? {};
    const isByRule = heldAt >= completedAt && !isHeldByLimit;
    const held = {
      heldAt: clock.now(),
      isHeldByLimit: run.maxDeletions !== undefined && !isByRule,
    };
    await noteVersion(ctx, version, { clerkId, ...held });
  }
}

/** The worker deletes the orphans of a batch, all or none, then goes on with what is due next. */
export async function decideDoubts(step: Step): Promise<StepResult> {
  const { ctx } = step;
  const orphans = await nextDoubts(ctx, null, "orphaned", MAX_ENTRIES);
  // This transaction may have removed some itself.
  const state = await readSyncState(ctx);
  const { removalsLeft = 0 } = state.completedFullRun ?? {};
  const isMany = orphans.length > removalsLeft;
  const known = isMany
    ? await inParallel(orphans, async ({ clerkId }) => await readVersion(ctx, clerkId))
    : [];
  const untold = known.filter((version) => !isToldGone(version, state)).length;
  if (untold > removalsLeft) {
    const reason = `${orphans.length} users at once, and ${removalsLeft} more may be removed before the next full run completes`;
    for (const { clerkId } of orphans) {
      await keep(step, clerkId, "orphaned", { kind: "held", reason });
    }
    // Nor one by one, until a full run has judged them.
    await spendRemovals(ctx, Infinity);
  } else if (orphans.length > 0) return await step.goTo({ kind: "delete", allowed: 0 });
  const notBefore = await nextDue(ctx);
  if (notBefore === null) return await step.end({ kind: "completed" });
  if (clock.now() - step.run.startedAt >= DAY) {
    const ended = await step.end({ kind: "completed" });
    await wakeForDoubts(ctx, "tick");
    return ended;
  }
  return await step.goTo({ kind: "evidence" }, { notBefore, waitsFor: "what is due next" });
}
