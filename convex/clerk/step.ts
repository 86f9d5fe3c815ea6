/** A step of a run: one transaction between two checkpoints. */
import type { Infer } from "convex/values";
import type { MutationCtx } from "../_generated/server";
import type { Outcome } from "./mirror";
import { endRun, isIn, isRunning, lease, type End, type Run, type RunIn } from "./runs";
import type { Counts, DriftEntry, Phase, RunState, vCheckpoint } from "./validators";

/** Entries kept of a run besides its deletions. */
export const MAX_ENTRIES = 1000;

// A transaction may read 32,000 documents and 16 MiB and write half as many documents. A step stays
// far below, because one that fails repeats all of its work.
const MAX_DOCUMENTS_READ = 3000;
const MAX_DOCUMENTS_WRITTEN = 4000;
const MAX_BYTES = 6 * 1024 * 1024;

type Repair = Extract<Outcome, { kind: "created" | "updated" }>;

/** What a step of a run did: the run as it is now, and the findings to log. */
export type StepResult = { run: Run; entries: DriftEntry[] };

/**
 * A step of a run within one transaction: what it finds is added up here and written with the next
 * checkpoint.
 */
export class Step<Kind extends Phase["kind"]> {
  readonly counts: Counts;
  readonly entries: DriftEntry[] = [];

  private constructor(
    readonly ctx: MutationCtx,
    readonly run: RunIn<Kind>,
    requests: number,
  ) {
    this.counts = structuredClone(run.counts);
    this.counts.requests += requests;
  }

  /** @returns null when another call has taken the run further, or ended it */
  static async at(
    ctx: MutationCtx,
    { runId, step, requests }: Infer<typeof vCheckpoint>,
  ): Promise<Step<Phase["kind"]> | null> {
    const run = await ctx.db.get("reconcileRuns", runId);
    if (run === null || !isRunning(run) || run.state.step !== step) return null;
    return new Step(ctx, run, requests);
  }

  isIn<Wanted extends Phase["kind"]>(kind: Wanted): this is Step<Wanted> {
    return isIn(this.run, kind);
  }

  /** Records a finding; of the earliest `MAX_ENTRIES`, and of every deletion, an entry is kept. */
  async found(entry: Omit<DriftEntry, "runId">): Promise<void> {
    const kept = { runId: this.run._id, ...entry };
    this.entries.push(kept);
    if (this.counts.entries >= MAX_ENTRIES && entry.action !== "deleted") return;
    await this.ctx.db.insert("driftEntries", kept);
    if (entry.action !== "deleted") this.counts.entries += 1;
  }

  /** Counts and lists a difference that was repaired, or would have been; an id counts once a run. */
  async repaired(clerkId: string, { kind, fields }: Repair): Promise<void> {
    const { dryRun } = this.run;
    const drift = kind === "created" ? "missing" : "stale";
    if (!dryRun) this.counts.repaired[kind] += 1;
    if (await this.#isCounted(clerkId)) return;
    this.counts.drift[drift] += 1;
    await this.found({ clerkId, kind: drift, fields, action: dryRun ? "none" : kind });
  }

  /** Counts and lists what could not be mirrored. */
  async setAside(entry: Omit<DriftEntry, "runId" | "action">): Promise<void> {
    if (await this.#isCounted(entry.clerkId)) return;
    this.counts.setAside += 1;
    await this.found({ ...entry, action: "setAside" });
  }

  /** The walk meets every id once; what looks again must not count it again. */
  async #isCounted(clerkId: string): Promise<boolean> {
    const { phase } = this.run.state;
    if (phase.kind === "walk" && phase.crowd === undefined) return false;
    return await this.#hasEntry(clerkId);
  }

  /** Whether the transaction has read or written so much that it should end. */
  async isNearBudget(): Promise<boolean> {
    const { documentsRead, documentsWritten, bytesRead, bytesWritten } =
      await this.ctx.meta.getTransactionMetrics();
    return (
      documentsRead.used >= MAX_DOCUMENTS_READ ||
      documentsWritten.used >= MAX_DOCUMENTS_WRITTEN ||
      bytesRead.used >= MAX_BYTES ||
      bytesWritten.used >= MAX_BYTES
    );
  }

  /** Whether this run has an entry of this id. */
  async #hasEntry(clerkId: string): Promise<boolean> {
    const entry = await this.ctx.db
      .query("driftEntries")
      .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", this.run._id).eq("clerkId", clerkId))
      .first();
    return entry !== null;
  }

  /** Writes the next checkpoint. */
  async goTo(phase: Phase): Promise<StepResult> {
    const step = this.run.state.step + 1;
    const state: RunState = { kind: "running", phase, step, resumptions: 0, ...lease() };
    const { counts } = this;
    await this.ctx.db.patch("reconcileRuns", this.run._id, { state, counts });
    return { run: { ...this.run, state, counts }, entries: this.entries };
  }

  async end(end: End): Promise<StepResult> {
    const run = await endRun(this.ctx, this.run, end, this.counts);
    return { run, entries: this.entries };
  }
}
