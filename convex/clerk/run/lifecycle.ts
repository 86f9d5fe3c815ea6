/** What calls ask of the database about their run: to begin it, to go on, to hand it on and to end it. */
import { v } from "convex/values";
import { internalMutation, internalQuery } from "../../_generated/server.js";
import {
  type Asked,
  type Begun,
  handOn,
  type Leased,
  nextDoubts,
  readAt,
  readSyncState,
  recordFailure,
  type Run,
  takeLease,
  vBatch,
  vCheckpoint,
  vReportMode,
  vRunAsked,
  wakeForDoubts,
} from "../memory/memory.js";
import { wakeErasures } from "../mirror/mirror.js";
import { Step, type StepResult } from "./step.js";

/** Takes the lease: see `takeLease`. What else waits for a tick is woken, but not by a dry run. */
export const begin = internalMutation({
  args: vRunAsked,
  handler: async (ctx, asked): Promise<Begun> => {
    if (!asked.dryRun) {
      await wakeForDoubts(ctx, "tick");
      await wakeErasures(ctx);
    }
    return await takeLease(ctx, asked);
  },
});

/** Writes down a run that could not begin: see `recordFailure`. */
export const failToBegin = internalMutation({
  args: vRunAsked.extend({ reason: v.string() }),
  handler: async (ctx, { reason, ...asked }): Promise<Run> =>
    await recordFailure(ctx, asked, reason),
});

/** Where a run stands, for the call that goes on with it; null when another call has. */
export const resume = internalQuery({
  args: { runId: v.id("clerkRuns"), step: v.number() },
  handler: async (ctx, at): Promise<Leased | null> => {
    const run = await readAt(ctx, at);
    const { instanceId = null } = await readSyncState(ctx);
    return run && { kind: "resumed", run, pinnedInstanceId: instanceId };
  },
});

/** A run; null where it is gone. */
export const read = internalQuery({
  args: { runId: v.id("clerkRuns") },
  handler: async (ctx, { runId }): Promise<Run | null> => await ctx.db.get("clerkRuns", runId),
});

/** Up to `count` doubts in a state due by `until` (ms) that a run judges: see `nextDoubts`. */
export const doubts = internalQuery({
  args: {
    run: v.object({ _id: v.id("clerkRuns"), mode: vReportMode }),
    state: v.union(v.literal("open"), v.literal("orphaned"), v.literal("marked")),
    count: v.number(),
    until: v.number(),
  },
  handler: async (ctx, { run, state, count, until }): Promise<Asked[]> => {
    const found = await nextDoubts(ctx, run, state, count, until);
    return found.map(({ clerkId, raisedAt }) => ({ clerkId, raisedAt }));
  },
});

/** Hands the run to another call in `delayMs` ms, scheduled together with that. `checked`: see `reconcile:advance`. */
export const continueLater = internalMutation({
  args: {
    at: vCheckpoint,
    delayMs: v.number(),
    failingSince: v.optional(v.number()),
    waitsFor: v.optional(v.string()),
    checked: v.optional(v.string()),
    batch: v.optional(vBatch),
  },
  handler: async (ctx, { at, checked, delayMs, ...change }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (step === null) return null;
    const { counts } = step;
    const state = { ...step.run.state, ...change };
    return { run: await handOn(ctx, step.run, state, { delayMs, checked, counts }), entries: [] };
  },
});

/** Ends a run that can't go on. Without effect on one that another call took further. */
export const fail = internalMutation({
  args: { at: vCheckpoint, reason: v.string(), next: v.optional(v.string()) },
  handler: async (ctx, { at, ...why }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    return (await step?.end({ kind: "failed", ...why })) ?? null;
  },
});
