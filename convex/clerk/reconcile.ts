/** The functions that people and the schedule call, all internal. */
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import {
  internalAction,
  internalMutation,
  internalQuery,
  type ActionCtx,
} from "../_generated/server";
import { isInstanceId } from "./api";
import { deploymentFlag } from "./commands";
import { conduct, reasonOf } from "./conductor";
import { statusOf, vStatus, type Status } from "./health";
import { moveTo } from "./instance";
import type { Begun, Leased } from "./lifecycle";
import { SETTLING_MS } from "./plan";
import { isClerkId } from "./profile";
import { repairUser, vOutcome } from "./repair";
import { pageOfEntries } from "./driftEntries";
import { DriftLog } from "./driftLog";
import { log } from "./log";
import { logEnd, ReconcileError, reportOf, vReport, type Report } from "./report";
import { ClerkError, isConfigured } from "./request";
import { cancelRun, type RunOptions } from "./runs";
import { MAX_PAGE_SIZE, vDriftEntry, vMode } from "./validators";

/** Entries that a query returns: an array holds 8,192 elements. */
const MAX_ENTRIES_SHOWN = 8000;

/**
 * Runs a reconciliation: compares the users of Clerk with the mirror and repairs every difference.
 * @param mode `full` (default): everyone; `recent`: those changed since the last run, deleting nobody;
 *   `due`: full when the last full run is a day old, else recent
 * @param dryRun find out, change nothing; default false
 * @param maxDeletions allow up to this many deletions, instead of what the safety rules (`whyHold`)
 *   allow where it is left out
 * @param pageSize users a request, 2 to 500; default 500
 * @returns the Report, within about a minute: a longer run goes on by itself. The Report of the run
 *   under way, if there is one
 * @throws ConvexError for a pageSize or maxDeletions out of range
 * @throws ReconcileError when a run of the schedule (`due`) failed or is held, after it was recorded, so that
 *   exception reporting sees it
 */
export const run = internalAction({
  args: {
    mode: v.optional(v.union(vMode, v.literal("due"))),
    dryRun: v.optional(v.boolean()),
    maxDeletions: v.optional(v.number()),
    pageSize: v.optional(v.number()),
  },
  returns: vReport,
  handler: async (ctx, args): Promise<Report> => {
    const begun: Begun = await ctx.runMutation(internal.clerk.lifecycle.begin, optionsOf(args));
    const flag = await deploymentFlag(ctx);
    if (begun.kind === "busy") return reportOf(begun.run, flag);
    if (begun.closed) logEnd(reportOf(begun.closed, flag));
    const { _id: runId, mode, dryRun } = begun.run;
    const event = begun.kind === "resumed" ? "reconcile.resumed" : "reconcile.started";
    // Without a key the line that says so is all there is to say.
    if (isConfigured()) log("info", event, { runId, mode, dryRun });
    return await goOn(ctx, begun);
  },
});

/** Goes on with a run where another call left it. Scheduled by that one. @throws like `run` */
export const advance = internalAction({
  args: { runId: v.id("reconcileRuns"), step: v.number() },
  returns: v.null(),
  handler: async (ctx, at): Promise<null> => {
    const begun: Leased | null = await ctx.runQuery(internal.clerk.lifecycle.resume, at);
    if (begun !== null) {
      log("info", "reconcile.resumed", { runId: at.runId });
      await goOn(ctx, begun);
    }
    return null;
  },
});

async function goOn(ctx: ActionCtx, begun: Leased): Promise<Report> {
  const drift = new DriftLog(begun.run._id);
  const { run, isOvertaken } = await conduct(ctx, begun, drift).finally(() => {
    drift.end();
  });
  const report = reportOf(run, await deploymentFlag(ctx));
  if (isOvertaken || report.status === "running") return report;
  logEnd(report);
  if (run.mode === "full" && !run.dryRun) {
    await ctx.runMutation(internal.clerk.tombstones.prune, {});
  }
  const needsAttention = report.status === "failed" || report.status === "held";
  // Before there is a key, every tick of a new deployment would be an exception.
  const isNew = begun.pinnedInstanceId === null && !isConfigured();
  if (run.isScheduled && needsAttention && !isNew) throw new ReconcileError(report);
  return report;
}

/**
 * Repairs one user by Clerk's answer about that id: created, updated, deleted (only on 404
 * `resource_not_found`), unchanged, or absent from both. Unlike a run, it believes Clerk even
 * against an event of the last five minutes.
 * @throws ConvexError when Clerk can't be asked, or the user can't be mirrored
 */
export const user = internalAction({
  args: { clerkId: v.string(), dryRun: v.optional(v.boolean()) },
  returns: v.object({ clerkId: v.string(), outcome: vOutcome }),
  handler: async (ctx, { clerkId, dryRun = false }) => {
    if (!isClerkId(clerkId)) throw new ConvexError("clerkId must be a Clerk user id, user_….");
    try {
      const result = await repairUser(ctx, clerkId, { dryRun, settlingMs: 0 });
      const { outcome, reason } = result;
      if (outcome === "setAside") throw new ConvexError(`It can't be mirrored: ${reason}`);
      // Something else has just written the row, and is as right.
      return { clerkId, outcome: outcome === "postponed" ? "unchanged" : outcome };
    } catch (error) {
      if (error instanceof ClerkError) throw new ConvexError(error.message);
      throw error;
    }
  },
});

