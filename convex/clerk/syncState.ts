/** The only writer of `clerkSyncState`, the sync's one small row. */
import type { Doc } from "../_generated/dataModel.js";
import type { MutationCtx, QueryCtx } from "../_generated/server.js";

/** Its fields, none of them before the first tick or run. */
export type SyncState = Partial<Omit<Doc<"clerkSyncState">, "_id">>;

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

/** Sets some of its fields, and makes the row if it is not there yet. */
export async function updateSyncState(
  ctx: MutationCtx,
  fields: Omit<SyncState, "_creationTime">,
): Promise<void> {
  const state = await ctx.db.query("clerkSyncState").unique();
  if (state === null) await ctx.db.insert("clerkSyncState", fields);
  else await ctx.db.patch("clerkSyncState", state._id, fields);
}
