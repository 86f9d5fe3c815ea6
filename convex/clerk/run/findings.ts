/** What a step of a run, or a repair, finds: counted, drift once for each id, and kept as entries. */
import type { MutationCtx } from "../../_generated/server.js";
import {
  addEntry,
  areChanged,
  type Counts,
  type DriftEntry,
  entriesOf,
  MAX_ENTRIES,
  type Run,
  stateFor,
  type SyncState,
  type Version,
} from "../memory/memory.js";
import { describeLeftOut, hasRow, type KnownRows, type Outcome, LAG_MS } from "../mirror/mirror.js";
import { clock } from "../shared/clock.js";
import type { LeftOut, Reading } from "../shared/user.js";

/** Findings of one transaction. Entries are written at once, and logged after the step; counts go with its checkpoint. */
export class Findings<Of extends Run = Run> {
  /** Those of the run, and what this step adds. */
  readonly counts: Counts;
  readonly entries: DriftEntry[] = [];
  /** Whether the run compares users whom it has not met before. */
  readonly isFirstLook: boolean;
  readonly #setAsideIds = new Set<string>();
  #state: SyncState | undefined;

  /** @param repeats whether what is set aside is listed however often it is found */
  constructor(
    readonly ctx: MutationCtx,
    readonly run: Of,
    readonly repeats = false,
  ) {
    const phase = run.state.kind === "running" ? run.state.phase.kind : null;
    // A full run's look-back meets those of its walk.
    this.isFirstLook = phase === "walk" || (phase === "lookBack" && run.mode === "recent");
    this.counts = structuredClone(run.counts);
  }

  /** What the sync remembers, as the run sees it: read once. */
  async state(): Promise<SyncState> {
    this.#state ??= await stateFor(this.ctx, this.run);
    return this.#state;
  }

  /** Records a finding, and keeps an entry of it as far as `MAX_ENTRIES` says. */
  async add(entry: Omit<DriftEntry, "runId">): Promise<void> {
    const kept = { runId: this.run._id, ...entry };
    this.entries.push(kept);
    if (entry.action === "setAside") {
      if (this.counts.setAside > MAX_ENTRIES) return;
    } else if (!isDeletion(entry)) {
      if (this.counts.entries >= MAX_ENTRIES) return;
      this.counts.entries += 1;
    }
    await addEntry(this.ctx, kept);
  }

