/** A step of a run: one transaction between two checkpoints. */
import type { Infer } from "convex/values";
import type { MutationCtx } from "../_generated/server";
import type { Outcome } from "./mirror";
import { endRun, isIn, isRunning, lease, type End, type Run, type RunIn } from "./runs";
import { addSuspect, suspectOf } from "./suspects";
import { readSyncState, type SyncState } from "./syncState";
import type {
  Counts,
  DriftEntry,
  Phase,
  Reading,
  RunState,
  vCheckpoint,
  Version,
} from "./validators";

/**
 * So many entries are kept of the users that a run sets aside, of the orphans that it holds, and of
 * its other findings; beside them every deletion.
 */
export const MAX_ENTRIES = 1000;
/** Entries that one id can have in a run. */
const MAX_ENTRIES_OF_ONE = 10;

// A transaction may read 32,000 documents and 16 MiB and write half as many documents. A step stays
// far below, because one that fails repeats all of its work.
const MAX_DOCUMENTS_READ = 3000;
const MAX_DOCUMENTS_WRITTEN = 4000;
const MAX_BYTES = 6 * 1024 * 1024;
/** Of 4,096 index ranges: the next user may take a dozen. */
const MAX_QUERIES = 3500;

/** What a step of a run did: the run as it is now, and the findings to log. */
export type StepResult = { run: Run; entries: DriftEntry[] };

/**
 * A step of a run within one transaction: what it finds is added up here and written with the next
 * checkpoint.
 */
export class Step<Kind extends Phase["kind"]> {
  readonly counts: Counts;
  readonly entries: DriftEntry[] = [];
  readonly #setAsideIds = new Set<string>();
  #state: SyncState | undefined;

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

  /** Records a finding, and keeps an entry of it as far as `MAX_ENTRIES` says. */
  async found(entry: Omit<DriftEntry, "runId">): Promise<void> {
    const kept = { runId: this.run._id, ...entry };
    const { kind, action, clerkId } = entry;
    this.entries.push(kept);
    const isDeletion = kind === "orphaned" && ["deleted", "held", "none"].includes(action);
    const isSetAside = action === "setAside";
    const isOther = !isDeletion && !isSetAside;
    const isOneTooMany =
      (isSetAside && this.counts.setAside > MAX_ENTRIES) ||
      (isOther && this.counts.entries >= MAX_ENTRIES);
    if (!isOneTooMany) {
      await this.ctx.db.insert("driftEntries", kept);
      if (isOther) this.counts.entries += 1;
    } else if (isSetAside || this.run.dryRun) {
      await addSuspect(this.ctx, this.run._id, clerkId, "settled");
    }
  }

  /**
   * Counts and lists a difference that was repaired, or would have been.
   * @param user as Clerk has them
   * @returns whether it is the first one of this id: drift counts an id once a run
   */
  async repaired(
    clerkId: string,
    { kind, fields, known }: Outcome,
    user: Extract<Reading, { kind: "profile" }> | null,
  ): Promise<boolean> {
    if (kind !== "created" && kind !== "updated") return false;
    await this.#noteMissed(kind, known.version, user);
    const { dryRun } = this.run;
    const isFirst = !(await this.#isDriftCounted(clerkId, known.version));
    if (!dryRun) this.counts.repaired[kind] += 1;
    else if (!isFirst) return false;
    const drift = kind === "created" ? "missing" : "stale";
    if (isFirst) this.counts.drift[drift] += 1;
    await this.found({ clerkId, kind: drift, fields, action: dryRun ? "none" : kind });
    return isFirst;
  }

  /** Remembers a change that no event had told of; what changed here alone, none had to. */
  async #noteMissed(
    kind: "created" | "updated",
    known: Version | null,
    user: Extract<Reading, { kind: "profile" }> | null,
  ): Promise<void> {
    if (user === null || known?.kind === "tombstone") return;
    const { version, profile } = user;
    const { missed } = this.counts;
    if (known !== null) {
      const isTold = kind === "created" || version <= known.version;
      if (!isTold) missed.updated = Math.max(missed.updated, version);
      return;
    }
    // The app itself may have made the row as the user signed up, or long before the sync.
    this.#state ??= await readSyncState(this.ctx);
    const { lastFullRunStartedAt = Infinity } = this.#state;
    if (kind === "created" || profile.clerkCreatedAt > lastFullRunStartedAt) {
      missed.created = Math.max(missed.created, profile.clerkCreatedAt);
    } else if (version > lastFullRunStartedAt) {
      missed.updated = Math.max(missed.updated, version);
    }
  }

