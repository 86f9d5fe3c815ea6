/** Conducts a run: step after step, within a slice of time, with patience for what may pass. */
import { internal } from "../../_generated/api.js";
import type { ActionCtx } from "../../_generated/server.js";
import { checkInstance, Clerk, ClerkError } from "../api/api.js";
import type { Leased, Phase, Run, RunningRun } from "../memory/memory.js";
import { DriftLog } from "../report/report.js";
import { clock, MINUTE, SECOND } from "../shared/clock.js";
import { nameOfError, refusalOf } from "../shared/log.js";
import { Ahead } from "./ahead.js";
import * as begin from "./begin.js";
import { Batch, type Call, type Taken } from "./call.js";
import * as count from "./count.js";
import * as deletion from "./delete.js";
import * as evidence from "./evidence.js";
import * as lookBack from "./lookBack.js";
import type { StepResult } from "./step.js";
import * as walk from "./walk.js";

/** A call goes on for so long; with one more step, seldom of more than 20 s, it ends as `reconcile:run` promises. */
const SLICE_MS = 40 * SECOND;
/** Longer waits are scheduled, too: waiting in an action is paid for. */
const MAX_SLEEP_MS = 5 * SECOND;
/** A run of which every step has failed for so long is given up. */
const GIVE_UP_MS = 15 * MINUTE;
const MAX_BACKOFF_MS = MINUTE;
/** Where Clerk fails to answer about some ids for so long, it is they whom it fails about. */
const DOUBT_IDS_MS = 10 * MINUTE;
const DOUBT_NEXT_MS = 90 * SECOND;

/**
 * Takes a run as far as one call should, and logs what it finds. Whatever can't be mended by waiting ends it as failed,
 * with a sentence that says what. `checked`: see `reconcile:advance`.
 * @returns the run as it then is: ended, handed to another call, or (`isOvertaken`) taken over by another call, which
 *   then tells of its end; and whether this call found anything
 */
export async function conduct(
  ctx: ActionCtx,
  begun: Leased,
  checked?: string,
): Promise<{ run: Run; isOvertaken: boolean; hasFound: boolean }> {
  const drift = new DriftLog(begun.run._id);
  const conductor = new Conductor(ctx, begun, drift, checked);
  let run: Run = begun.run;
  let isOvertaken = false;
  try {
    while (run.state.kind === "running" && !isOvertaken && !conductor.isHandedOn) {
      const result: StepResult | null = await conductor.goOn(run as RunningRun);
      isOvertaken = result === null;
      if (result && result.entries.length > 0) drift.write(result.entries);
      run = result?.run ?? (await conductor.read(run));
    }
    return { run, isOvertaken, hasFound: drift.isUsed };
  } finally {
    await conductor.end();
    drift.end();
  }
}

class Conductor {
  isHandedOn = false;
  readonly #ctx: ActionCtx;
  readonly #begun: Leased;
  readonly #drift: DriftLog;
  readonly #endsAt = clock.now() + SLICE_MS;
  #call: Call | null = null;
  #clerk: Clerk | null = null;
  #failingSince: number | undefined;
  /** Of which key the instance is known, see `Requests.fingerprint`, and its id. */
  #checked: string | undefined;

  constructor(ctx: ActionCtx, begun: Leased, drift: DriftLog, checked: string | undefined) {
    this.#ctx = ctx;
    this.#checked = checked;
    this.#begun = begun;
    this.#drift = drift;
    this.#failingSince = begun.run.state.failingSince;
  }

