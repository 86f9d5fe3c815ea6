/** How events, runs and repairs write users, inside their own transactions: reads what is known, lets `plan.ts` decide,
 * applies. The door of the room.
 */
import type { MutationCtx } from "../../_generated/server.js";
import {
  eventMarks,
  metVersion,
  noteVersion,
  readSyncState,
  readVersion,
  type Source,
  type SyncState,
} from "../memory/memory.js";
import { clock } from "../shared/clock.js";
import { type Kept, mayPurge, type Remover, spendRemovals, whyKept } from "./gate.js";
import {
  heardVersionOf,
  isForeign,
  insertOrPatch,
  LAG_MS,
  isToldGone,
  type Gone,
  isUnmet,
  type Plan,
  planEvent,
  planEvidence,
  planListed,
  whyTooEarly,
} from "./plan.js";
import { resumeErasures, stopErasure } from "./erasure.js";
import { type KnownRows, readKnown } from "./rows.js";
import {
  apart,
  carryOut,
  type Incoming,
  type Outcome,
  type Refused,
  removeHere,
  untouched,
} from "./write.js";

export { describeLeftOut, isWatched } from "./columns.js";
export { MANY_CALLS, MAX_COUNTED, erasures, wakeErasures } from "./erasure.js";
export {
  type Kept,
  LONE,
  type Remover,
  isLone,
  isToPurge,
  mayPurge,
  mostRemovals,
  purgeAfterMs,
  rowsLeft,
  spendRemovals,
  whyHold,
  whyKept,
} from "./gate.js";
export { type Known, LAG_MS, isToldGone } from "./plan.js";
export {
  type KnownRows,
  hasClerkId,
  hasRow,
  isMirrored,
  readKnown,
  readListed,
  sortRows,
  valueAt,
} from "./rows.js";
export { type Outcome, vOutcomeKind } from "./write.js";

/**
 * Applies what an event says of a user, and writes down that it named them. Who signed up since the last full run that
 * went through began can only be known by an event. @throws like `createRow`
 * @returns what became of the user: `late`, `unclear` and `refused` change nothing
 */
export async function applyEvent(
  ctx: MutationCtx,
  { missingForNew, ...user }: Incoming & { missing?: string; missingForNew?: string },
  { type, instanceId }: Source,
  state: SyncState,
): Promise<Outcome> {
  const known = await readKnown(ctx, user.clerkId, { isThere: true });
  const isNew = known.row === null && known.marked === null;
  const incoming = { ...user, missing: user.missing ?? (isNew ? missingForNew : undefined) };
  const { fullRunStartedAt = -Infinity, recentRunStartedAt = -Infinity } = state;
  const runStartedAt = Math.max(fullRunStartedAt, recentRunStartedAt);
  const now = clock.now();
  const plan = planEvent(known, incoming, { now, runStartedAt });
  const source = { type, instanceId, heardVersion: heardVersionOf(known, user.version, now) };
  const { lastFullRunStartedAt = Infinity } = state;
  const untoldAt =
    type === "user.created" ? undefined : untoldOf(plan, known, user, lastFullRunStartedAt);
  const outcome = await carryOut(ctx, plan, known, user, { event: source, untoldAt });
  const isWritten = !["refused", "unclear"].includes(outcome.kind) && plan.write !== "nothing";
  if (!isWritten) {
    const named = { clerkId: user.clerkId, ...eventMarks(source) };
    await noteVersion(ctx, known.version, named);
  }
  return outcome;
}

/** When a newcomer signed up, ms, of whom `user.created` has not told, as no full run could know them either. */
function untoldOf(
  { write }: Plan | Gone,
  { version }: KnownRows,
  { clerkCreatedAt }: Incoming,
  lastFullRunStartedAt: number,
): number | undefined {
  const isKnown = version?.version !== undefined || version?.kind === "tombstone";
  const isTold = isKnown || version?.createdEventAt !== undefined;
  return write === "insert" && !isTold && clerkCreatedAt > lastFullRunStartedAt
    ? clerkCreatedAt
    : undefined;
}

/**
 * Compares a listed user with what is `known`, and repairs the difference. `seenAt`: ms, before the list was asked for;
 * `confirms`: the mirrored instance, if a right row is to be confirmed that only an event of another one told of: only
 * then `known` needs the version of a right row. @throws like `createRow`
 */
export async function applyListed(
  ctx: MutationCtx,
  user: Incoming,
  known: KnownRows,
  { seenAt, dryRun, confirms }: { seenAt: number; dryRun: boolean; confirms?: string },
): Promise<Outcome> {
  const isToConfirm = confirms !== undefined && isForeign(known.version, confirms);
  const isRight = insertOrPatch(known, user) === null;
  // Of whom the row is right, the version may not have been read.
  if (isRight && !isToConfirm) return { kind: "unchanged", fields: [], known };
  const plan: Plan = isRight ? { write: "version" } : planListed(known, user, seenAt);
  return await carryOut(ctx, plan, known, user, { dryRun });
}

/** `untoldSince`: when the last full run began, ms, where a newcomer is one of whom `user.created` should have told. */
type Asked = { askedAt: number; dryRun: boolean; untoldSince?: number };

/**
 * Settles one id by Clerk's answer about it, null for "not found", asked for after `askedAt` (ms). Removes nobody: an
 * orphan is only reported. @throws like `createRow`
 */
