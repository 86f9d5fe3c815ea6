/**
 * The one way by which users are written: reads what is known, lets `plan` decide, applies. Events,
 * runs and repairs call it inside their own transactions.
 */
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api.js";
import { internalMutation, type MutationCtx } from "../_generated/server.js";
import { clock } from "./clock.js";
import { countRemoval, whyKept, whyNotPurged, type Kept, type Remover } from "./gate.js";
import {
  differingFields,
  insertOrPatch,
  isForeign,
  isUnmet,
  planEvent,
  planEvidence,
  planListed,
  type Gone,
  type Plan,
} from "./plan.js";
import {
  createRow,
  eventMarks,
  metVersion,
  noteVersion,
  purgeRows,
  readKnown,
  readVersion,
  removeRows,
  updateRow,
  writeVersion,
  type KnownRows,
  type Removed,
  type Source,
} from "./rows.js";
import { describeLeftOut } from "./misfit.js";
import { readSyncState, type SyncState } from "./syncState.js";
import type { Version } from "./runValidators.js";
import type { User } from "./types.js";
import { vNewFields, vProfile } from "./validators.js";
import type { LeftOut, NewFields, Profile } from "./validators.js";

type Incoming = { profile: Profile; version: number; newFields?: NewFields };
/** An event, or, without it, a run or a repair, which ask only the mirrored instance. */
type By = { event?: Source & Pick<Version, "untoldAt"> };
const BY_RUN: By = {};

/** What became of a user, or would have in a dry run: "user_1 has been …". */
export const vOutcomeKind = v.union(
  v.literal("created"),
  v.literal("updated"),
  v.literal("unchanged"),
  /** Not in Clerk: to be removed, or not here either. */
  v.literal("orphaned"),
  v.literal("gone"),
  /** Left as it is, for a reason. */
  v.literal("late"),
  v.literal("unclear"),
  /** The app's schema, or its `newUserFields`, does not take them. */
  v.literal("refused"),
);

/** What became of a user, and what was known before. */
export type Outcome = {
  kind: Infer<typeof vOutcomeKind>;
  /** Names of the columns that were or would be written. */
  fields: string[];
  reason?: string;
  /** Columns that the schema does not take. */
  leftOut?: LeftOut[];
  /** What was known before; where a listed user is unchanged, without the version. */
  known: KnownRows;
};

/**
 * Applies what an event says of a user, and writes down that it named them.
 * @param lastFullRunStartedAt when the last full run that went through began, ms: who signed up since can
 *   only be known by an event
 * @param fullRunStartedAt when the newest full run began, ms
 * @returns what became of the user: `late`, `unclear` and `refused` change nothing
 */
export async function applyEvent(
  ctx: MutationCtx,
  { missingForNew, ...user }: Incoming & { missing?: string; missingForNew?: string },
  source: Source,
  { fullRunStartedAt = -Infinity, lastFullRunStartedAt = Infinity }: SyncState,
): Promise<Outcome> {
  const known = await readKnown(ctx, user.profile.clerkId, { isThere: true });
  const isNew = known.row === null && known.marked === null;
  const incoming = { ...user, missing: user.missing ?? (isNew ? missingForNew : undefined) };
  const plan = planEvent(known, incoming, { now: clock.now(), fullRunStartedAt });
  const { clerkCreatedAt } = user.profile;
  const isUntold =
    plan.write === "insert" &&
    source.type !== "user.created" &&
    known.version?.version === undefined &&
    known.version?.kind !== "tombstone" &&
    clerkCreatedAt > lastFullRunStartedAt;
  const event = isUntold ? { ...source, untoldAt: clerkCreatedAt } : source;
  const outcome = await carryOut(ctx, plan, known, user, { by: { event } });
  const isWritten = !["refused", "unclear"].includes(outcome.kind) && plan.write !== "nothing";
  if (!isWritten) await noteNamed(ctx, user.profile.clerkId, known.version, source);
  return outcome;
}

