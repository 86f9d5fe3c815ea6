/** The phase "undated" of a full run: rows without a creation time, which no window holds. */
import { internal } from "../../_generated/api";
import { internalMutation } from "../../_generated/server";
import { checkpoint, type Call, type Taken } from "../call";
import { raise } from "../doubts";
import { decide } from "../judgement";
import { isMirrored } from "../rows";
import type { RunIn } from "../runs";
import { Step, type StepResult } from "../step";
import { vCheckpoint } from "../runValidators";

/** Asks Clerk nothing. */
export async function ask(call: Call, run: RunIn<"undated">): Taken {
  const args = { at: checkpoint(call, run) };
  return await call.ctx.runMutation(internal.clerk.phases.undated.settle, args);
}

/** Goes on where the transaction before had read enough. */
export const settle = internalMutation({
  args: { at: vCheckpoint },
  handler: async (ctx, { at }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("undated")) return null;
    return await doubtUndated(step, step.run.state.phase.settledId);
  },
});

/** Doubts these rows, from an id on, and decides what follows. */
export async function doubtUndated(
  step: Step<"count" | "undated">,
  settledId: string,
): Promise<StepResult> {
  const { ctx, run } = step;
  const rows = ctx.db
    .query("users")
    .withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
      q.eq("clerkCreatedAt", undefined).gt("clerkId", settledId),
    );
  for await (const row of rows) {
    const { clerkId = settledId } = row;
    if (isMirrored(row)) await raise(ctx, run._id, clerkId);
    if (await step.isNearBudget()) return await step.goTo({ kind: "undated", settledId: clerkId });
  }
  return await decide(step);
}
