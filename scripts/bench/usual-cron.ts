/**
 * The usual hand-written cron, to compare with: list everyone by offset, one mutation per user, then
 * `collect()` and delete who was not seen. After itsandyd/ppr-academy's `convex/clerkSync.ts`
 * (https://github.com/itsandyd/ppr-academy, 306c6eb), which pages by 100 and deletes nobody.
 */
import {
  internalActionGeneric,
  internalMutationGeneric,
  internalQueryGeneric,
  makeFunctionReference,
  type GenericMutationCtx,
  type GenericQueryCtx,
} from "convex/server";
import { v } from "convex/values";
import type { ClerkUserJSON } from "../stand-in/clerk-json";
import { listPeerPage, peerFields, peerRowOf, type PeerDataModel as DataModel } from "./peer";

const PAGE_SIZE = 100;

const everyone = internalQueryGeneric({
  args: {},
  handler: async (ctx: GenericQueryCtx<DataModel>) =>
    (await ctx.db.query("users").collect()).map(({ _id, clerkId }) => ({ _id, clerkId })),
});

const create = internalMutationGeneric({
  args: peerFields,
  handler: async (ctx: GenericMutationCtx<DataModel>, row) => {
    await ctx.db.insert("users", row);
  },
});

const update = internalMutationGeneric({
  args: { id: v.id("users"), ...peerFields },
  handler: async (ctx: GenericMutationCtx<DataModel>, { id, ...row }) => {
    await ctx.db.patch("users", id, row);
  },
});

const remove = internalMutationGeneric({
  args: { id: v.id("users") },
  handler: async (ctx: GenericMutationCtx<DataModel>, { id }) => {
    await ctx.db.delete("users", id);
  },
});

async function listEveryone(): Promise<ClerkUserJSON[]> {
  const users: ClerkUserJSON[] = [];
  for (;;) {
    const page = await listPeerPage(users.length, PAGE_SIZE);
    users.push(...page);
    if (page.length < PAGE_SIZE) return users;
  }
}

const sync = internalActionGeneric({
  args: {},
  handler: async (ctx) => {
    const users = await listEveryone();
    const rows = (await ctx.runQuery(makeFunctionReference<"query">("usual:everyone"), {})) as {
      _id: string;
      clerkId: string;
    }[];
    const ids = new Map(rows.map(({ _id, clerkId }) => [clerkId, _id]));
    for (const user of users) {
      const id = ids.get(user.id);
      const row = peerRowOf(user);
      if (id === undefined)
        await ctx.runMutation(makeFunctionReference<"mutation">("usual:create"), row);
      else await ctx.runMutation(makeFunctionReference<"mutation">("usual:update"), { id, ...row });
    }
    const seen = new Set(users.map(({ id }) => id));
    for (const { _id: id, clerkId } of rows) {
      if (!seen.has(clerkId)) {
        await ctx.runMutation(makeFunctionReference<"mutation">("usual:remove"), { id });
      }
    }
  },
});

/** For convex-test. */
export const modules = {
  "/convex/_generated/api.js": async () => await Promise.resolve({}),
  "/convex/usual.ts": async () => await Promise.resolve({ everyone, create, update, remove, sync }),
};

export const syncReference = makeFunctionReference<"action">("usual:sync");
