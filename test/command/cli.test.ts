/** @module-tag slow */
// @vitest-environment node
/** The command: what it writes into an app, what it refuses, and that it changes all or nothing. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { applyChanges } from "../../scripts/command/change";
import type { InitOptions } from "../../scripts/command/plan";
import { Problem } from "../../scripts/command/problem";
import { version } from "../../scripts/command/vendored";
import { MadeUpApp, ROOT, USUAL, type Files, type Shape } from "../world/made-up-app";
import { packedFolder, runPacked } from "../world/packed";

const IMPORTS = `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
`;
const schemaOf = (users: string, others = "") =>
  `${IMPORTS}\nexport default defineSchema({\n  users: ${users},\n${others}});\n`;
/** One whose rows are known by `clerkId`. */
const PLAIN = schemaOf(`defineTable({ clerkId: v.string(), plan: v.optional(v.string()) })`);

function appOf(before: Files, others: Partial<Shape> = {}): MadeUpApp {
  const made = new MadeUpApp({ before, ...others });
  onTestFinished(() => {
    chmodAll(made);
    made.remove();
  });
  return made;
}

function chmodAll(made: MadeUpApp): void {
  for (const file of Object.keys(made.files())) chmodSync(path.join(made.folder, file), 0o644);
}

/** Asserts that the command refuses with a sentence, and changes nothing. */
async function refuses(
  made: MadeUpApp,
  sentence: RegExp,
  options: Partial<InitOptions> = {},
): Promise<Problem> {
  const before = made.files();
  const { problem } = await made.init(options);
  expect(problem?.message).toMatch(sentence);
  expect(made.files()).toEqual(before);
  return problem ?? new Problem("");
}

