/** The functions that people and the schedule call, all internal. */
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api";
import { internalAction, internalQuery } from "../_generated/server";
import { conduct } from "./conductor";
import type { Begun } from "./lifecycle";
import { DriftLog, log, logEnd, reportOf, vReport, type Report } from "./report";
import type { RunOptions } from "./runs";
import { MAX_PAGE_SIZE, vDriftEntry } from "./validators";

/** Entries that a query returns: an array holds 8,192 elements. */
const MAX_ENTRIES_SHOWN = 8000;

/**
 * Runs a full reconciliation: every user of Clerk is compared with the mirror, every difference
 * repaired.
 * @param dryRun find out, change nothing
 * @param maxDeletions allow up to this many deletions instead of what the safety rules allow
 * @param pageSize users a request, 2 to 500
 * @returns the Report; that of the run under way, if there is one
 */
export const run = internalAction({
  args: {
    mode: v.optional(v.literal("full")),
    dryRun: v.optional(v.boolean()),
    maxDeletions: v.optional(v.number()),
    pageSize: v.optional(v.number()),
  },
  returns: vReport,
  handler: async (ctx, args): Promise<Report> => {
    const begun: Begun = await ctx.runMutation(internal.clerk.lifecycle.begin, optionsOf(args));
    if (!begun.acquired) return reportOf(begun.run);
    const { _id: runId, mode, dryRun } = begun.run;
    log("info", "reconcile.started", { runId, mode, dryRun });
    const drift = new DriftLog();
    const report = reportOf(await conduct(ctx, begun, drift));
    logEnd(report, drift.unlogged);
    return report;
  },
});

/** A run's Report and what it found; those of the newest run without `runId`. */
export const report = internalQuery({
  args: { runId: v.optional(v.id("reconcileRuns")) },
  returns: v.nullable(vReport.extend({ entries: v.array(vDriftEntry.omit("runId")) })),
  handler: async (ctx, { runId }) => {
    const run = runId
      ? await ctx.db.get("reconcileRuns", runId)
      : await ctx.db.query("reconcileRuns").order("desc").first();
    if (run === null) return null;
    const entries = await ctx.db
      .query("driftEntries")
      .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", run._id))
      .take(MAX_ENTRIES_SHOWN);
    return {
      ...reportOf(run),
      entries: entries.map(({ clerkId, kind, fields, action, reason }) => ({
        clerkId,
        kind,
        fields,
        action,
        reason,
      })),
    };
  },
});

type Options = { dryRun?: boolean; maxDeletions?: number; pageSize?: number };

function optionsOf({
  dryRun = false,
  maxDeletions,
  pageSize = MAX_PAGE_SIZE,
}: Options): RunOptions {
  requireInteger("pageSize", pageSize, 2, MAX_PAGE_SIZE);
  if (maxDeletions !== undefined) requireInteger("maxDeletions", maxDeletions, 0, Infinity);
  return { mode: "full", dryRun, maxDeletions, pageSize };
}

function requireInteger(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new ConvexError(`${name} must be a whole number ${range}, not ${value}.`);
}
