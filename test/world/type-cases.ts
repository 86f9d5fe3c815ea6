/** What the compiler of an app has to say of `fields.ts` and `app.ts`, and of the app's own errors beside the sync. */
import type { Files, MadeUpApp, Shape } from "./made-up-app";
import { USUAL } from "./made-up-app";

/** An app with a column of each kind. */
export const EACH_KIND: Shape = {
  before: {
    ...USUAL,
    "schema.ts": `
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({
    required: v.string(),
    own: v.number(),
    optional: v.optional(v.string()),
    nullable: v.union(v.string(), v.null()),
    both: v.optional(v.union(v.string(), v.null())),
    union: v.union(v.literal("free"), v.literal("paid")),
    array: v.optional(v.array(v.string())),
    record: v.optional(v.record(v.string(), v.any())),
    id: v.optional(v.id("posts")),
    within: v.optional(v.object({ id: v.string() })),
    deletedAt: v.optional(v.number()),
  })
    .index("by_required", ["required"])
    .index("by_withinId", ["within.id"]),
  posts: defineTable({ text: v.string() }),
});
`,
    "users.ts": `
import { v } from "convex/values";
import { query } from "./_generated/server";
export const first = query({ args: {}, returns: v.any(), handler: async (ctx) => await ctx.db.query("users").first() });
`,
  },
  written: {
    "clerk/fields.ts": `
import { isEmailVerified, primaryEmail, unlessEmpty } from "./shared/readers";
import type { Fields } from "./types";
export const fields = {
  required: (user) => primaryEmail(user) ?? "",
  optional: (user) => user.first_name,
  nullable: (user) => user.last_name,
  both: (user) => (user.locked ? undefined : user.username),
  union: (user) => (isEmailVerified(user) ? "paid" : "free"),
  array: (user) => user.email_addresses.map(({ email_address }) => email_address),
  record: (user) => unlessEmpty(user.public_metadata),
} satisfies Fields;
`,
    "clerk/app.ts": `
import { environment } from "./shared/environment";
import type { Hooks, IsBanned, Issuer, Key, NewUserFields, Removal } from "./types";
export const newUserFields: NewUserFields = (user) => ({ own: user.created_at });
export const removal: Removal = { mark: { required: "", nullable: null, union: "free", own: 0 }, purgeAfterMs: 1 };
export const issuer: Issuer = () => environment("CLERK_ISSUER");
export const isBanned: IsBanned = ({ own }) => own > 1;
export const key: Key = { column: "required", index: "by_required", read: (clerkId) => clerkId };
export const hooks: Hooks = {
  updated: async (ctx, user, before) => { await ctx.db.patch(user._id, { own: before.own + 1 }); },
  erase: async (ctx) => {
    const posts = await ctx.db.query("posts").take(100);
    for (const { _id } of posts) await ctx.db.delete(_id);
    return posts.length < 100 ? undefined : "more";
  },
};
`,
    "account.ts": `
import { mutation, query } from "./_generated/server";
import type { Doc } from "./_generated/dataModel";
import { currentUserQuery, ensureSyncedMutation, getCurrentUser, getCurrentUserOrThrow } from "./clerk/users";
export const current = query(currentUserQuery(({ required }) => ({ required })));
export const whole = query(currentUserQuery());
export const ensureSynced = mutation(ensureSyncedMutation());
export const own = query({
  args: {},
  handler: async (ctx) => {
    const user: Doc<"users"> | null = await getCurrentUser(ctx);
    return user?.own ?? null;
  },
});
export const touch = mutation({
  args: {},
  handler: async (ctx) => {
    const { _id } = await getCurrentUserOrThrow(ctx);
    await ctx.db.patch(_id, { own: 1 });
  },
});
`,
  },
};

type Case = {
  name: string;
  /** Lines of a file of its own. */
  text: string;
  /** What its errors must say, one each; with `strict` off null is no error. */
  says: RegExp[];
  strictOnly?: boolean;
};

const readers = (text: string) =>
  `import type { Fields } from "./clerk/types";\nexport const fields = {\n${text}\n} satisfies Fields;`;
const app = (type: string, text: string) =>
  `import type { ${type} } from "./clerk/types";\nexport const value: ${type} = ${text};`;