const git = (folder: string, ...args: string[]) => {
  const { status, stderr } = spawnSync("git", args, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
};

describe("a wrong use gets a sentence, and nothing is changed", () => {
  const handler = `import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server";
const http = httpRouter();
const PATH = "/clerk-users-webhook";
http.route({ path: PATH, method: "POST", handler: httpAction(async () => new Response()) });
export default http;
`;
  test.each<[what: string, files: Files, sentence: RegExp, options?: Partial<InitOptions>]>([
    [
      "a syntax error in schema.ts",
      { "schema.ts": `${IMPORTS}export default defineSchema({ users: defineTable({ ) });` },
      /schema\.ts:3 .*Unexpected/,
    ],
    [
      "a schema that throws",
      { "schema.ts": `throw new Error("not today");\nexport default {};` },
      /schema\.ts can't be evaluated: not today/,
    ],
    [
      "no schema by default",
      { "schema.ts": `${IMPORTS}export const schema = defineSchema({});` },
      /must export the app's schema by default/,
    ],
    [
      "two tables users",
      {
        "schema.ts": `${IMPORTS}const more = { users: defineTable({ clerkId: v.string() }) };
export default defineSchema({ ...more, users: defineTable({ clerkId: v.string() }) });`,
      },
      /there are two, at .+schema\.ts:3 and .+schema\.ts:4/,
    ],
    [
      "users of several kinds",
      { "schema.ts": schemaOf(`defineTable(v.union(v.object({ a: v.string() }), v.object({})))`) },
      /users must be a table with columns/,
    ],
    [
      "a clerkId of another type",
      { "schema.ts": schemaOf(`defineTable({ clerkId: v.number() })`) },
      /users\.clerkId must be v\.string\(\).+: it is number/,
    ],
    [
      "an index of another kind by that name",
      {
        "schema.ts": schemaOf(
          `defineTable({ clerkId: v.string(), at: v.number() }).index("by_clerkId", ["at"])`,
        ),
      },
      /index by_clerkId of users must be on \["clerkId"\]: it is on \["at"\]/,
    ],
    [
      "a handler of its own at the webhook's path",
      { "schema.ts": PLAIN, "http.ts": handler },
      /clerk-users-webhook must be free.+http\.ts:5\. .+--path \/clerk-users/,
    ],
    [
      "a handler of its own at the path that is asked for",
      { "schema.ts": PLAIN, "http.ts": handler.replace("-webhook", "") },
      /\/clerk-users must be free/,
      { path: "/clerk-users" },
    ],
    [
      "an http.ts that exports nothing by default",
      { "schema.ts": PLAIN, "http.ts": "export const http = 1;\n" },
      /http\.ts must export by default what httpRouter\(\) gives/,
    ],
    [
      "a path that is none",
      { "schema.ts": PLAIN },
      /--path must be a path that begins with "\/".+: it is "clerk"/,
      { path: "clerk" },
    ],
    [
      "two columns that may hold Clerk's id",
      {
        "schema.ts": schemaOf(
          `defineTable({ externalId: v.string(), tokenIdentifier: v.string() })`,
        ),
      },
      /externalId and tokenIdentifier may\. Say which: --key externalId\|tokenIdentifier/,
    ],
    [
      "a key that is no column",
      { "schema.ts": PLAIN },
      /--key must be a column of users that holds text, or none: .+ has no nothing/,
      { key: "nothing" },
    ],
    [
      "rows of users without a schema",
      {
        "users.ts": `import { mutation } from "./_generated/server";
export const add = mutation(async (ctx) => { await ctx.db.insert("users", { name: "x" }); });`,
      },
      /expected a schema\.ts.+users\.ts:2/,
    ],
    [
      "a folder clerk of the app's own",
      { "schema.ts": PLAIN, "clerk/mine.ts": "export {};\n", "clerk/app.ts": "export {};\n" },
      /files of the app's own, app\.ts, mine\.ts\. Move them elsewhere first/,
    ],
    [
      "a file where the folder has to be",
      { "schema.ts": PLAIN, clerk: "" },
      /clerk must be free for the sync's folder: it is a file/,
    ],
    [
      "a folder where a file has to be",
      { "schema.ts": PLAIN, "http.ts/inside.ts": "export {};\n" },
      /http\.ts must be a file: it is a folder/,
    ],
    [
      "a package that the schema imports and nobody installed",
      { "schema.ts": `import "left-out";\n${PLAIN}` },
      /Could not resolve "left-out"\. Install the app's packages first/,
    ],
    [
      "a convex.json that is none",
      { "schema.ts": PLAIN, "../convex.json": "null" },
      /convex\.json must be a JSON object/,
    ],
    [
      "a list of copied files that leads out of the folder",
      {
        "schema.ts": PLAIN,
        "clerk/vendored.json": `{"name":"clerk-convex-sync","version":"${version()}","files":{"../schema.ts":""}}`,
      },
      /vendored\.json must be what clerk-convex-sync wrote/,
    ],
    [
      "a folder of another version",
      {
        "schema.ts": PLAIN,
        "clerk/vendored.json": `{"name":"clerk-convex-sync","version":"0.0.1","files":{}}`,
      },
      /has clerk-convex-sync 0\.0\.1 already.+bring it up to date with clerk-convex-sync update/,
    ],
  ])("%s", async (_, files, sentence, options) => {
    await refuses(appOf(files), sentence, options);
  });

  test.each(["schema.ts", "http.ts", "."])("a read-only %s", async (name) => {
    const made = appOf({ ...USUAL, "schema.ts": PLAIN });
    chmodSync(path.join(made.functions, name), name === "." ? 0o555 : 0o444);
    await refuses(made, /must be writable: it is read-only/);
    chmodSync(made.functions, 0o755);
  });

  test("a Convex that is too old", async () => {
    const made = appOf({ "schema.ts": PLAIN });
    const packages = path.join(made.folder, "packages");
    mkdirSync(path.join(packages, "convex"), { recursive: true });
    writeFileSync(path.join(packages, "convex/package.json"), `{ "version": "1.39.2" }`);
    made.usePackages(packages);
    await refuses(made, /convex must be 1\.40 or newer: the app has 1\.39\.2/);
  });

  test("a folder of the app's own with a link that leads nowhere", async () => {
    const made = appOf({ "schema.ts": PLAIN, "clerk/mine.ts": "export {};\n" });
    symlinkSync("/nowhere.ts", path.join(made.functions, "clerk/gone.ts"));
    const { problem } = await made.init();
    expect(problem?.message).toMatch(/files of the app's own/);
    rmSync(path.join(made.functions, "clerk/gone.ts"));
  });

  test("no Convex, no app, no folder of functions", async () => {
    const made = appOf({});
    rmSync(made.functions, { recursive: true });
    await refuses(made, /expected an app with a folder of Convex functions/);
    await refuses(made, /--app must be the folder of an app/, { app: "/nowhere" });
    mkdirSync(made.functions);
    rmSync(path.join(made.folder, "node_modules"));
    writeFileSync(path.join(made.folder, "package.json"), "{}");
    await refuses(made, /expected an app that has the package convex/);
  });

  test("a monorepo with several apps", async () => {
    const made = appOf({});
    rmSync(made.functions, { recursive: true });
    for (const name of ["one", "other"]) {
      mkdirSync(path.join(made.folder, "packages", name, "convex/_generated"), { recursive: true });
      writeFileSync(path.join(made.folder, "packages", name, "package.json"), "{}");
    }
    await refuses(made, /several folders.+--app: .+packages\/one, .+packages\/other/);
  });

  test("two lock files", async () => {
    const around = { "package-lock.json": "{}", "yarn.lock": "" };
    const made = appOf({ "schema.ts": PLAIN }, { around });
    await refuses(made, /has package-lock\.json and yarn\.lock: .+--package-manager npm\|yarn/);
    const { problem } = await made.init({ manager: "yarn" });
    expect(problem).toBeNull();
  });

  /** An app that lacks svix, and whose packages are not installed. */
  function lackingSvix(): MadeUpApp {
    const made = appOf(
      { "schema.ts": PLAIN },
      {
        around: {
          "package.json": `{ "name": "app", "dependencies": { "convex": "^1.48.0" } }`,
          "package-lock.json": `{ "name": "app", "lockfileVersion": 3, "packages": {} }`,
        },
      },
    );
    rmSync(path.join(made.folder, "node_modules"));
    return made;
  }

  test("a lock file with changes that are not committed", async () => {
    const made = lackingSvix();
    git(made.folder, "init", "-q");
    await refuses(made, /package-lock\.json must have no changes that are not committed/, {
      install: true,
    });
  });

  test("no network: packages are taken back", { timeout: 60_000 }, async () => {
    const made = lackingSvix();
    vi.stubEnv("npm_config_registry", "http://127.0.0.1:9");
    vi.stubEnv("npm_config_fetch_retries", "0");
    await refuses(made, /svix@\^2 could not be installed, and package\.json is as it was: .+/, {
      install: true,
    });
    vi.unstubAllEnvs();
  });

  test("a package manager that fails halfway: its changes are taken back", async () => {
    const made = lackingSvix();
    const bin = path.join(made.folder, "bin");
    mkdirSync(bin);
    const broken = "echo broken | tee package.json package-lock.json";
    const script = `#!/bin/sh\n[ $1 = --version ] && exit 0\n${broken}\nexit 1\n`;
    writeFileSync(path.join(bin, "pnpm"), script, { mode: 0o755 });
    vi.stubEnv("PATH", `${bin}:${process.env.PATH ?? ""}`);
    const options = { install: true, manager: "pnpm" } as const;
    await refuses(
      made,
      /could not be installed, and package\.json is as it was: .+broken/s,
      options,
    );
    vi.unstubAllEnvs();
  });

  test("an edit that would change another table, too", async () => {
    const made = appOf({
      "schema.ts": `${IMPORTS}const users = defineTable({ clerkId: v.string() });
export default defineSchema({ users, copies: defineTable({ of: users.validator }) });
`,
    });
    const { diff } = await refuses(made, /its tables are not the same ones/);
    expect(diff).toMatch(/^--- a\/convex\/schema\.ts/);
  });

  test("a write that fails in the middle", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "change-"));
    const at = (name: string) => path.join(folder, name);
    writeFileSync(at("old.ts"), "old");
    writeFileSync(at("gone.ts"), "gone");
    const changes = new Map([
      [at("old.ts"), "new"],
      [at("gone.ts"), null],
      [at("deep/er/file.ts"), "made"],
      // Made by the line above as a folder.
      [at("deep/er"), "in the way"],
    ]);
    expect(() => {
      applyChanges(changes);
    }).toThrow(/could not write, and everything is as it was/);
    expect(readFileSync(at("old.ts"), "utf8")).toBe("old");
    expect(readFileSync(at("gone.ts"), "utf8")).toBe("gone");
    expect(existsSync(at("deep"))).toBe(false);
    rmSync(folder, { recursive: true });
  });
});

