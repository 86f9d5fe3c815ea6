/** Carries out a plan: at once, or, where the app's own code sees it, or in a dry run, in a transaction of its own, as
 * whatever evidence removes.
 */
import { type Infer, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation, type MutationCtx } from "../../_generated/server.js";
import {
  eventMarks,
  noteVersion,
  readVersion,
  type Source,
  type Version,
} from "../memory/memory.js";
import { clock } from "../shared/clock.js";
import { refusalOf } from "../shared/log.js";
import { orUndone, undo } from "../shared/undo.js";
import {
  type LeftOut,
  type NewFields,
  type Profile,
  vNewFields,
  vProfile,
} from "../shared/user.js";
import { describeLeftOut, isWatched } from "./columns.js";
import { endErasures } from "./erasure.js";
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
/** By an event, or, without it, by a run or a repair, which ask only the mirrored instance. */
type How = { event?: Source; dryRun?: boolean } & Pick<Version, "untoldAt">;

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

/** Why the app's own code, or Convex, does not take a change: nothing of it was made. */
export type Refused = { kind: "refused"; reason: string };

/** Removes the rows of an id, and remembers that it is gone. @throws ConvexError with a `refusal` */
export async function removeHere(
  ctx: MutationCtx,
  clerkId: string,
  version: KnownRows["version"],
  event?: Source,
): Promise<Removed> {
  const removed = await removeRows(ctx, clerkId, version?.kind === "tombstone");
  const ended = { version: undefined, heldAt: undefined, isHeldByLimit: undefined };
  await noteVersion(ctx, version, {
    clerkId,
    kind: "tombstone",
    ...ended,
    ...appliedBy({ event }),
  });
  return removed;
}

/** A run's write does not end what an event said a moment ago. */
function appliedBy({ event, untoldAt }: How): Partial<Version> {
  return {
    appliedAt: clock.now(),
    appliedBy: event === undefined ? "run" : "event",
    instanceId: event?.instanceId,
    ...(event && eventMarks(event)),
    ...(untoldAt !== undefined && { untoldAt }),
  };
}

/** Carries out a plan, or, in a dry run, finds out what would become of the user. @throws like `apart` */
export async function carryOut(
  ctx: MutationCtx,
  plan: Plan | Gone,
  known: KnownRows,
  incoming: Incoming,
  { dryRun = false, ...how }: How,
): Promise<Outcome> {
  if (plan.write === "nothing") return untouched(plan, known);
  const { clerkId, clerkCreatedAt, columns, version, newFields } = incoming;
  const user = { clerkId, clerkCreatedAt, columns, version, newFields };
  let written: Written = UNCHANGED;
  if (plan.write !== "version") {
    const isHearsay = how.event !== undefined;
    // What is refused of an event undoes all that it did: it is noted apart, see `applyOrNote`.
    const isApart = dryRun || (!isHearsay && isWatched());
    written = isApart
      ? { fields: [], ...(await apart(ctx, { kind: "user", ...user }, dryRun)) }
      : await write(ctx, plan, known, user, isHearsay);
  }
  const isUnwritten = written.kind === "refused" || written.kind === "unclear";
  if (dryRun || isUnwritten) return { ...written, known };
  // An erasure stands beside a tombstone alone.
  if (known.version?.kind === "tombstone") await endErasures(ctx, clerkId);
  // What a run holds, only one that completes ends.
  await noteVersion(ctx, known.version, { clerkId, kind: "live", version, ...appliedBy(how) });
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

const vChange = v.union(
  vProfile.extend({
    kind: v.literal("user"),
    version: v.number(),
    newFields: v.optional(vNewFields),
  }),
  v.object({ kind: v.literal("removed"), clerkId: v.string() }),
  v.object({ kind: v.literal("purged"), clerkId: v.string(), askedAt: v.number() }),
);
type Made = { user: Written; removed: Removed; purged: number };

/**
 * Makes a change in a transaction within this one, so that it is undone alone where the app's own code refuses it; in a
 * dry run (`isTried`) it is undone in any case. @throws what is no refusal
 */
export async function apart<Kind extends keyof Made>(
  ctx: MutationCtx,
  change: Extract<Infer<typeof vChange>, { kind: Kind }>,
  isTried: boolean,
): Promise<Made[Kind] | Refused> {
  try {
    const made = ctx.runMutation(internal.clerk.mirror.write.make, { change, isTried });
    return (await orUndone(made)) as Made[Kind];
  } catch (error) {
    const reason = refusalOf(error);
    if (reason === null || (await isSpent(ctx))) throw error;
    return { kind: "refused", reason };
  }
}

/** Whether so much is used up that nothing may be left to write down what was refused. */
async function isSpent(ctx: MutationCtx): Promise<boolean> {
  const metrics = Object.values(await ctx.meta.getTransactionMetrics());
  return metrics.some(({ used, remaining }) => remaining * 10 < used);
}

/** Writes, removes or purges, as a transaction within another. @throws ConvexError with a `refusal`, or see `undo` */
export const make = internalMutation({
  args: { change: vChange, isTried: v.boolean() },
  handler: async (ctx, { change, isTried }): Promise<Made[keyof Made]> => {
    const made = await makeHere(ctx, change);
    return isTried ? undo(made) : made;
  },
});

async function makeHere(
  ctx: MutationCtx,
  change: Infer<typeof vChange>,
): Promise<Made[keyof Made]> {
  const { clerkId } = change;
  if (change.kind === "purged") return await purgeRows(ctx, clerkId, change.askedAt);
  if (change.kind === "removed") {
    return await removeHere(ctx, clerkId, await readVersion(ctx, clerkId));
  }
  const known = await readKnown(ctx, clerkId, { isThere: true });
  const plan = insertOrPatch(known, change);
  return plan === null ? UNCHANGED : await write(ctx, plan, known, change, false);
}

/** The outcome of a plan that writes nothing. */
export function untouched(plan: Plan | Gone, known: KnownRows): Outcome {
  if (plan.write !== "nothing" || plan.because === "equal") {
    return { ...UNCHANGED, known };
  }
  return { kind: plan.because, fields: [], reason: plan.reason, known };
}