  /**
   * Takes the next step.
   * - Time is up, the log is full, or there is long to wait: handed on. Where the wait is short, it sleeps.
   * - Clerk's answer ends it ("give up"): failed. Clerk wants us slower ("slow down"): handed on until then.
   * - Clerk refuses some ids ("set aside"), or fails to answer about them for ten minutes: fewer ids, in the end one,
   *   which is set aside. So it is where a transaction throws, after another try.
   * - Else: waits longer and longer, and fails after 15 minutes.
   * @returns null when another call has taken the run further, or ended it
   */
  async goOn(run: RunningRun): Promise<StepResult | null> {
    const { notBefore = 0, waitsFor } = run.state;
    const now = clock.now();
    const restMs = Math.max(0, notBefore - now);
    const isEnough = now >= this.#endsAt || this.#drift.isFull || restMs > MAX_SLEEP_MS;
    if (isEnough) return await this.#continueLater(run, restMs, { waitsFor });
    if (restMs > 0) await clock.sleep(restMs);
    try {
      this.#call ??= await this.#beginCall();
      const result = await takeStep(this.#call, run);
      this.#failingSince = undefined;
      this.#call.clerk.requests.uncounted = 0;
      this.#call.batch.succeed();
      return result;
    } catch (error) {
      // What the app's own code refuses, it would refuse again.
      const isRefusal = refusalOf(error) !== null;
      if (!(error instanceof ClerkError)) return await this.#tryAgain(run, error, isRefusal);
      const failingMs = clock.now() - (this.#failingSince ?? clock.now());
      switch (error.whatNext) {
        case "give up":
          return await this.#fail(run, error.message, error.next);
        case "slow down":
          return await this.#slowDown(run, error);
        case "set aside":
          return await this.#tryAgain(run, error, true);
        case "retry later":
          return error.isNamed && this.#isWaitedFor(failingMs)
            ? await this.#tryAgain(run, error, true)
            : await this.#waitAfter(run, error);
      }
    }
  }

  /** Whether Clerk has failed about these ids for so long that it is they. After one it was, the next is believed sooner. */
  #isWaitedFor(failingMs: number): boolean {
    const batch = this.#call?.batch;
    if (!batch || failingMs < (batch.isWaitedFor ? DOUBT_NEXT_MS : DOUBT_IDS_MS)) return false;
    batch.isWaitedFor = true;
    return true;
  }

  async end(): Promise<void> {
    await this.#call?.ahead.end();
  }

  async read(run: Run): Promise<Run> {
    const runId = run._id;
    return (await this.#ctx.runQuery(internal.clerk.run.lifecycle.read, { runId })) ?? run;
  }

  /**
   * Makes sure that it asks the right instance, but where the call before had to wait as Clerk wished, and had the same
   * key: a question more would again be the one that gets through.
   */
  async #beginCall(): Promise<Call> {
    this.#clerk ??= new Clerk();
    const { pinnedInstanceId, run } = this.#begun;
    const fingerprint = await this.#clerk.requests.fingerprint(run._id);
    const [known, checkedId = ""] = this.#checked?.split(" ") ?? [];
    const isKnown = known === fingerprint && checkedId !== "";
    const isChecked = isKnown && checkedId === (pinnedInstanceId ?? checkedId);
    const instanceId = isChecked ? checkedId : await checkInstance(this.#clerk, pinnedInstanceId);
    this.#checked = `${fingerprint} ${instanceId}`;
    const [ctx, clerk] = [this.#ctx, this.#clerk];
    const ahead = new Ahead(clerk, run.pageSize);
    const isPinned = pinnedInstanceId !== null;
    return { ctx, clerk, ahead, instanceId, isPinned, batch: new Batch(run.state.batch) };
  }

  /** A transaction threw, or Clerk failed about some ids: the same again, or fewer, where it can't help (`isFinal`). */
  async #tryAgain(run: RunningRun, error: unknown, isFinal = false): Promise<StepResult | null> {
    const waitMs = this.#call?.batch.shrink(reasonOf(error), isFinal) ?? null;
    if (waitMs === null) return await this.#waitAfter(run, error);
    if (waitMs > 0) await clock.sleep(waitMs);
    return { run, entries: [] };
  }

  /** Waits the longer the longer it fails, and gives up in the end, but for 429. */
  async #waitAfter(run: RunningRun, error: unknown): Promise<StepResult | null> {
    const now = clock.now();
    this.#failingSince ??= now;
    const failingMs = now - this.#failingSince;
    const waitsFor = reasonOf(error);
    const mayGiveUp = !(error instanceof ClerkError) || error.whatNext !== "slow down";
    if (mayGiveUp && failingMs >= GIVE_UP_MS) {
      return await this.#fail(run, `${waitsFor} It was tried again for 15 minutes.`);
    }
    const backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(SECOND, failingMs));
    // With jitter, so that what failed together is not tried again together.
    const waitMs = Math.ceil(backoffMs * (0.5 + Math.random() / 2));
    // Where Clerk slows it down, the next question must not be about the instance again.
    const checked = mayGiveUp ? undefined : this.#checked;
    if (waitMs > MAX_SLEEP_MS) return await this.#continueLater(run, waitMs, { waitsFor, checked });
    await clock.sleep(waitMs);
    return { run, entries: [] };
  }

