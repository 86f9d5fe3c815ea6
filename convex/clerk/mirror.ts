/**
 * The one way by which users are written: reads what is known, lets `plan` decide, applies. Events,
 * runs and repairs call it inside their own transactions.
 */
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalMutation, type MutationCtx } from "../_generated/server";
import { clock } from "./clock";
import {
  differingFields,
  insertOrPatch,
  planEvent,
  planEvidence,
  planListed,
  type Gone,
  type Plan,
} from "./plan";
import {
  createRow,
  isMirrored,
  readKnown,
  readRows,
  readVersion,
  removeRows,
  updateRow,
  writeVersion,
  type KnownRows,
  type User,
} from "./rows";
import { vProfile, type Profile, type Version } from "./validators";

type Incoming = { profile: Profile; version: number };
type By = Version["appliedBy"];

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
);

/** What became of a user, and what was known before. */
export type Outcome = {
  kind: Infer<typeof vOutcomeKind>;
  /** Names of the profile fields that were or would be written. */
  fields: string[];
  reason?: string;
  /** What was known before; where a listed user is unchanged, without the version. */
  known: KnownRows;
};

/**
 * Applies what an event says of a user.
 * @param fullRunStartedAt when the newest full run began, ms
 * @returns what became of the user: `late` and `unclear` change nothing
 */
export async function applyEvent(
  ctx: MutationCtx,
  user: Incoming,
  fullRunStartedAt: number,
): Promise<Outcome> {
  const known = await readKnown(ctx, user.profile.clerkId);
  const plan = planEvent(known, user, { now: clock.now(), fullRunStartedAt });
  return await carryOut(ctx, plan, known, user, { by: "event" });
}

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
  const rows =
    row && isMirrored(row)
      ? { row, marked: null, isDuplicated: false }
      : await readRows(ctx, user.profile.clerkId);
  if (rows.row && differingFields(rows.row, user.profile).length === 0) {
    return { kind: "unchanged", fields: [], known: { ...rows, version: null } };
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

/**
 * Removes the rows of an id and remembers that it is gone.
 * @returns whether there were any
 */
export async function removeUser(
  ctx: MutationCtx,
  clerkId: string,
  by: By,
): Promise<{ outcome: "deleted" | "absent" }> {
  const wasHere = await removeRows(ctx, clerkId);
  await writeVersion(ctx, await readVersion(ctx, clerkId), {
    kind: "tombstone",
    clerkId,
    appliedAt: clock.now(),
    appliedBy: by,
  });
  return { outcome: wasHere ? "deleted" : "absent" };
}

type How = { by: By; dryRun?: boolean };

async function carryOut(
  ctx: MutationCtx,
  plan: Plan | Gone,
  known: KnownRows,
  { profile, version }: Incoming,
  { by, dryRun }: How,
): Promise<Outcome> {
  if (plan.write === "nothing") return untouched(plan, known);
  if (dryRun && plan.write !== "version") {
    await rehearse(ctx, { kind: "user", profile, version });
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
  v.object({ kind: v.literal("user"), profile: vProfile, version: v.number() }),
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
      const known = await readKnown(ctx, change.profile.clerkId);
      const plan = insertOrPatch(known, change.profile);
      if (plan !== null) await carryOut(ctx, plan, known, change, { by: "run" });
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