describe("what can't be edited safely is printed as a diff, and the rest follows once it is applied", () => {
  const cases: Record<string, Files> = {
    "a table that a function makes": {
      "schema.ts": `${IMPORTS}const table = (columns: Record<string, any>) => defineTable(columns);
export default defineSchema({
  users: table({ clerkId: v.string() }),
});
`,
    },
    "a schema that a function makes": {
      "schema.ts": `${IMPORTS}const build = (tables: any) => defineSchema(tables);
export default build({
  users: defineTable({ clerkId: v.string() }),
});
`,
    },
    "a router that is not Convex's own": {
      "schema.ts": PLAIN,
      "http.ts": `import { httpRouter } from "convex/server";
const wrapped = (router: ReturnType<typeof httpRouter>) => router;
export default wrapped(httpRouter());
`,
    },
  };
  test.each(Object.entries(cases))("%s", async (_, files) => {
    const made = appOf({ ...USUAL, ...files });
    const { diff } = await refuses(made, /this is for you to apply/);
    expect(diff).toMatch(/^--- a\/convex\//);
    git(made.folder, "init", "-q");
    const { status } = spawnSync("git", ["apply", "-"], { cwd: made.folder, input: diff });
    expect(status).toBe(0);
    const told = await made.init();
    expect(told.problem).toBeNull();
    expect((await made.init()).said).toMatch(/Nothing to change/);
  });
});

describe("what is written", () => {
  test("a dry run prints the diff that makes the same app, and writes nothing", async () => {
    const files = { ...USUAL, "schema.ts": PLAIN };
    const [dry, wet] = [appOf(files), appOf(files)];
    const before = dry.files();
    const { printed, said } = await dry.init({ dryRun: true });
    expect(dry.files()).toEqual(before);
    expect(said).not.toContain("+++");
    const { status } = spawnSync("git", ["apply", "-"], { cwd: dry.folder, input: printed });
    expect(status).toBe(0);
    await wet.init();
    expect(dry.files()).toEqual(wet.files());
  });

  test(
    "an app without a schema gets one, and its untyped tables still type-check",
    { timeout: 60_000 },
    async () => {
      const made = appOf({
        "tasks.ts": `import { query, mutation } from "./_generated/server";
export const list = query(async (ctx) => (await ctx.db.query("tasks").take(10)).map((task) => task.text));
export const add = mutation(async (ctx) => { await ctx.db.insert("tasks", { text: "x" }); });
`,
      });
      expect((await made.init()).problem).toBeNull();
      made.generate();
      expect(made.typeErrors()).toEqual([]);
      const demo = readFileSync(path.join(ROOT, "convex/clerk/fields.ts"), "utf8");
      const columns = (text: string) =>
        [...text.matchAll(/^ {2}(\w+): /gm)].map(([, name]) => name);
      expect(columns(made.read("clerk/fields.ts"))).toEqual(columns(demo));
      expect(await made.load()).toContain("crons.js");
    },
  );

  test("an app without users gets the table beside its own", async () => {
    const made = appOf({
      "schema.ts": `${IMPORTS}\nexport default defineSchema({\n  posts: defineTable({ text: v.string() }),\n});\n`,
    });
    const { problem, said } = await made.init();
    expect(problem).toBeNull();
    expect(said).toMatch(/users: a new table/);
    const schema = made.read("schema.ts");
    expect(schema).toMatch(
      /^ {2}\.\.\.clerkTables,\n {2}users: defineTable\(\{\n {4}clerkId: v\.optional/m,
    );
    expect(schema).toMatch(/^ {2}posts: defineTable/m);
  });

  test("http.ts and crons.ts that export what they make get a name for it", async () => {
    const made = appOf({
      "schema.ts": PLAIN,
      "http.ts": `import { httpRouter } from 'convex/server'\n\nexport default httpRouter()\n`,
      "crons.ts": `import { cronJobs } from 'convex/server'\nimport { internal as own } from './_generated/api'\nconst jobs = cronJobs()\njobs.interval('x', { hours: 1 }, own.x.y)\n// The end.\nexport default jobs\n`,
      "x.ts": `export const y = 1;\n`,
    });
    expect((await made.init()).problem).toBeNull();
    expect(made.read("http.ts")).toBe(`import { httpRouter } from 'convex/server'
import { addClerkRoutes } from './clerk/routes'

const http = httpRouter()

addClerkRoutes(http)

export default http
`);
    expect(made.read("crons.ts")).toContain(`own.clerk.reconcile.run, {
  mode: 'due',
})

// The end.
export default jobs
`);
  });

  test.each([
    ["asked for, ^1.99.1", "^1.99.1", [], "svix/dist/webhook.js"],
    ["asked for, ^2.5.0", "^2.5.0", [], "svix"],
    ["asked for, latest", "latest", [], "svix"],
    ["installed, 1.99.1", "1.99.1", ["index.js", "webhook.js"], "svix/dist/webhook.js"],
    ["installed, 1.5.2, which is one file", "1.5.2", ["index.js"], "svix"],
  ])("of svix %s the sync takes the part that it needs", async (what, version, files, from) => {
    const manifest = `{ "dependencies": { "convex": "^1.48.0", "svix": "${version}" } }`;
    const made = appOf({ "schema.ts": PLAIN }, { around: { "package.json": manifest } });
    rmSync(path.join(made.folder, "node_modules"));
    if (what.startsWith("installed")) {
      const svix = path.join(made.folder, "node_modules/svix");
      mkdirSync(path.join(svix, "dist"), { recursive: true });
      writeFileSync(path.join(svix, "package.json"), JSON.stringify({ version }));
      for (const file of files) writeFileSync(path.join(svix, "dist", file), "");
    }
    expect((await made.init()).problem).toBeNull();
    expect(made.read("clerk/shared/svix.ts")).toMatch(`from "${from}"`);
  });

  test("each copied file says what it is, and is left alone by compilers and linters", async () => {
    const made = appOf({ "schema.ts": PLAIN });
    await made.init();
    expect(made.vendored.length).toBeGreaterThan(50);
    for (const file of made.vendored) {
      const start = `/* eslint-disable */\n// @ts-nocheck\n// clerk-convex-sync ${version()}: `;
      expect(made.read(file).slice(0, start.length)).toBe(start);
    }
    expect(made.vendored).not.toContain("clerk/fields.ts");
    expect(made.read("clerk/README.md")).toMatch(/^# The sync/);
  });

  test("the copied folder needs convex and svix alone, and of the app what Convex generates", async () => {
    const made = appOf({ "schema.ts": PLAIN });
    await made.init();
    const imports = made.vendored.flatMap((name) => {
      const from = [...made.read(name).matchAll(/^(?:import|export|\}).* from "([^"]+)";$/gm)];
      return from.map(([, source = ""]) =>
        source.startsWith(".") ? path.join(path.dirname(name), source) : source,
      );
    });
    expect(imports.length).toBeGreaterThan(200);
    const others = new Set(imports.filter((source) => !/^clerk\/[\w/]+\.js$/.test(source)));
    expect([...others].sort()).toEqual([
      "_generated/api.js",
      "_generated/dataModel.js",
      "_generated/server.js",
      "convex/server",
      "convex/values",
      "svix",
    ]);
  });

  test("files keep their line ends, their mark and the comments behind their lines", async () => {
    const text = `\uFEFF${PLAIN}`.replaceAll("\n", "\r\n");
    const made = appOf({
      "schema.ts": text,
      "crons.ts": `import { cronJobs } from "convex/server";
import { internal } from "@/convex/_generated/api";
const crons = cronJobs(); // the app's own
crons.interval("x", { hours: 1 }, internal.x.y); // at night
export { crons as default };
`,
    });
    expect((await made.init()).problem).toBeNull();
    const schema = made.read("schema.ts");
    expect(schema).toMatch(/^\uFEFFimport/);
    expect(schema.replaceAll("\r\n", "")).not.toContain("\n");
    const crons = made.read("crons.ts");
    expect(crons).toMatch(/internal\.x\.y\); \/\/ at night\n\/\/ It also fires/);
    expect(crons).toMatch(/\}\);\n\nexport \{ crons as default \};\n$/);
    expect(crons.match(/import \{ internal/g)).toHaveLength(1);
  });

  test("a router that is handed on gets the routes where it is made", async () => {
    const made = appOf({
      "schema.ts": PLAIN,
      "http.ts": `export { default } from "./router";\n`,
      "router.ts": USUAL["http.ts"] ?? "",
    });
    expect((await made.init()).problem).toBeNull();
    expect(made.read("router.ts")).toMatch(/addClerkRoutes\(http\);/);
    expect(made.read("http.ts")).toBe(`export { default } from "./router";\n`);
  });

  test("a function of the app's own by the name of ours is not ours", async () => {
    const made = appOf({
      "schema.ts": PLAIN,
      "http.ts": `import { httpRouter } from "convex/server";
const http = httpRouter();
function addClerkRoutes(router: unknown) { return router; }
addClerkRoutes(http);
export default http;
`,
    });
    expect((await made.init()).problem).toBeNull();
    expect(made.read("http.ts")).toMatch(/clerkAddClerkRoutes\(http\);/);
  });

  test("a name that a file has already is another one's", async () => {
    const made = appOf({
      "schema.ts": `import { v } from "convex/values";
import { defineSchema, defineTable } from "convex/server";
const clerkTables = { posts: defineTable({ text: v.string() }) };
export default defineSchema({ ...clerkTables, users: defineTable({ clerkId: v.string() }) });
`,
    });
    expect((await made.init()).problem).toBeNull();
    expect(made.read("schema.ts")).toMatch(
      /import \{ clerkTables as clerkClerkTables \} from "\.\/clerk\/tables";/,
    );
  });

  test.each([
    ["./base.json", "base.json"],
    ["@made-up/config/base.json", "node_modules/@made-up/config/base.json"],
  ])("imports end as the compiler has it that is extended: %s", async (base, file) => {
    const made = appOf(
      { "schema.ts": PLAIN, "tsconfig.json": `{ "extends": "../tsconfig.json" }` },
      { around: { "tsconfig.json": `{ "extends": ["${base}"] }` } },
    );
    rmSync(path.join(made.folder, "node_modules"));
    made.write({ [`../${file}`]: `{ "compilerOptions": { "module": "NodeNext" } }` });
    made.write({
      "../package.json": `{ "dependencies": { "convex": "^1.48.0", "svix": "2.5.0" } }`,
    });
    expect((await made.init()).problem).toBeNull();
    expect(made.read("schema.ts")).toMatch(`from "./clerk/tables.js"`);
  });

  test("functions outside of the app's folder are shown from where both are", async () => {
    const made = appOf(
      { "schema.ts": PLAIN },
      { around: { "web/convex.json": `{ "functions": "../convex" }` } },
    );
    made.write({ "../web/package.json": `{ "dependencies": { "convex": "*", "svix": "*" } }` });
    const web = path.join(made.folder, "web");
    const { printed } = await made.init({ app: web, dryRun: true });
    expect(printed).toMatch(/^--- a\/convex\/schema\.ts$/m);
    git(made.folder, "init", "-q");
    const { status } = spawnSync("git", ["apply", "-"], { cwd: made.folder, input: printed });
    expect(status).toBe(0);
  });

  test("what is left is told with a dry run, too, and what was lost of the folder comes again", async () => {
    const made = appOf({ "schema.ts": PLAIN });
    expect((await made.init({ dryRun: true })).said).toMatch(/What would be left to you/);
    await made.init();
    rmSync(path.join(made.functions, "clerk/mirror/gate.ts"));
    const { said } = await made.init();
    expect(said).toMatch(/copies 1 files to convex\/clerk\//);
    expect(said).not.toMatch(/fields\.ts mirrors|of a new row/);
  });

  test("a second start tells again what it still finds, until that is done", async () => {
    const own = `import { httpAction } from "./_generated/server";
export const webhook = httpAction(async (_, request) => {
  const { type } = await request.json();
  if (type === "user.created") return new Response(request.headers.get("svix-id"));
  return new Response(null);
});
`;
    const paid = 'v.union(v.literal("paid"), v.literal("free"))';
    const schema = schemaOf(`defineTable({ clerkId: v.string(), plan: ${paid} })`);
    const made = appOf({ "schema.ts": schema, "own.ts": own });
    await made.init();
    const again = async () => (await made.init()).said;
    const undecided = /what users\.plan of a new row is/;
    const webhook = /Remove the webhook in convex\/own\.ts:4, and its endpoint in Clerk/;
    expect(await again()).toMatch(undecided);
    expect(await again()).toMatch(webhook);
    made.write({
      "clerk/app.ts": made.read("clerk/app.ts").replace('undecided("plan")', '"paid"'),
    });
    made.write({ "own.ts": "export {};\n" });
    const said = await again();
    expect(said).toMatch(/Nothing to change/);
    expect(said).toMatch(/Set the key, see what the first run would do[^]+clerk\/doctor:check/);
    expect(said).not.toMatch(undecided);
    expect(said).not.toMatch(webhook);
  });

  test("a second start knows by the app's files what the first one was told", async () => {
    const table = `defineTable({ externalId: v.string() }).index("by_externalId", ["externalId"])`;
    const made = appOf({ "schema.ts": schemaOf(table) });
    await made.init({ key: "externalId", path: "/hooks/clerk" });
    const { said } = await made.init();
    expect(said).toMatch(/Nothing to change[^]+clerk\/adopt:fill '\{"column":"externalId"\}'/);
    expect(said).toMatch(/convex\.site\/hooks\/clerk in Clerk/);
  });

  test("a second start knows what was decided of removals, and which column is read otherwise", async () => {
    const schema = `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({ clerkId: v.string(), name: v.string() }),
  projects: defineTable({ owner: v.id("users") }),
});
`;
    const own = `import { mutation } from "./_generated/server";
export const store = mutation(async (ctx) => {
  const identity = (await ctx.auth.getUserIdentity())!;
  await ctx.db.insert("users", { clerkId: identity.subject, name: identity.name ?? "Anonymous" });
});
`;
    const made = appOf({ "schema.ts": schema, "own.ts": own });
    const first = (await made.init()).said;
    const decide = /Decide what becomes of a row[^]+Ids of users in projects\.owner lead nowhere/;
    const otherwise = /users\.name is identity\.name/;
    expect(first).toMatch(decide);
    expect(first).toMatch(otherwise);
    const second = (await made.init()).said;
    expect(second).toMatch(decide);
    expect(second).toMatch(otherwise);
    const app = made.read("clerk/app.ts");
    const fields = made.read("clerk/fields.ts");
    made.write({
      "clerk/app.ts": app.replace('removal: Removal = "delete"', "removal: Removal = { mark: {} }"),
      "clerk/fields.ts": fields.replace(/^ {2}name: .*\n/m, ""),
    });
    const third = (await made.init()).said;
    expect(third).toMatch(/Nothing to change/);
    expect(third).not.toMatch(/Decide what becomes|lead nowhere|can take back/);
    expect(third).not.toMatch(otherwise);
  });
  test("what a formatter made of the folder is left by a second start", async () => {
    const made = appOf({ "schema.ts": PLAIN });
    await made.init();
    made.write({ "clerk/mirror/rows.ts": made.read("clerk/mirror/rows.ts").replaceAll(";", "") });
    const before = made.files();
    expect((await made.init()).said).toMatch(/Nothing to change/);
    expect(made.files()).toEqual(before);
  });

  test("a start that was broken off is finished by the next one", async () => {
    const made = appOf({ "schema.ts": PLAIN });
    await made.init();
    const whole = made.files();
    for (const name of ["vendored.json", "fields.ts", "mirror/rows.ts"]) {
      rmSync(path.join(made.functions, "clerk", name));
    }
    expect((await made.init()).problem).toBeNull();
    expect(made.files()).toEqual(whole);
  });
});

describe("the packed command", () => {
  test.each([
    [["--help"], 0, /init --app DIR/],
    [["init", "--help"], 0, /--dry-run/],
    [["--version"], 0, /^\d+\.\d+\.\d+$/m],
    [["hook"], 0, /^export function useCurrentUser/m],
    [["hook", "--app", "."], 1, /hook takes no option: --app is of init/],
    [[], 1, /expected init, update or hook: there is none/],
    [["instal"], 1, /expected init, update or hook: it is instal/],
    [["init"], 1, /--app must say which folder/],
    [["init", "--app", ".", "--nothing"], 1, /'--nothing'/],
    [
      ["init", "--app", ".", "--package-manager", "cargo"],
      1,
      /must be one of npm, pnpm, yarn, bun/,
    ],
    [["update", "--app", ".", "--key", "x"], 1, /--key and --path are of init/],
  ])("%j ends with %d", { timeout: 60_000 }, (args, expected, sentence) => {
    const { status, stdout, stderr } = runPacked(args);
    expect([status, stdout + stderr]).toEqual([expected, expect.stringMatching(sentence)]);
  });

  test("takes an app in as the one in the repository does, and asks nobody where there is no terminal", async () => {
    const files = { ...USUAL, "schema.ts": PLAIN };
    const [packed, own] = [appOf(files), appOf(files)];
    await own.init();
    const before = packed.files();
    const asked = runPacked(["init", "--app", packed.folder]);
    expect([asked.status, asked.stderr]).toEqual([
      1,
      expect.stringMatching(/no terminal to ask at\. Say yes beforehand with --yes/),
    ]);
    const dry = runPacked(["init", "--app", packed.folder, "--dry-run"]);
    expect(dry.stdout).toMatch(/^--- /);
    expect(packed.files()).toEqual(before);
    expect(runPacked(["init", "--app", packed.functions, "--yes"]).status).toBe(0);
    expect(packed.files()).toEqual(own.files());
  });

  test("brings all that it copies", () => {
    expect(existsSync(path.join(packedFolder(), "convex/clerk/CHANGELOG.md"))).toBe(true);
  });
});

test.each([
  "scripts/bench/bench.ts",
  "scripts/cli.ts",
  "scripts/demo/demo.ts",
  "scripts/demo/chat.ts",
  "scripts/send-event.ts",
  "test/adopt.ts",
  "test/long.ts",
  "test/teeth.ts",
])("%s answers --help", { timeout: 60_000 }, (script) => {
  const args = ["--import", "tsx", script, "--help"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^(usage: |clerk-convex-sync )/);
});
