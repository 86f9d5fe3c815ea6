/** An app from before the sync, in a folder of its own, which takes the sync in as the README says. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const ROOT = path.join(import.meta.dirname, "..");

/** The app's own files as they were; what is added to them stands in `ADDED`. */
const BEFORE: Record<string, string> = {
  "convex.config.ts": `
import { defineApp } from "convex/server";
export default defineApp({
});
`,
  "schema.ts": `
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({
    plan: v.union(v.literal("free"), v.literal("paid")),
    bio: v.optional(v.string()),
    externalId: v.optional(v.string()),
  }).index("by_plan", ["plan"]),
  posts: defineTable({ author: v.id("users"), text: v.string() }),
  notices: defineTable({ text: v.string() }),
});
`,
  "http.ts": `
import { httpRouter } from "convex/server";
const http = httpRouter();
export default http;
`,
  "crons.ts": `
import { cronJobs } from "convex/server";
const crons = cronJobs();
export default crons;
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
};

/** After which line of a file each line of the README goes. */
const PLACES: Record<string, [line: string, after: string][]> = {
  "convex.config.ts": [
    [`import { clerkEnvironment } from "./clerk/environment";`, `import { defineApp }`],
    [`  env: { ...clerkEnvironment },`, `export default defineApp`],
  ],
  "schema.ts": [
    [`import { clerkTables, usersTable } from "./clerk/tables";`, `import { v }`],
    [`  ...clerkTables,`, `export default defineSchema`],
    [`  users: usersTable({`, `  users: defineTable({`],
  ],
  "http.ts": [
    [`import { addClerkRoutes } from "./clerk/routes";`, `import { httpRouter }`],
    [`addClerkRoutes(http);`, `const http`],
  ],
  "crons.ts": [
    [`import { internal } from "./_generated/api";`, `import { cronJobs }`],
    [
      `crons.interval("reconcile users with Clerk", { minutes: 15 }, internal.clerk.reconcile.run, { mode: "due" });`,
      `const crons`,
    ],
  ],
};

/** The lines that the README's section on adoption adds, by file. */
function linesOfReadme(): Record<string, string[]> {
  const readme = readFileSync(path.join(ROOT, "README.md"), "utf8");
  const [, diff = ""] = /^```diff\n([\s\S]+?)^```/m.exec(readme) ?? [];
  const files = diff.split(/^ \/\/ convex\//m).slice(1);
  return Object.fromEntries(
    files.map((text): [string, string[]] => {
      const [name = "", ...lines] = text.split("\n");
      return [name, lines.filter((line) => line.startsWith("+")).map((line) => line.slice(1))];
    }),
  );
}

/** The `convex/tsconfig.json` that `npx convex dev` writes into a new project. */
function usualTsconfig(): string {
  const template = "node_modules/convex/src/cli/codegen_templates/tsconfig.ts";
  const [, text] = /return `([^`]+)`/.exec(readFileSync(path.join(ROOT, template), "utf8")) ?? [];
  if (text === undefined) throw new Error("the template has another shape");
  return text;
}

export type ExistingApp = {
  folder: string;
  /** Whether the README's lines are those that were added. */
  linesAdded: Record<string, string[]>;
  linesOfReadme: Record<string, string[]>;
  /** Runs a tool of the project on the app. */
  tool: (bin: string, args: string[]) => void;
  write: (file: string, change: (text: string) => string) => void;
  modules: () => Record<string, () => Promise<Record<string, unknown>>>;
};

export function existingApp(): ExistingApp {
  const folder = mkdtempSync(path.join(tmpdir(), "existing-app-"));
  const convex = path.join(folder, "convex");
  mkdirSync(convex);
  symlinkSync(path.join(ROOT, "node_modules"), path.join(folder, "node_modules"));
  cpSync(path.join(ROOT, "convex/clerk"), path.join(convex, "clerk"), { recursive: true });
  writeFileSync(path.join(convex, "tsconfig.json"), usualTsconfig());
  writeFileSync(
    path.join(folder, "package.json"),
    JSON.stringify({ name: "app", type: "module", dependencies: { convex: "*" } }),
  );
  writeFileSync(path.join(folder, "eslint.config.mjs"), LINT);
  for (const [file, text] of Object.entries(BEFORE)) {
    const lines = text.split("\n");
    for (const [line, after] of PLACES[file] ?? []) {
      const at = lines.findIndex((other) => other.startsWith(after));
      if (at === -1) throw new Error(`${file} has no line ${after}`);
      lines.splice(
        after.startsWith("  users") ? at : at + 1,
        after.startsWith("  users") ? 1 : 0,
        line,
      );
    }
    writeFileSync(path.join(convex, file), lines.join("\n"));
  }
  const tool = (bin: string, args: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [path.join(ROOT, "node_modules", bin), ...args],
      {
        cwd: folder,
        encoding: "utf8",
        env: {
          ...process.env,
          CONVEX_SELF_HOSTED_URL: "http://127.0.0.1:9",
          CONVEX_SELF_HOSTED_ADMIN_KEY: "offline|offline",
        },
      },
    );
    if (status !== 0) throw new Error(`${bin} ${args.join(" ")}: ${stdout}${stderr}`);
  };
  tool("convex/bin/main.js", ["codegen", "--system-udfs", "--typecheck", "disable"]);
  // Without a deployment, the CLI can't know the variables that `convex.config.ts` declares.
  for (const file of ["server.js", "server.d.ts"]) {
    cpSync(path.join(ROOT, "convex/_generated", file), path.join(convex, "_generated", file));
  }
  return {
    folder,
    linesAdded: Object.fromEntries(
      Object.entries(PLACES).map(([file, lines]) => [file, lines.map(([line]) => line)]),
    ),
    linesOfReadme: linesOfReadme(),
    tool,
    write: (file, change) => {
      const target = path.join(convex, file);
      const before = readFileSync(target, "utf8");
      const after = change(before);
      if (after === before) throw new Error(`nothing changes in ${file}`);
      writeFileSync(target, after);
    },
    modules: () =>
      Object.fromEntries(
        readdirSync(convex, { recursive: true, encoding: "utf8" })
          .filter((file) => /\.[jt]s$/.test(file) && !file.endsWith(".d.ts"))
          .map((file) => [
            `../convex/${file}`,
            async () =>
              (await import(/* @vite-ignore */ path.join(convex, file))) as Record<string, unknown>,
          ]),
      ),
  };
}

const LINT = `
import convexPlugin from "@convex-dev/eslint-plugin";
import tseslint from "typescript-eslint";
export default tseslint.config(
  { ignores: ["convex/_generated/"] },
  tseslint.configs.recommended,
  ...convexPlugin.configs.recommended,
);
`;
