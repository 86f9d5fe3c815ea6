/** Apps from before the sync, made up, each in a folder of its own, which take the sync in by the command. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import ts from "typescript";
import { init } from "../../scripts/command/init";
import type { InitOptions } from "../../scripts/command/plan";
import { Problem } from "../../scripts/command/problem";
import type { Terminal } from "../../scripts/command/terminal";
import { readCopied } from "../../scripts/command/vendored";

export const ROOT = path.join(import.meta.dirname, "../..");
/** The newest Convex of which the CLI runs on this Node: from 1.49 on it refuses 20. */
export const NEWEST_CONVEX =
  Number(process.versions.node.split(".")[0]) < 22 ? "~1.48.0" : "latest";

/** Text by the path of a file. */
export type Files = Record<string, string>;

export type Shape = {
  /** The app's own files as they were, from the folder of functions on. */
  before: Files;
  /** Others of its files, from its own folder on. */
  around?: Files;
  /** Where it is a package of a monorepo, `packages/app`: files of that, from the top on. */
  top?: Files;
  /** What the person says on the command's line. */
  options?: Partial<InitOptions>;
  /** What the person writes afterwards: `clerk/fields.ts`, `clerk/app.ts`. */
  written?: Files;
};

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

/** What the command said, and printed. */
export type Told = { said: string; printed: string; problem: Problem | null };

/** An app in a folder. */
export class MadeUpApp {
  /** Its own, the one with its `package.json`. */
  readonly folder: string;
  /** The same, or, of a package, the monorepo's. */
  readonly top = mkdtempSync(path.join(tmpdir(), "made-up-app-"));
  readonly functions: string;
  readonly #shape: Shape;

  /** @param packages the `node_modules` that it has; null for those that it installs */
  constructor(shape: Shape, packages: string | null = path.join(ROOT, "node_modules")) {
    this.#shape = shape;
    this.folder = shape.top ? path.join(this.top, "packages/app") : this.top;
    const { "convex.json": config = "{}" } = shape.around ?? {};
    const { functions = "convex" } = JSON.parse(config) as { functions?: string };
    this.functions = path.join(this.folder, functions);
    mkdirSync(path.join(this.functions, "_generated"), { recursive: true });
    if (packages !== null) this.usePackages(packages);
    const manifest = { name: "app", type: "module", dependencies: { convex: "*", svix: "*" } };
    const around = { "package.json": JSON.stringify(manifest), ...shape.around };
    for (const [file, text] of Object.entries(around))
      writeText(path.join(this.folder, file), text);
    if (shape.around?.["tsconfig.json"] === undefined)
      this.write({ "tsconfig.json": usualTsconfig() });
    for (const [file, text] of Object.entries(shape.top ?? {})) {
      writeText(path.join(this.top, file), text);
    }
    this.write(shape.before);
  }

  /** One that has taken the sync in. @throws Problem where the command refuses */
  static async taken(shape: Shape, packages?: string): Promise<MadeUpApp> {
    const made = new MadeUpApp(shape, packages);
    const { problem } = await made.init();
    if (problem) throw problem;
    made.write(shape.written ?? {});
    made.generate();
    return made;
  }

  usePackages(packages: string): void {
    const target = path.join(this.folder, "node_modules");
    rmSync(target, { recursive: true, force: true });
    symlinkSync(packages, target);
  }

