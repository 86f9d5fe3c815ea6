/** The steps that begin and end a run. */
import { v } from "convex/values";
import { internalMutation, type QueryCtx } from "../_generated/server";
import {
  discardSuspects,
  insertRun,
  readSyncState,
  runningRun,
  saveRun,
  updateSyncState,
  type Run,
} from "./runs";
import { Step, type StepResult } from "./step";
import { START } from "./sweep";
import { vCheckpoint, vRunOptions } from "./validators";

/** Ids of the first and last users by id, asked of an instance before it is pinned. */
const SAMPLE_SIZE = 20;

export type Begun = {
  run: Run;
  /** False when another run holds the lease: `run` is that one. */
  acquired: boolean;
  pinnedInstanceId: string | null;
  /** While no instance is pinned: some ids of the mirror. */
  sample: string[];
};

/** Takes the lease and begins a run, unless another one holds it. */
export const begin = internalMutation({
  args: vRunOptions.fields,
  handler: async (ctx, options): Promise<Begun> => {
    const state = await readSyncState(ctx);
    const pinnedInstanceId = state?.instanceId ?? null;
    const other = await runningRun(ctx);
    if (other?.state.kind === "running") {
      if (other.state.leaseExpiresAt > Date.now()) {
        return { run: other, acquired: false, pinnedInstanceId, sample: [] };
      }
      const reason = `it stopped in the phase "${other.state.phase.kind}" and was not heard of again.`;
      await saveRun(ctx, other, { kind: "failed", reason, finishedAt: Date.now() }, other.counts);
    }
    const run = await insertRun(ctx, options);
    const sample = pinnedInstanceId === null ? await sampleIds(ctx) : [];
    return { run, acquired: true, pinnedInstanceId, sample };
  },
});

async function sampleIds(ctx: QueryCtx): Promise<string[]> {
  const rows = () => ctx.db.query("users").withIndex("by_clerkId", (q) => q.gte("clerkId", ""));
  const some = [
    ...(await rows().take(SAMPLE_SIZE)),
    ...(await rows().order("desc").take(SAMPLE_SIZE)),
  ];
  return [...new Set(some.flatMap(({ clerkId }) => clerkId ?? []))];
}

/** The instance is the right one: pins it where none is, and begins to walk. */
export const start = internalMutation({
  args: { at: vCheckpoint, instanceId: v.string(), expected: v.number() },
  handler: async (ctx, { at, instanceId, expected }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    if (!step?.isIn("begin")) return null;
    const state = await readSyncState(ctx);
    if (state?.instanceId === undefined && !step.run.dryRun) {
      await updateSyncState(ctx, { instanceId });
    }
    step.counts.clerkUsers = expected;
    return await step.goTo({ kind: "walk", settled: START, expected });
  },
});

/** Ends a run that can't go on. Without effect on one that another call took further. */
export const fail = internalMutation({
  args: { at: vCheckpoint, reason: v.string() },
  handler: async (ctx, { at, reason }): Promise<StepResult | null> => {
    const step = await Step.at(ctx, at);
    return (await step?.end({ kind: "failed", reason })) ?? null;
  },
});

/** Deletes what is left of an ended run's suspects. */
export const discard = internalMutation({
  args: { runId: v.id("reconcileRuns") },
  handler: async (ctx, { runId }): Promise<void> => {
    await discardSuspects(ctx, runId);
  },
});
