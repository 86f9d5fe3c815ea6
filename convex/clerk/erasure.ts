/**
 * How a row of `users` goes for good: first what hangs on it, by the app's `erase`, in as many transactions as that
 * takes, then the row itself. Meanwhile the id is nobody's: who comes back gets a row once it is over.
 */
import { v } from "convex/values";
import { internal } from "../_generated/api.js";
import type { Doc } from "../_generated/dataModel.js";
import { internalMutation, type MutationCtx, type QueryCtx } from "../_generated/server.js";
import * as app from "./app.js";
import { clock, MINUTE } from "./clock.js";
import { databaseOf } from "./columns.js";
import { log } from "./log.js";
import { isMarked } from "./gone.js";
import { nameOfError, orRefuse, refusalOf } from "./refusal.js";
import type { User } from "./types.js";

type Erasure = Doc<"clerkErasures">;

/** So many calls take whatever an app may have of one user; past them, an `erase` without end costs a call a minute. */
export const MANY_CALLS = 1000;
/** A call that was not heard of for so long was refused, or killed. */
const STUCK_MS = 10 * MINUTE;
/** Erasures that one tick takes up again, and that `status` counts at most. */
export const MAX_ERASURES = 100;

/**
 * Lets a row go: at once, or, where the app has something to erase first, once that is done.
 * @returns false where it is on its way out already
 */
export async function letGo(ctx: MutationCtx, row: User): Promise<boolean> {
  if (app.hooks.erase === undefined) {
    await deleteRow(ctx, row);
    return true;
  }
  const { _id: userId, clerkId = "" } = row;
  const others = await ctx.db
    .query("clerkErasures")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
    .take(MAX_ERASURES);
  if (others.some((erasure) => erasure.userId === userId)) return false;
  const erasure = { clerkId, userId, step: 0, calledAt: clock.now() };
  const erasureId = await ctx.db.insert("clerkErasures", erasure);
  await ctx.scheduler.runAfter(0, internal.clerk.erasure.advance, { erasureId, step: 0 });
  return true;
}

/** The erasures under way that were called longest ago, at most `MAX_ERASURES`. @param until ms */
export async function erasures(ctx: QueryCtx, until = Infinity): Promise<Erasure[]> {
  return await ctx.db
    .query("clerkErasures")
    .withIndex("by_calledAt", (q) => q.lt("calledAt", until))
    .take(MAX_ERASURES);
}

/** Takes up again what was refused, or whose call was killed. */
export async function wakeErasures(ctx: MutationCtx): Promise<void> {
  for (const erasure of await erasures(ctx, clock.now() - STUCK_MS)) {
    await goOn(ctx, erasure, erasure.refusal);
  }
}

/** Has another call go on; whichever did so far is overtaken. */
async function goOn(
  ctx: MutationCtx,
  { _id: erasureId, ...erasure }: Erasure,
  refusal?: string,
): Promise<void> {
  const step = erasure.step + 1;
  await ctx.db.patch("clerkErasures", erasureId, { step, calledAt: clock.now(), refusal });
  const delayMs = step < MANY_CALLS ? 0 : MINUTE;
  await ctx.scheduler.runAfter(delayMs, internal.clerk.erasure.advance, { erasureId, step });
}

/** Erases the next part, and goes on until the row is gone. What the app's code throws is kept for `status`. */
export const advance = internalMutation({
  args: { erasureId: v.id("clerkErasures"), step: v.number() },
  returns: v.null(),
  handler: async (ctx, { erasureId, step }): Promise<null> => {
    const erasure = await ctx.db.get("clerkErasures", erasureId);
    if (erasure?.step !== step) return null;
    const { userId, clerkId } = erasure;
    try {
      const isGone: boolean = await ctx.runMutation(internal.clerk.erasure.erasePart, { userId });
      if (isGone) await ctx.db.delete("clerkErasures", erasureId);
      else await goOn(ctx, erasure);
    } catch (error) {
      const refusal = refusalOf(error) ?? `the transaction threw ${nameOfError(error)}`;
      await ctx.db.patch("clerkErasures", erasureId, { refusal });
      log("error", "erase.failed", { clerkId, reason: refusal });
    }
    return null;
  },
});

/** One transaction of the app's `erase`, undone alone where it throws. @returns whether the row is gone */
export const erasePart = internalMutation({
  args: { userId: v.id("users") },
  returns: v.boolean(),
  handler: async (ctx, { userId }): Promise<boolean> => {
    const user = await ctx.db.get("users", userId);
    if (user === null) return true;
    const answer = await orRefuse("hooks.erase", async () => await app.hooks.erase?.(ctx, user));
    if (answer === "more") return false;
    // The app may have taken the row with the rest.
    if (await ctx.db.get("users", userId)) await deleteRow(ctx, user);
    return true;
  },
});

async function deleteRow(ctx: MutationCtx, row: User): Promise<void> {
  await orRefuse("the deletion", async () => {
    await databaseOf(ctx).delete("users", row._id);
  });
  if (!isMarked(row)) await runRemovedHook(ctx, row);
}

/** The app's hook after a removal. @param before the row as it was */
export async function runRemovedHook(ctx: MutationCtx, before: User): Promise<void> {
  await orRefuse("hooks.removed", async () => await app.hooks.removed?.(ctx, before));
}