  /** Has the command take the sync in, as `init --yes --no-install`. */
  async init(options: Partial<InitOptions> = {}): Promise<Told> {
    const told: Told = { said: "", printed: "", problem: null };
    const terminal: Terminal = {
      say: (text) => (told.said += `${text}\n`),
      print: (text) => (told.printed += text),
      note: (title, lines) => (told.said += `${title}\n${lines.join("\n")}\n`),
      agree: async () => {
        await Promise.resolve();
      },
      choose: async (choice) => await Promise.reject(choice),
    };
    try {
      await init({ app: this.top, install: false, ...this.#shape.options, ...options }, terminal);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      told.problem = error;
    }
    return told;
  }

  /** The sync's files that the app does not edit. */
  get vendored(): string[] {
    const { files = {} } = readCopied(path.join(this.functions, "clerk")) ?? {};
    const names = Object.keys(files).filter((file) => file.endsWith(".ts"));
    return names.map((file) => `clerk/${file}`);
  }

  read(file: string): string {
    return readFileSync(path.join(this.functions, file), "utf8");
  }

  write(files: Files): void {
    for (const [file, text] of Object.entries(files))
      writeText(path.join(this.functions, file), text);
  }

  /** Each file's text, from the app's folder on, but for packages and what tools make. */
  files(): Files {
    const skipped = ["node_modules", "bundle", "_generated", ".git", "push.json"];
    const within = (folder: string): string[] =>
      readdirSync(path.join(this.folder, folder), { withFileTypes: true }).flatMap((entry) => {
        if (skipped.includes(entry.name)) return [];
        const name = path.join(folder, entry.name);
        if (entry.isDirectory()) return within(name);
        return entry.isFile() ? [name] : [];
      });
    const texts = within("").map((name) => [
      name,
      readFileSync(path.join(this.folder, name), "utf8"),
    ]);
    return Object.fromEntries(texts) as Files;
  }

  /** Has Convex's own code generation run. */
  generate(): void {
    this.tool("convex/bin/main.js", ["codegen", "--system-udfs", "--typecheck", "disable"]);
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

  /** The errors of its compiler; of this project's own, without starting another process. */
  typeErrors(compiler?: string): string[] {
    const isOwn = existsSync(path.join(this.functions, "tsconfig.json"));
    const project = isOwn ? this.functions : this.folder;
    const { own } = this;
    const args = ["-p", project, "--noEmit", "--pretty", "false"];
    const printed =
      own && compiler === undefined
        ? compile(path.join(project, "tsconfig.json"), this.folder)
        : this.run(`${compiler ?? "typescript"}/bin/tsc`, args).printed;
    return printed.split(/\n(?=\S)/).filter((error) => /error TS\d+/.test(error));
  }

  /** Whether its packages are this project's. */
  get own(): boolean {
    return realpathSync(path.join(this.folder, "node_modules")) === path.join(ROOT, "node_modules");
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
      writeText(path.join(bundle, file), source.replace(/^\/\/# sourceMappingURL=.*$/m, ""));
    }
    const names = pushed.map(({ path: file }) => file);
    // As Convex's own runtime has it (setup.ts of udf-runtime in its backend): the first versions of svix ask for it.
    Object.assign(globalThis, { self: globalThis });
    for (const name of names) await import(/* @vite-ignore */ path.join(bundle, name));
    return names;
  }

  remove(): void {
    rmSync(this.top, { recursive: true });
  }
}

type Pushed = { path: string; source: string };

/** What is the same for every app: the declarations of packages, parsed once. */
const parsed = new Map<string, ts.SourceFile | undefined>();

/** @returns what `tsc -p` prints */
function compile(config: string, folder: string): string {
  const { options, fileNames } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(config, (file) => ts.sys.readFile(file)).config,
    ts.sys,
    path.dirname(config),
    { noEmit: true },
    config,
  );
  const host = ts.createCompilerHost(options);
  const getSourceFile = host.getSourceFile.bind(host);
  host.getSourceFile = (file, version, ...others) => {
    if (!file.includes("/node_modules/")) return getSourceFile(file, version, ...others);
    const key = `${file} ${JSON.stringify(version)}`;
    if (!parsed.has(key)) parsed.set(key, getSourceFile(file, version, ...others));
    return parsed.get(key);
  };
  const program = ts.createProgram(fileNames, options, host);
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), {
    getCurrentDirectory: () => folder,
    getCanonicalFileName: (file) => file,
    getNewLine: () => "\n",
  });
}

function writeText(file: string, text: string): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function isModule(file: string): boolean {
  return /(?<!\.d)\.[jt]s$/.test(file) && !file.includes("node_modules");
}
