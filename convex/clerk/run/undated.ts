/** The phase "undated" of a full run: rows without a creation time, which no window holds, are doubted, or counted. */
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { type RunIn, vCheckpoint } from "../memory/memory.js";
import { type Call, checkpoint, type Taken } from "./call.js";
import { sortRows } from "../mirror/mirror.js";
import { meetRows } from "./compare.js";
import { decide } from "./next.js";
import { MAX_ROW_BYTES, MAX_ROWS, Step, type StepResult } from "./step.js";

/** Asks Clerk nothing. */
export async function ask(call: Call, run: RunIn<"undated">): Taken {
  const args = { at: checkpoint(call, run) };
  return await call.ctx.runMutation(internal.clerk.run.undated.settle, args);
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
  const { page, isDone } = await step.ctx.db
    .query("users")
    .withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
      q.eq("clerkCreatedAt", undefined).gt("clerkId", settledId),
    )
    .paginate({ cursor: null, numItems: MAX_ROWS, maximumBytesRead: MAX_ROW_BYTES });
  await meetRows(step, sortRows(page));
  const { clerkId } = page[page.length - 1] ?? {};
  if (isDone || clerkId === undefined) return await decide(step);
  return await step.goTo({ kind: "undated", settledId: clerkId });
}