/** Whether a row shows a profile. */
export function isShown(row: User | null, profile: Profile): boolean {
  return row !== null && differingFields(row, profile).length === 0;
}

/**
 * Compares a user of a listing with what is known of them, and repairs the difference.
 * @param known what is known of them; where the row is right, the version only if it is to be confirmed
 * @param seenAt ms, taken before the listing was asked for
 * @param confirms the mirrored instance, where a row that is right is confirmed, too, if only an event of
 *   another one told of it
 */
export async function applyListed(
  ctx: MutationCtx,
  user: Incoming,
  known: KnownRows,
  { seenAt, dryRun, confirms }: { seenAt: number; dryRun: boolean; confirms?: string },
): Promise<Outcome> {
  const isToConfirm = confirms !== undefined && isForeign(known.version, confirms);
  const isRight = isShown(known.row, user.profile);
  // Of whom the row is right, the version may not have been read.
  if (isRight && !isToConfirm) return { kind: "unchanged", fields: [], known };
  const plan: Plan = isRight ? { write: "version" } : planListed(known, user, seenAt);
  return await carryOut(ctx, plan, known, user, { by: BY_RUN, dryRun });
}

/**
 * Settles one id by Clerk's answer about it, null for "not found". Removes nobody: an orphan is
 * only reported.
 * @param askedAt ms, taken before Clerk was asked
 */
export async function applyEvidence(
  ctx: MutationCtx,
  clerkId: string,
  answer: Incoming | null,
  { askedAt, dryRun }: { askedAt: number; dryRun: boolean },
): Promise<Outcome> {
  const read = await readKnown(ctx, clerkId, { isThere: answer !== null });
  const known = answer === null ? await meet(ctx, clerkId, read, dryRun) : read;
  const verdict = planEvidence(known, answer, askedAt);
  if (verdict.write === "remove") return { kind: "orphaned", fields: [], known };
  if (answer === null) return untouched(verdict, known);
  return await carryOut(ctx, verdict, known, answer, { by: BY_RUN, dryRun });
}

/** An event that changes nothing named an id: for five minutes Clerk's 404 may be older than that. */
export async function noteNamed(
  ctx: MutationCtx,
  clerkId: string,
  version: KnownRows["version"],
  source: Source,
): Promise<void> {
  await noteVersion(ctx, version, { clerkId, ...eventMarks(version, source) });
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
    ? { ...(known.version ?? metVersion(clerkId, {})), metAt }
    : await noteVersion(ctx, known.version, { clerkId, metAt });
  return { ...known, version };
}

/** What became of somebody who was to be removed. `gone`: there is no row any more. */
export type Removal =
  | { kind: "removed"; known: KnownRows; refusal: string | null }
  | { kind: "gone"; known: KnownRows }
  | (Kept & { known: KnownRows });

/**
 * Removes a user of whom Clerk has just said 404 `resource_not_found`, if the gate lets it: the one way
 * by which anything but Clerk's own event removes anybody.
 * @param askedAt ms, taken before Clerk was asked about this very id
 */
export async function removeByEvidence(
  ctx: MutationCtx,
  clerkId: string,
  { askedAt, remover, dryRun }: { askedAt: number; remover: Remover; dryRun: boolean },
): Promise<Removal> {
  const known = await meet(ctx, clerkId, await readKnown(ctx, clerkId), dryRun);
  if (known.row === null) return { kind: "gone", known };
  const kept = await whyKept(ctx, known, { askedAt, remover });
  if (kept !== null) return { ...kept, known };
  if (dryRun) {
    const { refusal } = await rehearse(ctx, { kind: "removed", clerkId });
    return { kind: "removed", known, refusal };
  }
  const { refusal } = await remove(ctx, clerkId, known, BY_RUN);
  await countRemoval(ctx, remover);
  return { kind: "removed", known, refusal };
}

/**
 * Lets the marked row of a removed user go for good, of whom Clerk has just said 404 `resource_not_found`, if the
 * gate lets it.
 * @param askedAt ms, taken before Clerk was asked about this very id
 * @param left how many rows the run may still remove
 * @returns how many rows of the id are gone, or on their way out; in a dry run, would be
 */
