/** A step of a run: one transaction from a checkpoint to the next one, or to the run's end. */
import type { Infer } from "convex/values";
import type { MutationCtx } from "../../_generated/server.js";
import {
  type DriftEntry,
  type End,
  endRun,
  type Phase,
  readAt,
  renewLease,
  type Run,
  type RunIn,
  type vCheckpoint,
} from "../memory/memory.js";
import { mostRemovals } from "../mirror/mirror.js";
import { Findings } from "./findings.js";

// A transaction may read 32,000 documents and 16 MiB and write half as many documents. A step stays
// far below, because one that fails repeats all of its work.
const MAX_DOCUMENTS_READ = 3000;
const MAX_DOCUMENTS_WRITTEN = 4000;
const MAX_BYTES = 6 * 1024 * 1024;
/** Of 4,096 index ranges: the next user may take a dozen. */
const MAX_QUERIES = 3500;

/** Rows that a step reads at once: two pages' worth, and few enough bytes that each can be read again and repaired. */
export const FIRST_ROWS = { cursor: null, numItems: 1000, maximumBytesRead: 2 * 1024 * 1024 };

/** What a step of a run did: the run as it is now, and the findings to log. */
export type StepResult = { run: Run; entries: DriftEntry[] };

/** Two steps of one run at once both read and write its row: the second, run again, finds another step and changes nothing. */
export class Step<Kind extends Phase["kind"] = Phase["kind"]> extends Findings<RunIn<Kind>> {
  private constructor(ctx: MutationCtx, run: RunIn<Kind>, requests: number) {
    super(ctx, run);
    this.counts.requests += requests;
  }

  /** The step from a checkpoint on; null when another call has taken the run further, or ended it. */
  static async at(
    ctx: MutationCtx,
    { runId, step, requests }: Infer<typeof vCheckpoint>,
  ): Promise<Step | null> {
    const run = await readAt(ctx, { runId, step });
    return run && new Step(ctx, run, requests);
  }

  /** Whether the run is in this phase; if so, the step knows its fields. */
  isIn<Wanted extends Phase["kind"]>(kind: Wanted): this is Step<Wanted> {
    return this.run.state.phase.kind === (kind as string);
  }

  /** Whether the transaction has read or written so much that it should end. */
  async isNearBudget(): Promise<boolean> {
    const { documentsRead, documentsWritten, bytesRead, bytesWritten, databaseQueries, ...others } =
      await this.ctx.meta.getTransactionMetrics();
    return (
      // What the app's hooks schedule, for instance.
      Object.values(others).some(({ used, remaining }) => used > remaining) ||
      databaseQueries.used >= MAX_QUERIES ||
      documentsRead.used >= MAX_DOCUMENTS_READ ||
      documentsWritten.used >= MAX_DOCUMENTS_WRITTEN ||
      bytesRead.used >= MAX_BYTES ||
      bytesWritten.used >= MAX_BYTES
    );
  }

  /** Writes the next checkpoint. @param wait until when nothing is to be done, ms, and what is waited for */
  async goTo(phase: Phase, wait?: { notBefore: number; waitsFor: string }): Promise<StepResult> {
    const state = { kind: "running" as const, phase, resumptions: 0, ...wait };
    const run = await renewLease(this.ctx, this.run, state, { counts: this.counts });
    return { run, entries: this.entries };
  }

  async end(end: End): Promise<StepResult> {
    const { counts } = this;
    const removalsLeft = mostRemovals(counts.confirmed + counts.repaired.created);
    const run = await endRun(this.ctx, this.run, end, counts, removalsLeft);
    return { run, entries: this.entries };
  }
}