export const CASES: Case[] = [
  {
    name: "a column that does not exist",
    text: readers("pronouns: (user) => user.first_name,"),
    says: [/'pronouns' does not exist in type/],
  },
  {
    name: "a column of another type",
    text: readers("optional: (user) => user.created_at,"),
    says: [/number.+ not assignable to type '(string|Reader<"optional">)/],
  },
  {
    name: "null for a required column",
    text: readers("required: (user) => user.first_name,"),
    says: [/string \| null.+ not assignable to type '(string|Reader<"required">)/],
    strictOnly: true,
  },
  {
    name: "undefined for a required column",
    text: readers("required: (user) => user.first_name ?? undefined,"),
    says: [/undefined.+ not assignable to type '(string|Reader<"required">)/],
    strictOnly: true,
  },
  {
    name: "a text that a union has not",
    text: readers('union: () => "gold" as const,'),
    says: [/"gold".+ not assignable to type '("free" \| "paid"|Reader<"union">)/],
  },
  {
    name: "an array of another type",
    text: readers("array: (user) => [user.created_at],"),
    says: [/number.+ not assignable to type '(string|Reader<"array">)/],
  },
  {
    name: "metadata that was not looked at",
    text: readers("optional: (user) => user.public_metadata.nick,"),
    says: [/unknown.+ not assignable to type '(string|Reader<"optional">)/],
  },
  {
    name: "a text for an id",
    text: readers("id: (user) => user.id,"),
    says: [/string.+ not assignable to type '(Id<"posts">|Reader<"id">)/],
  },
  {
    name: "a column that the sync writes",
    text: readers("clerkCreatedAt: (user) => user.created_at,"),
    says: [/'clerkCreatedAt' does not exist in type/],
  },
  {
    name: "a key that Clerk's user has not",
    text: readers("optional: (user) => user.nickname,"),
    says: [/Property 'nickname' does not exist on type 'ClerkUser'/],
  },
  {
    name: "a required column that nothing fills",
    text: app("NewUserFields", "() => ({})"),
    says: [/'own' is missing in type '\{\}'/],
  },
  {
    name: "a mark without a value for a required column",
    text: app("Removal", '{ mark: { required: "", union: "free" } }'),
    says: [/'nullable' is missing in type/],
  },
  {
    name: "a mark with a value of another type",
    text: app("Removal", '{ mark: { required: 1, nullable: null, union: "free" } }'),
    says: [/number.+ not assignable to type 'string'/],
  },
  {
    name: "a time to purge that is a text",
    text: app(
      "Removal",
      '{ mark: { required: "", nullable: null, union: "free" }, purgeAfterMs: "30 days" }',
    ),
    says: [/string.+ not assignable to type 'number/],
  },
  {
    name: "a mark that is never purged",
    text: app(
      "Removal",
      '{ mark: { required: "", nullable: null, union: "free" }, purgeAfterMs: null }',
    ),
    says: [],
  },
  {
    name: "an erase that says another word than more",
    text: app("Hooks", '{ erase: async () => "again" as const }'),
    says: [/"again".+ not assignable to type/],
  },
  {
    name: "an erase that says nothing, and one that says more",
    text: app("Hooks", "{ erase: async () => { await Promise.resolve(); } }"),
    says: [],
  },
  {
    name: "what a page gets of the signed-in person",
    text: `
import { api } from "./_generated/api";
import type { FunctionReturnType } from "convex/server";
type Shown = Extract<FunctionReturnType<typeof api.account.current>, { status: "ready" }>["user"];
export const right: Shown = { required: "" };
export const wrong: Shown = { required: "", own: 1 };
`,
    says: [/'own' does not exist/],
  },
  {
    name: "a key that may read nothing",
    text: app(
      "Key",
      '{ column: "required", index: "by_required", read: (id) => (id === "" ? undefined : id) }',
    ),
    says: [/undefined.+ not assignable to type/],
    strictOnly: true,
  },
  {
    name: "a key within an object",
    text: app("Key", '{ column: "within.id", index: "by_withinId", read: (clerkId) => clerkId }'),
    says: [],
  },
  {
    name: "a key within an object, by another index",
    text: app("Key", '{ column: "within.id", index: "by_required", read: (id) => id }'),
    says: [/"within\.id".+ not assignable to type|'"by_required"' is not assignable to type/],
  },
  {
    name: "a key by an index of another column",
    text: app("Key", '{ column: "optional", index: "by_required", read: (id) => id }'),
    says: [/"optional".+ not assignable to type/],
  },
  {
    name: "the app's own errors",
    text: `
import { api, internal } from "./_generated/api";
import type { Doc } from "./_generated/dataModel";
export const known = [api.users.first, internal.clerk.reconcile.run, internal.clerk.doctor.check];
export const one = api.users.nothing;
export const other = internal.clerk.reconcile.nothing;
export const third = (row: Doc<"users">) => [row.required, row.nothing];
`,
    says: [/'nothing' does not exist/, /'nothing' does not exist/, /'nothing' does not exist/],
  },
];

const fileOf = (index: number) => `case${index}.ts`;

/** @returns the files */
export function writeCases(made: MadeUpApp): Files {
  const files = Object.fromEntries(CASES.map(({ text }, index) => [fileOf(index), text]));
  made.write(files);
  return files;
}

/** What is not as it should be of what a compiler said, a line each. */
export function wrongAmong(errors: string[], isStrict: boolean): string[] {
  const elsewhere = errors.filter((error) => !/convex\/case\d+\.ts/.test(error));
  const wrong = CASES.flatMap(({ name, says, strictOnly = false }, index) => {
    // Of a column that does not exist, the user has no type either.
    const said = errors.filter(
      (error) => error.includes(`/${fileOf(index)}`) && !error.includes("TS7006"),
    );
    const expected = strictOnly && !isStrict ? [] : says;
    // Of one slip an older compiler may say several things, all of its line.
    const lines = new Set(said.map((error) => /case\d+\.ts\((\d+),/.exec(error)?.[1]));
    const isRight =
      lines.size === expected.length &&
      expected.every((sentence) => said.some((error) => sentence.test(error)));
    return isRight ? [] : [`${name}: ${said.join(" | ") || "no error"}`];
  });
  return [...elsewhere.map((error) => `elsewhere: ${error}`), ...wrong];
}
