/** What an event does in its transaction: it is applied, and where it leaves a doubt, Clerk is asked. */
import { type Infer, v } from "convex/values";
import { internalMutation, type MutationCtx } from "../../_generated/server.js";
import {
  eventMarks,
  leaveDoubt,
  noteVersion,
  readSyncState,
  readVersion,
  type SyncState,
  updateSyncState,
} from "../memory/memory.js";
import { applyEvent, LAG_MS, removeByEvent, vOutcomeKind } from "../mirror/mirror.js";
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
 * nothing; where it is unclear, Clerk is asked, at once, and where it is refused, when its change has settled: after
 * that the next run sets the user aside, or finds it mended
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
      /** It says nothing that can be used, or what the app has refused, which undid its transaction: it only came. */
      v.object({
        kind: v.union(v.literal("unclear"), v.literal("refused")),
        clerkId: v.string(),
        reason: v.string(),
      }),
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
    const { clerkId } = change;
    const isUser = change.kind === "user";
    if (!isUser) {
      const named = { clerkId, ...eventMarks(source) };
      await noteVersion(ctx, await readVersion(ctx, clerkId), named);
    }
    const { kind, reason } = isUser ? await applyEvent(ctx, change, source, state) : change;
    const endsInMs = isUser ? change.endsInMs : undefined;
    const delayMs = kind === "unclear" ? 0 : kind === "refused" ? LAG_MS : endsInMs;
    if (delayMs !== undefined) await leaveDoubt(ctx, clerkId, delayMs);
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
