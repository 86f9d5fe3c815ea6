/**
 * What an event does in its transaction: it is noted that it came, applied, and where it leaves a
 * doubt, Clerk is asked.
 */
import { v, type Infer } from "convex/values";
import { internalMutation } from "../_generated/server";
import { noteEvent, noteUntold } from "./deliveries";
import { applyEvent, removeUser, vOutcomeKind } from "./mirror";
import { noteMove } from "./moves";
import { requestRepair } from "./pendingRepairs";
import { SETTLING_MS } from "./plan";
import { readSyncState } from "./syncState";
import { vEventType, vProfile } from "./validators";

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
      v.object({ kind: v.literal("user"), profile: vProfile, version: v.number() }),
      v.object({ kind: v.literal("deleted"), clerkId: v.string() }),
      /** It names a user and says nothing that can be used. */
      v.object({ kind: v.literal("unreadable"), clerkId: v.string(), reason: v.string() }),
    ),
  },
  returns: vApplied,
  handler: async (ctx, { type, instanceId, change }): Promise<Applied> => {
    const state = await readSyncState(ctx);
    if (state.instanceId !== undefined && instanceId !== state.instanceId) {
      return { outcome: "foreign", reason: `${instanceId} is not ${state.instanceId}` };
    }
    await noteEvent(ctx, state, type);
    if (change.kind === "deleted") return await removeUser(ctx, change.clerkId, "event");
    if (change.kind === "unreadable") {
      await requestRepair(ctx, change.clerkId, 0);
      return { outcome: "unclear", reason: change.reason };
    }
    const { clerkId } = change.profile;
    const outcome = await applyEvent(ctx, change, state.fullRunStartedAt ?? -Infinity);
    if (outcome.kind === "unclear") await requestRepair(ctx, clerkId, 0);
    await noteMove(ctx, change.profile, outcome);
    const isUntold =
      outcome.kind === "created" && outcome.known.version === null && type !== "user.created";
    if (isUntold) await noteUntold(ctx, change.profile.clerkCreatedAt);
    return { outcome: outcome.kind, reason: outcome.reason };
  },
});

/**
 * The app refused an event: it came all the same, and is tried once more when its change has settled.
 * After that the next run sets the user aside, or finds it mended.
 */
export const noteRefused = internalMutation({
  args: { type: vEventType, clerkId: v.string() },
  returns: v.null(),
  handler: async (ctx, { type, clerkId }): Promise<null> => {
    await noteEvent(ctx, await readSyncState(ctx), type);
    await requestRepair(ctx, clerkId, SETTLING_MS);
    return null;
  },
});