export async function purgeByEvidence(
  ctx: MutationCtx,
  clerkId: string,
  { askedAt, left, dryRun }: { askedAt: number; left: number; dryRun: boolean },
): Promise<number> {
  const known = await readKnown(ctx, clerkId);
  const kept = await whyNotPurged(ctx, known, { askedAt, left });
  if (kept !== null) return 0;
  if (dryRun) return (await rehearse(ctx, { kind: "purged", clerkId, askedAt })).purged ?? 0;
  // The tombstone of its removal stands as long as the row did.
  return await purgeRows(ctx, clerkId, askedAt);
}

/** Clerk's own word that a user is gone. @returns whether there was a row, and what the app's hook refused */
export async function removeByEvent(
  ctx: MutationCtx,
  clerkId: string,
  source: Source,
): Promise<{ outcome: "deleted" | "absent"; refusal?: string }> {
  const known = { version: await readVersion(ctx, clerkId) };
  const { wasHere, refusal } = await remove(ctx, clerkId, known, { event: source });
  const outcome = wasHere ? "deleted" : "absent";
  return refusal === null ? { outcome } : { outcome, refusal };
}

/** Removes the rows of an id and remembers that it is gone. */
async function remove(
  ctx: MutationCtx,
  clerkId: string,
  { version }: Pick<KnownRows, "version">,
  by: By,
): Promise<Removed> {
  const removed = await removeRows(ctx, clerkId, version?.kind === "tombstone");
  const gone = { kind: "tombstone" as const, clerkId, ...appliedBy(by) };
  await writeVersion(ctx, version, { ...gone, ...eventMarks(version, by.event) });
  return removed;
}

/** When, by whom and from which instance what is written now comes. */
function appliedBy({ event }: By): Pick<Version, "appliedAt" | "appliedBy" | "instanceId"> {
  const appliedAt = clock.now();
  if (event === undefined) return { appliedAt, appliedBy: "run" };
  return { appliedAt, appliedBy: "event", instanceId: event.instanceId };
}

type How = { by: By; dryRun?: boolean };

async function carryOut(
  ctx: MutationCtx,
  plan: Plan | Gone,
  known: KnownRows,
  { profile, version, newFields }: Incoming,
  { by, dryRun = false }: How,
): Promise<Outcome> {
  const incoming = { profile, version, newFields };
  if (plan.write === "nothing") return untouched(plan, known);
  const isVersion = plan.write === "version";
  if (dryRun) {
    if (isVersion) return { kind: "unchanged", fields: [], known };
    const {
      refusal: _,
      purged: __,
      ...outcome
    } = await rehearse(ctx, {
      ...incoming,
      kind: "user",
    });
    return { kind: "unchanged", fields: [], ...outcome, known };
  }
  const isHearsay = by.event !== undefined;
  const written = isVersion ? null : await write(ctx, plan, known, incoming, isHearsay);
  if (written?.kind === "refused" || written?.kind === "unclear") return { ...written, known };
  // A run's write does not end what an event said a moment ago.
  const marks = eventMarks(known.version, by.event);
  const untoldAt = by.event?.untoldAt ?? marks.untoldAt;
  // Nor what a run holds: only one that completes does.
  const { heldAt, isHeldByLimit } = known.version ?? {};
  const applied = { clerkId: profile.clerkId, kind: "live" as const, version, ...appliedBy(by) };
  const held = { heldAt, isHeldByLimit };
  await writeVersion(ctx, known.version, { ...applied, ...marks, untoldAt, ...held });
  return { ...(written ?? { kind: "unchanged", fields: [] }), known };
}

type Written = Pick<Outcome, "kind" | "fields" | "leftOut" | "reason">;

/**
 * Writes the row.
 * @param isHearsay whether only an event says so: where the schema does not take all of it, Clerk is asked
 * @returns what became of it; where nothing of it was written, it is `refused`, or `unclear`
 */
