/** What a function call that takes a run further keeps between its steps. */
import { internal } from "../_generated/api.js";
import type { ActionCtx } from "../_generated/server.js";
import type { Ahead } from "./ahead.js";
import type { Clerk } from "./api.js";
import type { Batch } from "./batch.js";
import { isIn, ownerOf, type RunningRun } from "./runs.js";
import { ClerkError } from "./request.js";
import type { StepResult } from "./step.js";
import { comparePositions } from "./pages.js";
import type { Looked, Window } from "./sweep.js";
import type { Reading } from "./validators.js";

export type Call = {
  ctx: ActionCtx;
  clerk: Clerk;
  ahead: Ahead;
  instanceId: string;
  /** Whether that one is pinned. */
  isPinned: boolean;
  batch: Batch;
  /** The last page's window, while part of it is left to settle; `next`: of a look-back. */
  window?: Window & Partial<Pick<Looked, "next">> & { seenAt: number };
  /** The page of a crowd that is being settled, and where in the list it begins. */
  page?: { users: Reading[]; offset: number; seenAt: number };
  /** Who stood at the end of the last page: see `seamOf`. */
  seam?: Set<string> | null;
  /** How many pages of a look-back have brought nobody new. */
  still?: number;
};

/** What taking a step gives: null when another call has taken the run further, or ended it. */
export type Taken = Promise<StepResult | null>;

/** The checkpoint that a step goes on from. */
export function checkpoint({ clerk }: Call, { _id: runId, state: { step } }: RunningRun) {
  return { runId, step, requests: clerk.requests.uncounted };
}

/** Ids of the next doubts in a state, at most `most`, and no more than the transaction may take. */
export async function doubtsOf(
  { ctx, batch }: Call,
  run: RunningRun,
  state: "open" | "orphaned" | "marked",
  most: number,
): Promise<string[]> {
  const args = { runId: ownerOf(run), state, count: Math.min(batch.limit, most) };
  return await ctx.runQuery(internal.clerk.lifecycle.doubts, args);
}

/** Whether part of a window is left to settle after a step. */
export function isLeftOf({ until }: Window, result: StepResult | null): boolean {
  if (result === null) return false;
  const { run } = result;
  if (isIn(run, "walk")) {
    return until === null || comparePositions(run.state.phase.settled, until) < 0;
  }
  if (!isIn(run, "lookBack") || until === null) return false;
  return comparePositions(run.state.phase.settled, until) < 0;
}

/**
 * Whether a list ends with a page that brings nobody new: pages may be shorter than what there is.
 * @param offset where the next page begins
 */
export async function isEnd(
  offset: number,
  list: (offset: number) => Promise<Reading[]>,
): Promise<boolean> {
  return await unlessSlowed(async () => (await list(offset)).length === 0, false);
}

/** A page; one that is empty is asked for once more, as it ends a list. */
export async function listTwice(list: () => Promise<Reading[]>): Promise<Reading[]> {
  const page = await list();
  return page.length === 0 ? await unlessSlowed(list, page) : page;
}

/**
 * Asks a second question within a step. Where Clerk lets through one question and refuses the next,
 * steps that need two would never be made.
 */
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

/** Answers to several questions that are asked at once. @throws what the first one throws, once all are answered */
export async function askAtOnce<Answer>(questions: Promise<Answer>[]): Promise<Answer[]> {
  await Promise.allSettled(questions);
  return await Promise.all(questions);
}
