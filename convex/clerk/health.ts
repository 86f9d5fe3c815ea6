/** Whether somebody has to look after the sync, and what to do then. */
import { v, type Infer } from "convex/values";
import type { Id } from "../_generated/dataModel";
import { env, type QueryCtx } from "../_generated/server";
import { clock } from "./clock";
import { deploymentFlag, runCommand } from "./commands";
import { judgeDeliveries } from "./deliveries";
import { WEBHOOK_PATH } from "./paths";
import { reportOf, vReport, type Report } from "./report";
import { FULL_PERIOD_MS, runningRun } from "./runs";
import { readSyncState, type SyncState } from "./syncState";
import { vEventType } from "./validators";

/** A full run is overdue when none has completed for so long: two periods. */
export const OVERDUE_MS = 2 * FULL_PERIOD_MS;

export const vVerdict = v.union(v.literal("healthy"), v.literal("attention"));

export const vStatus = v.object({
  verdict: vVerdict,
  /** What needs attention, and what to do about it: a sentence or two each. */
  reasons: v.array(v.string()),
  /** The Clerk instance that is mirrored. */
  instanceId: v.nullable(v.string()),
  /** Times in ms since 1970: when the schedule last ran, and when the last full run that went through began. */
  lastTickAt: v.nullable(v.number()),
  lastFullRunStartedAt: v.nullable(v.number()),
  running: v.nullable(vReport),
  /** The last real run that completed, was held or failed, and the last full one that did not fail. */
  lastRun: v.nullable(vReport),
  lastFullRun: v.nullable(vReport),
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

/** Reads a few small documents, and the clock: ask for it, don't subscribe to it. */
export async function statusOf(ctx: QueryCtx): Promise<Status> {
  const now = clock.now();
  const flag = await deploymentFlag(ctx);
  const state = await readSyncState(ctx);
  const { instanceId = null, lastTickAt = null, lastFullRunStartedAt = null } = state;
  const readReport = async (id: Id<"reconcileRuns"> | undefined) => {
    const run = id && (await ctx.db.get("reconcileRuns", id));
    return run ? reportOf(run, flag) : null;
  };
  const running = await runningRun(ctx);
  const status = {
    instanceId,
    lastTickAt,
    lastFullRunStartedAt,
    running: running && reportOf(running, flag),
    lastRun: await readReport(state.lastRunId),
    lastFullRun: await readReport(state.lastFullRunId),
    webhooks: judgeDeliveries(state, now),
  };
  const setAsideRun = await readReport(state.setAsideRunId);
  const reasons = [
    whyOverdue(status, state, now, flag),
    status.lastFullRun?.status === "held" && whyHeld(status.lastFullRun, flag),
    status.lastRun?.status === "failed" && whyFailed(status.lastRun, flag),
    setAsideRun !== null && whySetAside(setAsideRun, flag),
    whyDead(status.webhooks),
  ].filter((reason) => typeof reason === "string");
  return { verdict: reasons.length === 0 ? "healthy" : "attention", reasons, ...status };
}

type Seen = Pick<Status, "running" | "lastRun" | "lastFullRunStartedAt">;

function whyOverdue(
  { running, lastRun, lastFullRunStartedAt }: Seen,
  { isMoved = false, _creationTime: since }: SyncState,
  now: number,
  flag: string,
): string | false {
  const start = runCommand(flag, "reconcile:run");
  const check = runCommand(flag, "doctor:check");
  if (lastFullRunStartedAt !== null) {
    return (
      now - lastFullRunStartedAt > OVERDUE_MS &&
      `No full run has completed since that of ${timeOf(lastFullRunStartedAt)}: ${check} says whether the schedule runs. By hand: ${start}`
    );
  }
  if (isMoved) {
    return `The Clerk instance was pinned by hand, and no full run has completed since: ${start}`;
  }
  if (running === null && lastRun === null) {
    return `Nothing was ever compared with Clerk: add the schedule to convex/crons.ts and deploy, or ${start}`;
  }
  return (
    since !== undefined &&
    now - since > OVERDUE_MS &&
    `No full run has completed yet, since ${timeOf(since)}: ${check} says what is set up wrongly.`
  );
}

function whyHeld({ runId, summary, next, startedAt }: Report, flag: string): string {
  const read = runCommand(flag, "reconcile:report", { runId });
  return `The full run of ${timeOf(startedAt)} is held. ${summary} Look at whom it would delete: ${read} If they are to go: ${next}`;
}

function whyFailed({ summary, startedAt }: Report, flag: string): string {
  const check = runCommand(flag, "doctor:check");
  return `The last run, of ${timeOf(startedAt)}, failed. ${summary} What is set up wrongly, if anything: ${check} The schedule tries again.`;
}

function whySetAside({ runId, setAside, startedAt }: Report, flag: string): string {
  const people = setAside === 1 ? "1 user was" : `${setAside} users were`;
  const read = runCommand(flag, "reconcile:report", { runId });
  const run = runCommand(flag, "reconcile:run");
  return `${people} set aside by the run of ${timeOf(startedAt)}. Who, and why: ${read} When it is mended: ${run}`;
}

function whyDead(webhooks: Status["webhooks"]): string | false {
  const dead = describeDead(webhooks);
  return dead !== null && `${dead.found} ${dead.mend}`;
}

/** The kinds of events that look dead, in words; null where none does. */
export function describeDead(webhooks: Status["webhooks"]): { found: string; mend: string } | null {
  const kinds = webhooks.flatMap(({ type, missedAt, looksDead }) =>
    looksDead ? `no ${type} has come since ${timeOf(missedAt ?? 0)}, when one was due` : [],
  );
  if (kinds.length === 0) return null;
  return {
    found: `Webhooks look dead: ${kinds.join("; ")}. Runs repair what is missed.`,
    mend: `In Clerk's dashboard → Webhooks, the endpoint has to be enabled, with the URL ${env.CONVEX_SITE_URL}${WEBHOOK_PATH}, subscribed to user.created, user.updated and user.deleted, and its signing secret has to be CLERK_WEBHOOK_SECRET: a wrong one shows in the log as webhook.rejected. Then resend the failed messages there; the next event of the kind ends this alarm.`,
  };
}

export function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
