/**
 * Conducts a run: step after step, within a slice of time, with patience for what may pass. README.md
 * of this folder has the states that it goes through; `takeStep` has the file of `phases/` for each.
 */
import { internal } from "../_generated/api.js";
import type { ActionCtx } from "../_generated/server.js";
import { Ahead } from "./ahead.js";
import { Clerk } from "./api.js";
import { Batch } from "./batch.js";
import type { Call, Taken } from "./call.js";
import { clock, MINUTE, SECOND } from "./clock.js";
import type { Leased } from "./lifecycle.js";
import type { DriftLog } from "./driftLog.js";
import { checkInstance } from "./instance.js";
import * as begin from "./phases/begin.js";
import * as count from "./phases/count.js";
import * as deletion from "./phases/deletion.js";
import * as evidence from "./phases/evidence.js";
import * as lookBack from "./phases/lookBack.js";
import * as undated from "./phases/undated.js";
import * as walk from "./phases/walk.js";
import { nameOfError, refusalOf } from "./refusal.js";
import { ClerkError } from "./request.js";
import { isIn, isRunning, type Run, type RunningRun } from "./runs.js";
import type { StepResult } from "./step.js";

/**
 * One call goes on for so long, then another one is scheduled. With one more step, which seldom takes
 * more than 20 s, it ends within about a minute, as `reconcile:run` promises.
 */
const SLICE_MS = 40 * SECOND;
/** Longer waits are scheduled, too: waiting in an action is paid for. */
const MAX_SLEEP_MS = 5 * SECOND;
/** A run of which every step has failed for so long is given up. */
const GIVE_UP_MS = 15 * MINUTE;
const MAX_BACKOFF_MS = MINUTE;
/** Where Clerk fails to answer about some ids for so long, it is they whom it fails about. */
const DOUBT_IDS_MS = 10 * MINUTE;

/**
 * Takes a run as far as one call should. Whatever can't be mended by waiting ends it as failed, with
 * a sentence that says what.
 * @returns the run as it then is: ended, handed to another call, or taken over by another call,
 *   which then tells of its end
 */
export async function conduct(
  ctx: ActionCtx,
  begun: Leased,
  drift: DriftLog,
  checked?: string,
): Promise<{ run: Run; isOvertaken: boolean }> {
  const conductor = new Conductor(ctx, begun, drift, checked);
  let run: Run = begun.run;
  try {
    while (isRunning(run) && !conductor.isHandedOn) {
      const result: StepResult | null = await conductor.goOn(run);
      if (result === null) return { run: await conductor.read(run), isOvertaken: true };
      drift.write(result.entries);
      run = result.run;
    }
    return { run, isOvertaken: false };
  } finally {
    await conductor.end();
  }
}

class Conductor {
  /** Whether another call goes on with the run. */
  isHandedOn = false;
  readonly #ctx: ActionCtx;
  readonly #begun: Leased;
  readonly #drift: DriftLog;
  readonly #endsAt = clock.now() + SLICE_MS;
  #call: Call | null = null;
  #clerk: Clerk | null = null;
  #failingSince: number | undefined;
  /** What the instance is known of to be right: see `Requests.fingerprint`. */
  #checked: string | undefined;

  constructor(ctx: ActionCtx, begun: Leased, drift: DriftLog, checked: string | undefined) {
    this.#ctx = ctx;
    this.#checked = checked;
    this.#begun = begun;
    this.#drift = drift;
    this.#failingSince = begun.run.state.failingSince;
  }

  /**
   * Takes the next step, or hands the run on; where a step fails, decides what to do about it.
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
      if (!(error instanceof ClerkError)) return await this.#tryAgain(run, error);
      const failingMs = clock.now() - (this.#failingSince ?? clock.now());
      switch (error.whatNext) {
        case "give up":
          return await this.#fail(run, error.message, error.next);
        case "slow down":
          return await this.#slowDown(run, error);
        case "set aside":
          return await this.#tryAgain(run, error, true);
        case "retry later":
          return error.isNamed && failingMs >= DOUBT_IDS_MS
            ? await this.#tryAgain(run, error, true)
            : await this.#waitAfter(run, error);
      }
    }
  }

  /** Leaves no request under way. */
  async end(): Promise<void> {
    await this.#call?.ahead.end();
  }

