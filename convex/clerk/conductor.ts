/** Conducts a run: step after step, within a slice of time, with patience for what may pass. */
import { internal } from "../_generated/api";
import type { ActionCtx } from "../_generated/server";
import { Clerk, ClerkError } from "./api";
import { clock, MINUTE, SECOND } from "./clock";
import type { Begun } from "./lifecycle";
import { checkInstance, takeStep, type Asking } from "./phases";
import type { DriftLog } from "./driftLog";
import { refusalOf } from "./refusal";
import { isRunning, type Run, type RunningRun } from "./runs";
import type { StepResult } from "./step";

/** One call goes on for so long, then another one is scheduled. Actions may take 10 minutes. */
const SLICE_MS = 40 * SECOND;
/** Longer waits are scheduled, too: waiting in an action is paid for. */
const MAX_SLEEP_MS = 5 * SECOND;
/** A run of which every step has failed for so long is given up. */
const GIVE_UP_MS = 15 * MINUTE;
const MAX_BACKOFF_MS = MINUTE;
/** How often a transaction that throws is tried before it is halved. */
const TRIES = 2;
/** How often one about a single user is, at growing intervals, before the user is set aside. */
const TRIES_OF_ONE = 4;

/**
 * Takes a run as far as one call should. Whatever can't be mended by waiting ends it as failed, with
 * a sentence that says what.
 * @returns the run as it then is: ended, handed to another call, or taken over by another call,
 *   which then tells of its end
 */
export async function conduct(
  ctx: ActionCtx,
  begun: Begun,
  drift: DriftLog,
): Promise<{ run: Run; isOvertaken: boolean }> {
  const conductor = new Conductor(ctx, begun, drift);
  let { run } = begun;
  while (isRunning(run) && !conductor.isHandedOn) {
    const result: StepResult | null = await conductor.goOn(run);
    if (result === null) return { run: await conductor.read(run), isOvertaken: true };
    drift.write(result.entries);
    run = result.run;
  }
  return { run, isOvertaken: false };
}

class Conductor {
  /** Whether another call goes on with the run. */
  isHandedOn = false;
  readonly #ctx: ActionCtx;
  readonly #begun: Begun;
  readonly #drift: DriftLog;
  readonly #endsAt = clock.now() + SLICE_MS;
  #asking: Asking | null = null;
  #clerk: Clerk | null = null;
  #throws = 0;
  #failingSince: number | undefined;

  constructor(ctx: ActionCtx, begun: Begun, drift: DriftLog) {
    this.#ctx = ctx;
    this.#begun = begun;
    this.#drift = drift;
    this.#failingSince = isRunning(begun.run) ? begun.run.state.failingSince : undefined;
  }

  /**
   * Takes the next step, or hands the run on; where a step fails, decides what to do about it.
   * @returns null when another call has taken the run further, or ended it
   */
  async goOn(run: RunningRun): Promise<StepResult | null> {
    const isEnough = clock.now() >= this.#endsAt || this.#drift.isFull;
    if (isEnough) return await this.#continueLater(run, 0);
    try {
      this.#asking ??= await this.#beginToAsk();
      const result = await takeStep(this.#asking, run);
      this.#succeed(this.#asking);
      return result;
    } catch (error) {
      if (error instanceof ClerkError && error.whatNext === "give up") {
        return await this.#fail(run, error.message);
      }
      if (!(error instanceof ClerkError) && (await this.#shrink(error)))
        return { run, entries: [] };
      return await this.#waitAfter(run, error);
    }
  }

  async read(run: Run): Promise<Run> {
    const runId = run._id;
    return (await this.#ctx.runQuery(internal.clerk.lifecycle.read, { runId })) ?? run;
  }

  /** Every call first makes sure that it asks the right instance. */
  async #beginToAsk(): Promise<Asking> {
    this.#clerk ??= new Clerk();
    const instanceId = await checkInstance(this.#clerk, this.#begun.pinnedInstanceId);
    const { sample } = this.#begun;
    return { ctx: this.#ctx, clerk: this.#clerk, instanceId, sample, limit: Infinity, size: 0 };
  }

  #succeed(asking: Asking): void {
    this.#failingSince = undefined;
    this.#throws = 0;
    asking.clerk.uncounted = 0;
    asking.limit *= 2;
    asking.setAside = undefined;
  }

  /** A transaction threw: it is tried again, then halved, and of one user it is set aside. */
  async #shrink(error: unknown): Promise<boolean> {
    const asking = this.#asking;
    if (asking?.first === undefined || asking.setAside?.clerkId === asking.first) return false;
    this.#throws += 1;
    if (asking.size > 1) {
      if (this.#throws < TRIES) return true;
      asking.limit = Math.floor(asking.size / 2);
    } else if (this.#throws < TRIES_OF_ONE) {
      // It may be a conflict, which passes.
      await clock.sleep(SECOND * 2 ** (this.#throws - 1));
      return true;
    } else asking.setAside = { clerkId: asking.first, reason: reasonOf(error) };
    this.#throws = 0;
    return true;
  }

  /** Waits the longer the longer it fails, or as long as Clerk wants us to. */
  async #waitAfter(run: RunningRun, error: unknown): Promise<StepResult | null> {
    const now = clock.now();
    this.#failingSince ??= now;
    const failingMs = now - this.#failingSince;
    if (failingMs >= GIVE_UP_MS) {
      return await this.#fail(run, `${reasonOf(error)} It was tried again for 15 minutes.`);
    }
    const backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(SECOND, failingMs));
    const asked = error instanceof ClerkError ? (error.retryAfterMs ?? 0) : 0;
    // Longer than that it would not be waited for anyway.
    const askedMs = Math.min(asked, GIVE_UP_MS);
    // With jitter, so that what failed together is not tried again together.
    const waitMs = Math.ceil(Math.max(askedMs, backoffMs * (0.5 + Math.random() / 2)));
    if (waitMs > MAX_SLEEP_MS) return await this.#continueLater(run, waitMs);
    await clock.sleep(waitMs);
    return { run, entries: [] };
  }

  async #continueLater(run: RunningRun, delayMs: number): Promise<StepResult | null> {
    const args = { at: this.#at(run), delayMs, failingSince: this.#failingSince };
    this.isHandedOn = true;
    return await this.#ctx.runMutation(internal.clerk.lifecycle.continueLater, args);
  }

  async #fail(run: RunningRun, reason: string): Promise<StepResult | null> {
    return await this.#ctx.runMutation(internal.clerk.lifecycle.fail, {
      at: this.#at(run),
      reason,
    });
  }

  #at({ _id: runId, state: { step } }: RunningRun) {
    return { runId, step, requests: this.#clerk?.uncounted ?? 0 };
  }
}

/** Errors of Convex quote documents and arguments; of those only the name is told. */
export function reasonOf(error: unknown): string {
  if (error instanceof ClerkError) return error.message;
  const refusal = refusalOf(error);
  if (refusal !== null) return `It was refused: ${refusal}.`;
  const name = error instanceof Error ? error.name : typeof error;
  return `The transaction threw ${name}: see the log of that function call.`;
}
