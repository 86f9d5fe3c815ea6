/** The functions that people and the schedule call, all internal. */
import { ConvexError, type Infer, v } from "convex/values";
import { internal } from "../_generated/api.js";
import {
  type ActionCtx,
  internalAction,
  internalMutation,
  internalQuery,
  type QueryCtx,
} from "../_generated/server.js";
import { ClerkError, isConfigured } from "./api/request.js";
import { moveTo } from "./memory/instance.js";
import { MAX_PAGE_SIZE, vDriftEntry, vReportMode, vRunAsked } from "./memory/model.js";
import { cancelRun } from "./memory/ended.js";
import type { Begun, Leased } from "./memory/lease.js";
import { newestRun, pageOfEntries, type Run } from "./memory/runs.js";
import {
  deploymentFlag,
  logEnd,
  ReconcileError,
  type Report,
  reportOf,
  vReport,
} from "./report/report.js";
import { type Status, statusOf, vStatus } from "./report/status.js";
import { repairUser, vRepaired } from "./run/repair.js";
import { conduct, reasonOf } from "./run/run.js";
import { log, refusalOf } from "./shared/log.js";
import { INSTANCE_ID, isClerkId } from "./shared/user.js";

/** Entries that a query returns: an array holds 8,192 elements. */
const MAX_ENTRIES_SHOWN = 8000;

/**
 * Runs a reconciliation: compares the users of Clerk with the mirror and repairs every difference.
 * @param mode `full` (default): everyone; `recent`: those changed since the last run, deleting nobody; `due`: full when
 *   the last full run is a day old, or a column of `fields.ts` has come or changed since, else recent
 * @param dryRun find out, change nothing; default false
 * @param maxDeletions users to delete or purge at most, in place of what the safety rules (`whyHold`) allow by default
 * @param pageSize users a request, 2 to 500; default 500
 * @returns the Report, within about a minute: a longer run goes on by itself; or that of the run under way
 * @throws ConvexError for a pageSize or maxDeletions out of range
 * @throws ReconcileError when a run of the schedule (`due`) failed or is held, once recorded, for exception reporting
 * @example npx convex run clerk/reconcile:run '{"dryRun":true}'
 */
export const run = internalAction({
  args: vRunAsked.partial(),
  returns: vReport,
  handler: async (ctx, args): Promise<Report> => {
    const options = optionsOf(args);
    const flag = await deploymentFlag(ctx);
    const begun = await beginOrFail(ctx, options);
    if ("state" in begun) return endOf(reportOf(begun, flag), begun);
    if (begun.kind === "busy") return reportOf(begun.run, flag);
    if (begun.closed) logEnd(reportOf(begun.closed, flag));
    const { _id: runId, mode, dryRun } = begun.run;
    const event = begun.kind === "resumed" ? "reconcile.resumed" : "reconcile.started";
    // Without a key the line that says so is all there is to say.
    if (isConfigured()) log("info", event, { runId, mode, dryRun });
    return await conductAndTell(ctx, begun, flag);
  },
});

/** @returns the run, failed, where its first transaction threw */
async function beginOrFail(ctx: ActionCtx, options: Asked) {
  try {
    const begun: Begun = await ctx.runMutation(internal.clerk.run.lifecycle.begin, options);
    return begun;
  } catch (error) {
    const reason = `it could not begin. ${reasonOf(error)}`;
    const failed: Run = await ctx.runMutation(internal.clerk.run.lifecycle.failToBegin, {
      ...options,
      reason,
    });
    return failed;
  }
}

/**
 * Goes on with a run, or with the day's doubts, where the call that scheduled this one left it.
 * @param step the checkpoint that it goes on from; without effect where another call has taken the run further
 * @param checked where the call before waited as Clerk wished: `Requests.fingerprint` of its key, and the instance of that
 * @throws ReconcileError like `run`
 */
export const advance = internalAction({
  args: { runId: v.id("clerkRuns"), step: v.number(), checked: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { checked, ...at }): Promise<null> => {
    const begun: Leased | null = await ctx.runQuery(internal.clerk.run.lifecycle.resume, at);
    if (begun === null) return null;
    const { mode, _id: runId } = begun.run;
    if (mode !== "doubts") log("info", "reconcile.resumed", { runId });
    await conductAndTell(ctx, begun, await deploymentFlag(ctx), checked);
    return null;
  },
});

async function conductAndTell(
  ctx: ActionCtx,
  begun: Leased,
  flag: string,
  checked?: string,
): Promise<Report> {
  const { run, isOvertaken, hasFound } = await conduct(ctx, begun, checked);
  const report = reportOf(run, flag);
  if (isOvertaken || report.status === "running") return report;
  // The day's doubts end many times, most of them without a finding.
  const isTold = run.mode !== "doubts" || hasFound || report.status === "failed";
  if (run.mode === "full" && !run.dryRun) {
    await ctx.runMutation(internal.clerk.memory.retention.pruneTombstones, {});
  }
  // Before there is a key, every tick of a new deployment would be an exception.
  const isNew = begun.pinnedInstanceId === null && !isConfigured();
  return endOf(report, run, { isTold, isNew });
}

