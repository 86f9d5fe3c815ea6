/** What an event does in its transaction: it is applied, and where it leaves a doubt, Clerk is asked. */
import { v, type Infer } from "convex/values";
import { internalMutation, type MutationCtx } from "../_generated/server";
import { applyEvent, noteNamed, removeByEvent, vOutcomeKind } from "./mirror";
import { SETTLING_MS } from "./plan";
import { readVersion } from "./rows";
import { readSyncState, updateSyncState, type SyncState } from "./syncState";
import { vEventType, vProfile } from "./validators";
import { leaveDoubt } from "./worker";

const vApplied = v.object({
  outcome: v.union(
    vOutcomeKind,
    v.literal("deleted"),
    /** A deletion of whom nobody knew. */
    v.literal("absent"),
    /** Of another instance than the one that is mirrored. */
    v.literal("foreign"),
  ),
  reason: v.optional(v.string()),
  /** What the app's hook refused of a removal that was made all the same. */
  refusal: v.optional(v.string()),
});
type Applied = Infer<typeof vApplied>;

/**
 * Applies a verified event in one transaction.
 * @returns what became of it: `late` and `unclear` change nothing; where it is unclear, Clerk is asked
 */
export const apply = internalMutation({
  args: {
    type: vEventType,
    instanceId: v.optional(v.string()),
    change: v.union(
      v.object({
        kind: v.literal("user"),
        profile: vProfile,
        version: v.number(),
        endsInMs: v.optional(v.number()),
        /** A key that a column reads and the event lacks. */
        missing: v.optional(v.string()),
      }),
      v.object({ kind: v.literal("deleted"), clerkId: v.string() }),
      /** It names a user and says nothing that can be used. */
      v.object({ kind: v.literal("unreadable"), clerkId: v.string(), reason: v.string() }),
    ),
  },
  returns: vApplied,
  handler: async (ctx, { type, instanceId, change }): Promise<Applied> => {
    const state = await readSyncState(ctx);
    await noteInstance(ctx, state, instanceId);
    if (state.instanceId !== undefined && instanceId !== state.instanceId) {
      const from = instanceId ?? "one without a usable instance_id";
      return { outcome: "foreign", reason: `${from} is not ${state.instanceId}` };
    }
    const source = { type, instanceId };
    if (change.kind === "deleted") return await removeByEvent(ctx, change.clerkId, source);
    if (change.kind === "unreadable") {
      await noteNamed(ctx, change.clerkId, await readVersion(ctx, change.clerkId), source);
      await leaveDoubt(ctx, change.clerkId, 0);
      return { outcome: "unclear", reason: change.reason };
    }
    const outcome = await applyEvent(ctx, change, source, state);
    if (outcome.kind === "unclear") await leaveDoubt(ctx, change.profile.clerkId, 0);
    else if (change.endsInMs !== undefined) {
      await leaveDoubt(ctx, change.profile.clerkId, change.endsInMs);
    }
    return { outcome: outcome.kind, reason: outcome.reason };
  },
});

/**
 * Every event reads where that is written, so it is only where the newest event is of another instance than the
 * mirrored one: `deliveries.ts` knows of the others.
 */
async function noteInstance(ctx: MutationCtx, state: SyncState, instanceId: string | undefined) {
  if (state.instanceId === undefined || instanceId === undefined) return;
  const other = instanceId === state.instanceId ? undefined : instanceId;
  if (other === state.newestEventInstanceId) return;
  await updateSyncState(ctx, { newestEventInstanceId: other });
}

/**
 * The app refused an event: it came all the same, and is tried once more when its change has settled.
 * After that the next run sets the user aside, or finds it mended.
 */
export const noteRefused = internalMutation({
  args: { type: vEventType, clerkId: v.string(), instanceId: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { type, clerkId, instanceId }): Promise<null> => {
    await noteNamed(ctx, clerkId, await readVersion(ctx, clerkId), { type, instanceId });
    await leaveDoubt(ctx, clerkId, SETTLING_MS);
    return null;
  },
});
