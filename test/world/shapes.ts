/** Shapes that apps on Convex and Clerk have, each with its own code, which stays as it is. */
import { USUAL, type Shape } from "./made-up-app";

export const ISSUER = "https://made-up.clerk.accounts.dev";

const OPTIONAL_APP = `
import type { Hooks, Key, NewUserFields, Removal } from "./types";
export const newUserFields: NewUserFields = () => ({ plan: "free" });
export const removal: Removal = "delete";
export const key: Key = null;
export const hooks: Hooks = {};
`;

/** Guests among its users, no column that mirrors Clerk but those that it adds, and other tables that name its rows. */
export const OPTIONAL: Shape = {
  before: {
    ...USUAL,
    "schema.ts": `
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({
    plan: v.union(v.literal("free"), v.literal("paid")),
    bio: v.optional(v.string()),
    firstName: v.optional(v.string()),
    lastSignInDay: v.optional(v.number()),
    deletedAt: v.optional(v.number()),
  })
    .index("by_plan", ["plan"]),
  posts: defineTable({ author: v.id("users"), text: v.string() }),
});
`,
    "posts.ts": `
import { v } from "convex/values";
import { internalQuery } from "./_generated/server";
export const authors = internalQuery({
  args: {},
  returns: v.array(v.string()),
  handler: async (ctx) => {
    const posts = await ctx.db.query("posts").take(500);
    const authors = await Promise.all(posts.map(async ({ author }) => await ctx.db.get("users", author)));
    return authors.map((author) => author?.plan ?? "nobody");
  },
});
`,
  },
  written: {
    "clerk/fields.ts": `
import type { Fields } from "./types";
export const fields = {
  firstName: (user) => user.first_name,
} satisfies Fields;
`,
    "clerk/app.ts": OPTIONAL_APP,
  },
};

/** The same, which keeps the rows of removed users, and mirrors a day. */
export const MARKED: Shape = {
  ...OPTIONAL,
  written: {
    "clerk/fields.ts": `
import type { Fields } from "./types";
const DAY = 24 * 60 * 60 * 1000;
export const fields = {
  lastSignInDay: (user) =>
    user.last_sign_in_at && Math.floor(user.last_sign_in_at / DAY) * DAY,
} satisfies Fields;
`,
    "clerk/app.ts": OPTIONAL_APP.replace('= "delete"', "= { mark: {} }"),
  },
};

/** Every column is required, as one of four apps has it whose key is `clerkId`; its code relies on that. */
export const REQUIRED: Shape = {
  before: {
    ...USUAL,
    "schema.ts": `
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({
    clerkId: v.string(),
    email: v.string(),
    name: v.string(),
    imageUrl: v.string(),
    bio: v.union(v.string(), v.null()),
    plan: v.union(v.literal("free"), v.literal("paid")),
  })
    .index("by_clerk_id", ["clerkId"]),
});
`,
    "users.ts": `
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";
export const me = query({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (!identity) return null;
    const user = await ctx.db
      .query("users")
      .withIndex("by_clerk_id", (q) => q.eq("clerkId", identity.subject))
      .unique();
    return user && { initial: user.name.slice(0, 1), mail: user.email.toLowerCase() };
  },
});
export const upgrade = mutation({
  args: { id: v.id("users") },
  handler: async (ctx, { id }) => {
    await ctx.db.patch(id, { plan: "paid" });
  },
});
`,
  },
  written: {
    "clerk/fields.ts": `
import { fullName, primaryEmail } from "./shared/readers";
import type { Fields } from "./types";
export const fields = {
  email: (user) => primaryEmail(user) ?? "",
  name: (user) => fullName(user) ?? user.username ?? "",
  imageUrl: (user) => user.image_url,
  bio: (user) => (typeof user.public_metadata.bio === "string" ? user.public_metadata.bio : null),
} satisfies Fields;
`,
    "clerk/app.ts": OPTIONAL_APP,
  },
};

