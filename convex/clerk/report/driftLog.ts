/** The lines about what a run finds. */
import type { DriftEntry } from "../memory/memory.js";
import { log } from "../shared/log.js";
import { isClerkId } from "../shared/user.js";

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
