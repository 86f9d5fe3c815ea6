/** The apps of others that tried the sync, made up anew: what each had that stood in the way is in it. */
import { NEWEST_CONVEX, usualTsconfig, type Files, type Shape } from "./made-up-app";

export const ISSUER = "https://made-up.clerk.accounts.dev";
const AUTH_CONFIG = `
export default { providers: [{ domain: "${ISSUER}", applicationID: "convex" }] };
`;

/** The usual one, with Node's types, which newer compilers have to be told of. */
const TSCONFIG = usualTsconfig().replace(
  '"compilerOptions": {',
  '"compilerOptions": {\n    "types": ["node"],',
);

export type FieldApp = Shape & {
  /** The packages that it has, by their ranges, and what installs them. */
  packages: Record<string, string>;
  manager?: "npm" | "pnpm";
  /** A row of before of a Clerk user. */
  row: (clerkId: string, index: number) => Record<string, unknown>;
  /** Columns of its own, which nothing may change. */
  own: string[];
  /** Columns that are mirrored, which Clerk has as that. */
  mirrored: Record<string, (firstName: string) => unknown>;
  /** How `clerkId` is filled in; null where it is there. */
  fills: string | null;
  /** Whether a diff has to be applied by hand, which the command prints. */
  isByHand?: true;
  /** Lines of its own that the command has to change, by file, and what becomes of them. */
  altered?: Record<string, [before: string, after: string][]>;
  /** What the command must tell of it. */
  left: RegExp[];
  webhookPath?: string;
};

const compilerOptions = (options: Record<string, unknown>) =>
  JSON.stringify({ compilerOptions: { skipLibCheck: true, noEmit: true, ...options } });

const WEBHOOK = (cases: string) => `
import { httpAction } from "./_generated/server";
import { internal } from "./_generated/api";
import { Webhook } from "svix";

type ClerkEvent = { type: string; data: Record<string, any> };

export const handle = httpAction(async (ctx, request) => {
  const payload = await request.text();
  const headers = {
    "svix-id": request.headers.get("svix-id")!,
    "svix-timestamp": request.headers.get("svix-timestamp")!,
    "svix-signature": request.headers.get("svix-signature")!,
  };
  const webhook = new Webhook(process.env.CLERK_WEBHOOK_SECRET!);
  const event = webhook.verify(payload, headers) as unknown as ClerkEvent;
  switch (event.type) {
${cases}
  }
  return new Response(null, { status: 200 });
});
`;

/** All of its columns are required, and its tsconfig is Next's, for all of the app. */
const REQUIRED: FieldApp = {
  packages: { convex: "1.40.0", svix: "2.5.0", typescript: "~5.4.0", "@types/node": "^20" },
  around: {
    "tsconfig.json": JSON.stringify({
      compilerOptions: {
        lib: ["dom", "dom.iterable", "esnext"],
        allowJs: true,
        skipLibCheck: true,
        strict: true,
        noEmit: true,
        esModuleInterop: true,
        module: "esnext",
        moduleResolution: "bundler",
        resolveJsonModule: true,
        isolatedModules: true,
        jsx: "preserve",
        paths: { "@/*": ["../*"] },
        types: ["node"],
      },
      include: ["**/*.ts", "**/*.tsx"],
      exclude: ["node_modules"],
    }),
  },
  before: {
    "schema.ts": `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  users: defineTable({
    clerkId: v.string(),
    email: v.string(),
    name: v.string(),
    imageUrl: v.string(),
    credits: v.number(),
    plan: v.union(v.literal("free"), v.literal("paid")),
  }).index("by_clerk_id", ["clerkId"]),
  projects: defineTable({ owner: v.id("users"), name: v.string() }).index("by_owner", ["owner"]),
});
`,
    "users.ts": `import { v } from "convex/values";
import { mutation, query, internalMutation } from "./_generated/server";

export const create = internalMutation({
  args: { clerkId: v.string(), email: v.string(), name: v.string(), imageUrl: v.string() },
  handler: async (ctx, args) => {
    await ctx.db.insert("users", { ...args, credits: 10, plan: "free" });
  },
});

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

export const renameProject = mutation({
  args: { id: v.id("projects"), name: v.string() },
  handler: async (ctx, { id, name }) => {
    await ctx.db.patch(id, { name });
  },
});
`,
    "http.ts": `import { httpRouter } from "convex/server";
import { handle } from "./webhooks";

const http = httpRouter();

http.route({ path: "/clerk", method: "POST", handler: handle });

export default http;
`,
    "webhooks.ts": WEBHOOK(`    case "user.created": {
      const { id, email_addresses, first_name, last_name, image_url } = event.data;
      await ctx.runMutation(internal.users.create, {
        clerkId: id,
        email: email_addresses[0].email_address,
        name: \`\${first_name} \${last_name}\`,
        imageUrl: image_url,
      });
      break;
    }`),
  },
  row: (clerkId, i) => ({
    clerkId,
    email: `old${i}@example.com`,
    name: "Old Name",
    imageUrl: "",
    credits: i,
    plan: i % 2 === 0 ? "paid" : "free",
  }),
  own: ["credits", "plan"],
  mirrored: { name: (first) => first, email: () => "" },
  fills: null,
  left: [
    /Remove the webhook in convex\/webhooks\.ts:\d+, and its endpoint/,
    /users\.email is email_addresses\[0\]\.email_address in convex\/webhooks\.ts:\d+, and \(user\) => primaryEmail/,
    /by_clerk_id .+ same as by_clerkId/,
    /Look at what makes rows of users itself: convex\/users\.ts:7/,
  ],
};

