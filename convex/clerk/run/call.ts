/** What a function call that takes a run further keeps between its steps. */
import type { Infer } from "convex/values";
import { internal } from "../../_generated/api.js";
import type { ActionCtx } from "../../_generated/server.js";
import { type Clerk, ClerkError } from "../api/api.js";
import type { Asked, Phase, RunningRun, vBatch } from "../memory/memory.js";
import { clock, SECOND } from "../shared/clock.js";
import { type Reading } from "../shared/user.js";
import type { Ahead } from "./ahead.js";
import { comparePositions } from "./places.js";
import { type StepResult } from "./step.js";
import type { Looked, Window } from "./sweep.js";

export type Call = {
  ctx: ActionCtx;
  clerk: Clerk;
  ahead: Ahead;
  instanceId: string;
  isPinned: boolean;
  batch: Batch;
  /** The last page's window, while part of it is left to settle; `next`: of a look-back. */
  window?: Window & Partial<Pick<Looked, "next">> & { seenAt: number };
  /** The page of a crowd that is being settled, and where in the list it begins. */
  page?: { users: Reading[]; offset: number; seenAt: number };
};

/** What taking a step gives: null when another call has taken the run further, or ended it. */
export type Taken = Promise<StepResult | null>;

/** The checkpoint that a step goes on from, with the requests that it is to count. */
export function checkpoint({ clerk }: Call, { _id: runId, state: { step } }: RunningRun) {
  return { runId, step, requests: clerk.requests.uncounted };
}

/** The next doubts in a state, at most `most`, and no more than the transaction may take. */
export async function doubtsOf(
  { ctx, batch }: Call,
  run: RunningRun,
  state: "open" | "orphaned" | "marked",
  most: number,
): Promise<Asked[]> {
  const { _id, mode } = run;
  // What was found to be due may be so by a clock that is ahead of this one.
  const until = Math.max(clock.now(), run.state.notBefore ?? 0);
  const args = { run: { _id, mode }, state, count: Math.min(batch.limit, most), until };
  return await ctx.runQuery(internal.clerk.run.lifecycle.doubts, args);
}

/** The phase in which a step has left a run; undefined where it ended, or another call has it. */
export function phaseAfter(result: StepResult | null): Phase | undefined {
  const state = result?.run.state;
  return state?.kind === "running" ? state.phase : undefined;
}

/** Whether part of a window is left to settle after a step. @param kind the phase that settles it */
export function isLeftOf(
  { until }: Window,
  result: StepResult | null,
  kind: "walk" | "lookBack",
): boolean {
  const phase = phaseAfter(result);
  if (phase?.kind !== kind) return false;
  return until === null || comparePositions(phase.settled, until) < 0;
}

/** A list of Clerk's, asked for from an offset on. What asks a second time throws nothing at 429. */
export class List {
  readonly #ask: (offset: number) => Promise<Reading[]>;

  constructor(ask: (offset: number) => Promise<Reading[]>) {
    this.#ask = ask;
  }

