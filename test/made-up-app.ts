/** Apps from before the sync, made up, each in a folder of its own, which take the sync in as the README says. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { vendor } from "../scripts/vendor";

export const ROOT = path.join(import.meta.dirname, "..");

/** Text by the path of a file, from the folder of functions on. */
export type Files = Record<string, string>;

/** What the person adds to a file of the app: a line, and the beginning of the line behind which it goes. */
export type Additions = Record<string, [line: string, after: string][]>;

export type Shape = {
  /** The app's own files as they were: none but those of `added` changes. */
  before: Files;
  added: Additions;
  /** What the person writes: `clerk/fields.ts`, `clerk/app.ts`. */
  written: Files;
};

/** The lines that every app adds; its schema has others beside them. */
export const ADDED: Additions = {
  "schema.ts": [
    [`import { clerkTables } from "./clerk/tables";`, `import { v }`],
    [`  ...clerkTables,`, `export default defineSchema`],
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

/** The same, with what the schema's `users` gets. @param isKeyed whether it has `clerkId` already */
export function usersAdded({ isKeyed = false } = {}): Additions {
  const columns = "  users: defineTable({";
  const indexes = "  })";
  const clerkId: [string, string] = [`    clerkId: v.optional(v.string()),`, columns];
  const users: [string, string][] = [
    [`    clerkCreatedAt: v.optional(v.number()),`, columns],
    ...(isKeyed ? [] : [clerkId]),
    [`    .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"])`, indexes],
    [`    .index("by_clerkId", ["clerkId"])`, indexes],
  ];
  return { ...ADDED, "schema.ts": [...(ADDED["schema.ts"] ?? []), ...users] };
}

/** `http.ts` and `crons.ts` as an app has them that uses neither yet. */
export const USUAL: Files = {
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
};

/** The `convex/tsconfig.json` that `npx convex dev` writes into a new project. */
export function usualTsconfig(): string {
  const template = "node_modules/convex/src/cli/codegen_templates/tsconfig.ts";
  const [, text] = /return `([^`]+)`/.exec(readFileSync(path.join(ROOT, template), "utf8")) ?? [];
  if (text === undefined) throw new Error("the template has another shape");
  return text;
}

type Modules = Record<string, () => Promise<Record<string, unknown>>>;

/** An app in a folder. */
export class MadeUpApp {
  readonly folder = mkdtempSync(path.join(tmpdir(), "made-up-app-"));
  readonly functions = path.join(this.folder, "convex");
  /** The sync's files that the app does not edit. */
  readonly vendored: string[];

  /** @param packages the `node_modules` that it has */
  constructor(shape: Shape, packages = path.join(ROOT, "node_modules")) {
    mkdirSync(path.join(this.functions, "_generated"), { recursive: true });
    symlinkSync(packages, path.join(this.folder, "node_modules"));
    const manifest = { name: "app", type: "module", dependencies: { convex: "*" } };
    writeFileSync(path.join(this.folder, "package.json"), JSON.stringify(manifest));
    this.write({ "tsconfig.json": usualTsconfig() });
    this.write(shape.before);
    const copied = vendor(this.functions);
    this.vendored = copied.filter((file) => file.endsWith(".ts") && !(file in shape.written));
    for (const [file, additions] of Object.entries(shape.added)) {
      const lines = this.read(file).split("\n");
      for (const [line, after] of additions) {
        const at = lines.findIndex((other) => other.startsWith(after));
        if (at === -1) throw new Error(`${file} has no line ${after}`);
        lines.splice(at + 1, 0, line);
      }
      this.write({ [file]: lines.join("\n") });
    }
    this.write(shape.written);
    this.tool("convex/bin/main.js", ["codegen", "--system-udfs", "--typecheck", "disable"]);
  }

  read(file: string): string {
    return readFileSync(path.join(this.functions, file), "utf8");
  }

  write(files: Files): void {
    for (const [file, text] of Object.entries(files)) {
      const target = path.join(this.functions, file);
      mkdirSync(path.dirname(target), { recursive: true });
      writeFileSync(target, text);
    }
  }

  /** Runs a tool of its packages. @returns what it printed, and whether it went well */
  run(bin: string, args: string[]): { isWell: boolean; printed: string } {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [path.join(this.folder, "node_modules", bin), ...args],
      {
        cwd: this.folder,
        encoding: "utf8",
        env: {
          ...process.env,
          CONVEX_SELF_HOSTED_URL: "http://127.0.0.1:9",
          CONVEX_SELF_HOSTED_ADMIN_KEY: "offline|offline",
        },
      },
    );
    return { isWell: status === 0, printed: stdout + stderr };
  }

  /** The same. @throws Error with what it printed, where it did not go well */
  tool(bin: string, args: string[]): void {
    const { isWell, printed } = this.run(bin, args);
    if (!isWell) throw new Error(`${bin} ${args.join(" ")}: ${printed}`);
  }

  /** The errors of its compiler. */
  typeErrors(compiler = "typescript"): string[] {
    const { printed } = this.run(`${compiler}/bin/tsc`, ["-p", "convex", "--pretty", "false"]);
    return printed.split(/\n(?=\S)/).filter((error) => /error TS\d+/.test(error));
  }

  /** Its modules, by name, as convex-test wants them. */
  modules(): Modules {
    const files = readdirSync(this.functions, { recursive: true, encoding: "utf8" });
    return Object.fromEntries(
      files
        .filter(isModule)
        .map((file) => [
          `../convex/${file}`,
          async () =>
            (await import(/* @vite-ignore */ path.join(this.functions, file))) as Record<
              string,
              unknown
            >,
        ]),
    );
  }

  /** Has Node load each module that the CLI would push. @returns their names @throws Error where one does not load */
  async load(): Promise<string[]> {
    const push = ["deploy", "--write-push-request", "push", "--push-all-modules"];
    this.tool("convex/bin/main.js", [...push, "--typecheck", "disable", "--codegen", "disable"]);
    const { appDefinition } = JSON.parse(
      readFileSync(path.join(this.folder, "push.json"), "utf8"),
    ) as { appDefinition: { schema: Pushed; changedModules: Pushed[] } };
    const pushed = [appDefinition.schema, ...appDefinition.changedModules];
    const bundle = path.join(this.folder, "bundle");
    for (const { path: file, source } of pushed) {
      const target = path.join(bundle, file);
      mkdirSync(path.dirname(target), { recursive: true });
      writeFileSync(target, source.replace(/^\/\/# sourceMappingURL=.*$/m, ""));
    }
    const names = pushed.map(({ path: file }) => file);
    for (const name of names) await import(/* @vite-ignore */ path.join(bundle, name));
    return names;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

type Pushed = { path: string; source: string };

function isModule(file: string): boolean {
  return /(?<!\.d)\.[jt]s$/.test(file);
}