/** Convex's own docs' sign-in, organizations in the same webhook, an own `convex/clerk.ts`, and svix 1. */
const ORGANIZATIONS: FieldApp = {
  packages: { convex: NEWEST_CONVEX, svix: "1.99.1", typescript: "~5.9.0", "@types/node": "^22" },
  before: {
    "tsconfig.json": TSCONFIG,
    "schema.ts": `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

const organizations = defineTable({ clerkOrganizationId: v.string(), name: v.string() }).index(
  "by_clerkOrganizationId",
  ["clerkOrganizationId"],
);

export default defineSchema({
  organizations,
  users: defineTable({
    tokenIdentifier: v.string(),
    name: v.string(),
    image: v.optional(v.string()),
    role: v.union(v.literal("admin"), v.literal("member")),
    organizationIds: v.array(v.id("organizations")),
  }).index("by_tokenIdentifier", ["tokenIdentifier"]),
});
`,
    "auth.config.ts": AUTH_CONFIG,
    "users.ts": `import { mutation, type MutationCtx } from "./_generated/server";

async function identityOf(ctx: MutationCtx) {
  const identity = await ctx.auth.getUserIdentity();
  if (!identity) throw new Error("Called without authentication");
  return identity;
}

export const store = mutation({
  args: {},
  handler: async (ctx) => {
    const identity = await identityOf(ctx);
    const user = await ctx.db
      .query("users")
      .withIndex("by_tokenIdentifier", (q) => q.eq("tokenIdentifier", identity.tokenIdentifier))
      .unique();
    if (user !== null) {
      if (user.name !== identity.name) await ctx.db.patch(user._id, { name: identity.name });
      return user._id;
    }
    return await ctx.db.insert("users", {
      name: identity.name ?? "Anonymous",
      image: identity.pictureUrl,
      tokenIdentifier: identity.tokenIdentifier,
      role: "member",
      organizationIds: [],
    });
  },
});
`,
    "clerk.ts": `import { v } from "convex/values";
import { internalMutation } from "./_generated/server";

export const saveOrganization = internalMutation({
  args: { id: v.string(), name: v.string() },
  handler: async (ctx, { id, name }) => {
    await ctx.db.insert("organizations", { clerkOrganizationId: id, name });
  },
});
`,
    "http.ts": `import { httpRouter } from "convex/server";
import { handle } from "./webhooks";

const http = httpRouter();

http.route({ path: "/clerk", method: "POST", handler: handle });

export default http;
`,
    "webhooks.ts": WEBHOOK(`    case "user.updated":
      break;
    case "organization.created":
      await ctx.runMutation(internal.clerk.saveOrganization, { id: event.data.id, name: event.data.name });
      break;`),
  },
  row: (clerkId, i) => ({
    tokenIdentifier: `${ISSUER}|${clerkId}`,
    name: "Old Name",
    role: i % 2 === 0 ? "admin" : "member",
    organizationIds: [],
  }),
  own: ["tokenIdentifier", "role", "organizationIds"],
  mirrored: { name: (first) => first, image: () => "https://img.clerk.com/default" },
  fills: "tokenIdentifier",
  left: [
    /Keep the webhook in convex\/webhooks\.ts:\d+ for organization\w*\.created/,
    /signing secret \(CLERK_WEBHOOK_SECRET is your other webhook's\):\n +npx convex env set CLERK_WEBHOOK_SIGNING_SECRET   # asks for it/,
    /npx convex run clerk\/adopt:fill '\{"column":"tokenIdentifier"\}'/,
    /Look at what makes rows of users itself: convex\/users\.ts:\d+/,
  ],
};

/** Convex Ents, custom functions, a team that is made at sign-in. */
const ENTS: FieldApp = {
  packages: {
    convex: NEWEST_CONVEX,
    typescript: "~5.9.0",
    "convex-ents": "^0.20.0",
    "convex-helpers": "latest",
    "@types/node": "^22",
  },
  before: {
    "tsconfig.json": TSCONFIG,
    "schema.ts": `import { v } from "convex/values";
import { defineEnt, defineEntSchema, getEntDefinitions } from "convex-ents";

const schema = defineEntSchema({
  users: defineEnt({
    firstName: v.optional(v.string()),
    fullName: v.string(),
    pictureUrl: v.optional(v.string()),
  })
    .field("email", v.string())
    .field("tokenIdentifier", v.string(), { unique: true })
    .edges("members", { to: "members", ref: true }),
  members: defineEnt({ role: v.string() }).edge("user").edge("team"),
  teams: defineEnt({ name: v.string() }).edges("members", { ref: true }),
});

export default schema;

export const entDefinitions = getEntDefinitions(schema);
`,
    "auth.config.ts": AUTH_CONFIG,
    "functions.ts": `import { entsTableFactory } from "convex-ents";
import { customCtx, customMutation } from "convex-helpers/server/customFunctions";
import { mutation as baseMutation } from "./_generated/server";
import { entDefinitions } from "./schema";

export const mutation = customMutation(
  baseMutation,
  customCtx(async (ctx) => ({ ...ctx, table: entsTableFactory(ctx, entDefinitions) })),
);
`,
    "users.ts": `import { mutation } from "./functions";

export const store = mutation({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (!identity) throw new Error("Called without authentication");
    const user = await ctx.table("users").get("tokenIdentifier", identity.tokenIdentifier);
    if (user) return user._id;
    const team = await ctx.table("teams").insert({ name: "My team" });
    const userId = await ctx.table("users").insert({
      email: identity.email!,
      fullName: identity.name!,
      firstName: identity.givenName,
      pictureUrl: identity.pictureUrl,
      tokenIdentifier: identity.tokenIdentifier,
    });
    await ctx.table("members").insert({ role: "Admin", userId, teamId: team });
    return userId;
  },
});
`,
  },
  row: (clerkId, i) => ({
    tokenIdentifier: `${ISSUER}|${clerkId}`,
    fullName: `Old Name ${i}`,
    email: `old${i}@example.com`,
  }),
  own: ["tokenIdentifier"],
  mirrored: { fullName: (first) => first, firstName: (first) => first },
  fills: "tokenIdentifier",
  isByHand: true,
  altered: { "schema.ts": [["getEntDefinitions }", "getEntDefinitions, defineEntsFromTables }"]] },
  left: [/Look at what makes rows of users itself: convex\/users\.ts:\d+/],
};

/** Not strict, components, an index of ours of its own, a column of another type, names that people edit. */
const LOOSE: FieldApp = {
  packages: { convex: "1.44.0", typescript: "~5.9.0", "@types/node": "^20" },
  before: {
    "tsconfig.json": JSON.stringify({
      compilerOptions: {
        strict: false,
        target: "ES2020",
        lib: ["ES2020", "DOM"],
        module: "ESNext",
        moduleResolution: "Bundler",
        skipLibCheck: true,
        isolatedModules: true,
        noEmit: true,
      },
      include: ["../**/*"],
      exclude: ["./_generated"],
    }),
    "schema.ts": `import { defineSchema } from 'convex/server'
import { users } from './tables/users'
import { posts } from './tables/posts'

export default defineSchema({ users, posts })
`,
    "tables/users.ts": `import { defineTable } from 'convex/server'
import { v } from 'convex/values'

export const userFields = {
  clerkId: v.string(),
  name: v.string(),
  email: v.optional(v.string()),
  emailVerified: v.optional(v.number()),
  preferences: v.object({ theme: v.string() }),
  lastSeen: v.number(),
}

export const users = defineTable(userFields).index('by_clerkId', ['clerkId'])
`,
    "tables/posts.ts": `import { defineTable } from 'convex/server'
import { v } from 'convex/values'

export const posts = defineTable({ author: v.id('users'), text: v.string() }).index('by_author', ['author'])
`,
    "model/users.ts": `import type { MutationCtx, QueryCtx } from '../_generated/server'

export async function getCurrentUser(ctx: QueryCtx) {
  const identity = await ctx.auth.getUserIdentity()
  return await ctx.db
    .query('users')
    .withIndex('by_clerkId', (q) => q.eq('clerkId', identity.subject))
    .unique()
}

export async function setProfile(ctx: MutationCtx, values: { name?: string }) {
  const user = await getCurrentUser(ctx)
  await ctx.db.patch(user._id, values)
}
`,
    "users.ts": `import { v } from 'convex/values'
import { mutation, query } from './_generated/server'
import { getCurrentUser, setProfile } from './model/users'
import { userFields } from './tables/users'

export const updateProfile = mutation({
  args: { name: v.optional(v.string()) },
  handler: async (ctx, { name }) => {
    await setProfile(ctx, { name })
  },
})

export const current = query({
  args: {},
  handler: async (ctx) => {
    const user = await getCurrentUser(ctx)
    return user
  },
})

export const ensure = mutation({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity()
    const known = await getCurrentUser(ctx)
    if (known) return known._id
    return await ctx.db.insert('users', {
      clerkId: identity.subject,
      name: identity.name ?? identity.nickname ?? 'Somebody',
      email: identity.email,
      preferences: { theme: 'light' },
      lastSeen: Date.now(),
    })
  },
})

export const columns = Object.keys(userFields)
`,
    "crons.ts": `import { cronJobs } from 'convex/server'
import { internal, api } from './_generated/api'

const crons = cronJobs()

crons.daily('clean up', { hourUTC: 3, minuteUTC: 17 }, internal.posts.cleanUp)

export default crons
`,
    "convex.config.ts": `import { defineApp } from 'convex/server'
import counter from './counter/convex.config'

const app = defineApp()
app.use(counter)

export default app
`,
    "counter/convex.config.ts": `import { defineComponent } from 'convex/server'

export default defineComponent('counter')
`,
    "counter/schema.ts": `import { defineSchema, defineTable } from 'convex/server'
import { v } from 'convex/values'

export default defineSchema({ users: defineTable({ email: v.string() }) })
`,
    "counter/users.ts": `import { mutationGeneric } from 'convex/server'
import { v } from 'convex/values'

export const rename = mutationGeneric({
  args: { id: v.id('users'), email: v.string() },
  handler: async (ctx, { id, email }) => {
    await ctx.db.patch(id, { email })
  },
})
`,
    "posts.ts": `import { internalMutation } from './_generated/server'

export const cleanUp = internalMutation({ args: {}, handler: async () => {} })
`,
  },
  row: (clerkId, i) => ({
    clerkId,
    name: `typed by hand ${i}`,
    emailVerified: i,
    preferences: { theme: "dark" },
    lastSeen: i,
  }),
  own: ["name", "emailVerified", "preferences", "lastSeen"],
  mirrored: {},
  fills: null,
  altered: {
    "schema.ts": [["({ users, posts })", "({ ...clerkTables, users, posts })"]],
    "tables/users.ts": [
      ["(userFields)", "({ ...userFields, clerkCreatedAt: v.optional(v.number()) })"],
    ],
  },
  left: [
    /users\.name stays yours: convex\/model\/users\.ts:\d+ lets people write it/,
    /users\.emailVerified stays yours: it takes no boolean/,
    /whole rows of users, which now hold clerkId and clerkCreatedAt, too: convex\/users\.ts:\d+/,
  ],
};

/** Users' and organizations' events at one endpoint, whole rows in a public query, Biome, the newest compiler. */
const ENDPOINT: FieldApp = {
  packages: { convex: NEWEST_CONVEX, svix: "1.80.0", typescript: "~7.0.0", "@types/node": "^24" },
  around: { "biome.json": `{ "formatter": { "indentStyle": "tab" } }\n` },
  options: { path: "/clerk-users" },
  before: {
    "tsconfig.json": TSCONFIG,
    "schema.ts": `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
	users: defineTable({
		externalId: v.string(),
		firstName: v.union(v.string(), v.null()),
		email: v.optional(v.string()),
		organization: v.optional(v.string()),
	})
		.index("byExternalId", ["externalId"])
		.searchIndex("search", { searchField: "email" }),
});
`,
    "auth.config.ts": AUTH_CONFIG,
    "users.ts": `import { v } from "convex/values";
import { internalMutation, query } from "./_generated/server";

export const list = query({
	args: {},
	handler: async (ctx) => await ctx.db.query("users").take(100),
});

export const upsert = internalMutation({
	args: { data: v.any() },
	handler: async (ctx, { data }) => {
		const user = await ctx.db
			.query("users")
			.withIndex("byExternalId", (q) => q.eq("externalId", data.id))
			.unique();
		const attributes = { externalId: data.id, firstName: data.first_name };
		if (user === null) await ctx.db.insert("users", attributes);
		else await ctx.db.patch(user._id, attributes);
	},
});
`,
    "http.ts": `import { httpRouter } from "convex/server";
import { handle } from "./webhooks";

const http = httpRouter();
http.route({ path: "/clerk-users-webhook", method: "POST", handler: handle });
export default http;
`,
    "webhooks.ts": WEBHOOK(`    case "user.created":
    case "user.updated":
      await ctx.runMutation(internal.users.upsert, { data: event.data });
      break;
    case "organizationMembership.created":
      break;`),
  },
  row: (clerkId, i) => ({ externalId: clerkId, firstName: null, organization: `org ${i}` }),
  own: ["externalId", "organization"],
  mirrored: { firstName: (first) => first },
  fills: "externalId",
  webhookPath: "/clerk-users",
  left: [
    /Keep the webhook in convex\/webhooks\.ts:\d+ for organization\w*\.created/,
    /hand out whole rows of users, .+: convex\/users\.ts:6/,
    /\.convex\.site\/clerk-users in Clerk/,
    /formatter/,
  ],
};

/** Clerk's starter: the whole of Clerk's user in one column, and an index on its id. */
const STARTER: FieldApp = {
  packages: { convex: "1.40.0", svix: "1.24.0", typescript: "~5.0.0", "@types/node": "^18" },
  options: { path: "/clerk-users" },
  before: {
    "tsconfig.json": TSCONFIG,
    "schema.ts": `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  users: defineTable({
    // this is UserJSON from @clerk/backend
    clerkUser: v.any(),
    color: v.string(),
  }).index("by_clerk_id", ["clerkUser.id"]),
  messages: defineTable({ message: v.string(), user: v.id("users") }),
});
`,
    "http.ts": `import { httpRouter } from "convex/server";
import { handle } from "./webhooks";

const http = httpRouter();

http.route({
  path: "/clerk-users-webhook",
  method: "POST",
  handler: handle,
});

export default http;
`,
    "webhooks.ts": WEBHOOK(`    case "user.created":
    case "user.updated":
      await ctx.runMutation(internal.users.updateOrCreateUser, { clerkUser: event.data });
      break;`),
    "users.ts": `import { v } from "convex/values";
import { internalMutation } from "./_generated/server";

export const updateOrCreateUser = internalMutation({
  args: { clerkUser: v.any() },
  async handler(ctx, { clerkUser }) {
    const known = await ctx.db
      .query("users")
      .withIndex("by_clerk_id", (q) => q.eq("clerkUser.id", clerkUser.id))
      .unique();
    if (known === null) {
      const colors = ["red", "green", "blue"];
      const color = colors[Math.floor(Math.random() * colors.length)];
      await ctx.db.insert("users", { clerkUser, color });
    } else {
      await ctx.db.patch(known._id, { clerkUser });
    }
  },
});
`,
  },
  written: {
    "clerk/fields.ts": `import type { Fields } from "./types.js";
export const fields = {
  clerkUser: ({ id, first_name, last_name }) => ({ id, first_name, last_name }),
} satisfies Fields;
`,
    "clerk/app.ts": `import type { Hooks, Key, NewUserFields, Removal } from "./types.js";
export const newUserFields: NewUserFields = () => ({ color: "red" });
export const removal: Removal = "delete";
export const key: Key = { column: "clerkUser.id", index: "by_clerk_id", read: (clerkId) => clerkId };
export const hooks: Hooks = {};
`,
  },
  row: (clerkId, i) => ({ clerkUser: { id: clerkId, first_name: "Old" }, color: `color ${i}` }),
  own: ["color"],
  mirrored: {},
  fills: "clerkUser.id",
  webhookPath: "/clerk-users",
  isByHand: true,
  left: [/Say in convex\/clerk\/app\.ts what users\.color of a new row is/],
};

/** A package of a pnpm monorepo, whose compiler wants file extensions. */
const MONOREPO: FieldApp = {
  packages: { convex: NEWEST_CONVEX, typescript: "~6.0.0", "@types/node": "^22" },
  manager: "pnpm",
  top: {
    "pnpm-workspace.yaml": "packages:\n  - packages/*\nallowBuilds:\n  esbuild: false\n",
    "package.json": `{ "name": "monorepo", "private": true }`,
    "packages/shared/package.json": `{ "name": "@made-up/shared", "version": "1.0.0" }`,
  },
  around: {
    "convex.json": `{ "functions": "src/functions" }`,
    "tsconfig.json": compilerOptions({
      strict: true,
      target: "ES2022",
      module: "NodeNext",
      moduleResolution: "NodeNext",
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      verbatimModuleSyntax: true,
    }),
  },
  before: {
    "schema.ts": `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { vPlan } from "./plans.js";

const users = defineTable(
  v.object({
    userId: v.string(),
    username: v.optional(v.string()),
    plan: vPlan,
  }),
).index("by_userId", ["userId"]);

export const tables = { users };

const schema = defineSchema({ ...tables });

export default schema;
`,
    "plans.ts": `import { v } from "convex/values";
export const vPlan = v.union(v.literal("free"), v.literal("paid"));
export const FREE = "free";
`,
    "signIn.ts": `import { mutation } from "./_generated/server.js";
import { FREE } from "./plans.js";

export const signIn = mutation({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) throw new Error("not signed in");
    const { subject } = identity;
    const known = await ctx.db
      .query("users")
      .withIndex("by_userId", (q) => q.eq("userId", subject))
      .unique();
    if (known !== null) return known._id;
    return await ctx.db.insert("users", { userId: subject, plan: FREE });
  },
});
`,
  },
  row: (clerkId, i) => ({ userId: clerkId, plan: i % 2 === 0 ? "paid" : "free" }),
  own: ["userId", "plan"],
  mirrored: {},
  fills: "userId",
  altered: { "schema.ts": [["({ ...tables })", "({ ...clerkTables, ...tables })"]] },
  left: [/npx convex run clerk\/adopt:fill '\{"column":"userId"\}'/],
};

export const FIELD_APPS = { REQUIRED, ORGANIZATIONS, ENTS, LOOSE, ENDPOINT, STARTER, MONOREPO };

/** Slips in the app's own code, each of which has to have its error. */
export const SLIPS: { text: Files; says: RegExp[] } = {
  text: {
    "slips.ts": `import { api, internal } from "./_generated/api.js";
import type { Doc } from "./_generated/dataModel.js";
import type { Fields } from "./clerk/types.js";
export const known = [internal.clerk.reconcile.run, internal.clerk.doctor.check];
export const one = api.nothing;
export const other = internal.clerk.reconcile.nothing;
export const third = (row: Doc<"users">) => row.nothing;
export const fields = {
  nothing: (user) => user.first_name,
} satisfies Fields;
`,
  },
  says: [
    /'nothing' does not exist/,
    /'nothing' does not exist/,
    /'nothing' does not exist/,
    /'nothing' does not exist in type/,
  ],
};
