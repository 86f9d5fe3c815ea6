/** Carries out a plan, or, in a dry run, does so and undoes it. */
import { type Infer, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation, type MutationCtx } from "../../_generated/server.js";
import { eventMarks, type Source, type Version, writeVersion } from "../memory/memory.js";
import { clock } from "../shared/clock.js";
import { orUndone, undo } from "../shared/undo.js";
import {
  type LeftOut,
  type NewFields,
  type Profile,
  vNewFields,
  vProfile,
} from "../shared/user.js";
import { describeLeftOut } from "./columns.js";
import { columnsOf, type Gone, insertOrPatch, type Plan } from "./plan.js";
import {
  createRow,
  type KnownRows,
  purgeRows,
  readKnown,
  type Removed,
  removeRows,
  updateRow,
} from "./rows.js";

export type Incoming = Profile & { version: number; newFields?: NewFields };
/** An event, or, without it, a run or a repair, which ask only the mirrored instance. */
type By = { event?: Source & Pick<Version, "untoldAt"> };
export const BY_RUN: By = {};

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

export type Outcome = {
  kind: Infer<typeof vOutcomeKind>;
  /** Names of the columns that were or would be written. */
  fields: string[];
  reason?: string;
  leftOut?: LeftOut[];
  /** What was known before; where a listed user is unchanged, without the version. */
  known: KnownRows;
};

/** Removes the rows of an id and remembers that it is gone. @throws like `removeRows` */
export async function remove(
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

function appliedBy({ event }: By): Pick<Version, "appliedAt" | "appliedBy" | "instanceId"> {
  const appliedAt = clock.now();
  if (event === undefined) return { appliedAt, appliedBy: "run" };
  return { appliedAt, appliedBy: "event", instanceId: event.instanceId };
}

type How = { by: By; dryRun?: boolean };

/** Carries out a plan, or, in a dry run, finds out what would become of the user. @throws like `createRow` */
export async function carryOut(
  ctx: MutationCtx,
  plan: Plan | Gone,
  known: KnownRows,
  incoming: Incoming,
  { by, dryRun = false }: How,
): Promise<Outcome> {
  if (plan.write === "nothing") return untouched(plan, known);
  const { clerkId, clerkCreatedAt, columns, version, newFields } = incoming;
  const user = { clerkId, clerkCreatedAt, columns, version, newFields };
  let written: Written = UNCHANGED;
  if (plan.write !== "version") {
    written = dryRun
      ? await rehearse(ctx, { kind: "user", ...user })
      : await write(ctx, plan, known, user, by.event !== undefined);
  }
  const isUnwritten = written.kind === "refused" || written.kind === "unclear";
  if (dryRun || isUnwritten) return { ...written, known };
  // A run's write does not end what an event said a moment ago.
  const marks = eventMarks(known.version, by.event);
  const untoldAt = by.event?.untoldAt ?? marks.untoldAt;
  // Nor what a run holds: only one that completes does.
  const { heldAt, isHeldByLimit } = known.version ?? {};
  const applied = { clerkId, kind: "live" as const, version, ...appliedBy(by) };
  const held = { heldAt, isHeldByLimit };
  await writeVersion(ctx, known.version, { ...applied, ...marks, untoldAt, ...held });
  return { ...written, known };
}

type Written = Pick<Outcome, "kind" | "fields" | "leftOut" | "reason">;
const UNCHANGED: Written = { kind: "unchanged", fields: [] };

/** If `isHearsay`, only an event says so: what the schema does not take as a whole is `unclear`, and Clerk is asked. */
async function write(
  ctx: MutationCtx,
  plan: Extract<Plan, { write: "insert" | "patch" }>,
  known: KnownRows,
  incoming: Incoming,
  isHearsay: boolean,
): Promise<Written> {
  const { newFields } = incoming;
  const isRefused = newFields !== undefined && "refusal" in newFields;
  const unwritten = (reason: string): Written => {
    return { kind: isHearsay && !isRefused ? "unclear" : "refused", fields: [], reason };
  };
  if (plan.write === "insert" || known.row === null) {
    const misfit = await createRow(ctx, known, incoming, isHearsay);
    if ("refusal" in misfit) return unwritten(misfit.refusal);
    return { kind: "created", ...namesOf(Object.keys(columnsOf(incoming)), misfit.leftOut) };
  }
  const leftOut = await updateRow(ctx, known.row, incoming, plan.fields, isHearsay);
  const written = namesOf(plan.fields, leftOut);
  const isUnwritten = leftOut.length > 0 && (isHearsay || written.fields.length === 0);
  return isUnwritten ? unwritten(describeLeftOut(leftOut)) : { kind: "updated", ...written };
}

function namesOf(names: string[], leftOut: LeftOut[]): Pick<Outcome, "fields" | "leftOut"> {
  if (leftOut.length === 0) return { fields: names };
  const isLeftOut = (name: string) => leftOut.some(({ field }) => field === name);
  return { fields: names.filter((name) => !isLeftOut(name)), leftOut };
}

const vRehearsed = v.union(
  vProfile.extend({
    kind: v.literal("user"),
    version: v.number(),
    newFields: v.optional(vNewFields),
  }),
  v.object({ kind: v.literal("removed"), clerkId: v.string() }),
  v.object({ kind: v.literal("purged"), clerkId: v.string(), askedAt: v.number() }),
);
/** What would have become of a user; or what the app's hook refused of a removal; or how many marked rows go. */
type Rehearsed = { user: Written; removed: string | null; purged: number };

/**
 * Does what a dry run must not do, and undoes it: what Convex or the app's own code refuses is found out all the same.
 * A nested mutation that throws is rolled back alone. @throws what refuses the change
 */
export async function rehearse<Kind extends keyof Rehearsed>(
  ctx: MutationCtx,
  change: Extract<Infer<typeof vRehearsed>, { kind: Kind }>,
): Promise<Rehearsed[Kind]> {
  return await orUndone(ctx.runMutation(internal.clerk.mirror.write.rehearsal, { change }));
}

/** Writes, removes or purges, and undoes it. @throws ConvexError with what would have become of it, see `undo` */
export const rehearsal = internalMutation({
  args: { change: vRehearsed },
  handler: async (ctx, { change }): Promise<never> => {
    switch (change.kind) {
      case "removed": {
        const known = await readKnown(ctx, change.clerkId);
        return undo((await remove(ctx, change.clerkId, known, BY_RUN)).refusal);
      }
      case "purged":
        return undo(await purgeRows(ctx, change.clerkId, change.askedAt));
      case "user": {
        const known = await readKnown(ctx, change.clerkId, { isThere: true });
        const plan = insertOrPatch(known, change);
        return undo(plan === null ? UNCHANGED : await write(ctx, plan, known, change, false));
      }
    }
  },
});

/** The outcome of a plan that writes nothing. */
export function untouched(plan: Plan | Gone, known: KnownRows): Outcome {
  if (plan.write !== "nothing" || plan.because === "equal") {
    return { ...UNCHANGED, known };
  }
  return { kind: plan.because, fields: [], reason: plan.reason, known };
}