  /** Waits as long as Clerk wants us to, but for what is absurd; for that alone no run is given up. */
  async #slowDown(run: RunningRun, error: ClerkError): Promise<StepResult | null> {
    if (error.retryAfterMs === 0) return await this.#waitAfter(run, error);
    const delayMs = Math.min(error.retryAfterMs, GIVE_UP_MS);
    const change = { waitsFor: error.message, checked: this.#checked };
    return await this.#continueLater(run, delayMs, change);
  }

  async #continueLater(
    run: RunningRun,
    delayMs: number,
    change: { waitsFor?: string; checked?: string },
  ): Promise<StepResult | null> {
    const batch = this.#call?.batch.saved ?? run.state.batch;
    const kept = { failingSince: this.#failingSince, batch };
    const args = { at: this.#at(run), delayMs, ...kept, ...change };
    this.isHandedOn = true;
    return await this.#ctx.runMutation(internal.clerk.run.lifecycle.continueLater, args);
  }

  async #fail(run: RunningRun, reason: string, next?: string): Promise<StepResult | null> {
    return await this.#ctx.runMutation(internal.clerk.run.lifecycle.fail, {
      at: this.#at(run),
      reason,
      next,
    });
  }

  #at({ _id: runId, state: { step } }: RunningRun) {
    return { runId, step, requests: this.#clerk?.requests.uncounted ?? 0 };
  }
}

const PHASES = {
  begin: begin.ask,
  walk: walk.ask,
  lookBack: lookBack.ask,
  count: count.ask,
  evidence: evidence.ask,
  delete: deletion.ask,
} satisfies Record<Phase["kind"], unknown>;

/** @throws ClerkError, or what a transaction throws; nothing was changed then */
async function takeStep(call: Call, run: RunningRun): Taken {
  call.batch.clear();
  // Each takes a run of its own phase, which types can't say of seven at once.
  const ask = PHASES[run.state.phase.kind] as (call: Call, run: RunningRun) => Taken;
  return await ask(call, run);
}

/** What to do about the index a large table gets (the backend's `index_backfilling_error`, `index_staged_error`). */
function indexFaultOf(error: unknown): string | null {
  const message = error instanceof Error ? error.message : "";
  const [, name = "", how] =
    /Index ([\w.]{1,130}) is currently (backfilling|staged)/.exec(message) ?? [];
  if (how === undefined) return null;
  return how === "staged"
    ? `The index ${name} is staged: once the dashboard shows it as ready, take "staged: true" off it in convex/schema.ts, and deploy.`
    : `The index ${name} is still being built: Convex does so by itself, and the next tick goes on.`;
}

/** An error in a sentence. Those of Convex quote documents and arguments: of them only the name is told. */
export function reasonOf(error: unknown): string {
  if (error instanceof ClerkError) return error.message;
  const refusal = refusalOf(error);
  if (refusal !== null) return `It was refused: ${refusal}.`;
  const index = indexFaultOf(error);
  if (index !== null) return index;
  return `The transaction threw ${nameOfError(error)}: see the log of that function call.`;
}
