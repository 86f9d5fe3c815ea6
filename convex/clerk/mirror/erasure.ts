/** How a row of `users` goes for good: first what hangs on it, by the app's `erase`, in as many transactions as that
 * takes, then the row itself. Meanwhile the id is nobody's: who comes back gets a row once it is over.
 */
import { ConvexError, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import type { Doc } from "../../_generated/dataModel.js";
import { internalMutation, type MutationCtx, type QueryCtx } from "../../_generated/server.js";
import * as app from "../app.js";
import { leaveDoubt } from "../memory/memory.js";
import { clock, MINUTE } from "../shared/clock.js";
import { log, nameOfError, refusalOf } from "../shared/log.js";
import type { User } from "../types.js";
import { isMarked } from "../users.js";
import { databaseOf, orRefuse } from "./columns.js";

type Erasure = Doc<"clerkErasures">;

/** So many calls take whatever an app may have of one user; past them, an `erase` without end costs a call a minute. */
export const MANY_CALLS = 1000;
/** A call that was not heard of for so long was refused, or killed. */
const STUCK_MS = 10 * MINUTE;
/** Erasures that one tick takes up again, and that others look at, at most. */
const MAX_WOKEN = 500;
export const MAX_COUNTED = 100;

/** Lets a row go, at once, or once the app's `erase` is done; false if it goes already. @throws like `orRefuse` */
export async function letGo(ctx: MutationCtx, row: User): Promise<boolean> {
  const isPurge = isMarked(row);
  if (app.hooks.erase === undefined) {
    await deleteRow(ctx, row, isPurge);
    return true;
  }
  const { _id: userId, clerkId = "" } = row;
  const others = await erasuresOf(ctx, clerkId);
  if (others.some((erasure) => erasure.userId === userId)) return false;
  const erasure = { clerkId, userId, isPurge, step: 0, calledAt: clock.now() };
  const erasureId = await ctx.db.insert("clerkErasures", erasure);
  await ctx.scheduler.runAfter(0, internal.clerk.mirror.erasure.advance, { erasureId, step: 0 });
  return true;
}

/** Up to `count` erasures under way that were called before `until` (ms), those longest ago first. */
export async function erasures(
  ctx: QueryCtx,
  count = MAX_COUNTED,
  until = Infinity,
): Promise<Erasure[]> {
  if (app.hooks.erase === undefined) return [];
  return await ctx.db
    .query("clerkErasures")
    .withIndex("by_calledAt", (q) => q.lt("calledAt", until))
    .take(count);
}

async function erasuresOf(ctx: QueryCtx, clerkId: string): Promise<Erasure[]> {
  return await ctx.db
    .query("clerkErasures")
    .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
    .take(MAX_COUNTED);
}

/** Lets the rows of an id stay, unless something of what hangs on one is erased already. @returns whether they stay */
export async function stopErasure(ctx: MutationCtx, clerkId: string): Promise<boolean> {
  const under = await erasuresOf(ctx, clerkId);
  if (under.some(({ hasErased, step }) => hasErased ?? step > 0)) return false;
  for (const { _id } of under) await ctx.db.delete("clerkErasures", _id);
  return under.length > 0;
}

/** Ends the erasures of an id that somebody has come back to. */
export async function endErasures(ctx: MutationCtx, clerkId: string): Promise<void> {
  for (const { _id } of await erasuresOf(ctx, clerkId)) {
    await ctx.db.delete("clerkErasures", _id);
  }
}

/** Ends an erasure, and has Clerk asked about whose it was. */
async function end(ctx: MutationCtx, { _id, clerkId }: Erasure): Promise<void> {
  await ctx.db.delete("clerkErasures", _id);
  await leaveDoubt(ctx, clerkId, 0);
}

/**
 * Takes up again what was refused, or whose call was killed. Of whom nothing is erased yet, Clerk is asked first: they
 * may be back, and only its 404 has it go on (`resumeErasures`).
 */
export async function wakeErasures(ctx: MutationCtx): Promise<void> {
  if (app.hooks.erase === undefined) {
    const left = await ctx.db.query("clerkErasures").take(MAX_WOKEN);
    for (const erasure of left) await end(ctx, erasure);
    return;
  }
  for (const erasure of await erasures(ctx, MAX_WOKEN, clock.now() - STUCK_MS)) {
    const { _id, clerkId, userId, refusal, step, hasErased = step > 0 } = erasure;
    const reason = refusal ?? "the call was killed, or took more than a transaction may";
    if (refusal === undefined) log("error", "erase.failed", { clerkId, reason });
    // Of a row that the app has taken, or given away, nothing is left to erase: the next call ends it.
    const isTaken = (await ctx.db.get("users", userId))?.clerkId !== clerkId;
    if (hasErased || isTaken) await goOn(ctx, erasure, { refusal: reason, hasErased });
    else {
      await ctx.db.patch("clerkErasures", _id, { refusal: reason, hasErased });
      await leaveDoubt(ctx, clerkId, 0);
    }
  }
}

/** Has the erasures of an id go on that have waited for Clerk to say that it is gone. */
export async function resumeErasures(ctx: MutationCtx, clerkId: string): Promise<void> {
  for (const erasure of await erasuresOf(ctx, clerkId)) {
    const { hasErased, refusal, calledAt } = erasure;
    const isWaiting = hasErased === false && calledAt < clock.now() - STUCK_MS;
    if (isWaiting) await goOn(ctx, erasure, { refusal, hasErased });
  }
}

/** Has another call go on; whichever did so far is overtaken. */
async function goOn(
  ctx: MutationCtx,
  { _id: erasureId, ...erasure }: Erasure,
  known: Pick<Erasure, "refusal" | "hasErased">,
): Promise<void> {
  const step = erasure.step + 1;
  const change = { step, calledAt: clock.now(), refusal: undefined, ...known };
  await ctx.db.patch("clerkErasures", erasureId, change);
  const delayMs = step < MANY_CALLS ? 0 : MINUTE;
  await ctx.scheduler.runAfter(delayMs, internal.clerk.mirror.erasure.advance, { erasureId, step });
}

/** Erases the next part, until the row is gone: then Clerk is asked if they came back. `status` tells what threw. */
export const advance = internalMutation({
  args: { erasureId: v.id("clerkErasures"), step: v.number() },
  returns: v.null(),
  handler: async (ctx, { erasureId, step }): Promise<null> => {
    const erasure = await ctx.db.get("clerkErasures", erasureId);
    if (erasure?.step !== step) return null;
    if (app.hooks.erase === undefined) {
      // The app has none any more: the row is judged like others, and must not go weeks later.
      await end(ctx, erasure);
      return null;
    }
    const { userId, clerkId, isPurge } = erasure;
    const user = await ctx.db.get("users", userId);
    if (user !== null && user.clerkId !== clerkId) {
      // The app gave the row to another user.
      await ctx.db.delete("clerkErasures", erasureId);
      return null;
    }
    try {
      const args = { userId, isPurge };
      const isGone: boolean = await ctx.runMutation(internal.clerk.mirror.erasure.erasePart, args);
      if (isGone) await end(ctx, erasure);
      else await goOn(ctx, erasure, { hasErased: true });
    } catch (error) {
      const refusal = refusalOf(error) ?? `the transaction threw ${nameOfError(error)}`;
      await ctx.db.patch("clerkErasures", erasureId, { refusal });
      log("error", "erase.failed", { clerkId, reason: refusal });
    }
    return null;
  },
});

/** One transaction of the app's `erase`, undone alone. @returns whether the row is gone @throws like `orRefuse` */
export const erasePart = internalMutation({
  args: { userId: v.id("users"), isPurge: v.boolean() },
  returns: v.boolean(),
  handler: async (ctx, { userId, isPurge }): Promise<boolean> => {
    const user = await ctx.db.get("users", userId);
    if (user === null) return true;
    const answer = await orRefuse("hooks.erase", async () => await app.hooks.erase?.(ctx, user));
    // The app may take the row with the last of the rest.
    const isThere = (await ctx.db.get("users", userId)) !== null;
    if (answer === "more") {
      if (isThere) return false;
      throw new ConvexError({ refusal: 'hooks.erase said "more", and had deleted the row' });
    }
    if (isThere) await deleteRow(ctx, user, isPurge);
    else if (!isPurge) await runRemovedHook(ctx, user);
    return true;
  },
});

async function deleteRow(ctx: MutationCtx, row: User, isPurge: boolean): Promise<void> {
  await orRefuse("the deletion", async () => {
    await databaseOf(ctx).delete("users", row._id);
  });
  if (!isPurge) await runRemovedHook(ctx, row);
}

/** The app's hook after a removal, with the row as it was. @throws like `orRefuse` */
export async function runRemovedHook(ctx: MutationCtx, before: User): Promise<void> {
  await orRefuse("hooks.removed", async () => await app.hooks.removed?.(ctx, before));
}