export async function applyEvidence(
  ctx: MutationCtx,
  clerkId: string,
  answer: Incoming | null,
  { dryRun, untoldSince = Infinity, ...asked }: Asked,
): Promise<Outcome> {
  const askedAt = notAhead(asked.askedAt);
  let known = await readKnown(ctx, clerkId, { isThere: answer !== null });
  if (answer === null) known = await meet(ctx, clerkId, known, dryRun);
  else if (isBackFromErasure(known, askedAt) && !dryRun && (await stopErasure(ctx, clerkId))) {
    known = await readKnown(ctx, clerkId, { isThere: true });
  }
  if (clock.now() - askedAt > LAG_MS) {
    // Of a call that was held up: whom it knows may be gone by now, and a run that has begun since has seen that.
    return { kind: "unclear", fields: [], reason: "Clerk's answer is minutes old", known };
  }
  const verdict = planEvidence(known, answer, askedAt);
  if (verdict.write === "remove") return { kind: "orphaned", fields: [], known };
  if (answer === null) {
    const isToGoOn = known.isErasing === true && whyTooEarly(known, askedAt) === null;
    if (isToGoOn && !dryRun && (await readSyncState(ctx)).isMoved !== true) {
      await resumeErasures(ctx, clerkId);
    }
    return untouched(verdict, known);
  }
  const untoldAt = untoldOf(verdict, known, answer, untoldSince);
  return await carryOut(ctx, verdict, known, answer, { untoldAt, dryRun });
}

/** When Clerk was asked, ms: never later than its answer is judged, though the clock of whoever asked may be ahead. */
function notAhead(askedAt: number): number {
  return Math.min(askedAt, clock.now());
}

/** Whether Clerk has somebody again whose row is on its way out, and has had the time to show that they are gone. */
function isBackFromErasure({ isErasing = false, version }: KnownRows, askedAt: number): boolean {
  return isErasing && (version?.appliedAt ?? 0) <= askedAt - LAG_MS;
}

/** A row of the app's that the sync meets for the first time: the app may just have put the id on it. */
async function meet(
  ctx: MutationCtx,
  clerkId: string,
  known: KnownRows,
  dryRun: boolean,
): Promise<KnownRows> {
  if (!isUnmet(known) || known.version?.metAt !== undefined) return known;
  const { lastFullRunStartedAt, hasRunFull = lastFullRunStartedAt !== undefined } =
    await readSyncState(ctx);
  const metAt = hasRunFull ? clock.now() : 0;
  const version = dryRun
    ? { ...(known.version ?? metVersion(clerkId)), metAt }
    : await noteVersion(ctx, known.version, { clerkId, metAt });
  return { ...known, version };
}

/** What became of somebody who was to be removed. `gone`: there was no row. */
type Removal =
  | { kind: "removed"; known: KnownRows; refusal: string | null }
  | { kind: "gone"; known: KnownRows }
  | ((Kept | Refused) & { known: KnownRows });

/**
 * Removes a user of whom Clerk just said 404 `resource_not_found`, asked about this id after `askedAt` (ms), if the
 * gate lets it: the one way by which anything but Clerk's own event removes anybody. @throws like `apart`
 */
export async function removeByEvidence(
  ctx: MutationCtx,
  clerkId: string,
  { remover, dryRun, ...asked }: { askedAt: number; remover: Remover; dryRun: boolean },
): Promise<Removal> {
  const askedAt = notAhead(asked.askedAt);
  const known = await meet(ctx, clerkId, await readKnown(ctx, clerkId), dryRun);
  if (known.row === null) return { kind: "gone", known };
  const kept = await whyKept(ctx, known, { askedAt, remover });
  if (kept !== null) return { ...kept, known };
  const removed = await apart(ctx, { kind: "removed", clerkId }, dryRun);
  if ("kind" in removed) return { ...removed, known };
  // Of whom Clerk itself has told, the worker may remove any number.
  const isOfWorker = remover.by === "doubts" && !dryRun;
  const isUntold = isOfWorker && !isToldGone(known.version, await readSyncState(ctx));
  if (isUntold) await spendRemovals(ctx, 1);
  return { kind: "removed", known, refusal: removed.refusal };
}

/**
 * Lets the marked row of a removed user go, of whom Clerk just said 404 `resource_not_found`, asked about this id after
 * `askedAt` (ms), if the gate lets it. `left`: rows that the run may still remove. @throws like `apart`
 * @returns how many rows of the id are gone, or on their way out; in a dry run, would be
 */
export async function purgeByEvidence(
  ctx: MutationCtx,
  clerkId: string,
  { left, dryRun, ...asked }: { askedAt: number; left: number; dryRun: boolean },
): Promise<number | Refused> {
  const askedAt = notAhead(asked.askedAt);
  const known = await readKnown(ctx, clerkId);
  if (!(await mayPurge(ctx, known, { askedAt, left }))) return 0;
  // The tombstone of its removal stands as long as the row did.
  return await apart(ctx, { kind: "purged", clerkId, askedAt }, dryRun);
}

/** Removes a user by Clerk's own word. @returns if there was a row, and the hook's refusal @throws like `removeRows` */
export async function removeByEvent(
  ctx: MutationCtx,
  clerkId: string,
  source: Source,
): Promise<{ outcome: "deleted" | "absent"; refusal?: string }> {
  const version = await readVersion(ctx, clerkId);
  const { wasHere, refusal } = await removeHere(ctx, clerkId, version, source);
  return { outcome: wasHere ? "deleted" : "absent", refusal: refusal ?? undefined };
}
