/**
 * The best cron that a good engineer writes by hand in an afternoon, to compare with: full pages by offset, one
 * mutation a page, rows read together, differences only; then it deletes who was not listed. It trusts each answer:
 * it has no order of versions, no evidence, no hold, no checkpoint, and survives neither a 429 nor a list that
 * shifts while it reads.
 */
import { isDeepStrictEqual } from "node:util";
import {
  internalActionGeneric,
  internalMutationGeneric,
  internalQueryGeneric,
  makeFunctionReference,
  type GenericMutationCtx,
  type GenericQueryCtx,
} from "convex/server";
import { v } from "convex/values";
import { listPeerPage, peerFields, peerRowOf, type PeerDataModel } from "./peer";

const PAGE_SIZE = 500;
const ROWS_A_PAGE = 4000;

const settle = internalMutationGeneric({
  args: { users: v.array(v.object(peerFields)) },
  handler: async (ctx: GenericMutationCtx<PeerDataModel>, { users }) => {
    const rows = await Promise.all(
      users.map(
        async ({ clerkId }) =>
          await ctx.db
            .query("users")
            .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId))
            .unique(),
      ),
    );
    await Promise.all(
      users.map(async (user, index) => {
        const row = rows[index];
        if (!row) await ctx.db.insert("users", user);
        else {
          const { _id, _creationTime, ...known } = row;
          if (!isDeepStrictEqual(known, defined(user))) await ctx.db.replace("users", _id, user);
        }
      }),
    );
  },
});

function defined(user: object): object {
  return Object.fromEntries(Object.entries(user).filter(([, value]) => value !== undefined));
}

const rows = internalQueryGeneric({
  args: { cursor: v.nullable(v.string()) },
  handler: async (ctx: GenericQueryCtx<PeerDataModel>, { cursor }) => {
    const found = await ctx.db.query("users").paginate({ cursor, numItems: ROWS_A_PAGE });
    return { ...found, page: found.page.map(({ _id, clerkId }) => ({ _id, clerkId })) };
  },
});

const remove = internalMutationGeneric({
  args: { ids: v.array(v.id("users")) },
  handler: async (ctx: GenericMutationCtx<PeerDataModel>, { ids }) => {
    for (const id of ids) await ctx.db.delete("users", id);
  },
});

type Found = { page: { _id: string; clerkId: string }[]; isDone: boolean; continueCursor: string };

const sync = internalActionGeneric({
  args: {},
  handler: async (ctx) => {
    const seen = new Set<string>();
    for (let offset = 0; ; offset += PAGE_SIZE) {
      const users = (await listPeerPage(offset, PAGE_SIZE)).map(peerRowOf);
      for (const { clerkId } of users) seen.add(clerkId);
      await ctx.runMutation(makeFunctionReference<"mutation">("handwritten:settle"), { users });
      if (users.length < PAGE_SIZE) break;
    }
    const gone: string[] = [];
    for (let cursor: string | null = null; ;) {
      const reference = makeFunctionReference<"query">("handwritten:rows");
      const found = (await ctx.runQuery(reference, { cursor })) as Found;
      gone.push(...found.page.flatMap(({ _id, clerkId }) => (seen.has(clerkId) ? [] : _id)));
      if (found.isDone) break;
      cursor = found.continueCursor;
    }
    if (gone.length > 0) {
      await ctx.runMutation(makeFunctionReference<"mutation">("handwritten:remove"), { ids: gone });
    }
  },
});

/** For convex-test. */
export const modules = {
  "/convex/_generated/api.js": async () => await Promise.resolve({}),
  "/convex/handwritten.ts": async () => await Promise.resolve({ settle, rows, remove, sync }),
};

export const syncReference = makeFunctionReference<"action">("handwritten:sync");
