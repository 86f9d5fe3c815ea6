/** What people read of a run: the Report, its sentence, the next command; and the lines of the log about what it finds. */
import type { DeploymentMetadata } from "convex/server";
import { type Infer, v } from "convex/values";
import { type DriftEntry, type Run, vReported, vReportMode } from "../memory/memory.js";
import { log } from "../shared/log.js";
import { isClerkId } from "../shared/user.js";

/** What `reconcile:run` returns and the log's last line of a run holds. Counts are explained at `vReported`. */
export const vReport = v.object({
  summary: v.string(),
  /** The command to type, when there is something to do. */
  next: v.nullable(v.string()),
  status: v.union(
    v.literal("running"),
    v.literal("completed"),
    v.literal("held"),
    v.literal("failed"),
    v.literal("cancelled"),
  ),
  runId: v.id("clerkRuns"),
  mode: vReportMode,
  dryRun: v.boolean(),
  /** Times in ms since 1970; null while the run is running. */
  startedAt: v.number(),
  finishedAt: v.nullable(v.number()),
  durationMs: v.nullable(v.number()),
  ...vReported.fields,
});
export type Report = Infer<typeof vReport>;

/** The Report of a run, ended or not. @param flag of the deployment, for `next`: see `deploymentFlag` */
export function reportOf(run: Run, flag: string): Report {
  const { _id: runId, state, counts, mode, dryRun, startedAt } = run;
  const finishedAt = state.kind === "running" ? null : state.finishedAt;
  return {
    summary: summaryOf(run),
    next: nextOf(run, flag),
    status: state.kind,
    runId,
    mode,
    dryRun,
    startedAt,
    finishedAt,
    durationMs: finishedAt === null ? null : finishedAt - startedAt,
    ...reported(counts),
  };
}

/** What a run of an older version did not count is 0. */
function reported(counts: Run["counts"]): Infer<typeof vReported> {
  const names = Object.keys(vReported.fields) as (keyof typeof vReported.fields)[];
  const told = names.map((name) => [name, counts[name] ?? 0]);
  return Object.fromEntries(told) as Infer<typeof vReported>;
}

function summaryOf({ state, counts, dryRun, mode }: Run): string {
  const { scanned, repaired, drift, purged = 0 } = counts;
  const done = dryRun
    ? list(
        "would",
        ["create", drift.missing],
        ["update", drift.stale],
        ["delete", drift.orphaned - counts.held],
        ["purge", purged],
      )
    : list(
        "",
        ["created", repaired.created],
        ["updated", repaired.updated],
        ["deleted", repaired.deleted],
        ["purged", purged],
      );
  // What a full run holds is its headline.
  const isLeft = mode === "doubts" && counts.held > 0;
  const open = [
    isLeft && `${users(counts.held)} held: the next full run judges them.`,
    counts.setAside > 0 && `${users(counts.setAside)} set aside: not mirrored, or not wholly.`,
    counts.unlisted > 0 &&
      `Clerk counts ${counts.clerkUsers} users from before the run, and ${counts.unlisted} of them it does not list.`,
    counts.postponed > 0 &&
      `${users(counts.postponed)} ${dryRun ? "would be " : ""}asked about again in five minutes.`,
  ].filter((sentence) => sentence !== false);
  const compared = mode === "doubts" ? "The doubts of a day" : `${users(scanned)} compared`;
  const sentence = headline({ state, counts }, compared, done, open.length === 0);
  const own = ownRows(counts.appOwned ?? 0);
  return [dryRun && "Dry run.", sentence, ...open, own].filter(Boolean).join(" ");
}

function headline(
  { state, counts }: Pick<Run, "state" | "counts">,
  compared: string,
  done: string | null,
  isClean: boolean,
): string {
  switch (state.kind) {
    case "running":
      return `Under way (${state.phase.kind}): ${compared} so far${done ? `, ${done}` : ""}.${state.waitsFor ? ` It waits: ${state.waitsFor}` : ""}`;
    case "completed":
      return done === null
        ? isClean
          ? `In sync: ${compared}, no drift to repair.`
          : `${compared}, nothing else to repair.`
        : `${compared}: ${done}.`;
    case "held":
      return `Held: ${state.reason}. ${counts.held === counts.drift.orphaned ? "None was deleted." : "They were not deleted."} ${compared}${done ? `: ${done}` : ""}.`;
    case "cancelled":
      return `Cancelled: ${compared}${done ? `: ${done}` : ""}.`;
    case "failed":
      return `Failed: ${state.reason} ${done ? `Until then: ${done}.` : "No user was changed."}`;
  }
}

/** "would create 3, delete 1", or null when there is nothing to list. */
function list(prefix: string, ...items: (readonly [verb: string, count: number])[]) {
  const parts = items.flatMap(([verb, count]) => (count > 0 ? `${verb} ${count}` : []));
  return parts.length === 0 ? null : `${prefix} ${parts.join(", ")}`.trim();
}

function ownRows(count: number): string | null {
  if (count === 0) return null;
  const rows = count === 1 ? "1 row has" : `${count} rows have`;
  return `${rows} a clerkId that is no Clerk user id (user_…): the app's own, left alone.`;
}