/**
 * Repairs one user about whom an event or a run left a doubt. Scheduled by
 * `requestRepair`, and by an app that misses a row of its own user.
 * @param instanceId the instance that was mirrored then: the doubt is about no other
 * @param runId the run that left the doubt: where it deletes nobody, nor does this
 */
export const repair = internalAction({
  args: {
    clerkId: v.string(),
    instanceId: v.optional(v.string()),
    runId: v.optional(v.id("reconcileRuns")),
  },
  returns: v.null(),
  handler: async (ctx, { clerkId, instanceId, runId }): Promise<null> => {
    try {
      const pinned: string | null = await ctx.runQuery(internal.clerk.instance.pinned, {});
      if (instanceId === undefined || pinned === instanceId) {
        await repairUser(ctx, clerkId, { dryRun: false, settlingMs: SETTLING_MS, runId });
        return null;
      }
    } catch (error) {
      // The next run settles it.
      log("error", "reconcile.failed", { clerkId, reason: reasonOf(error) });
    }
    await ctx.runMutation(internal.clerk.repair.forget, { clerkId });
    return null;
  },
});

/** Ends the run under way after its current page. @returns its Report, or null */
export const cancel = internalMutation({
  args: {},
  returns: v.nullable(vReport),
  handler: async (ctx): Promise<Report | null> => {
    const run = await cancelRun(ctx);
    if (run === null) return null;
    const report = reportOf(run, await deploymentFlag(ctx));
    logEnd(report);
    return report;
  },
});

/**
 * Moves the mirror to another Clerk instance: from now on only that one is believed. Whoever it does
 * not know is an orphan of the next full run, which that run holds until it is told otherwise.
 * @throws ConvexError for what is no instance id
 */
export const pinInstance = internalMutation({
  args: { instanceId: v.string() },
  returns: v.object({ instanceId: v.string(), before: v.nullable(v.string()) }),
  handler: async (ctx, { instanceId }) => {
    if (!isInstanceId(instanceId)) {
      throw new ConvexError("instanceId must be a Clerk instance id, ins_….");
    }
    const { before, cancelled } = await moveTo(ctx, instanceId);
    if (cancelled !== null) logEnd(reportOf(cancelled, await deploymentFlag(ctx)));
    return { instanceId, before };
  },
});

/** Whether somebody has to look after the sync: the verdict, why, and what the last runs did. */
export const status = internalQuery({
  args: {},
  returns: vStatus,
  handler: async (ctx): Promise<Status> => await statusOf(ctx),
});

/**
 * A run's Report and what it found; those of the newest run without `runId`.
 * @param cursor where to go on: `continueCursor` of the call before, which is null at the end; needs
 *   `runId`, since a newer run may have begun
 * @throws ConvexError for a cursor without runId
 */
export const report = internalQuery({
  args: { runId: v.optional(v.id("reconcileRuns")), cursor: v.optional(v.string()) },
  returns: v.nullable(
    vReport.extend({
      entries: v.array(vDriftEntry.omit("runId")),
      continueCursor: v.nullable(v.string()),
    }),
  ),
  handler: async (ctx, { runId, cursor = null }) => {
    if (cursor !== null && runId === undefined) {
      throw new ConvexError("cursor needs the runId of the Report that it came with.");
    }
    const run = runId
      ? await ctx.db.get("reconcileRuns", runId)
      : await ctx.db.query("reconcileRuns").order("desc").first();
    if (run === null) return null;
    const found = await pageOfEntries(ctx, run._id, cursor, MAX_ENTRIES_SHOWN);
    return {
      ...reportOf(run, await deploymentFlag(ctx)),
      entries: found.page.map(({ clerkId, kind, fields, action, reason }) => ({
        clerkId,
        kind,
        fields,
        action,
        reason,
      })),
      continueCursor: found.isDone ? null : found.continueCursor,
    };
  },
});

type Options = {
  mode?: RunOptions["mode"] | "due";
  dryRun?: boolean;
  maxDeletions?: number;
  pageSize?: number;
};

function optionsOf({ mode = "full", dryRun = false, ...rest }: Options) {
  const { maxDeletions, pageSize = MAX_PAGE_SIZE } = rest;
  requireInteger("pageSize", pageSize, 2, MAX_PAGE_SIZE);
  if (maxDeletions !== undefined) requireInteger("maxDeletions", maxDeletions, 0, Infinity);
  return { mode, dryRun, maxDeletions, pageSize };
}

function requireInteger(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new ConvexError(`${name} must be a whole number ${range}, not ${value}.`);
}
