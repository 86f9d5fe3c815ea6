/** The log: one JSON object a line. */
import type { DriftEntry } from "./validators";

type Event = `webhook.${"applied" | "ignored" | "rejected" | "failed"}` | RunEvent;
type RunEvent = `reconcile.${"started" | "resumed" | "drift" | "finished" | "held" | "failed"}`;

/** Writes one JSON object, `event` first, on one line. Never pass a user's data: ids and field names only. */
export function log(level: "info" | "error", event: Event, details: Record<string, unknown>): void {
  console[level](JSON.stringify({ event, ...details }));
}

/** Lines a function call may log: Convex keeps 256. */
const MAX_DRIFT_LINES = 200;

/** Logs what steps of a run found, a line each, and counts what no longer fits. */
export class DriftLog {
  #lines = 0;
  #left = 0;

  write(entries: DriftEntry[]): void {
    for (const { runId, clerkId, kind, fields, action, reason } of entries) {
      if (this.#lines < MAX_DRIFT_LINES) {
        log("info", "reconcile.drift", { runId, clerkId, kind, fields, action, reason });
        this.#lines += 1;
      } else this.#left += 1;
    }
  }

  /** How many entries were found but not logged, for the last line. */
  get unlogged(): number {
    return this.#left;
  }
}