/** Its rows are known by `tokenIdentifier`, as in Convex's documentation, and its sign-in goes on making them. */
export const KEYED: Shape = {
  before: {
    ...USUAL,
    "schema.ts": `
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({
    tokenIdentifier: v.string(),
    name: v.string(),
    seen: v.number(),
  })
    .index("by_token", ["tokenIdentifier"]),
});
`,
    "users.ts": `
import { v } from "convex/values";
import { internalMutation } from "./_generated/server";
export const store = internalMutation({
  args: { tokenIdentifier: v.string(), name: v.string() },
  handler: async (ctx, { tokenIdentifier, name }) => {
    const user = await ctx.db
      .query("users")
      .withIndex("by_token", (q) => q.eq("tokenIdentifier", tokenIdentifier))
      .unique();
    if (user) {
      await ctx.db.patch(user._id, { seen: user.seen + 1 });
      return user._id;
    }
    return await ctx.db.insert("users", { tokenIdentifier, name, seen: 1 });
  },
});
`,
  },
  written: {
    "clerk/fields.ts": `
import { fullName } from "./shared/readers";
import type { Fields } from "./types";
export const fields = { name: (user) => fullName(user) ?? "Somebody" } satisfies Fields;
`,
    "clerk/app.ts": `
import type { Hooks, Key, NewUserFields, Removal } from "./types";
const tokenOf = (clerkId: string) => "${ISSUER}|" + clerkId;
export const newUserFields: NewUserFields = (user) => ({ tokenIdentifier: tokenOf(user.id), seen: 0 });
export const removal: Removal = "delete";
export const key: Key = { column: "tokenIdentifier", index: "by_token", read: tokenOf };
export const hooks: Hooks = {};
`,
  },
};

/** A hook that imports the app's code, which imports the schema, and triggers that see each write. */
export const HOOKED: Shape = {
  before: {
    ...USUAL,
    "schema.ts": `
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { vRole } from "./model/roles";
export default defineSchema({
  users: defineTable({
    role: vRole,
    team: v.optional(v.id("teams")),
    name: v.optional(v.string()),
  })
    .index("by_team", ["team"]),
  teams: defineTable({ title: v.string() }),
  audit: defineTable({ what: v.string() }),
});
`,
    "model/roles.ts": `
import { v } from "convex/values";
export const vRole = v.union(v.literal("owner"), v.literal("member"));
`,
    "model/teams.ts": `
import type { Id } from "../_generated/dataModel";
import type { MutationCtx } from "../_generated/server";
import schema from "../schema";
// At the top of the file, as generated tables of functions have it.
export const COLUMNS = Object.keys(schema.tables.teams.validator.fields);
export async function makeTeam(ctx: MutationCtx, user: Id<"users">, title: string) {
  const team = await ctx.db.insert("teams", { title });
  await ctx.db.patch(user, { team });
}
`,
    "functions.ts": `
import { customCtx, customMutation } from "convex-helpers/server/customFunctions";
import { Triggers } from "convex-helpers/server/triggers";
import type { DataModel } from "./_generated/dataModel";
import { mutation as rawMutation } from "./_generated/server";
import { COLUMNS } from "./model/teams";
export const triggers = new Triggers<DataModel>();
triggers.register("users", async (ctx, change) => {
  await ctx.db.insert("audit", { what: change.operation + COLUMNS.length });
});
export const mutation = customMutation(rawMutation, customCtx(triggers.wrapDB));
`,
    "teams.ts": `
import { v } from "convex/values";
import { mutation } from "./functions";
import { makeTeam } from "./model/teams";
export const make = mutation({
  args: { user: v.id("users"), title: v.string() },
  handler: async (ctx, { user, title }) => await makeTeam(ctx, user, title),
});
`,
  },
  written: {
    "clerk/fields.ts": `
import { fullName } from "./shared/readers";
import type { Fields } from "./types";
export const fields = { name: fullName } satisfies Fields;
`,
    "clerk/app.ts": `
import { triggers } from "../functions";
import { makeTeam } from "../model/teams";
import type { Hooks, Key, NewUserFields, Removal } from "./types";
export const newUserFields: NewUserFields = () => ({ role: "owner" });
export const removal: Removal = "delete";
export const key: Key = null;
export const hooks: Hooks = {
  created: async (ctx, user) => await makeTeam(ctx, user._id, (user.name ?? "Somebody") + "'s team"),
  database: (ctx) => triggers.wrapDB(ctx).db,
};
`,
  },
};
