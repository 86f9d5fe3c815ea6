/** @module-tag slow */
// @vitest-environment node
/** What the command makes of an app's columns: by their names and types, and by what the app's own code does with them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { planInit, type Plan } from "../../scripts/command/plan";
import { leftToDo } from "../../scripts/command/left";
import { MadeUpApp, type Files } from "../world/made-up-app";

let made: MadeUpApp;
beforeAll(() => {
  made = new MadeUpApp({ before: {} });
});
afterAll(() => {
  made.remove();
});

/** @param columns of `users`, beside `clerkId` */
async function plan(columns: string, code = "", others: Files = {}): Promise<Plan> {
  const files: Files = {
    "schema.ts": `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({ ${columns} })${/tokenIdentifier/.test(columns) ? '.index("by_token", ["tokenIdentifier"])' : ""},
  posts: defineTable({ name: v.string() }),
});`,
    "users.ts": `import { v } from "convex/values";
import { mutation, internalMutation, query, internalQuery, action, internalAction } from "./_generated/server";
import { internal } from "./_generated/api";
${code}`,
    "auth.config.ts": `export default { providers: [{ domain: process.env.CLERK_ISSUER!, applicationID: "convex" }] };`,
    "webhooks.ts": "export {};\n",
    "model.ts": "export {};\n",
    "../lib/users.ts": "export {};\n",
    "../tsconfig.json": "{}",
    "http.ts": `import { httpRouter } from "convex/server";\nexport default httpRouter();\n`,
    "counter/users.ts": "export {};\n",
    ...others,
  };
  made.write(files);
  return await planInit({ app: made.folder, install: false });
}

const ID = "clerkId: v.string(), ";
const fieldsOf = async (columns: string, code?: string, others?: Files) =>
  Object.fromEntries((await plan(ID + columns, code, others)).columns.fields);

describe("a column whose meaning is known gets its reader", () => {
  test.each([
    ["email: v.string()", `(user) => primaryEmail(user) ?? ""`],
    ["email: v.optional(v.string())", "primaryEmail"],
    ["email: v.union(v.string(), v.null())", "primaryEmail"],
    ["email: v.any()", "primaryEmail"],
    ["email_address: v.optional(v.string())", "primaryEmail"],
    ["name: v.string()", `(user) => fullName(user) ?? user.username ?? ""`],
    ["displayName: v.optional(v.string())", "fullName"],
    ["first_name: v.string()", `(user) => user.first_name ?? ""`],
    ["lastName: v.optional(v.string())", "(user) => user.last_name"],
    ["imageUrl: v.string()", "(user) => user.image_url"],
    ["avatarUrl: v.optional(v.string())", "(user) => user.image_url || null"],
    ["phoneNumber: v.string()", `(user) => primaryPhone(user) ?? ""`],
    ["emailVerified: v.boolean()", "(user) => isEmailVerified(user) ?? false"],
    ["banned: v.optional(v.boolean())", "(user) => user.banned"],
    ["publicMetadata: v.any()", "(user) => unlessEmpty(user.public_metadata)"],
    ["publicMetadata: v.record(v.string(), v.any())", "(user) => user.public_metadata"],
  ])("%s", async (column, reader) => {
    const [name = ""] = column.split(":");
    expect(await fieldsOf(column)).toEqual({ [name]: reader });
  });

  test.each([
    ["of another type", "emailVerified: v.number()"],
    ["an id of a file", `image: v.id("_storage")`],
    ["one of a few texts", `name: v.union(v.literal("a"), v.literal("b"))`],
    ["metadata of a given shape", "publicMetadata: v.object({ plan: v.string() })"],
    ["of no known name", "nickname: v.string()"],
  ])("but none that is %s", async (_, column) => {
    expect(await fieldsOf(column)).toEqual({});
  });
});