  /** Lists what could not be mirrored of a user, and counts the user once. */
  async setAside(entry: Omit<DriftEntry, "runId" | "action">): Promise<void> {
    const { clerkId } = entry;
    const isFirst = !this.#setAsideIds.has(clerkId) && !(await this.#isSetAsideCounted(clerkId));
    this.#setAsideIds.add(clerkId);
    // In the walk there may be several reasons at once; what follows may find the same one again.
    if (!isFirst && this.run.state.phase.kind !== "walk") return;
    if (isFirst) this.counts.setAside += 1;
    await this.found({ ...entry, action: "setAside" });
  }

  /** Lists the fields that Convex can't hold. */
  async leftOut(user: Reading): Promise<void> {
    if (user.kind !== "profile" || user.leftOut.length === 0) return;
    const { clerkId } = user.profile;
    const fields = user.leftOut.map(({ field }) => field);
    const reason = user.leftOut.map((each) => `${each.field}: ${each.reason}`).join("; ");
    await this.setAside({ clerkId, kind: "stale", fields, reason });
  }

  /** Lists a user of whom there are several rows. */
  async duplicated(clerkId: string): Promise<void> {
    const reason = "several rows have this clerkId: the oldest is mirrored";
    await this.setAside({ clerkId, kind: "duplicate", fields: [], reason });
  }

  async #isDriftCounted(clerkId: string, version: Version | null): Promise<boolean> {
    const entries = await this.#entriesOf(clerkId);
    if (entries.some(({ action }) => action !== "setAside" && action !== "postponed")) return true;
    if (this.counts.entries < MAX_ENTRIES) return false;
    // The entry may have been one too many to be kept.
    return this.run.dryRun
      ? await this.#isSettled(clerkId)
      : version?.appliedBy === "run" && version.appliedAt >= this.run.startedAt;
  }

  async #isSetAsideCounted(clerkId: string): Promise<boolean> {
    const entries = await this.#entriesOf(clerkId);
    if (entries.some(({ action }) => action === "setAside")) return true;
    // The entry may have been one too many to be kept; in the walk, "settled" means other things too.
    const isKept = this.counts.setAside < MAX_ENTRIES || this.run.state.phase.kind === "walk";
    return !isKept && (await this.#isSettled(clerkId));
  }

  async #isSettled(clerkId: string): Promise<boolean> {
    return (await suspectOf(this.ctx, this.run._id, clerkId))?.state === "settled";
  }

  async #entriesOf(clerkId: string): Promise<DriftEntry[]> {
    return await this.ctx.db
      .query("driftEntries")
      .withIndex("by_runId_and_clerkId", (q) => q.eq("runId", this.run._id).eq("clerkId", clerkId))
      .take(MAX_ENTRIES_OF_ONE);
  }

  /** Whether the transaction has read or written so much that it should end. */
  async isNearBudget(): Promise<boolean> {
    const { documentsRead, documentsWritten, bytesRead, bytesWritten, databaseQueries } =
      await this.ctx.meta.getTransactionMetrics();
    return (
      databaseQueries.used >= MAX_QUERIES ||
      documentsRead.used >= MAX_DOCUMENTS_READ ||
      documentsWritten.used >= MAX_DOCUMENTS_WRITTEN ||
      bytesRead.used >= MAX_BYTES ||
      bytesWritten.used >= MAX_BYTES
    );
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
