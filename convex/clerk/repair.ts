/** Repair of one user: asks Clerk about the very id, and believes it. */
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import type { Id } from "../_generated/dataModel";
import { internalMutation, type ActionCtx, type MutationCtx } from "../_generated/server";
import { Clerk } from "./api";
import { clock } from "./clock";
import { checkInstance } from "./instance";
import { applyEvidence, removeUser } from "./mirror";
import { noteMove } from "./moves";
import { forgetRepair, requestRepair } from "./pendingRepairs";
import { SETTLING_MS } from "./plan";
import { log } from "./log";
import { hasRow } from "./rows";
import { readSyncState } from "./syncState";
import { vReading } from "./validators";

/** What `reconcile:user` answers. */
export const vOutcome = v.union(
  v.literal("created"),
  v.literal("updated"),
  v.literal("deleted"),
  v.literal("unchanged"),
  v.literal("absent"),
);

const vResult = v.object({
  outcome: v.union(vOutcome, v.literal("postponed"), v.literal("setAside")),
  fields: v.array(v.string()),
  reason: v.optional(v.string()),
  /** Whether the user had a row before. */
  hadRow: v.boolean(),
});
type Result = typeof vResult.type;

type How = { dryRun: boolean; settlingMs: number; runId?: Id<"reconcileRuns"> };

/**
 * Asks Clerk about one user and repairs the row.
 * @param settlingMs how long what an event said stands against Clerk's answer
 * @param runId the run that left the user to this repair, if one did
 * @throws ClerkError when Clerk can't be asked, or is another instance than the one mirrored
 */
export async function repairUser(
  ctx: ActionCtx,
  clerkId: string,
  { dryRun, settlingMs, runId }: How,
): Promise<Result> {
  const clerk = new Clerk();
  const pinned: string | null = await ctx.runQuery(internal.clerk.instance.pinned, {});
  const instanceId = await checkInstance(clerk, pinned);
  const askedAt = clock.now();
  const answer = await clerk.getUser(clerkId);
  const args = { clerkId, instanceId, answer, askedAt, dryRun, settlingMs, runId };
  const result: Result = await ctx.runMutation(internal.clerk.repair.settle, args);
  const { outcome, fields, reason, hadRow } = result;
  if (outcome !== "unchanged" && outcome !== "absent") {
    const kind = answer === null ? "orphaned" : hadRow ? "stale" : "missing";
    const action = dryRun ? "none" : outcome;
    log("info", "reconcile.drift", { clerkId, kind, fields, action, reason });
  }
  return result;
}

/** A scheduled repair was not made. */
export const forget = internalMutation({
  args: { clerkId: v.string() },
  returns: v.null(),
  handler: async (ctx, { clerkId }): Promise<null> => {
    await forgetRepair(ctx, clerkId);
    return null;
  },
});

/** Applies Clerk's answer about one id. */
export const settle = internalMutation({
  args: {
    clerkId: v.string(),
    instanceId: v.string(),
    answer: v.nullable(vReading),
    askedAt: v.number(),
    dryRun: v.boolean(),
    settlingMs: v.number(),
    runId: v.optional(v.id("reconcileRuns")),
  },
  returns: vResult,
  handler: async (ctx, { clerkId, instanceId, answer, runId, ...how }): Promise<Result> => {
    if (!how.dryRun) await forgetRepair(ctx, clerkId);
    const { instanceId: pinned } = await readSyncState(ctx);
    if (pinned !== undefined && pinned !== instanceId) {
      throw new ConvexError("The mirror was moved to another Clerk instance meanwhile.");
    }
    if (answer?.kind === "unreadable") {
      const hadRow = await hasRow(ctx, clerkId);
      return { outcome: "setAside", fields: [], reason: answer.reason, hadRow };
    }
    const outcome = await applyEvidence(ctx, clerkId, answer, how);
    if (answer !== null && !how.dryRun) await noteMove(ctx, answer.profile, outcome);
    const { kind, fields, reason, known } = outcome;
    const hadRow = known.row !== null;
    switch (kind) {
      case "created":
      case "updated":
      case "unchanged":
        return { outcome: kind, fields, hadRow };
      case "gone":
        return { outcome: "absent", fields: [], hadRow };
      case "late":
      case "unclear":
        if (!how.dryRun) await requestRepair(ctx, clerkId, SETTLING_MS, runId);
        return { outcome: "postponed", fields: [], reason, hadRow };
      case "orphaned": {
        if (pinned === undefined) {
          throw new ConvexError(
            "No Clerk instance is pinned yet, so nobody is deleted: run clerk/reconcile:run first.",
          );
        }
        const whyNot = runId === undefined ? null : await whyNotRemoved(ctx, clerkId, runId);
        if (whyNot !== null) return { outcome: "postponed", fields: [], reason: whyNot, hadRow };
        if (!how.dryRun) await removeUser(ctx, clerkId, "run");
        return { outcome: "deleted", fields: [], hadRow };
      }
    }
  },
});

/** A run that holds its deletions holds those, too, that it left to repairs; one under way decides later. */
async function whyNotRemoved(
  ctx: MutationCtx,
  clerkId: string,
  runId: Id<"reconcileRuns">,
): Promise<string | null> {
  const status = (await ctx.db.get("reconcileRuns", runId))?.state.kind;
  if (status === "completed") return null;
  if (status !== "running") return "the run that left it to this repair deletes nobody";
  await requestRepair(ctx, clerkId, SETTLING_MS, runId);
  return "the run that left it to this repair is still under way";
}