describe("a column that people edit stays theirs", () => {
  const COLUMNS = "name: v.string(), email: v.string()";
  const HANDLER = (body: string, args = "name: v.string()") =>
    `({ args: { ${args} }, handler: async (ctx, args) => { const user = await ctx.db.query("users").first(); ${body} } });`;
  const edits: [how: string, code: string, others?: Files][] = [
    [
      "by a patch",
      `export const edit = mutation${HANDLER("await ctx.db.patch(user!._id, { name: args.name });")}`,
    ],
    [
      "by a patch that names the table",
      `export const edit = mutation${HANDLER(`await ctx.db.patch("users", user!._id, { name: args.name });`)}`,
    ],
    [
      "by arguments as a whole",
      `export const edit = mutation${HANDLER("await ctx.db.patch(user!._id, args);")}`,
    ],
    [
      "by arguments that are spread",
      `export const edit = mutation${HANDLER("await ctx.db.patch(user!._id, { ...args });")}`,
    ],
    [
      "by a replacement",
      `export const edit = mutation${HANDLER("await ctx.db.replace(user!._id, { ...user!, name: args.name });")}`,
    ],
    [
      "by an object that is put together",
      `export const edit = mutation${HANDLER("const changes: any = {}; if (args.name) changes.name = args.name; await ctx.db.patch(user!._id, changes);")}`,
    ],
    [
      "by an id that is given",
      `export const edit = mutation({ args: { id: v.id("users"), name: v.string() }, handler: async (ctx, { id, name }) => { await ctx.db.patch(id, { name }); } });`,
    ],
    [
      "by a builder of the app's own",
      `import { authedMutation } from "./model";\nexport const edit = authedMutation${HANDLER("await ctx.db.patch(ctx.user._id, { name: args.name });")}`,
    ],
    [
      "by a helper in another file",
      `import { rename } from "./model";\nexport const edit = mutation${HANDLER("await rename(ctx, user!._id, args.name);")}`,
      {
        "model.ts": `export async function rename(ctx: any, userId: any, name: string) { await ctx.db.patch(userId, { name }); }`,
      },
    ],
    [
      "by an internal mutation that a public action calls",
      `export const rename = internalMutation({ args: { userId: v.id("users"), name: v.string() }, handler: async (ctx, { userId, ...rest }) => { await ctx.db.patch(userId, rest); } });
export const edit = action({ args: {}, handler: async (ctx) => { await ctx.runMutation(internal.users.rename, {} as any); } });`,
    ],
    [
      "by a helper that is imported with all others",
      `import * as Users from "./model";\nexport const edit = mutation${HANDLER("await Users.rename(ctx, user!._id, { name: args.name });")}`,
      {
        "model.ts": `export async function rename(ctx: any, id: any, values: { name: string }) { await ctx.db.patch(id, { name: values.name }); }`,
      },
    ],
    [
      "by a helper behind an alias and a barrel",
      `import { rename } from "@/convex/model";\nexport const edit = mutation${HANDLER("await rename(ctx, user!._id, args.name);")}`,
      {
        "model.ts": `export * from "./webhooks";`,
        "webhooks.ts": `export async function rename(ctx: any, id: any, name: string) { await ctx.db.patch(id, { name }); }`,
      },
    ],
    [
      "by a helper that is taken out of others",
      `import { helpers } from "./model";\nconst { rename } = helpers;\nexport const edit = mutation${HANDLER("await rename(ctx, user!._id, args.name);")}`,
      {
        "model.ts": `async function rename(ctx: any, id: any, name: string) { await ctx.db.patch(id, { name }); }\nexport const helpers = { rename };`,
      },
    ],
    [
      "by a helper outside of the folder",
      `import { rename } from "../lib/users";\nexport const edit = mutation${HANDLER("await rename(ctx, user!._id, args.name);")}`,
      {
        "../lib/users.ts": `export async function rename(ctx: any, id: any, name: string) { await ctx.db.patch(id, { name }); }`,
      },
    ],
    [
      "by validators that stand elsewhere",
      `const profile = { name: v.string() };\nexport const edit = mutation({ args: profile, handler: async (ctx, args) => { const user = await ctx.db.query("users").first(); await ctx.db.patch(user!._id, args); } });`,
    ],
    [
      "by validators that are spread",
      `const profile = { name: v.string() };\nexport const edit = mutation({ args: { ...profile }, handler: async (ctx, args) => { const user = await ctx.db.query("users").first(); await ctx.db.patch(user!._id, args); } });`,
    ],
    [
      "by an argument of any kind",
      `export const edit = mutation${HANDLER("await ctx.db.patch(user!._id, args.updates);", "updates: v.any()")}`,
    ],
    [
      "by an argument that may lack",
      `export const edit = mutation${HANDLER("await ctx.db.patch(user!._id, args.profile ?? {});", "profile: v.optional(v.object({ name: v.string() }))")}`,
    ],
    [
      "by a helper that is given a record",
      `import { save } from "./model";\nexport const edit = mutation${HANDLER("await save(ctx, args);")}`,
      {
        "model.ts": `export async function save(ctx: any, values: Record<string, unknown>) { await ctx.db.patch(ctx.user._id, values); }`,
      },
    ],
    [
      "by a computed name",
      `export const edit = mutation${HANDLER("await ctx.db.patch(user!._id, { [args.field]: args.value } as any);", "field: v.string(), value: v.string()")}`,
    ],
    [
      "by a loop over arguments",
      `export const edit = mutation${HANDLER("const updates: any = {}; for (const [key, value] of Object.entries(args)) if (value !== undefined) updates[key] = value; await ctx.db.patch(user!._id, updates);")}`,
    ],
    [
      "by arguments that are merged",
      `export const edit = mutation${HANDLER("const updates: any = {}; Object.assign(updates, args); await ctx.db.patch(user!._id, updates);")}`,
    ],
    [
      "by what a function makes of arguments",
      `const toRow = (a: any) => ({ name: a.displayName });\nexport const edit = mutation${HANDLER("await ctx.db.patch(user!._id, toRow(args));", "displayName: v.string()")}`,
    ],
    [
      "by an argument that is called as Clerk's events call theirs",
      `export const edit = mutation({ args: { data: v.object({ first_name: v.string() }) }, handler: async (ctx, { data }) => { const user = await ctx.db.query("users").first(); await ctx.db.patch(user!._id, { name: data.first_name }); } });`,
    ],
    [
      "by a variable that begins with the identity's",
      `export const edit = mutation${HANDLER("const identity = (await ctx.auth.getUserIdentity())!; let name = identity.name; if (args.name) name = args.name; await ctx.db.patch(user!._id, { name });")}`,
    ],
    [
      "by a draft that is found by the identity",
      `export const edit = mutation${HANDLER('const identity = (await ctx.auth.getUserIdentity())!; const draft: any = await ctx.db.query("posts").withIndex("by_owner" as any, (q: any) => q.eq("owner", identity.subject)).unique(); await ctx.db.patch(user!._id, { name: draft.name });')}`,
    ],
    [
      "by an id out of another table",
      `export const edit = mutation${HANDLER('const userId = ((await ctx.db.query("posts").first()) as any).userId; await ctx.db.patch(userId, { name: args.name });')}`,
    ],
    [
      "by a row that another one leads to",
      `export const edit = mutation${HANDLER('const owner: any = await ctx.db.get(((await ctx.db.query("posts").first()) as any).userId); await ctx.db.patch(owner._id, { name: args.name });')}`,
    ],
    [
      "by an ent's edge",
      `export const edit = mutation${HANDLER('await (ctx as any).table("posts").getX(args.id).edge("user").patch({ name: args.name });')}`,
    ],
    [
      "by a builder of another name",
      `import { mutationWithUser } from "./model";\nexport const edit = mutationWithUser${HANDLER("await ctx.db.patch(ctx.user._id, { name: args.name });")}`,
    ],
    [
      "by a builder around another one",
      `import { withAuth } from "./model";\nexport const edit = withAuth(mutation)${HANDLER("await ctx.db.patch(ctx.user._id, { name: args.name });")}`,
    ],
    [
      "by a builder in a chain",
      `import { convex } from "./model";\nexport const edit = convex.mutation().input({ name: v.string() }).handler(async (ctx: any, args: any) => { await ctx.db.patch(ctx.user._id, { name: args.name }); }).public();`,
    ],
    [
      "by functions that are made from the table",
      `import { crud } from "convex-helpers/server/crud";\nimport schema from "./schema";\nexport const { create, update } = crud(schema, "users", query, mutation);`,
    ],
    [
      "by an internal mutation that goes by another name",
      `const mine = internal.users;\nexport const rename = internalMutation({ args: { userId: v.id("users"), name: v.string() }, handler: async (ctx, { userId, name }) => { await ctx.db.patch(userId, { name }); } });
export const edit = action({ args: {}, handler: async (ctx) => { const users = mine; await ctx.runMutation(users.rename, {} as any); } });`,
    ],
    [
      "by a database that is taken apart",
      `export const edit = mutation({ args: { id: v.any(), name: v.string() }, handler: async ({ db: { patch } }, args) => { await patch(args.id, { name: args.name } as any); } });`,
    ],
    [
      "by what they type when they begin",
      `export const onboard = mutation({ args: { name: v.string(), email: v.string() }, handler: async (ctx, args) => { const identity = (await ctx.auth.getUserIdentity())!; await ctx.db.insert("users", { clerkId: identity.subject, name: args.name, email: identity.email! }); } });`,
    ],
    [
      "by an HTTP action that is no webhook",
      `import { httpAction } from "./_generated/server";\nexport const rename = internalMutation({ args: { userId: v.id("users"), name: v.string() }, handler: async (ctx, { userId, name }) => { await ctx.db.patch(userId, { name }); } });
export const patchMe = httpAction(async (ctx, request) => { await ctx.runMutation(internal.users.rename, await request.json()); return new Response(); });`,
    ],
    [
      "by an object that begins with the identity's",
      `export const edit = mutation${HANDLER("const identity = (await ctx.auth.getUserIdentity())!; const updates: any = { name: identity.name }; if (args.name) updates.name = args.name; await ctx.db.patch(user!._id, updates);")}`,
    ],
    [
      "by one of two objects",
      `export const edit = mutation${HANDLER("const identity = (await ctx.auth.getUserIdentity())!; await ctx.db.patch(user!._id, args.name ? { name: args.name } : { name: identity.name });")}`,
    ],
    [
      "by an HTTP action within a route, beside a webhook",
      `export const rename = internalMutation({ args: { userId: v.id("users"), name: v.string() }, handler: async (ctx, { userId, name }) => { await ctx.db.patch(userId, { name }); } });`,
      {
        "http.ts": `import { httpRouter } from "convex/server";
import { Webhook } from "svix";
import { httpAction } from "./_generated/server";
import { internal } from "./_generated/api";
const http = httpRouter();
http.route({ path: "/clerk", method: "POST", handler: httpAction(async (ctx, request) => { const event: any = new Webhook("x").verify(await request.text(), {}); if (event.type === "user.created") return new Response(); return new Response(); }) });
http.route({ path: "/api/me", method: "PATCH", handler: httpAction(async (ctx, request) => { await ctx.runMutation(internal.users.rename, await request.json()); return new Response(); }) });
export default http;`,
      },
    ],
    [
      "by a helper that is imported by another name",
      `import { rename as renameUser } from "./model";\nexport const edit = mutation${HANDLER("await renameUser(ctx, user!._id, args.name);")}`,
      {
        "model.ts": `export async function rename(ctx: any, id: any, name: string) { await ctx.db.patch(id, { name }); }`,
      },
    ],
    [
      "by a helper that is a file's default",
      `import renameUser from "./model";\nexport const edit = mutation${HANDLER("await renameUser(ctx, user!._id, args.name);")}`,
      {
        "model.ts": `export default async function rename(ctx: any, id: any, name: string) { await ctx.db.patch(id, { name }); }`,
      },
    ],
    [
      "by a helper that a barrel renames",
      `import { renameUser } from "./model";\nexport const edit = mutation${HANDLER("await renameUser(ctx, user!._id, args.name);")}`,
      {
        "model.ts": `export { rename as renameUser } from "./webhooks";`,
        "webhooks.ts": `export async function rename(ctx: any, id: any, name: string) { await ctx.db.patch(id, { name }); }`,
      },
    ],
    [
      "by a helper behind a path of the tsconfig",
      `import { rename } from "@server/users";\nexport const edit = mutation${HANDLER("await rename(ctx, user!._id, args.name);")}`,
      {
        "../tsconfig.json": `{ "compilerOptions": { "paths": { "@server/*": ["./lib/*"] } } }`,
        "../lib/users.ts": `export async function rename(ctx: any, id: any, name: string) { await ctx.db.patch(id, { name }); }`,
      },
    ],
    [
      "by a chain whose handler names an internal function",
      `import { convex } from "./model";\nexport const edit = convex.mutation().handler(async (ctx: any, args: any) => { await ctx.db.patch(ctx.user._id, { name: args.name }); await ctx.scheduler.runAfter(0, internal.emails.send, {}); }).public();`,
    ],
    [
      "by a builder that is called as one of a library's",
      `export const customMutation = (options: any) => mutation(options);\nexport const edit = customMutation${HANDLER("await ctx.db.patch(user!._id, { name: args.name });")}`,
    ],
    [
      "by a reference that is written as text",
      `import { makeFunctionReference } from "convex/server";\nexport const rename = internalMutation({ args: { userId: v.id("users"), name: v.string() }, handler: async (ctx, { userId, name }) => { await ctx.db.patch(userId, { name }); } });
export const edit = action({ args: {}, handler: async (ctx) => { await ctx.runMutation(makeFunctionReference<"mutation">("users:rename"), {}); } });`,
    ],
    [
      "by a method that goes by another name",
      `export const edit = mutation${HANDLER("const { patch: update } = ctx.db; await update(user!._id, { name: args.name });")}`,
    ],
    [
      "by a table that is named elsewhere",
      `const TABLE = "users" as const;\nexport const join = mutation${HANDLER('await ctx.db.insert(TABLE, { clerkId: "x", email: "", name: args.name });')}`,
    ],
    [
      "by a variable that is taken out of the identity, and set again",
      `export const edit = mutation${HANDLER("const identity = (await ctx.auth.getUserIdentity())!; let { name } = identity; if (args.name) name = args.name; await ctx.db.patch(user!._id, { name });")}`,
    ],
    [
      "by what is in the identity's place where it has none",
      `export const edit = mutation${HANDLER("const identity = (await ctx.auth.getUserIdentity())!; const { name = args.name } = identity; await ctx.db.patch(user!._id, { name });")}`,
    ],
    [
      "by one of two variables of a name",
      `export const edit = mutation${HANDLER("const identity = (await ctx.auth.getUserIdentity())!; if (user) { const { name } = args; await ctx.db.patch(user._id, { name }); } else { const { name } = identity; console.log(name); }")}`,
    ],
    [
      "by what a function makes an identity of",
      `import { normalizeIdentity } from "./model";\nexport const edit = mutation${HANDLER("const given = normalizeIdentity(args.profile); await ctx.db.patch(user!._id, { name: given.name });", "profile: v.any()")}`,
      { "model.ts": `export const normalizeIdentity = (profile: any) => profile;` },
    ],
    [
      "by a helper whose identity is not all Clerk's",
      `import { save } from "./model";\nexport const edit = mutation${HANDLER("const identity = (await ctx.auth.getUserIdentity())!; await save(ctx, user!._id, { ...identity, name: args.name });")}`,
      {
        "model.ts": `export async function save(ctx: any, id: any, identity: { name: string }) { await ctx.db.patch(id, { name: identity.name }); }`,
      },
    ],
    [
      "by what can't be told",
      `export const edit = mutation({ args: {}, handler: async (ctx) => { const user = await ctx.db.query("users").first(); await ctx.db.patch(user!._id, whatever()); } });`,
    ],
  ];
  test.each(edits)("%s", async (_, code, others) => {
    const { columns } = await plan(ID + COLUMNS, code, others);
    expect([...columns.fields.keys()]).not.toContain("name");
    expect([...columns.edited.keys()]).toContain("name");
  });

  const others: [how: string, code: string, others?: Files][] = [
    [
      "what a sign-in writes of the identity",
      `export const store = mutation({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; const user = await ctx.db.query("users").first(); await ctx.db.patch(user!._id, { name: identity.name }); } });`,
    ],
    [
      "what an internal function writes that only a webhook calls",
      `export const save = internalMutation${HANDLER("await ctx.db.patch(user!._id, { name: args.name });")}`,
    ],
    [
      "what a sign-in writes where it differs",
      `export const store = mutation({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; const user = (await ctx.db.query("users").first())!; const updates: any = {}; if (user.name !== identity.name) updates.name = identity.name; if (user.email !== identity.email) updates.email = identity.email; await ctx.db.patch(user._id, updates); } });`,
    ],
    [
      "what a row had",
      `export const store = mutation({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; const user = (await ctx.db.query("users").first())!; await ctx.db.patch(user._id, { name: identity.name ?? user.name, email: identity.email ?? user.email }); } });`,
    ],
    [
      "what a helper makes of the identity",
      `const displayName = (identity: { name?: string; nickname?: string }) => identity.name ?? identity.nickname ?? "Anonymous";
export const store = mutation({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; const user = (await ctx.db.query("users").first())!; await ctx.db.patch(user._id, { name: displayName(identity) }); } });`,
    ],
    [
      "a row whose type is written, or that comes out of a list",
      `import type { Doc } from "./_generated/dataModel";
async function requirePost(ctx: any, id: any): Promise<Doc<"posts">> { return await ctx.db.get(id); }
export const rename = mutation${HANDLER("const post = await requirePost(ctx, args.id); await ctx.db.patch(post._id, { name: args.name });", 'id: v.id("posts"), name: v.string()')}
export const renameAll = mutation${HANDLER('const all = await ctx.db.query("posts").take(9); await Promise.all(all.map((each) => ctx.db.patch(each._id, { name: args.name })));')}`,
    ],
    [
      "a text in which another one is replaced",
      `export const find = mutation({ args: { email: v.string() }, handler: async (ctx, args) => args.email.replace("+", "").replace(/x/, "y").replace("a", (each) => each) });`,
    ],
    [
      "a text that an account's end leaves",
      `export const deleteMe = mutation({ args: {}, handler: async (ctx) => { const user = (await ctx.db.query("users").first())!; await ctx.db.patch(user._id, { name: "Deleted user", email: "" }); } });`,
    ],
    [
      "rows of a component's own table",
      "export {};",
      {
        "counter/convex.config.ts": "export {};",
        "counter/users.ts": `import { mutation } from "./_generated/server";\nexport const edit = mutation${HANDLER('await ctx.db.patch("users", user!._id, { name: args.name });')}`,
      },
    ],
    [
      "rows of another table",
      `export const rename = mutation({ args: { id: v.id("posts"), name: v.string() }, handler: async (ctx, { id, name }) => { await ctx.db.patch(id, { name }); } });
export const other = mutation${HANDLER(`const post = await ctx.db.query("posts").first(); await ctx.db.patch(post!._id, { name: args.name });`)}`,
    ],
  ];
  test.each(others)("but not %s", async (_, code, files) => {
    expect(Object.keys(await fieldsOf(COLUMNS, code, files))).toEqual(["name", "email"]);
  });
});

