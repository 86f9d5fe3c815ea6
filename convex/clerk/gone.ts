/** Whether a row that is still there is that of somebody who is gone. Every query of the app loads this file, so it is small. */
import type { QueryCtx } from "../_generated/server.js";
import * as app from "./app.js";
import type { User } from "./types.js";

/** Whether a row is marked as removed. What else an app has a `deletedAt` for is its own. */
export function isMarked({ deletedAt }: User): boolean {
  return app.removal !== "delete" && deletedAt !== undefined;
}

/** Whether any row is on its way out. */
export async function isAnyErased(ctx: Pick<QueryCtx, "db">): Promise<boolean> {
  return app.hooks.erase !== undefined && (await ctx.db.query("clerkErasures").first()) !== null;
}

/** Whether a row of an id is on its way out. An app without `erase` pays for no look-up. */
export async function isBeingErased(ctx: Pick<QueryCtx, "db">, clerkId: string): Promise<boolean> {
  if (app.hooks.erase === undefined) return false;
  const erasures = ctx.db.query("clerkErasures");
  return (await erasures.withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId)).first()) !== null;
}