  /** Counts and lists a repair, made or rehearsed. @returns whether it is this id's first: drift counts an id once */
  async repaired(
    clerkId: string,
    { kind, fields, known }: Outcome,
    user: Extract<Reading, { kind: "profile" }> | null,
  ): Promise<boolean> {
    if (kind !== "created" && kind !== "updated") return false;
    const { dryRun, mode } = this.run;
    // What a doubt is about, an event has told of; of another reader none had to.
    const isOfEvents =
      mode === "doubts" || (kind === "updated" && (await this.#areChanged(fields)));
    if (!isOfEvents) await this.#noteMissed(kind, known.version, user);
    const isFirst = !(await this.#isDriftCounted(clerkId, known));
    if (!dryRun) this.counts.repaired[kind] += 1;
    else if (!isFirst) return false;
    const drift = kind === "created" ? "missing" : "stale";
    if (isFirst) this.counts.drift[drift] += 1;
    await this.add({ clerkId, kind: drift, fields, action: dryRun ? "none" : kind });
    return isFirst;
  }

  /** Whether it is by `fields.ts` that all of these columns differ, which was changed since the last full run. */
  async #areChanged(fields: string[]): Promise<boolean> {
    const { columns } = await this.state();
    return columns !== undefined && areChanged(fields, columns);
  }

  /** Remembers a change that no event had told of; what changed here alone, none had to. */
  async #noteMissed(
    kind: "created" | "updated",
    known: Version | null,
    user: Extract<Reading, { kind: "profile" }> | null,
  ): Promise<void> {
    if (user === null || known?.kind === "tombstone") return;
    const { version, clerkCreatedAt } = user;
    const { lastFullRunStartedAt = Infinity } = await this.state();
    // Of what is older, a run has known: it was set aside, or another hand was in the table.
    const isNews = (at: number) => at > lastFullRunStartedAt - LAG_MS;
    const { missed } = this.counts;
    // By our own clock no later than it is found, as an event may come that a clock of Clerk's is ahead of.
    const latest = (one: number, other: number) => Math.min(Math.max(one, other), clock.now());
    if (known?.version !== undefined) {
      const isTold = kind === "created" || version <= known.version;
      if (!isTold && isNews(version)) missed.updated = latest(missed.updated, version);
      return;
    }
    // The app itself may have made the row as the user signed up, or long before the sync.
    if (isNews(clerkCreatedAt)) {
      missed.created = latest(missed.created, clerkCreatedAt);
    } else if (kind === "updated" && isNews(version)) {
      missed.updated = latest(missed.updated, version);
    }
  }

  /** Lists what could not be mirrored of a user, and counts the user once. */
  async setAside(entry: Omit<DriftEntry, "runId" | "action">): Promise<void> {
    const { clerkId } = entry;
    const isFirst = !this.#setAsideIds.has(clerkId) && !(await this.isListed(clerkId, "setAside"));
    this.#setAsideIds.add(clerkId);
    // A first look may find several reasons; later ones one again, or, past those listed, one that was counted.
    const isKnown = !isFirst || this.counts.setAside >= MAX_ENTRIES;
    if (isKnown && !this.isFirstLook && !this.repeats) return;
    if (isFirst) this.counts.setAside += 1;
    await this.add({ ...entry, action: "setAside" });
  }

  /** Lists a user of Clerk who could not be mirrored: missing, or, where there is a row, stale. */
  async notMirrored(clerkId: string, reason: string): Promise<void> {
    const kind = (await hasRow(this.ctx, clerkId)) ? "stale" : "missing";
    await this.setAside({ clerkId, kind, fields: [], reason });
  }

  /** Lists the columns that Convex can't hold. @param refused those that the app's schema does not take */
  async leftOut(user: Reading, refused: LeftOut[] = []): Promise<void> {
    const leftOut = user.kind === "profile" ? [...user.leftOut, ...refused] : [];
    if (leftOut.length === 0) return;
    const fields = leftOut.map(({ field }) => field);
    const reason = describeLeftOut(leftOut);
    await this.setAside({ clerkId: user.clerkId, kind: "stale", fields, reason });
  }

  async duplicated(clerkId: string): Promise<void> {
    const reason = "several rows have this clerkId: the oldest is mirrored";
    await this.setAside({ clerkId, kind: "duplicate", fields: [], reason });
  }

  /** Whether the run has an entry of an id with this action. */
  async isListed(clerkId: string, action: DriftEntry["action"]): Promise<boolean> {
    const entries = await entriesOf(this.ctx, this.run._id, clerkId);
    return entries.some((entry) => entry.action === action);
  }

  /** Past the entries that are kept, only a first look knows that it counts an id for the first time. */
  async #isDriftCounted(clerkId: string, { version }: KnownRows): Promise<boolean> {
    const { dryRun, startedAt } = this.run;
    // A walk that met somebody before has written them: else nothing was counted, and needs no look-up.
    const isWritten = version !== null && version.appliedAt >= startedAt;
    if (this.#isWalk && !dryRun && !isWritten) return false;
    const entries = await entriesOf(this.ctx, this.run._id, clerkId);
    if (entries.some(({ action }) => !NO_DRIFT.includes(action))) return true;
    return this.counts.entries >= MAX_ENTRIES && !this.isFirstLook;
  }

  get #isWalk(): boolean {
    const { state } = this.run;
    return state.kind === "running" && state.phase.kind === "walk";
  }
}

/** Actions of entries beside which a repair of the same id is still to be counted as drift. */
const NO_DRIFT: DriftEntry["action"][] = ["setAside", "postponed", "held", "purged"];

/** Whether an entry is of a deletion, made, held or rehearsed: of those none is left out here. */
function isDeletion({ kind, action }: Pick<DriftEntry, "kind" | "action">): boolean {
  return (kind === "orphaned" || kind === "marked") && action !== "postponed";
}