  /** A page; an empty one is asked for once more, as it ends a list. @throws ClerkError */
  async page(offset: number): Promise<Reading[]> {
    const page = await this.#ask(offset);
    return page.length === 0 ? await unlessSlowed(async () => await this.#ask(offset), page) : page;
  }

  /** Whether nobody stands at a place, or behind it. False at 429. @throws ClerkError */
  async isEmpty(place: number): Promise<boolean> {
    return await unlessSlowed(async () => (await this.#ask(place)).length === 0, false);
  }

  /** Whether somebody stands at a place. False at 429. @throws ClerkError */
  async isAt(clerkId: string, place: number): Promise<boolean> {
    return await unlessSlowed(async () => (await this.#ask(place))[0]?.clerkId === clerkId, false);
  }

  /**
   * Whether it ends with a page that begins at `offset`: pages may be shorter than what there is, so nobody must be
   * behind, and then its last one still be there, as somebody may have moved up meanwhile. False at 429. @throws ClerkError
   */
  async isEnd(page: Reading[], offset: number): Promise<boolean> {
    const [last, end] = [page[page.length - 1], offset + page.length];
    return (
      last !== undefined && (await this.isEmpty(end)) && (await this.isAt(last.clerkId, end - 1))
    );
  }
}

/** Asks a step's second question; `otherwise` at 429: Clerk may let through one and refuse the next, time and again. */
export async function unlessSlowed<Answer>(
  ask: () => Promise<Answer>,
  otherwise: Answer,
): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof ClerkError && error.whatNext === "slow down") return otherwise;
    throw error;
  }
}

/** Tries of a transaction about several users before it is halved: once more, in case it was a conflict. */
const TRIES = 2;
/** Tries of a transaction about one user, at growing intervals, before that user is set aside. */
const TRIES_OF_ONE = 4;

/** Users of the next transaction. One that throws is tried again, then halved, until one is alone, who is set aside. */
export class Batch {
  limit: number;
  isWaitedFor: boolean;
  /** Whom the transaction is about that comes next, or threw; nobody, while Clerk is asked. */
  #ids: string[] = [];
  #throws: number;
  #setAside: Infer<typeof vBatch>["setAside"];

  /** @param saved where the call before has left it: a slow Clerk may let each find out only a part */
  constructor(saved?: Infer<typeof vBatch>) {
    this.limit = saved?.limit ?? Infinity;
    this.isWaitedFor = saved?.isWaitedFor ?? false;
    this.#throws = saved?.throws ?? 0;
    this.#setAside = saved?.setAside;
  }

  /** What the next call has to know. */
  get saved(): Infer<typeof vBatch> {
    const { limit, isWaitedFor } = this;
    return { limit, isWaitedFor, throws: this.#throws, setAside: this.#setAside };
  }

  /** A step begins: until `take`, what throws is not about anybody. */
  clear(): void {
    this.#ids = [];
  }

  /** Notes whom the next transaction is about, at most `limit`. @returns why a lone one is to be set aside, if so */
  take(ids: string[]): string | undefined {
    this.#ids = ids;
    const isAlone = ids.length === 1 && ids[0] === this.#setAside?.clerkId;
    return isAlone ? this.#setAside?.reason : undefined;
  }

  /** The same for users, as the transaction is to see them: who is set aside can't be read. */
  takeUsers(users: Reading[]): Reading[] {
    const reason = this.take(users.map(({ clerkId }) => clerkId));
    if (reason === undefined) return users;
    return users.map(({ clerkId, clerkCreatedAt, version, placedAt }) => {
      return { kind: "unreadable", clerkId, clerkCreatedAt, version, placedAt, reason };
    });
  }

  /** The transaction was made: the next one may take twice as many. */
  succeed(): void {
    // Who comes next may be another of those about whom Clerk does not answer.
    if (this.#setAside === undefined) this.isWaitedFor = false;
    this.#throws = 0;
    this.#setAside = undefined;
    this.limit *= 2;
  }

  /**
   * The transaction threw, or Clerk refused whom it is about. `isFinal`: the same again can't help.
   * @returns ms to wait before the next one; null when it is not about users that could be fewer, or set aside
   */
  shrink(reason: string, isFinal = false): number | null {
    const [first] = this.#ids;
    const isAlone = this.#ids.length === 1;
    if (first === undefined || (isAlone && first === this.#setAside?.clerkId)) return null;
    this.#throws += 1;
    if (!isFinal && isAlone && this.#throws < TRIES_OF_ONE) return SECOND * 2 ** (this.#throws - 1);
    if (!isFinal && !isAlone && this.#throws < TRIES) return 0;
    if (isAlone) this.#setAside = { clerkId: first, reason };
    else this.limit = Math.floor(this.#ids.length / 2);
    this.#throws = 0;
    return 0;
  }
}
