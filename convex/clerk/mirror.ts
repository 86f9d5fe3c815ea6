/**
 * The one way by which users are written: reads what is known, lets `plan` decide, applies. Events
 * come in as mutations; runs call the helpers inside their own steps.
 */
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalMutation, type MutationCtx } from "../_generated/server";
import { clock } from "./clock";
import { noteEvent, noteUntold } from "./deliveries";
import { noteMove } from "./moves";
import {
  differingFields,
  planEvent,
  planEvidence,
  planListed,
  SETTLING_MS,
  type Gone,
  type Plan,
} from "./plan";
import { requestRepair } from "./pendingRepairs";
import {
  createRow,
  firstRowOf,
  isMirrored,
  readKnown,
  readVersion,
  removeRows,
  updateRow,
  writeVersion,
  type KnownRows,
  type User,
} from "./rows";
import { readSyncState } from "./syncState";
import { vEventType, vProfile, type Profile, type Version } from "./validators";

type Incoming = { profile: Profile; version: number };
type By = Version["appliedBy"];

/** What became of a user, or would have in a dry run: "user_1 has been …". */
export type Outcome = {
  kind:
    | "created"
    | "updated"
    | "unchanged"
    /** Not in Clerk: to be removed, or not here either. */
    | "orphaned"
    | "gone"
    /** Left as it is, for a reason. */
    | "late"
    | "unclear";
  /** Names of the profile fields that were or would be written. */
  fields: string[];
  reason?: string;
  /** What was known before. */
  known: KnownRows;
};

type Applied = { outcome: string; reason?: string };

/**
 * Applies a verified event in one transaction.
 * @returns what became of it: `late` and `unclear` change nothing; where it is unclear, Clerk is asked
 */
export const applyEvent = internalMutation({
  args: {
    type: vEventType,
    instanceId: v.optional(v.string()),
    change: v.union(
      v.object({ kind: v.literal("user"), profile: vProfile, version: v.number() }),
      v.object({ kind: v.literal("deleted"), clerkId: v.string() }),
      /** It names a user and says nothing that can be used. */
      v.object({ kind: v.literal("unreadable"), clerkId: v.string(), reason: v.string() }),
    ),
  },
  returns: v.object({ outcome: v.string(), reason: v.optional(v.string()) }),
  handler: async (ctx, { type, instanceId, change }): Promise<Applied> => {
    const state = await readSyncState(ctx);
    if (state.instanceId !== undefined && instanceId !== state.instanceId) {
      return { outcome: "foreign", reason: `${instanceId} is not ${state.instanceId}` };
    }
    await noteEvent(ctx, state, type);
    if (change.kind === "deleted") return await removeUser(ctx, change.clerkId, "event");
    if (change.kind === "unreadable") {
      await requestRepair(ctx, change.clerkId, 0);
      return { outcome: "unclear", reason: change.reason };
    }
    const { clerkId } = change.profile;
    const known = await readKnown(ctx, clerkId);
    const plan = planEvent(known, change, {
      now: clock.now(),
      fullRunStartedAt: state.fullRunStartedAt ?? -Infinity,
    });
    const outcome = await carryOut(ctx, plan, known, change, { by: "event" });
    if (outcome.kind === "unclear") await requestRepair(ctx, clerkId, 0);
    await noteMove(ctx, change.profile, outcome);
    const isUntold =
      outcome.kind === "created" && known.version === null && type !== "user.created";
    if (isUntold) await noteUntold(ctx, change.profile.clerkCreatedAt);
    return { outcome: outcome.kind, reason: outcome.reason };
  },
});

/**
 * The app refused an event: it came all the same, and is tried once more when its change has settled.
 * After that the next run sets the user aside, or finds it mended.
 */
export const noteRefused = internalMutation({
  args: { type: vEventType, clerkId: v.string() },
  returns: v.null(),
  handler: async (ctx, { type, clerkId }): Promise<null> => {
    await noteEvent(ctx, await readSyncState(ctx), type);
    await requestRepair(ctx, clerkId, SETTLING_MS);
    return null;
  },
});

type How = { by: By; dryRun?: boolean };

/**
 * Compares a user of a listing with the mirror and repairs the difference.
 * @param row a row of the user where the caller has read one already
 * @param seenAt ms, taken before the listing was asked for
 */
