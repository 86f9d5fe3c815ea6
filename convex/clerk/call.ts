/** What a function call that takes a run further keeps between its steps. */
import { internal } from "../_generated/api";
import type { ActionCtx } from "../_generated/server";
import type { Clerk } from "./api";
import type { Batch } from "./batch";
import { ClerkError } from "./request";
import type { RunningRun } from "./runs";
import type { StepResult } from "./step";
import type { Window } from "./sweep";

export type Call = {
  ctx: ActionCtx;
  clerk: Clerk;
  instanceId: string;
  /** While no instance is pinned: some ids of the mirror. */
  sample: string[];
  batch: Batch;
  /** The last page's window, while part of it is left to settle. */
  window?: Window & { seenAt: number };
};

/** What taking a step gives: null when another call has taken the run further, or ended it. */
export type Taken = Promise<StepResult | null>;

/** The checkpoint that a step goes on from. */
export function checkpoint({ clerk }: Call, { _id: runId, state: { step } }: RunningRun) {
  return { runId, step, requests: clerk.requests.uncounted };
}

/** Ids of the next suspects in a state, at most `most`, and no more than the transaction may take. */
export async function suspectsOf(
  { ctx, batch }: Call,
  { _id: runId }: RunningRun,
  state: "open" | "orphaned",
  most: number,
): Promise<string[]> {
  const args = { runId, state, count: Math.min(batch.limit, most) };
  return await ctx.runQuery(internal.clerk.lifecycle.suspects, args);
}

/** What to throw when a walk by offset has begun anew too often. */
export function shifting(): ClerkError {
  return new ClerkError(
    "Clerk's list of users changes faster than it can be read: pages that should overlap do not.",
    "give up",
  );
}
