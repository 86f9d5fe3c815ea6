/** What an app's functions call: who is signed in, and how their row comes at sign-up. Queries load it: it is small. */
import { ConvexError, v } from "convex/values";
import { internal } from "../_generated/api.js";
import type { MutationCtx, QueryCtx } from "../_generated/server.js";
import * as app from "./app.js";
import type { IsBanned, User } from "./types.js";

type Ctx = Pick<QueryCtx, "auth" | "db">;

/**
 * Who asks, as the page may know it.
 * - `signed out`: nobody, or somebody of another issuer.
 * - `syncing`: signed in, and without a row.
 * - `removed`: gone from Clerk, as far as the row tells. `banned`: by `isBanned` of `app.ts`. Either token may live on.
 * - `ready`: with their row, or what was made of it.
 */
export type CurrentUser<Shown = User> =
  { status: "signed out" | "syncing" | "removed" | "banned" } | { status: "ready"; user: Shown };

/** Rows of one id, or of one key, that are looked at: more of them no app has by accident. */
export const MAX_DUPLICATES = 100;

/**
 * The row of the person who is signed in.
 * @returns null for whoever is not signed in with Clerk, has no row yet, is removed, or banned (`isBanned`)
 * @throws Error where `app.ts` does not say the issuer
 */
export async function getCurrentUser(ctx: Ctx): Promise<User | null> {
  const found = await findCurrentUser(ctx);
  return found.status === "ready" ? found.user : null;
}

/** The same. @throws ConvexError instead of null, with a sentence for the page */
export async function getCurrentUserOrThrow(ctx: Ctx): Promise<User> {
  const found = await findCurrentUser(ctx);
  if (found.status !== "ready") throw new ConvexError(WHY_NOT[found.status]);
  return found.user;
}

/**
 * The definition of a query that tells the page who asks. A function, as are all here, so that the app's own files may
 * import this one from wherever they like.
 * @param show what the page gets of the row; default: all of it
 * @returns what `query` takes; the query throws like `getCurrentUser`
 * @example export const current = query(currentUserQuery(({ name }) => ({ name })));
 */
export function currentUserQuery<Shown = User>(show?: (user: User) => Shown) {
  return {
    args: {},
    handler: async (ctx: Ctx): Promise<CurrentUser<Shown>> => {
      const found = await findCurrentUser(ctx);
      if (found.status !== "ready" || show === undefined) return found as CurrentUser<Shown>;
      return { status: "ready", user: show(found.user) };
    },
  };
}

/**
 * The definition of a mutation by which a page has its own person's row made, or put right, where a webhook got lost:
 * Clerk is asked about that one id within a second or two, together with others, however often it is called. Without
 * effect for whoever has a row that lets them in.
 * @throws ConvexError in the mutation, for whoever is not signed in with Clerk
 * @example export const ensureSynced = mutation(ensureSyncedMutation());
 */
export function ensureSyncedMutation() {
  return {
    args: {},
    returns: v.null(),
    handler: async (ctx: MutationCtx): Promise<null> => {
      const { status } = await findCurrentUser(ctx);
      const clerkId = await findClerkId(ctx);
      if (clerkId === null) throw new ConvexError(WHY_NOT["signed out"]);
      if (status !== "ready")
        await ctx.runMutation(internal.clerk.memory.worker.doubt, { clerkId });
      return null;
    },
  };
}

const WHY_NOT = {
  "signed out": "Sign in with Clerk first.",
  syncing: "Your account has not arrived here yet.",
  removed: "Your account was removed.",
  banned: "Your account is banned.",
};

async function findCurrentUser(ctx: Ctx): Promise<CurrentUser> {
  const clerkId = await findClerkId(ctx);
  if (clerkId === null) return { status: "signed out" };
  const rows = await rowsOf(ctx, clerkId);
  // Of several, the oldest, as the sync has it.
  const user = rows.find((row) => !isMarked(row));
  if (user === undefined) return { status: rows.length > 0 ? "removed" : "syncing" };
  if (await isBeingErased(ctx, clerkId)) return { status: "removed" };
  // An `app.ts` that was not brought up to date may not say.
  const isBanned = app.isBanned as IsBanned | undefined;
  return isBanned?.(user) === true ? { status: "banned" } : { status: "ready", user };
}

async function findClerkId({ auth }: Ctx): Promise<string | null> {
  const caller = await auth.getUserIdentity();
  if (caller === null) return null;
  const issuer = typeof app.issuer === "function" ? app.issuer() : app.issuer;
  if (!issuer) {
    throw new Error("convex/clerk/app.ts lacks the issuer, as convex/auth.config.ts has it");
  }
  return bare(issuer) === bare(caller.issuer) ? caller.subject : null;
}

/** As Convex compares issuers (`AuthInfo` of its backend): without `https://`, and without a slash at the end. */
function bare(issuer: string): string {
  return issuer.replace(/^https:\/\//, "").replace(/\/+$/, "");
}

/** Up to `most` rows of an id, the oldest first. */
export async function rowsOf(
  { db }: Pick<QueryCtx, "db">,
  clerkId: string,
  most = MAX_DUPLICATES,
): Promise<User[]> {
  const users = db.query("users").withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId));
  return await users.take(most);
}

/** Whether a row is marked as removed. What else an app has a `deletedAt` for is its own. */
export function isMarked({ deletedAt }: User): boolean {
  return app.removal !== "delete" && deletedAt !== undefined;
}

/** Whether a row of an id is on its way out. An app without `erase` pays for no look-up. */
export async function isBeingErased(ctx: Pick<QueryCtx, "db">, clerkId: string): Promise<boolean> {
  if (app.hooks.erase === undefined) return false;
  const erasures = ctx.db.query("clerkErasures");
  return (await erasures.withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId)).first()) !== null;
}
