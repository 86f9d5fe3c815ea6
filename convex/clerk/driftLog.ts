/** The lines about what a run finds. */
import { log } from "./log";
import type { DriftEntry } from "./validators";

// A function call logs at most 200 lines (Convex keeps 256): these, one that says what was left out,
// and those that begin and end it.
const MAX_DRIFT_LINES = 150;
const MAX_DELETION_LINES = 46;
/** Characters of ids on one line. */
const MAX_IDS_LENGTH = 3000;

/**
 * Logs what steps of a run find within a function call: a line each, and, past the cap, deletions
 * still by name, many to a line. What else is past the cap is counted.
 */
export class DriftLog {
  readonly #runId: string;
  #driftLines = 0;
  #deletionLines = 0;
  #unlogged = 0;
  #deleted: string[] = [];

  constructor(runId: string) {
    this.#runId = runId;
  }

  write(entries: DriftEntry[]): void {
    for (const { runId, clerkId, kind, fields, action, reason } of entries) {
      if (this.#driftLines < MAX_DRIFT_LINES) {
        log("info", "reconcile.drift", { runId, clerkId, kind, fields, action, reason });
        this.#driftLines += 1;
      } else if (action === "deleted") {
        this.#deleted.push(clerkId);
        if (this.#deleted.join().length > MAX_IDS_LENGTH) this.#writeDeleted();
      } else this.#unlogged += 1;
    }
  }

  /** Whether another call should go on, so that each deletion has its place. */
  get isFull(): boolean {
    return this.#deletionLines >= MAX_DELETION_LINES - 1;
  }

  /** Writes what is left to say as the call ends. */
  end(): void {
    this.#writeDeleted();
    const unlogged = this.#unlogged;
    if (unlogged > 0) log("info", "reconcile.drift", { runId: this.#runId, unlogged });
  }

  #writeDeleted(): void {
    if (this.#deleted.length === 0) return;
    const common = { runId: this.#runId, kind: "orphaned", action: "deleted" };
    log("info", "reconcile.drift", { ...common, clerkIds: this.#deleted });
    this.#deletionLines += 1;
    this.#deleted = [];
  }
}
