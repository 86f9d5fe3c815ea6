/** The phase "lookBack": users by their latest change, the newest first, back to a time. */
import { v } from "convex/values";
import { internal } from "../../_generated/api";
import { internalMutation } from "../../_generated/server";
import { checkpoint, shifting, type Call, type Taken } from "../call";
import { clock } from "../clock";
import { compareUsers } from "../compare";
import { decide } from "../judgement";
import type { RunIn } from "../runs";
import { Step, type StepResult } from "../step";
import { suspectIds } from "../suspects";
import { idOf, lookBackOf } from "../sweep";
import { vCheckpoint, vReading, type Reading } from "../validators";

/** Users counted whom events moved to another creation time during a walk: as good as none. */
const MAX_MOVED = 1000;

/** Asks for the next page by latest change; at the end of a full run for the count, too. */
export async function ask(call: Call, run: RunIn<"lookBack">): Taken {
  const { ctx, clerk, batch } = call;
  const { pageSize, state } = run;
  const seenAt = clock.now();
  const page = await clerk.listByChange(state.phase.offset, pageSize);
  const taken = lookBackOf(page, state.phase, pageSize);
  if (taken === null) throw shifting();
  const users = batch.takeUsers(taken.users.slice(0, batch.limit));
  const isLast = taken.next === null && users.length === taken.users.length;
  const clerkUsers = isLast && run.mode === "full" ? await clerk.countUsers() : undefined;
  const next = users.length < taken.users.length ? following(run, users) : taken.next;
  const args = { at: checkpoint(call, run), users, seenAt, next, clerkUsers };
  return await ctx.runMutation(internal.clerk.phases.lookBack.settle, args);
}

/** Where a look-back goes on after part of a page. */
function following({ state }: RunIn<"lookBack">, users: Reading[]) {
  const { offset, restarts } = state.phase;
  const last = users.at(-1);
  return { offset: offset + users.length - 1, seam: last ? idOf(last) : null, restarts };
}

/**
 * Compares users by their latest change: in a full run those changed since it began, in a recent
 * run those changed since the run before.
 * @param users of the page those changed since, of whom the first are compared
 * @param next where the look-back stands after this page; null: at its end
 * @param clerkUsers Clerk's count at the end of a full run's look-back
 */
export const settle = internalMutation({
  args: {
    at: vCheckpoint,
    users: v.array(vReading),
    seenAt: v.number(),
    next: v.nullable(
      v.object({ offset: v.number(), seam: v.nullable(v.string()), restarts: v.number() }),
    ),
    clerkUsers: v.optional(v.number()),
  },
  handler: async (ctx, { at, users, seenAt, next, clerkUsers }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("lookBack")) return null;
    const { phase } = step.run.state;
    const { count } = await compareUsers(step, users, [], seenAt);
    if (count < users.length) {
      const seam = users[count - 1];
      const offset = phase.offset + count - 1;
      return await step.goTo({ ...phase, offset, seam: seam ? idOf(seam) : null });
    }
    if (next !== null) return await step.goTo({ ...phase, ...next });
    if (step.run.mode === "recent") return await decide(step);
    step.counts.clerkUsers = clerkUsers ?? phase.expected;
    const expected = Math.min(phase.expected, step.counts.clerkUsers);
    const moved = await suspectIds(ctx, step.run._id, "moved", MAX_MOVED);
    const seen = step.counts.scanned + step.counts.placed + moved.length;
    if (seen >= expected) return await step.goTo({ kind: "undated", settledId: "" });
    const reason = `Clerk counts ${expected} users and listed only ${seen}: its listing can't be trusted, so nobody was judged by it.`;
    return await step.end({ kind: "failed", reason });
  },
});