/** Logs the end of a run. @throws ReconcileError where a run of the schedule needs somebody to look at it */
function endOf(report: Report, run: Run, { isTold = true, isNew = false } = {}): Report {
  if (isTold) logEnd(report);
  const needsAttention = report.status === "failed" || report.status === "held";
  if (run.isScheduled && needsAttention && !isNew) throw new ReconcileError(report);
  return report;
}

/**
 * Repairs one user by Clerk's answer about that id: created, updated, deleted (only on 404 `resource_not_found`),
 * unchanged, or absent from both. A person's word replaces the grounds of a hold for this id, but it may be too early
 * to judge: unchanged, with the reason.
 * @param dryRun say what would be done, change nothing; default false
 * @throws ConvexError for what is no Clerk user id, when Clerk can't be asked, or the user can't be mirrored
 * @example npx convex run clerk/reconcile:user '{"clerkId":"user_…"}'
 */
export const user = internalAction({
  args: { clerkId: v.string(), dryRun: v.optional(v.boolean()) },
  returns: vRepaired,
  handler: async (ctx, { clerkId, dryRun = false }): Promise<Infer<typeof vRepaired>> => {
    if (!isClerkId(clerkId)) throw new ConvexError("clerkId must be a Clerk user id, user_….");
    try {
      return await repairUser(ctx, clerkId, dryRun);
    } catch (error) {
      if (error instanceof ClerkError) throw new ConvexError(error.message);
      const refusal = refusalOf(error);
      if (refusal !== null) throw new ConvexError(`It was refused: ${refusal}.`);
      throw error;
    }
  },
});

/** Ends the run under way after its current page. @returns its Report; null where none is under way */
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

const vMoved = v.object({ instanceId: v.string(), before: v.nullable(v.string()) });

/**
 * Moves the mirror to another Clerk instance: only that one is believed from then on. Whoever it does not know is an
 * orphan of the next full run, which that run holds until it is told otherwise.
 * @returns the instance, and the one `before`; null where none was pinned
 * @throws ConvexError for what is no instance id
 * @example npx convex run clerk/reconcile:pinInstance '{"instanceId":"ins_…"}'
 */
export const pinInstance = internalMutation({
  args: { instanceId: v.string() },
  returns: vMoved,
  handler: async (ctx, { instanceId }): Promise<Infer<typeof vMoved>> => {
    if (!INSTANCE_ID.test(instanceId)) {
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

const vReportAndEntries = vReport.extend({
  entries: v.array(vDriftEntry.omit("runId")),
  continueCursor: v.nullable(v.string()),
});

/**
 * A run's Report and what it found.
 * @param mode the newest of this mode, without `runId`; where both are left out, the newest full or recent run
 * @param cursor where to go on: `continueCursor` of the call before; needs `runId`, since a newer run may have begun
 * @returns up to 8,000 entries, `continueCursor` null at the end; null where there is no such run
 * @throws ConvexError for a cursor without runId
 * @example npx convex run clerk/reconcile:report '{"mode":"doubts"}'
 */
export const report = internalQuery({
  args: {
    runId: v.optional(v.id("clerkRuns")),
    mode: v.optional(vReportMode),
    cursor: v.optional(v.string()),
  },
  returns: v.nullable(vReportAndEntries),
  handler: async (
    ctx,
    { runId, mode, cursor = null },
  ): Promise<Infer<typeof vReportAndEntries> | null> => {
    if (cursor !== null && runId === undefined) {
      throw new ConvexError("cursor needs the runId of the Report that it came with.");
    }
    const run = runId
      ? await ctx.db.get("clerkRuns", runId)
      : await newestOf(ctx, mode === undefined ? ["full", "recent"] : [mode]);
    if (run === null) return null;
    const found = await pageOfEntries(ctx, run._id, cursor, MAX_ENTRIES_SHOWN);
    return {
      ...reportOf(run, await deploymentFlag(ctx)),
      entries: found.page.map(({ clerkId, kind, fields, action, reason }) => {
        return { clerkId, kind, fields, action, reason };
      }),
      continueCursor: found.isDone ? null : found.continueCursor,
    };
  },
});

async function newestOf(ctx: QueryCtx, modes: Run["mode"][]): Promise<Run | null> {
  const runs = await Promise.all(modes.map(async (mode) => await newestRun(ctx, mode)));
  const [newest = null] = runs
    .flatMap((run) => run ?? [])
    .sort((a, b) => b._creationTime - a._creationTime);
  return newest;
}

type Asked = Infer<typeof vRunAsked>;

function optionsOf({ mode = "full", dryRun = false, ...rest }: Partial<Asked>): Asked {
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