  /** The run as it is now; as it was, where it is gone. */
  async read(run: Run): Promise<Run> {
    const runId = run._id;
    return (await this.#ctx.runQuery(internal.clerk.lifecycle.read, { runId })) ?? run;
  }

  /**
   * Every call first makes sure that it asks the right instance; but where the call before it had to wait as
   * Clerk wished, and had the same key: a question more would again be the one that gets through.
   */
  async #beginCall(): Promise<Call> {
    this.#clerk ??= new Clerk();
    const { pinnedInstanceId, run } = this.#begun;
    const fingerprint = await this.#clerk.requests.fingerprint(run._id);
    const isChecked = pinnedInstanceId !== null && this.#checked === fingerprint;
    const instanceId = isChecked
      ? pinnedInstanceId
      : await checkInstance(this.#clerk, pinnedInstanceId);
    this.#checked = fingerprint;
    const [ctx, clerk] = [this.#ctx, this.#clerk];
    const ahead = new Ahead(clerk, run.pageSize);
    const isPinned = pinnedInstanceId !== null;
    return { ctx, clerk, ahead, instanceId, isPinned, batch: new Batch() };
  }

  /**
   * A transaction threw, or Clerk did not answer about some ids: the same again, or about fewer, unless that
   * can't help.
   * @param isFinal whether the same again can't help
   */
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
    if (waitMs > MAX_SLEEP_MS) return await this.#continueLater(run, waitMs, { waitsFor });
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
    const args = { at: this.#at(run), delayMs, failingSince: this.#failingSince, ...change };
    this.isHandedOn = true;
    return await this.#ctx.runMutation(internal.clerk.lifecycle.continueLater, args);
  }

  async #fail(run: RunningRun, reason: string, next?: string): Promise<StepResult | null> {
    return await this.#ctx.runMutation(internal.clerk.lifecycle.fail, {
      at: this.#at(run),
      reason,
      next,
    });
  }

  #at({ _id: runId, state: { step } }: RunningRun) {
    return { runId, step, requests: this.#clerk?.requests.uncounted ?? 0 };
  }
}

/** @throws ClerkError, or what a transaction throws; nothing was changed then */
async function takeStep(call: Call, run: RunningRun): Taken {
  call.batch.clear();
  if (isIn(run, "begin")) return await begin.ask(call, run);
  if (isIn(run, "walk")) return await walk.ask(call, run);
  if (isIn(run, "lookBack")) return await lookBack.ask(call, run);
  if (isIn(run, "count")) return await count.ask(call, run);
  if (isIn(run, "undated")) return await undated.ask(call, run);
  if (isIn(run, "evidence")) return await evidence.ask(call, run);
  return isIn(run, "delete") ? await deletion.ask(call, run) : null;
}

/**
 * What to do about an index that can't be read yet, as a large table gets one
 * (`index_backfilling_error` and `index_staged_error` of the backend); null for other errors.
 */
function indexFaultOf(error: unknown): string | null {
  const message = error instanceof Error ? error.message : "";
  const [, name = "", how] =
    /Index ([\w.]{1,130}) is currently (backfilling|staged)/.exec(message) ?? [];
  if (how === undefined) return null;
  return how === "staged"
    ? `The index ${name} is staged: once the dashboard shows it as ready, take "staged: true" off it in convex/schema.ts, and deploy.`
    : `The index ${name} is still being built: Convex does so by itself, and the next tick goes on.`;
}

/** Errors of Convex quote documents and arguments; of those only the name is told. */
export function reasonOf(error: unknown): string {
  if (error instanceof ClerkError) return error.message;
  const refusal = refusalOf(error);
  if (refusal !== null) return `It was refused: ${refusal}.`;
  const index = indexFaultOf(error);
  if (index !== null) return index;
  return `The transaction threw ${nameOfError(error)}: see the log of that function call.`;
}
