/** The phase "undated" of a full run: rows without a creation time, which no window holds. Rows of the app's own are counted. */
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { checkpoint, type Call, type Taken } from "../call.js";
import { raiseAll } from "../doubts.js";
import { decide } from "../judgement.js";
import { meetMarked } from "../purge.js";
import { isAppOwned, isMirrored } from "../rows.js";
import type { RunIn } from "../runs.js";
import { MAX_ROW_BYTES, MAX_ROWS, Step, type StepResult } from "../step.js";
import { vCheckpoint } from "../runValidators.js";

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
  const { ctx, run, counts } = step;
  const { page, isDone } = await ctx.db
    .query("users")
    .withIndex("by_clerkCreatedAt_and_clerkId", (q) =>
      q.eq("clerkCreatedAt", undefined).gt("clerkId", settledId),
    )
    .paginate({ cursor: null, numItems: MAX_ROWS, maximumBytesRead: MAX_ROW_BYTES });
  counts.appOwned = (counts.appOwned ?? 0) + page.filter(isAppOwned).length;
  await meetMarked(step, page);
  await raiseAll(
    ctx,
    run._id,
    page.filter(isMirrored).flatMap(({ clerkId }) => clerkId ?? []),
  );
  const { clerkId } = page[page.length - 1] ?? {};
  if (isDone || clerkId === undefined) return await decide(step);
  return await step.goTo({ kind: "undated", settledId: clerkId });
}
