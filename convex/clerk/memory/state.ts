/** The sync's one small row, `clerkSyncState`: which instance is mirrored, and what the last runs left. */
import type { Doc } from "../../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../../_generated/server.js";
import { READERS } from "../profile/profile.js";
import { hashOf } from "../shared/hash.js";

/** Its fields, none of them before the first tick or run. */
export type SyncState = Partial<Doc<"clerkSyncState">>;

/** The one row of `clerkSyncState`; before it is there, without a field. */
export async function readSyncState(ctx: QueryCtx): Promise<SyncState> {
  return (await ctx.db.query("clerkSyncState").unique()) ?? {};
}

/** The same as a run sees it: a dry run may ask an instance before any is pinned. */
export async function stateFor(
  ctx: QueryCtx,
  { instanceId }: { instanceId?: string },
): Promise<SyncState> {
  const state = await readSyncState(ctx);
  return { ...state, instanceId: state.instanceId ?? instanceId };
}

/** Sets some fields of the row, which is made if it is not there yet. @param known what this transaction read of it */
export async function updateSyncState(
  ctx: MutationCtx,
  fields: Omit<SyncState, "_id" | "_creationTime">,
  known?: SyncState,
): Promise<void> {
  const { _id } = known ?? (await readSyncState(ctx));
  if (_id === undefined) await ctx.db.insert("clerkSyncState", fields);
  else await ctx.db.patch("clerkSyncState", _id, fields);
}

/** Each column of `fields.ts` with a hash of its reader's own text, not of what that calls, in an order of its own. */
export const FINGERPRINTS: string[] = READERS.map(
  ([name, read]) => `${name} ${hashOf(String(read))}`,
).sort();

/** Whether each of some columns has come, or got another reader, since these fingerprints were taken. */
export function areChanged(names: string[], since: string[]): boolean {
  return names.every((name) =>
    FINGERPRINTS.some((each) => each.startsWith(`${name} `) && !since.includes(each)),
  );
}
