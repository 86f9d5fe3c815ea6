/** The phase "lookBack": users by their latest change, the newest first, back to a time. */
import { v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { internalMutation } from "../../_generated/server.js";
import { type RunIn, vCheckpoint, vLookBack, vPosition } from "../memory/memory.js";
import { clock } from "../shared/clock.js";
import { vReading } from "../shared/user.js";
import { type Call, checkpoint, isLeftOf, List, type Taken } from "./call.js";
import { compareUsers } from "./compare.js";
import { ask as askCrowd } from "./crowd.js";
import { afterLookBack } from "./next.js";
import { comparePositions, positionOf } from "./places.js";
import { Step, type StepResult } from "./step.js";
import { lookBackOf, partOf } from "./sweep.js";

const ORDER = "-updated_at";

/** Asks for the next page by latest change, and has what it settles compared, in batches. @throws ClerkError */
export async function ask(call: Call, run: RunIn<"lookBack">): Taken {
  const { ctx, clerk, batch } = call;
  const { phase } = run.state;
  const list = new List(
    async (offset) => await clerk.listByChange(offset, run.pageSize, -phase.settled.key),
  );
  if (phase.crowd !== undefined) return await askCrowd(call, run, phase.crowd, list);
  const window = (call.window ??= await nextWindow(call, run, list));
  const { users, until } = partOf(window, phase.settled, batch.limit, ORDER);
  const args = {
    at: checkpoint(call, run),
    users: batch.takeUsers(users),
    until: until ?? phase.settled,
    end: window.until ?? phase.settled,
    seenAt: window.seenAt,
    next: window.next ?? null,
  };
  const result: StepResult | null = await ctx.runMutation(internal.clerk.run.lookBack.settle, args);
  if (!isLeftOf(window, result, "lookBack")) call.window = undefined;
  return result;
}

async function nextWindow(
  call: Call,
  { state: { phase }, counts, pageSize }: RunIn<"lookBack">,
  list: List,
): Promise<NonNullable<Call["window"]>> {
  const seenAt = clock.now();
  const page = await list.page(phase.offset);
  // Far beyond so many no list goes on, whatever Clerk makes of the offset.
  const most = 2 * Math.max(counts.clerkUsers, counts.scanned) + pageSize;
  const looked = lookBackOf(page, phase, { pageSize, most });
  const { unless } = looked;
  if (unless && !(await list.isEnd(page, phase.offset))) {
    call.page = { users: page, offset: phase.offset, seenAt };
    return { users: [], until: phase.settled, next: unless, seenAt };
  }
  call.page = looked.next?.crowd && { users: page, offset: phase.offset, seenAt };
  return { ...looked, seenAt };
}

/**
 * Compares users by latest change: in a full run those changed since it began, in a recent one since the run before.
 * They are those up to `until`, of a page that settles those up to `end`. `next`: where it goes on; null at the end.
 */
export const settle = internalMutation({
  args: {
    at: vCheckpoint,
    users: v.array(vReading),
    until: vPosition,
    end: vPosition,
    seenAt: v.number(),
    next: v.nullable(vLookBack.pick("offset", "crowd", "hasPassed", "turns")),
  },
  handler: async (ctx, { at, users, until, end, seenAt, next }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("lookBack")) return null;
    const { phase } = step.run.state;
    const compared = await compareUsers(step, users, [], seenAt);
    const last = compared < users.length ? users[compared - 1] : undefined;
    const settled = last === undefined ? until : positionOf(last, ORDER);
    if (comparePositions(settled, end) < 0) return await step.goTo({ ...phase, settled });
    if (next !== null) return await step.goTo({ ...phase, settled, ...next });
    return await afterLookBack(step);
  },
});
