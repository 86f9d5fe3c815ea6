/** What an event does in its transaction: it is applied, and where it leaves a doubt, Clerk is asked. */
import { type Infer, v } from "convex/values";
import { internalMutation, type MutationCtx } from "../../_generated/server.js";
import {
  leaveDoubt,
  readSyncState,
  readVersion,
  type SyncState,
  updateSyncState,
} from "../memory/memory.js";
import { applyEvent, LAG_MS, noteNamed, removeByEvent, vOutcomeKind } from "../mirror/mirror.js";
import { vEventType, vNewFields, vProfile } from "../shared/user.js";

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
 * Applies a verified event in one transaction. @returns what became of it: `late`, `unclear` and `refused` change
 * nothing; where it is unclear, Clerk is asked, at once, and where it is refused, when its change has settled
 */
export const apply = internalMutation({
  args: {
    type: vEventType,
    instanceId: v.optional(v.string()),
    change: v.union(
      vProfile.extend({
        kind: v.literal("user"),
        newFields: v.optional(vNewFields),
        version: v.number(),
        endsInMs: v.optional(v.number()),
        /** What it lacks of what the columns read, in words; and of what is read for a new row alone. */
        missing: v.optional(v.string()),
        missingForNew: v.optional(v.string()),
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
    const { kind, reason } = await applyEvent(ctx, change, source, state);
    if (kind === "unclear") await leaveDoubt(ctx, change.clerkId, 0);
    else if (kind === "refused") await leaveDoubt(ctx, change.clerkId, LAG_MS);
    else if (change.endsInMs !== undefined) {
      await leaveDoubt(ctx, change.clerkId, change.endsInMs);
    }
    return { outcome: kind, reason };
  },
});

/** Each event reads this: only one of another instance writes it, or the next after; `deliveries.ts` knows the rest. */
async function noteInstance(ctx: MutationCtx, state: SyncState, instanceId: string | undefined) {
  if (state.instanceId === undefined || instanceId === undefined) return;
  const other = instanceId === state.instanceId ? undefined : instanceId;
  if (other === state.newestEventInstanceId) return;
  await updateSyncState(ctx, { newestEventInstanceId: other }, state);
}

/**
 * Notes an event whose transaction a refusal of the app's has undone: it came all the same, and is tried once more when
 * its change has settled. After that the next run sets the user aside, or finds it mended.
 */
export const noteRefused = internalMutation({
  args: { type: vEventType, clerkId: v.string(), instanceId: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { type, clerkId, instanceId }): Promise<null> => {
    await noteInstance(ctx, await readSyncState(ctx), instanceId);
    await noteNamed(ctx, clerkId, await readVersion(ctx, clerkId), { type, instanceId });
    await leaveDoubt(ctx, clerkId, LAG_MS);
    return null;
  },
});