export async function applyListed(
  ctx: MutationCtx,
  user: Incoming,
  { row, seenAt, dryRun }: { row: User | undefined; seenAt: number; dryRun: boolean },
): Promise<Outcome> {
  // The common case, decided without a further read.
  const mine = row ?? (await firstRowOf(ctx, user.profile.clerkId));
  if (mine && isMirrored(mine) && differingFields(mine, user.profile).length === 0) {
    const known = { row: mine, marked: null, version: null, isDuplicated: false };
    return { kind: "unchanged", fields: [], known };
  }
  const known = await readKnown(ctx, user.profile.clerkId);
  return await carryOut(ctx, planListed(known, user, seenAt), known, user, { by: "run", dryRun });
}

/**
 * Settles one id by Clerk's answer about it, null for "not found". Deletes nobody: an orphan is
 * only reported.
 * @param askedAt ms, taken before Clerk was asked
 * @param settlingMs how long what an event said stands against Clerk's answer
 */
export async function applyEvidence(
  ctx: MutationCtx,
  clerkId: string,
  answer: Incoming | null,
  { askedAt, dryRun, settlingMs }: { askedAt: number; dryRun: boolean; settlingMs?: number },
): Promise<Outcome> {
  const known = await readKnown(ctx, clerkId);
  const verdict = planEvidence(known, answer, askedAt, settlingMs);
  if (verdict.write === "remove") return { kind: "orphaned", fields: [], known };
  if (answer === null) return untouched(verdict, known);
  return await carryOut(ctx, verdict, known, answer, { by: "run", dryRun });
}

/** Removes the rows of an id and remembers that it is gone. */
export async function removeUser(ctx: MutationCtx, clerkId: string, by: By) {
  const wasHere = await removeRows(ctx, clerkId);
  await writeVersion(ctx, await readVersion(ctx, clerkId), {
    kind: "tombstone",
    clerkId,
    appliedAt: clock.now(),
    appliedBy: by,
  });
  return { outcome: wasHere ? "deleted" : "absent" };
}

async function carryOut(
  ctx: MutationCtx,
  plan: Plan | Gone,
  known: KnownRows,
  { profile, version }: Incoming,
  { by, dryRun }: How,
): Promise<Outcome> {
  if (plan.write === "nothing") return untouched(plan, known);
  if (dryRun && plan.write !== "version") {
    const fields = plan.write === "patch" ? plan.fields : null;
    await rehearse(ctx, { kind: "user", profile, version, fields });
  }
  if (!dryRun) {
    if (plan.write === "insert") await createRow(ctx, known, profile);
    else if (plan.write === "patch" && known.row) {
      await updateRow(ctx, known.row, profile, plan.fields);
    }
    const applied = { clerkId: profile.clerkId, appliedAt: clock.now(), appliedBy: by };
    await writeVersion(ctx, known.version, { kind: "live", version, ...applied });
  }
  if (plan.write === "version") return { kind: "unchanged", fields: [], known };
  const fields = plan.write === "insert" ? Object.keys(profile) : plan.fields;
  return { kind: plan.write === "insert" ? "created" : "updated", fields, known };
}

const REHEARSED = "rehearsed";
const vRehearsed = v.union(
  /** `fields`: those to patch; null for a new row. */
  v.object({
    kind: v.literal("user"),
    profile: vProfile,
    version: v.number(),
    fields: v.nullable(v.array(v.string())),
  }),
  v.object({ kind: v.literal("removed"), clerkId: v.string() }),
);

/**
 * Does what a dry run must not do, and undoes it: what Convex or the app's own code refuses is
 * found out all the same. A nested mutation that throws is rolled back alone.
 */
export async function rehearse(ctx: MutationCtx, change: Infer<typeof vRehearsed>): Promise<void> {
  try {
    await ctx.runMutation(internal.clerk.mirror.rehearsal, { change });
  } catch (error) {
    if (!(error instanceof ConvexError) || error.data !== REHEARSED) throw error;
  }
}

/** Writes or removes a user and throws. */
export const rehearsal = internalMutation({
  args: { change: vRehearsed },
  handler: async (ctx, { change }): Promise<never> => {
    if (change.kind === "removed") await removeUser(ctx, change.clerkId, "run");
    else {
      const { profile, version, fields } = change;
      const plan: Plan = fields === null ? { write: "insert" } : { write: "patch", fields };
      const known = await readKnown(ctx, profile.clerkId);
      await carryOut(ctx, plan, known, { profile, version }, { by: "run" });
    }
    throw new ConvexError(REHEARSED);
  },
});

function untouched(plan: Plan | Gone, known: KnownRows): Outcome {
  if (plan.write !== "nothing" || plan.because === "equal") {
    return { kind: "unchanged", fields: [], known };
  }
  return { kind: plan.because, fields: [], reason: plan.reason, known };
}