function users(count: number): string {
  return count === 1 ? "1 user" : `${count} users`;
}

function nextOf(
  { _id: runId, state, counts, mode, dryRun, maxDeletions }: Run,
  flag: string,
): string | null {
  const { missing, stale, orphaned } = counts.drift;
  const { purged = 0 } = counts;
  const read = runCommand(flag, "reconcile:report", { runId });
  const run = (args: { mode?: "recent"; dryRun?: boolean; maxDeletions?: number | undefined }) =>
    runCommand(flag, "reconcile:run", args);
  switch (state.kind) {
    case "running":
      return read;
    case "held":
      return run({ maxDeletions: counts.held + counts.postponedOrphans });
    case "failed":
    case "cancelled":
      if (state.kind === "failed" && state.next !== undefined) return state.next;
      return run({ ...(dryRun && { dryRun }), maxDeletions });
    case "completed":
      if (dryRun && missing + stale + orphaned + purged > 0) {
        return run({ ...(mode === "recent" && { mode }), maxDeletions });
      }
      if (mode === "doubts" && counts.held > 0) return run({});
      return counts.setAside + counts.unlisted > 0 ? read : null;
  }
}

/** What a run of the schedule throws that failed or is held, once that is recorded. */
export class ReconcileError extends Error {
  override name = "ReconcileError";

  constructor({ summary, next }: Report) {
    super(next === null ? summary : `${summary} ${next}`);
  }
}

/** Logs the line that ends a run; none for one that goes on. */
export function logEnd(report: Report): void {
  if (report.status === "held") log("error", "reconcile.held", report);
  else if (report.status === "failed") log("error", "reconcile.failed", report);
  else if (report.status !== "running") log("info", "reconcile.finished", report);
}

/** Lines that a function call logs at most (Convex keeps 256). */
const MAX_LINES = 200;
/** Lines of a call that are not about a finding: those that begin and end it, and tell what was left out. */
const OTHER_LINES = 4;
/** Lines with one finding each. The lines that are left have deletions, many to a line. */
const MAX_DRIFT_LINES = 150;
const MAX_DELETION_LINES = MAX_LINES - OTHER_LINES - MAX_DRIFT_LINES;

/** Logs a call's findings, a line each; past the cap, deletions by name, many to a line, and a count of the others. */
export class DriftLog {
  /** Whether another call should go on, so that each deletion has its place. */
  isFull = false;
  isUsed = false;
  readonly #runId: string;
  #driftLines = 0;
  #deletionLines = 0;
  #unlogged = 0;

  constructor(runId: string) {
    this.#runId = runId;
  }

  write(entries: DriftEntry[]): void {
    const gone: DriftEntry[] = [];
    this.isUsed ||= entries.length > 0;
    for (const entry of entries) {
      const { runId, kind, fields, action, reason } = entry;
      const clerkId = loggable(entry.clerkId);
      if (this.#driftLines < MAX_DRIFT_LINES) {
        log("info", "reconcile.drift", { runId, clerkId, kind, fields, action, reason });
        this.#driftLines += 1;
      } else if (action === "deleted" || action === "purged") gone.push(entry);
      else this.#unlogged += 1;
    }
    for (const action of ["deleted", "purged"] as const) {
      const some = gone.filter((entry) => entry.action === action);
      const [first] = some;
      if (first === undefined) continue;
      const clerkIds = some.map(({ clerkId }) => loggable(clerkId));
      const { kind } = first;
      log("info", "reconcile.drift", { runId: this.#runId, kind, action, clerkIds });
      this.#deletionLines += 1;
    }
    this.isFull = this.#deletionLines >= MAX_DELETION_LINES;
  }

  /** Says how many findings were left out, as the call ends. */
  end(): void {
    const unlogged = this.#unlogged;
    if (unlogged > 0) log("info", "reconcile.drift", { runId: this.#runId, unlogged });
  }
}

/** What an app keeps as `clerkId` by mistake may be somebody's address. */
function loggable(clerkId: string): string {
  return isClerkId(clerkId) ? clerkId : "(not a Clerk user id)";
}

type Context = { meta: { getDeploymentMetadata(): Promise<DeploymentMetadata> } };

/**
 * What selects the deployment that the code runs on, with a blank before it: `--deployment happy-animal-123`. Empty
 * where the CLI can't name it: local and self-hosted ones have no region, backends from before April 2026 no name.
 */
export async function deploymentFlag({ meta }: Context): Promise<string> {
  try {
    const { name, region } = await meta.getDeploymentMetadata();
    return region === null ? "" : ` --deployment ${name}`;
  } catch {
    return "";
  }
}

/** The command that calls a function. @param args booleans, numbers and names, so that quotes do */
export function runCommand(flag: string, name: string, args: Record<string, unknown> = {}): string {
  const given = Object.entries(args).filter(([, value]) => value !== undefined);
  const quoted = given.length === 0 ? "" : ` '${JSON.stringify(Object.fromEntries(given))}'`;
  return `npx convex run${flag} clerk/${name}${quoted}`;
}