describe("a column of the app's own gets what the app's own insert gives it, in the words of Clerk's user", () => {
  const insert = (value: string) => `const START = "basic";
const START_OF_ALL = { theme: "dark" };
const DAY = 24 * 60 * 60 * 1000;
export const store = mutation({ args: { given: v.string() }, handler: async (ctx, args) => {
  const identity = (await ctx.auth.getUserIdentity())!;
  const { email } = identity;
  const count = (await ctx.db.query("users").take(2)).length;
  await ctx.db.insert("users", { clerkId: identity.subject, own: ${value} });
} });`;
  test.each([
    [`"free"`, `"free"`],
    ["`free`", "`free`"],
    ["10", "10"],
    ["-1", "-1"],
    ["[]", "[]"],
    [`{ theme: "dark", tags: ["a"] }`, `{ "theme": "dark", "tags": ["a"] }`],
    [`"free" as const`, `"free"`],
    ["START", `"basic"`],
    ["Date.now()", "Date.now()"],
    ["new Date().toISOString()", "new Date().toISOString()"],
    ["identity.subject", "user.id"],
    ["identity.email!", `primaryEmail(user) ?? ""`],
    ["email!", `primaryEmail(user) ?? ""`],
    ["identity.givenName ?? identity.nickname ?? 'x'", `user.first_name ?? user.username ?? 'x'`],
    ["identity.givenName || identity.nickname", `(user.first_name || user.username) ?? ""`],
    [
      "identity.emailVerified ? identity.email! : identity.nickname!",
      `(isEmailVerified(user) ? primaryEmail(user) : user.username) ?? ""`,
    ],
    ["identity.email!.toLowerCase()", `(primaryEmail(user) ?? "").toLowerCase()`],
    ["`${identity.givenName} x`", '`${user.first_name ?? ""} x`'],
    ["identity.pictureUrl ? 'yes' : 'no'", "user.image_url ? 'yes' : 'no'"],
    // Parentheses say something.
    ["Date.now() + (7 + 7) * 24", "Date.now() + (7 + 7) * 24"],
    ['(identity.nickname ?? "User").toLowerCase()', '(user.username ?? "User").toLowerCase()'],
    ['"@" + (identity.nickname || "someone") + "!"', '"@" + (user.username || "someone") + "!"'],
    ["!(true && false)", "!(true && false)"],
    [
      "(identity.emailVerified ? 'full' : 'guest') + '-user'",
      "(isEmailVerified(user) ? 'full' : 'guest') + '-user'",
    ],
    [
      "`u-${(identity.nickname || identity.subject).slice(0, 8)}`",
      "`u-${(user.username || user.id).slice(0, 8)}`",
    ],
    [
      "identity.name != null ? identity.name : 'x'",
      "(fullName(user) != null ? fullName(user) : 'x') ?? \"\"",
    ],
    ["(identity.nickname ?? null)!", 'user.username ?? ""'],
    ["identity.pictureUrl !== null", "user.image_url !== null"],
    ["typeof identity.name === 'string' ? identity.name : 'x'", null],
    ["START_OF_ALL", '{ "theme": "dark" }'],
    ["Date.now() + 14 * DAY", "Date.now() + 14 * (24 * 60 * 60 * 1000)"],
    // What may be nothing within an object can't be told.
    ["{ label: identity.name!, more: [] }", null],
    ["[identity.email!]", null],
    ["args.given", null],
    [`count === 0 ? "admin" : "member"`, null],
    ["pickColor()", null],
    ["process.env.START", null],
  ])("%s", async (value, expected) => {
    const { columns } = await plan(`${ID}own: v.any()`, insert(value));
    const { columns: strict } = await plan(`${ID}own: v.string()`, insert(value));
    expect(strict.own.get("own")).toBe(expected);
    expect([...columns.own.keys()]).toEqual(["own"]);
  });

  const EACH = "role: v.any(), plan: v.string()";
  test.each([
    [
      "a variable that is set twice",
      `let role = "member"; if (count > 1) role = "admin"; await ctx.db.insert("users", { clerkId: identity.subject, role, plan: "free" });`,
    ],
    [
      "one of two variables of a name",
      `if (count > 1) { const role = 1; await ctx.db.insert("users", { clerkId: identity.subject, role, plan: "free" }); } else { const role = 2; await ctx.db.insert("users", { clerkId: identity.subject, role, plan: "free" }); }`,
    ],
    [
      "what arguments may say otherwise",
      `await ctx.db.insert("users", { clerkId: identity.subject, role: "member", plan: "free", ...args });`,
    ],
    [
      "what another row says",
      `const invite: any = await ctx.db.query("posts").withIndex("x" as any, (q: any) => q.eq("email", identity.email)).unique(); await ctx.db.insert("users", { clerkId: identity.subject, role: invite.nickname, plan: "free" });`,
    ],
    [
      "a row with a word of Clerk's",
      `const organization: any = await ctx.db.query("posts").first(); await ctx.db.insert("users", { clerkId: identity.subject, role: organization.image_url, plan: "free" });`,
    ],
  ])("but not %s", async (_, body) => {
    const code = `export const store = mutation({ args: { role: v.string() }, handler: async (ctx, args) => { const identity = (await ctx.auth.getUserIdentity())!; const count = 1; ${body} } });`;
    const { columns } = await plan(ID + EACH, code);
    expect(columns.own.get("role")).toBeNull();
  });

  test("app.ts names nothing that it does not use", async () => {
    const text = async (columns: string, code: string) => {
      const { mine } = await plan(ID + columns, code);
      return [...mine].find(([file]) => file.endsWith("app.ts"))?.[1] ?? "";
    };
    const plain = await text("own: v.string()", insert('"user"'));
    expect(plain).toMatch(/NewUserFields = \(\) => \(\{\n {2}own: "user",\n\}\)/);
    const used = await text("own: v.string()", insert("identity.name!"));
    expect(used).toMatch(/import \{ fullName \} from "\.\/shared\/readers\.js";/);
    expect(used).toMatch(/NewUserFields = \(user\) => \(\{/);
    const undecided = await text(
      "fullName: v.string()",
      insert("args.given").replace("own:", "fullName:"),
    );
    expect(undecided).toMatch(/fullName: undecided\("fullName"\)/);
    expect(undecided).not.toMatch(/readers\.js/);
  });

  test("a required deletedAt is one of the app's own", async () => {
    const { columns } = await plan(
      `${ID}deletedAt: v.union(v.number(), v.null())`,
      insert("0").replace("own: 0", "deletedAt: null"),
    );
    expect(columns.own.get("deletedAt")).toBe("null");
  });

  test("of one that may be absent it is left out what may be nothing", async () => {
    const { columns } = await plan(
      `${ID}own: v.optional(v.string())`,
      insert("identity.givenName"),
    );
    expect(columns.own.get("own")).toBe("user.first_name ?? undefined");
  });

  test("where two inserts say different things, nobody guesses", async () => {
    const code = `${insert('"free"')}\n${insert('"paid"')
      .replace("store", "other")
      .replaceAll(/const (START\w*|DAY)/g, "const OTHER_$1")}`;
    const told = await plan(`${ID}own: v.string()`, code);
    expect(told.columns.own.get("own")).toBeNull();
    expect(leftToDo(told, { app: "" }).join("\n")).toMatch(
      /what users\.own of a new row is: what convex\/users\.ts:\d+, convex\/users\.ts:\d+ gives can't be said/,
    );
  });

  test("what a webhook passes to an internal mutation is followed there", async () => {
    const code = `export const create = internalMutation({ args: { clerkId: v.string(), handle: v.string() }, handler: async (ctx, { clerkId, handle }) => { await ctx.db.insert("users", { clerkId, handle }); } });`;
    const webhooks = `import { internal } from "./_generated/api";
export async function handle(ctx: any, event: any) {
  const { id, username } = event.data;
  await ctx.runMutation(internal.users.create, { clerkId: id, handle: username ?? "nobody" });
}`;
    const { columns } = await plan(`${ID}handle: v.string()`, code, { "webhooks.ts": webhooks });
    expect(columns.own.get("handle")).toBe(`user.username ?? "nobody"`);
  });

  test("what a webhook within a route passes is followed, too", async () => {
    const code = `export const create = internalMutation({ args: { clerkId: v.string(), plan: v.string() }, handler: async (ctx, args) => { await ctx.db.insert("users", args); } });`;
    const http = `import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server";
import { internal } from "./_generated/api";
const http = httpRouter();
http.route({ path: "/clerk", method: "POST", handler: httpAction(async (ctx, request) => {
  const event: any = await request.json();
  if (event.type === "user.created") await ctx.runMutation(internal.users.create, { clerkId: event.data.id, plan: "free" });
  return new Response();
}) });
export default http;`;
    const { columns, key } = await plan(`${ID}plan: v.string()`, code, { "http.ts": http });
    expect(columns.own.get("plan")).toBe('"free"');
    expect(key).toBeNull();
    const other = await plan(
      "accountRef: v.string(), plan: v.string()",
      code.replace("clerkId", "accountRef"),
      {
        "http.ts": http.replace("clerkId", "accountRef"),
      },
    );
    expect(other.key).toMatchObject({ column: "accountRef", holds: "id" });
  });

  test("what a browser sends is never taken for Clerk's", async () => {
    const code = `export const join = mutation({ args: { data: v.any() }, handler: async (ctx, { data }) => { const identity = (await ctx.auth.getUserIdentity())!; await ctx.db.insert("users", { clerkId: identity.subject, handle: data.username, kind: data.id }); } });`;
    const { columns } = await plan(`${ID}handle: v.string(), kind: v.string()`, code);
    expect([...columns.own.values()]).toEqual([null, null]);
  });

  test("helpers that call each other in a circle are not followed for ever", async () => {
    const code = `function a(ctx: any, x: string) { b(ctx, x); b(ctx, x); return ctx.db.insert("users", { clerkId: "x", color: x }); }
function b(ctx: any, x: string) { a(ctx, x); a(ctx, x); }`;
    const { columns } = await plan(`${ID}color: v.string()`, code);
    expect(columns.own.get("color")).toBeNull();
  });

  test("one that people edit begins as the insert has it", async () => {
    const code = `${insert("identity.name!").replace("own:", "name:")}
export const edit = mutation({ args: { name: v.string() }, handler: async (ctx, { name }) => { const user = await ctx.db.query("users").first(); await ctx.db.patch(user!._id, { name }); } });`;
    const { columns } = await plan(`${ID}name: v.string()`, code);
    expect(columns.fields.size).toBe(0);
    expect(columns.own.get("name")).toBe(`fullName(user) ?? ""`);
  });

  test("what no insert gives is undecided, and said so", async () => {
    const told = await plan(`${ID}plan: v.union(v.literal("paid"), v.literal("free"))`);
    expect(told.columns.own.get("plan")).toBeNull();
    expect(leftToDo(told, { app: "" })[0]).toMatch(
      /what users\.plan of a new row is: nothing in your code/,
    );
  });
});

describe("what is left to the person", () => {
  const left = async (code: string, others: Files = {}) =>
    leftToDo(await plan(`${ID}email: v.string()`, code, others), { app: "" }).join("\n");
  test("ends with the lines for the row at sign-up, and for deletions that can be taken back", async () => {
    const said = await left("");
    for (const line of [
      "export const current = query(currentUserQuery(({ _id }) => ({ _id }))); // what the page gets of the row",
      "export const ensureSynced = mutation(ensureSyncedMutation());",
      "const current = useCurrentUser(api.account.current, api.account.ensureSynced);",
      'export const removal: Removal = { mark: { email: "" }, purgeAfterMs: 30 * 24 * 60 * 60 * 1000 };',
      "export const hooks: Hooks = { erase: async (ctx, user) => {",
      "isBanned = ({ banned }) => banned === true in convex/clerk/app.ts",
    ]) {
      expect(said).toContain(line);
    }
    expect(said).not.toMatch(/Say in convex\/clerk\/app\.ts what the issuer is first/);
    expect(await left("", { "auth.config.ts": "export default { providers: [] };" })).toMatch(
      /Say in convex\/clerk\/app\.ts what the issuer is first/,
    );
  });

  const EVENTS = (events: string) => `import { Webhook } from "svix";
export async function handle(body: string) { const event: any = new Webhook(process.env.SECRET!).verify(body, {} as any); switch (event.type) { ${events} } }`;

  test("names the other events of a webhook that stays", async () => {
    const webhooks = EVENTS('case "user.created": break; case "paymentAttempt.updated": break;');
    const secret = webhooks.replace("process.env.SECRET!", 'secretOf("CLERK_WEBHOOK_SECRET")');
    expect(await left("", { "webhooks.ts": secret })).toMatch(/set CLERK_WEBHOOK_SIGNING_SECRET/);
    expect(await left("", { "webhooks.ts": webhooks })).toMatch(/set CLERK_WEBHOOK_SECRET/);
    expect(await left("", { "webhooks.ts": webhooks })).toMatch(
      /Keep the webhook in convex\/webhooks\.ts:\d+ for paymentAttempt\.updated,/,
    );
  });

  test("says nothing of what is no webhook of Clerk's", async () => {
    expect(await left("", { "webhooks.ts": EVENTS('case "email.sent": break;') })).not.toMatch(
      /webhooks\.ts/,
    );
    expect(await left(`export const KINDS = ["user.created"];`)).not.toMatch(/the webhook in/);
  });

  test("names functions that say what they return, through helpers, too", async () => {
    const code = `async function byId(ctx: any) { return await ctx.db.query("users").first(); }
async function getCurrentUser(ctx: any) { return await byIdOfUser(ctx); }
async function byIdOfUser(ctx: any) { return await byId(ctx) ?? await ctx.db.query("users").first(); }
export const current = query({ args: {}, returns: v.object({ email: v.string() }), handler: async (ctx) => await getCurrentUser(ctx) });`;
    expect(await left(code)).toMatch(
      /Convex refuses what returns does not name: convex\/users\.ts:7/,
    );
  });

  const HANDS_OUT = /hand out whole rows of users/;
  test.each([
    ["await ctx.db.query('users').take(50)", true],
    ["(await ctx.db.query('users').collect()).filter(({ age }) => age > 3).slice(0, 5)", true],
    ["(await ctx.db.query('users').collect()).map((user) => ({ ...user, url: 'x' }))", true],
    ["await Promise.all(ids.map(async (id) => await ctx.db.get('users', id)))", true],
    ["(await ctx.db.query('users').take(50)).map(({ _id, email }) => ({ _id, email }))", false],
    ["(await ctx.db.query('users').collect()).map((user) => user.email)", false],
    ["(await ctx.db.query('users').collect()).length", false],
  ])("tells a function that hands out whole rows: %s", async (returned, isTold) => {
    const code = `export const list = query({ args: {}, handler: async (ctx, ids: any) => ${returned} });`;
    expect(HANDS_OUT.test(await left(code))).toBe(isTold);
  });

  test("says nothing of what returns where it names the sync's columns already", async () => {
    const code = `const vUser = v.object({ email: v.string(), clerkCreatedAt: v.optional(v.number()) });
export const one = query({ args: {}, returns: v.nullable(vUser), handler: async (ctx) => await ctx.db.query("users").first() });`;
    expect(await left(code)).not.toMatch(/returns/);
  });

  test("says that nothing tells whose the rows are, unless a column does", async () => {
    const told = /no column \(convex\/schema\.ts:\d+\) tells whose they are/;
    const unkeyed = await plan("email: v.string()");
    expect(leftToDo(unkeyed, { app: "" }).join("\n")).toMatch(told);
    expect(await left("")).not.toMatch(told);
  });

  test("says once what a column is in an insert and a patch", async () => {
    const code = `export const upsert = internalMutation({ args: { data: v.any() }, handler: async (ctx, { data }) => { const user = await ctx.db.query("users").first(); const attributes = { clerkId: data.id, email: data.email_addresses[0].email_address }; if (user) await ctx.db.patch(user._id, attributes); else await ctx.db.insert("users", attributes); } });`;
    const said = await left(code);
    expect(said.match(/users\.email is data\.email_addresses\[0\]\.email_address/g)).toHaveLength(
      1,
    );
  });
});

describe("the column that holds Clerk's id", () => {
  const key = async (columns: string, code?: string) => (await plan(columns, code)).key;

  test.each([
    ["clerkId: v.string()", null],
    ["externalId: v.string()", { column: "externalId", holds: "id", isIndexed: false }],
    ["tokenIdentifier: v.string()", { column: "tokenIdentifier", holds: "token", isIndexed: true }],
    ["clerkUserId: v.optional(v.string())", { column: "clerkUserId", holds: "id" }],
    ["name: v.string()", null],
    [`userId: v.id("posts")`, null],
  ])("by its name: %s", async (columns, expected) => {
    const found = await key(columns);
    if (expected === null) expect(found).toBeNull();
    else expect(found).toMatchObject(expected);
  });

  const looksUp = (
    column: string,
    claim: string,
  ) => `export const me = query({ args: {}, handler: async (ctx) => {
  const identity = (await ctx.auth.getUserIdentity())!;
  return await ctx.db.query("users").withIndex("by_x" as any, (q: any) => q.eq("${column}", identity.${claim})).unique();
} });`;
  test.each([
    ["owner: v.string()", looksUp("owner", "subject"), { column: "owner", holds: "id" }],
    [
      "externalId: v.string(), owner: v.string()",
      looksUp("owner", "tokenIdentifier"),
      { column: "owner", holds: "token" },
    ],
    [
      "tokenIdentifier: v.string()",
      looksUp("tokenIdentifier", "subject"),
      { column: "tokenIdentifier", holds: "id" },
    ],
    [
      "clerkUserID: v.string(), externalId: v.optional(v.string())",
      `${looksUp("x", "subject")
        .replace(
          /withIndex.+unique/,
          'withIndex("by_x" as any, (q: any) => q.eq("clerkUserID", id)).unique',
        )
        .replace(
          "export const me = query({ args: {}, handler: async (ctx) => {",
          "async function byClerk(ctx: any, id: string) {",
        )
        .replace("const identity = (await ctx.auth.getUserIdentity())!;", "")
        .replace("} });", "}")}
export const mine = query({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; return await byClerk(ctx, identity.subject); } });`,
      { column: "clerkUserID", holds: "id" },
    ],
    [
      "externalId: v.string(), tokenIdentifier: v.string()",
      `${looksUp("externalId", "subject")}
export const store = mutation({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; await ctx.db.insert("users", { externalId: identity.subject, tokenIdentifier: identity.tokenIdentifier }); } });`,
      { column: "externalId", holds: "id" },
    ],
    [
      "clerkId: v.string(), userId: v.string()",
      looksUp("userId", "subject"),
      { column: "userId", holds: "id" },
    ],
  ])("by what the app looks up: %s", async (columns, code, expected) => {
    expect(await key(columns, code)).toMatchObject(expected);
  });

  test("is not what else a webhook calls an id, and what one caller shows is enough", async () => {
    const code = `async function byExternalId(ctx: any, x: string) { return await ctx.db.query("users").withIndex("by_x" as any, (q: any) => q.eq("externalId", x)).unique(); }
export const upsertFromClerk = internalMutation({ args: { data: v.any() }, handler: async (ctx, { data }) => { if (!(await byExternalId(ctx, data.id))) await ctx.db.insert("users", { externalId: data.id, email: "" }); } });
export const me = query({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; return (await byExternalId(ctx, identity.subject))?.email; } });
export const one = query({ args: { externalId: v.string() }, handler: async (ctx, args) => (await byExternalId(ctx, args.externalId))?.email });
export const customerDeleted = internalMutation({ args: { data: v.any() }, handler: async (ctx, { data }) => await ctx.db.query("users").withIndex("by_stripe" as any, (q: any) => q.eq("stripeCustomerId", data.id)).unique() });`;
    const columns =
      "externalId: v.string(), email: v.string(), stripeCustomerId: v.optional(v.string())";
    expect(await key(columns, code)).toMatchObject({ column: "externalId", holds: "id" });
  });

  test("is not what the app makes up itself, or calls by a name of many", async () => {
    const join = (value: string) =>
      `export const join = mutation({ args: { subject: v.string() }, handler: async (ctx, args) => { const identity = (await ctx.auth.getUserIdentity())!; await ctx.db.insert("users", { email: identity.email!, ${value} }); } });`;
    await expect(
      key("email: v.string(), authId: v.string()", join("authId: nanoid(10)")),
    ).rejects.toThrow(/--key COLUMN/);
    await expect(
      key("email: v.string(), subject: v.string()", join("subject: args.subject")),
    ).rejects.toThrow(/--key COLUMN/);
  });

  test("is clerkId where a seed has a text there", async () => {
    const seed = `export const seed = internalMutation({ args: {}, handler: async (ctx) => { await ctx.db.insert("users", { clerkId: "seed_user_1" }); } });`;
    expect(await key("clerkId: v.string()", seed)).toBeNull();
  });

  test("is never chosen between two", async () => {
    const two = key("userId: v.string(), authId: v.string()");
    await expect(two).rejects.toThrow(/--key userId\|authId/);
  });

  test.each([
    [
      "rows of people, and no column that says whose they are",
      "email: v.string()",
      `export const store = mutation({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; await ctx.db.insert("users", { email: identity.email! }); } });`,
      /users\.ts:4 makes rows\. Say which it is: --key COLUMN/,
    ],
    [
      "a clerkId that holds something else",
      "clerkId: v.string()",
      looksUp("clerkId", "tokenIdentifier"),
      /users\.clerkId must hold Clerk's id.+users\.ts:6 has the tokenIdentifier/,
    ],
    [
      "a column that holds now this and now that",
      "externalId: v.string()",
      `${looksUp("externalId", "tokenIdentifier")}\n${looksUp("externalId", "subject").replace("me", "you")}`,
      /users\.externalId must hold one thing/,
    ],
  ])("is refused: %s", async (_, columns, code, sentence) => {
    await expect(key(columns, code)).rejects.toThrow(sentence);
  });

  test.each([
    ["credits", /holds text, or none: .+ has number in credits/],
    ["email", /the app's own code gives email primaryEmail\(user\)/],
  ])("is refused as the person says it: %s", async (asked, sentence) => {
    const code = `export const store = mutation({ args: {}, handler: async (ctx) => { const identity = (await ctx.auth.getUserIdentity())!; await ctx.db.insert("users", { externalId: identity.subject, email: identity.email!, credits: 1 }); } });`;
    await plan("externalId: v.string(), email: v.string(), credits: v.number()", code);
    await expect(planInit({ app: made.folder, key: asked })).rejects.toThrow(sentence);
  });

  test("is asked for where a table of another name seems to hold the users", async () => {
    made.write({
      "schema.ts": `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({ people: defineTable({ externalId: v.string() }) });`,
      "users.ts": "export {};\n",
    });
    await expect(planInit({ app: made.folder })).rejects.toThrow(
      /people seems to hold them.+--new-table/,
    );
    expect((await planInit({ app: made.folder, newTable: true })).isNewTable).toBe(true);
  });
});