async function write(
  ctx: MutationCtx,
  plan: Extract<Plan, { write: "insert" | "patch" }>,
  known: KnownRows,
  incoming: Incoming,
  isHearsay: boolean,
): Promise<Written> {
  const { profile, newFields } = incoming;
  const isRefused = newFields !== undefined && "refusal" in newFields;
  const unwritten = (reason: string): Written => {
    return { kind: isHearsay && !isRefused ? "unclear" : "refused", fields: [], reason };
  };
  if (plan.write === "insert" || known.row === null) {
    const misfit = await createRow(ctx, known, incoming, isHearsay);
    if ("refusal" in misfit) return unwritten(misfit.refusal);
    return { kind: "created", ...namesOf(Object.keys(profile), misfit.leftOut) };
  }
  const leftOut = await updateRow(ctx, known.row, profile, plan.fields, isHearsay);
  const written = namesOf(plan.fields, leftOut);
  const isUnwritten = leftOut.length > 0 && (isHearsay || written.fields.length === 0);
  return isUnwritten ? unwritten(describeLeftOut(leftOut)) : { kind: "updated", ...written };
}

/** Which columns were written, and which were not. */
function namesOf(names: string[], leftOut: LeftOut[]): Pick<Outcome, "fields" | "leftOut"> {
  if (leftOut.length === 0) return { fields: names };
  const isLeftOut = (name: string) => leftOut.some(({ field }) => field === name);
  return { fields: names.filter((name) => !isLeftOut(name)), leftOut };
}

const REHEARSED = "rehearsed";
const vRehearsed = v.union(
  v.object({
    kind: v.literal("user"),
    profile: vProfile,
    version: v.number(),
    newFields: v.optional(vNewFields),
  }),
  v.object({ kind: v.literal("removed"), clerkId: v.string() }),
  v.object({ kind: v.literal("purged"), clerkId: v.string(), askedAt: v.number() }),
);
/** What would have become of a user, and, of one who is removed, what the app's hook refused; of marked rows how many go. */
type Rehearsed = Partial<Written> & { refusal: string | null; purged?: number };

/**
 * Does what a dry run must not do, and undoes it: what Convex or the app's own code refuses is
 * found out all the same. A nested mutation that throws is rolled back alone.
 */
async function rehearse(ctx: MutationCtx, change: Infer<typeof vRehearsed>): Promise<Rehearsed> {
  try {
    await ctx.runMutation(internal.clerk.mirror.rehearsal, { change });
  } catch (error) {
    const data: unknown = error instanceof ConvexError ? error.data : undefined;
    const isRehearsed = typeof data === "object" && data !== null && REHEARSED in data;
    if (!isRehearsed) throw error;
    return data[REHEARSED] as Rehearsed;
  }
  throw new Error("a rehearsal throws");
}

/** Writes or removes a user and throws. */
export const rehearsal = internalMutation({
  args: { change: vRehearsed },
  handler: async (ctx, { change }): Promise<never> => {
    let rehearsed: Rehearsed = { refusal: null };
    if (change.kind === "removed") {
      const known = await readKnown(ctx, change.clerkId);
      ({ refusal: rehearsed.refusal } = await remove(ctx, change.clerkId, known, BY_RUN));
    } else if (change.kind === "purged") {
      rehearsed.purged = await purgeRows(ctx, change.clerkId, change.askedAt);
    } else {
      const known = await readKnown(ctx, change.profile.clerkId, { isThere: true });
      const plan = insertOrPatch(known, change.profile);
      if (plan?.write === "insert" || plan?.write === "patch") {
        rehearsed = { ...(await write(ctx, plan, known, change, false)), refusal: null };
      }
    }
    throw new ConvexError({ [REHEARSED]: rehearsed });
  },
});

function untouched(plan: Plan | Gone, known: KnownRows): Outcome {
  if (plan.write !== "nothing" || plan.because === "equal") {
    return { kind: "unchanged", fields: [], known };
  }
  return { kind: plan.because, fields: [], reason: plan.reason, known };
}
