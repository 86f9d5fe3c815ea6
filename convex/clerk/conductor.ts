/** Conducts a run: asks Clerk, hands each answer to the step that fits the phase, to the run's end. */
import { internal } from "../_generated/api";
import type { ActionCtx } from "../_generated/server";
import { Clerk, ClerkError, MAX_IDS } from "./api";
import type { Begun } from "./lifecycle";
import { isClerkId } from "./profile";
import type { DriftLog } from "./report";
import { isIn, type Run, type RunIn } from "./runs";
import type { StepResult } from "./step";
import { batchOf, comparePositions, START, windowOf, type Window } from "./sweep";
import type { Reading } from "./validators";

const MINUTE = 60_000;
/** How far Clerk's clock may be behind ours: changes of the run's first moments are looked back at. */
const CLOCK_SKEW_MS = MINUTE;
/** Deletions in one step: each is asked for on its own first. */
const MAX_REMOVALS = 25;

type Step = Promise<StepResult | null>;

/** Takes a run to its end. Whatever goes wrong ends it as failed, with a sentence that says what. */
export async function conduct(ctx: ActionCtx, begun: Begun, drift: DriftLog): Promise<Run> {
  let { run } = begun;
  let conductor: Conductor | null = null;
  try {
    conductor = new Conductor(ctx, new Clerk(), begun);
    while (run.state.kind === "running") {
      const result = await conductor.takeStep(run);
      if (result === null) break;
      drift.write(result.entries);
      run = result.run;
    }
    return run;
  } catch (error) {
    const at = checkpointOf(run, conductor?.clerk ?? null);
    const args = { at, reason: reasonOf(error) };
    const failed: StepResult | null = await ctx.runMutation(internal.clerk.lifecycle.fail, args);
    return failed?.run ?? run;
  }
}

function checkpointOf({ _id: runId, state }: Run, clerk: Clerk | null) {
  const step = state.kind === "running" ? state.step : 0;
  return { runId, step, requests: clerk?.takeRequests() ?? 0 };
}

/** Errors of Convex quote documents and arguments, so of those only the name is told. */
function reasonOf(error: unknown): string {
  if (error instanceof ClerkError) return error.message;
  const name = error instanceof Error ? error.name : typeof error;
  return `a step threw ${name}: see the log of that function call.`;
}

class Conductor {
  /** The last page's window, while part of it is left to settle. */
  #window: (Window & { seenAt: number }) | null = null;

  constructor(
    readonly ctx: ActionCtx,
    readonly clerk: Clerk,
    readonly begun: Begun,
  ) {}

  /** @returns null when another call has taken the run further, or ended it */
  async takeStep(run: Run): Step {
    if (isIn(run, "begin")) return await this.#begin(run);
    if (isIn(run, "walk")) return await this.#walk(run);
    if (isIn(run, "lookBack")) return await this.#lookBack(run);
    if (isIn(run, "undated")) return await this.#suspectUndated(run);
    if (isIn(run, "evidence")) return await this.#judge(run);
    if (isIn(run, "delete")) return await this.#remove(run);
    return null;
  }

  #at(run: Run) {
    return checkpointOf(run, this.clerk);
  }

  async #begin(run: RunIn<"begin">): Step {
    const instanceId = await this.clerk.instanceId();
    const { pinnedInstanceId, sample } = this.begun;
    if (pinnedInstanceId !== null && instanceId !== pinnedInstanceId) {
      throw new ClerkError(
        `CLERK_SECRET_KEY belongs to the Clerk instance ${instanceId}, but this table mirrors ${pinnedInstanceId}: set the secret key of that instance.`,
      );
    }
    const asked = sample.filter(isClerkId);
    const known = await this.clerk.listByIds(asked);
    if (known.length * 2 < asked.length) {
      throw new ClerkError(
        `The Clerk instance ${instanceId} knows only ${known.length} of ${asked.length} users sampled from this table: set the secret key of the instance that they come from.`,
      );
    }
    const expected = await this.clerk.countUsers();
    const args = { at: this.#at(run), instanceId, expected };
    return await this.ctx.runMutation(internal.clerk.lifecycle.start, args);
  }

  async #walk(run: RunIn<"walk">): Step {
    const { settled } = run.state.phase;
    const { seenAt, ...window } = this.#window ?? (await this.#nextWindow(run));
    const batch = batchOf(window, settled);
    const args = { at: this.#at(run), ...batch, seenAt };
    const result: StepResult | null = await this.ctx.runMutation(internal.clerk.walk.settle, args);
    const phase = result && isIn(result.run, "walk") ? result.run.state.phase : null;
    const isSettled =
      phase === null ||
      (window.until !== null && comparePositions(window.until, phase.settled) <= 0);
    this.#window = isSettled ? null : { seenAt, ...window };
    return result;
  }

  async #nextWindow({ pageSize, state }: RunIn<"walk">): Promise<Window & { seenAt: number }> {
    const { settled } = state.phase;
    const seenAt = Date.now();
    const from = comparePositions(settled, START) === 0 ? null : settled.clerkCreatedAt;
    const page = await this.clerk.listByCreation(from, pageSize);
    const window = windowOf(page, settled, pageSize);
    if (window !== null) return { ...window, seenAt };
    throw new ClerkError(
      `More than ${pageSize} users share one creation time, which is more than a page holds.`,
    );
  }

  async #lookBack(run: RunIn<"lookBack">): Step {
    const { offset } = run.state.phase;
    const seenAt = Date.now();
    const page = await this.clerk.listByChange(offset, run.pageSize);
    const users = page.filter((user) => isChangedSince(user, run.startedAt - CLOCK_SKEW_MS));
    const isLast = users.length < page.length || page.length < run.pageSize;
    const clerkUsers = isLast ? await this.clerk.countUsers() : null;
    const args = { at: this.#at(run), users, seenAt, clerkUsers };
    return await this.ctx.runMutation(internal.clerk.walk.lookBack, args);
  }

  async #suspectUndated(run: RunIn<"undated">): Step {
    const args = { at: this.#at(run) };
    return await this.ctx.runMutation(internal.clerk.walk.suspectUndated, args);
  }

  async #judge(run: RunIn<"evidence">): Step {
    const asked = await this.#suspects(run, "open", MAX_IDS);
    const askedAt = Date.now();
    const found = await this.clerk.listByIds(asked.filter(isClerkId));
    const args = { at: this.#at(run), asked, found, askedAt };
    return await this.ctx.runMutation(internal.clerk.judgement.judge, args);
  }

  async #remove(run: RunIn<"delete">): Step {
    const asked = await this.#suspects(run, "orphaned", MAX_REMOVALS);
    const askedAt = Date.now();
    const gone: string[] = [];
    const alive: Reading[] = [];
    for (const clerkId of asked) {
      const user = await this.clerk.getUser(clerkId);
      if (user === null) gone.push(clerkId);
      else alive.push(user);
    }
    const args = { at: this.#at(run), gone, alive, askedAt };
    return await this.ctx.runMutation(internal.clerk.judgement.remove, args);
  }

  async #suspects(run: Run, state: "open" | "orphaned", count: number): Promise<string[]> {
    const args = { runId: run._id, state, count };
    return await this.ctx.runQuery(internal.clerk.judgement.suspects, args);
  }
}

/** Users that can't be read have no version; they come with every look-back page they are on. */
function isChangedSince(user: Reading, time: number): boolean {
  return user.kind === "unreadable" || user.version >= time;
}
