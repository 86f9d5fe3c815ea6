/** Repair of one user whom a person names: asks Clerk about the very id, at once. */
import { ConvexError, type Infer, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { type ActionCtx, internalMutation } from "../../_generated/server.js";
import { checkInstance, Clerk } from "../api/api.js";
import { type DriftEntry, noteRun, readSyncState, reportOfToday } from "../memory/memory.js";
import { describeLeftOut, removeByEvidence } from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import { log } from "../shared/log.js";
import { orUndone, undo } from "../shared/undo.js";
import { type Reading, vReading } from "../shared/user.js";
import { Findings } from "./findings.js";
import { judgeOne, listRemoval } from "./judge.js";

/** What `reconcile:user` answers. `reason`: what is left out, or why it is too early to judge. */
export const vRepaired = v.object({
  clerkId: v.string(),
  outcome: v.union(
    v.literal("created"),
    v.literal("updated"),
    v.literal("deleted"),
    v.literal("unchanged"),
    v.literal("absent"),
  ),
  reason: v.optional(v.string()),
});
type Repaired = Infer<typeof vRepaired>;

/**
 * Asks Clerk about one user and repairs the row. What is found stands in the Report of the day's doubts.
 * @throws ClerkError when Clerk can't be asked, or is another instance than the one mirrored
 * @throws ConvexError when the user can't be mirrored, the mirror moves meanwhile, or a deletion finds nothing pinned, or
 *   is refused
 */
export async function repairUser(
  ctx: ActionCtx,
  clerkId: string,
  dryRun: boolean,
): Promise<Repaired> {
  const clerk = new Clerk();
  const pinned: string | null = await ctx.runQuery(internal.clerk.memory.instance.pinned, {});
  const instanceId = await checkInstance(clerk, pinned);
  const askedAt = clock.now();
  const answer = await clerk.getUser(clerkId);
  const args = { clerkId, instanceId, answer, askedAt, dryRun };
  const settled: Promise<Settled> = ctx.runMutation(internal.clerk.run.repair.settle, args);
  const { repaired, entries } = await orUndone(settled);
  for (const { kind, fields, action, reason } of entries) {
    log("info", "reconcile.drift", { clerkId, kind, fields, action, reason });
  }
  if (answer?.kind === "unreadable") {
    throw new ConvexError(`It can't be mirrored: ${answer.reason}`);
  }
  return repaired;
}

type Settled = { repaired: Repaired; entries: DriftEntry[] };

/** Applies Clerk's answer about an id. @throws ConvexError as `repairUser`; in a dry run with what it would give, see `undo` */
export const settle = internalMutation({
  args: {
    clerkId: v.string(),
    instanceId: v.string(),
    answer: v.nullable(vReading),
    askedAt: v.number(),
    dryRun: v.boolean(),
  },
  handler: async (ctx, { clerkId, instanceId, answer, askedAt, dryRun }): Promise<Settled> => {
    const { instanceId: pinned } = await readSyncState(ctx);
    if (pinned !== undefined && pinned !== instanceId) {
      throw new ConvexError("The mirror was moved to another Clerk instance meanwhile.");
    }
    const run = { ...(await reportOfToday(ctx)), dryRun };
    const findings = new Findings(ctx, run, true);
    const { counts, entries } = findings;
    const repaired =
      answer === null
        ? await removeNamed(findings, clerkId, { askedAt, isPinned: pinned !== undefined })
        : await judgeNamed(findings, clerkId, answer, askedAt);
    // Nothing stays of what is only tried, not even the entry.
    if (dryRun) undo({ repaired, entries });
    const hasFindings = run.hasFindings || entries.length > 0;
    await noteRun(ctx, run, { counts, hasFindings });
    return { repaired, entries };
  },
});

async function judgeNamed(
  findings: Findings,
  clerkId: string,
  answer: Reading,
  askedAt: number,
): Promise<Repaired> {
  const outcome = await judgeOne(findings, clerkId, answer, askedAt);
  const unheld = answer.kind === "profile" ? answer.leftOut : [];
  const leftOut = [...unheld, ...(outcome?.leftOut ?? [])];
  const reason = outcome?.reason ?? (leftOut.length > 0 ? describeLeftOut(leftOut) : undefined);
  const kind = outcome?.kind;
  const isWritten = kind === "created" || kind === "updated";
  return { clerkId, outcome: isWritten ? kind : "unchanged", reason };
}

async function removeNamed(
  findings: Findings,
  clerkId: string,
  { askedAt, isPinned }: { askedAt: number; isPinned: boolean },
): Promise<Repaired> {
  const { ctx, run, counts } = findings;
  const how = { askedAt, remover: { by: "person" as const }, dryRun: run.dryRun || !isPinned };
  const removal = await removeByEvidence(ctx, clerkId, how);
  if (removal.kind === "gone") return { clerkId, outcome: "absent" };
  if (!isPinned) {
    throw new ConvexError(
      "No Clerk instance is pinned yet, so nobody is deleted: run clerk/reconcile:run first.",
    );
  }
  if (removal.kind === "refused") throw new ConvexError({ refusal: removal.reason });
  if (removal.kind !== "removed") return { clerkId, outcome: "unchanged", reason: removal.reason };
  counts.drift.orphaned += 1;
  await listRemoval(findings, clerkId, removal);
  return { clerkId, outcome: "deleted", reason: removal.refusal ?? undefined };
}
