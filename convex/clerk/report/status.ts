/** Whether somebody has to look after the sync, and what to do then. */
import { type Infer, v } from "convex/values";
import type { Id } from "../../_generated/dataModel.js";
import type { QueryCtx } from "../../_generated/server.js";
import {
  FULL_PERIOD_MS,
  judgeDeliveries,
  newestEventInstance,
  readDeliveries,
  readSyncState,
  isPastResuming,
  runningRun,
  type SyncState,
} from "../memory/memory.js";
import { erasures, MANY_CALLS } from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import { environment, WEBHOOK_PATH } from "../shared/environment.js";
import { vEventType } from "../shared/user.js";
import { deploymentFlag, type Report, reportOf, runCommand, vReport } from "./report.js";

/** A full run is overdue when none has completed for so long: two periods. */
export const OVERDUE_MS = 2 * FULL_PERIOD_MS;

export const vVerdict = v.union(v.literal("healthy"), v.literal("attention"));

/** What `reconcile:status` returns. */
export const vStatus = v.object({
  verdict: vVerdict,
  /** Whether the health route answers 200: users whom Clerk does not list, and others' events, are no outage. */
  isUp: v.boolean(),
  /** What needs attention, and what to do about it: a sentence or two each. */
  reasons: v.array(v.string()),
  /** The Clerk instance that is mirrored, and that of the newest verified event. */
  instanceId: v.nullable(v.string()),
  eventInstanceId: v.nullable(v.string()),
  /** Times in ms since 1970: when the schedule last ran, and when the last full run that went through began. */
  lastTickAt: v.nullable(v.number()),
  lastFullRunStartedAt: v.nullable(v.number()),
  running: v.nullable(vReport),
  /** The last real run that completed, was held or failed, and the last full one that did not fail. */
  lastRun: v.nullable(vReport),
  lastFullRun: v.nullable(vReport),
  /** Rows that are marked as removed and wait to be purged, as the last full run counted them: see `purgeAfterMs`. */
  waiting: v.number(),
  /** Rows on their way out, while `hooks.erase` is at work; 100 stands for more, too. */
  erasing: v.number(),
  /** Of each kind of event when the last one came, and when a change was made that none has told of. */
  webhooks: v.array(
    v.object({
      type: vEventType,
      lastEventAt: v.nullable(v.number()),
      missedAt: v.nullable(v.number()),
      looksDead: v.boolean(),
    }),
  ),
});
export type Status = Infer<typeof vStatus>;

/** The verdict, and why. Reads a few small documents, and the clock: ask for it, don't subscribe to it. */
export async function statusOf(ctx: QueryCtx): Promise<Status> {
  const now = clock.now();
  const flag = await deploymentFlag(ctx);
  const state = await readSyncState(ctx);
  const { instanceId = null, lastTickAt = null, lastFullRunStartedAt = null } = state;
  const readReport = async (id: Id<"clerkRuns"> | undefined) => {
    const run = id && (await ctx.db.get("clerkRuns", id));
    return run ? reportOf(run, flag) : null;
  };
  const running = await runningRun(ctx);
  const lastRun = await readReport(state.lastRunId);
  const lastFullRun = await readReport(state.lastFullRunId);
  const webhooks = judgeDeliveries(await readDeliveries(ctx, state), now);
  const eventInstanceId = await newestEventInstance(ctx, state);
  const underErasure = await erasures(ctx);
  const isBackfilling = running !== null && !running.dryRun && !isPastResuming(running);
  const outages = [
    lastFullRunStartedAt === null
      ? whyNotBackfilled(state, lastRun, isBackfilling, now, flag)
      : whyOverdue(lastFullRunStartedAt, now, flag),
    whyHeld(lastFullRun, flag),
    whyFailed(lastRun, flag),
    whySetAside(lastFullRun, flag),
    whySetAside(await readReport(state.setAsideRunId), flag),
    whyNotErased(underErasure),
    whyDead(webhooks),
  ].filter(isReason);
  const remarks = [whyUnlisted(lastFullRun, flag), whyForeign(state, eventInstanceId)];
  const reasons = [...outages, ...remarks.filter(isReason)];
  return {
    verdict: reasons.length === 0 ? "healthy" : "attention",
    isUp: outages.length === 0,
    reasons,
    instanceId,
    eventInstanceId,
    lastTickAt,
    lastFullRunStartedAt,
    running: running && reportOf(running, flag),
    lastRun,
    lastFullRun,
    waiting: lastFullRun?.waiting ?? 0,
    erasing: underErasure.length,
    webhooks,
  };
}

function isReason(reason: string | false): reason is string {
  return reason !== false;
}

function whyOverdue(lastFullRunStartedAt: number, now: number, flag: string): string | false {
  if (now - lastFullRunStartedAt <= OVERDUE_MS) return false;
  const check = runCommand(flag, "doctor:check");
  return `No full run has completed since that of ${timeOf(lastFullRunStartedAt)}. What says whether the schedule runs: ${check}`;
}

function whyNotBackfilled(
  { isMoved = false, lastTickAt, _creationTime: since }: SyncState,
  lastRun: Report | null,
  isBackfilling: boolean,
  now: number,
  flag: string,
): string | false {
  const start = runCommand(flag, "reconcile:run");
  if (isMoved) {
    return `The Clerk instance was pinned by hand, and no full run has completed since. To start one: ${start}`;
  }
  if (!isBackfilling && lastRun === null) {
    const schedule =
      lastTickAt === undefined ? " Add the schedule to convex/crons.ts, and deploy." : "";
    return `No run has compared the table with Clerk yet.${schedule} To start one by hand: ${start}`;
  }
  if (since === undefined || now - since <= OVERDUE_MS) return false;
  const check = runCommand(flag, "doctor:check");
  return `No full run has completed yet, since ${timeOf(since)}. What says what is set up wrongly: ${check}`;
}

function whyHeld(run: Report | null, flag: string): string | false {
  if (run?.status !== "held") return false;
  const { runId, startedAt, summary, next } = run;
  const read = runCommand(flag, "reconcile:report", { runId });
  return `Deletions are held since the full run of ${timeOf(startedAt)}. ${summary} What shows whom it would delete: ${read} — and what deletes them, if they are to go: ${next}`;
}

function whyFailed(run: Report | null, flag: string): string | false {
  if (run?.status !== "failed") return false;
  const check = runCommand(flag, "doctor:check");
  return `The last run, of ${timeOf(run.startedAt)}, failed; the schedule tries again. ${run.summary} What says what is set up wrongly: ${check}`;
}

function whySetAside(run: Report | null, flag: string): string | false {
  if (run === null || run.setAside === 0) return false;
  const people = run.setAside === 1 ? "1 user was" : `${run.setAside} users were`;
  const read = runCommand(flag, "reconcile:report", { runId: run.runId });
  return `${people} set aside by the ${run.mode} run of ${timeOf(run.startedAt)}. When the cause is mended, a full run ends this. What shows whom, and why: ${read}`;
}

function whyNotErased(underErasure: { refusal?: string; step: number }[]): string | false {
  const refused = underErasure.flatMap(({ refusal, step }) => {
    return refusal ?? (step < MANY_CALLS ? [] : `it has said "more" ${step} times`);
  });
  const [first] = refused;
  if (first === undefined) return false;
  const rows = refused.length === 1 ? "1 row is" : `${refused.length} rows are`;
  return `${rows} of users who are gone, and stay, since hooks.erase of convex/clerk/app.ts does not get to its end: ${first}. Mend it: every tick tries again. The log says which (erase.failed).`;
}

function whyUnlisted(run: Report | null, flag: string): string | false {
  if (run === null || run.unlisted === 0) return false;
  const { clerkUsers, unlisted, startedAt, runId } = run;
  const read = runCommand(flag, "reconcile:report", { runId });
  const again = runCommand(flag, "reconcile:run");
  return `Clerk counts ${clerkUsers} users and lists ${clerkUsers - unlisted}, as the full run of ${timeOf(startedAt)} found. Whoever is in the list is mirrored. What shows what it did: ${read} — and what compares them once more: ${again}. Should it last, ask Clerk's support.`;
}

function whyForeign({ instanceId }: SyncState, foreign: string | null): string | false {
  if (instanceId === undefined || foreign === null || foreign === instanceId) return false;
  return `The newest webhook event is of the Clerk instance ${foreign}, but the table mirrors ${instanceId}: such events are ignored. Only the endpoint of ${instanceId} should have this deployment's address, and its signing secret be set here; if it is ${foreign} that is to be mirrored, move on purpose (clerk/reconcile:pinInstance). The next event of ${instanceId} ends this.`;
}

function whyDead(webhooks: Status["webhooks"]): string | false {
  const dead = describeDead(webhooks);
  return dead !== null && `${dead.found} ${dead.mend}`;
}

/** The kinds of events that look dead, in words; null where none does. */
export function describeDead(webhooks: Status["webhooks"]): { found: string; mend: string } | null {
  const kinds = webhooks.flatMap(({ type, missedAt, looksDead }) =>
    looksDead && missedAt !== null
      ? `no ${type} has come since ${timeOf(missedAt)}, when one was due`
      : [],
  );
  if (kinds.length === 0) return null;
  return {
    found: `Webhooks look dead: ${kinds.join("; ")}. Runs repair what is missed.`,
    mend: `In Clerk's dashboard → Webhooks, the endpoint has to be enabled, with the URL ${environment("CONVEX_SITE_URL")}${WEBHOOK_PATH} (or the path that convex/http.ts gives addClerkRoutes), and subscribed to user.created, user.updated and user.deleted. If its messages arrive, the log says why they are not used: webhook.rejected (another signing secret than CLERK_WEBHOOK_SECRET), webhook.ignored (another instance) or webhook.failed (no usable secret, or a transaction that threw). Then resend the failed messages there, or create, rename and delete a test user: the next event of the type ends this alarm.`,
  };
}

/** A time, ms, as people read it in logs: ISO 8601, UTC. */
export function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
