/**
 * The app's schema as Convex itself would have it: bundled by the app's own Convex's bundler and evaluated, whatever
 * helpers, spreads and functions it is made with. So what is told of a column is never read off its text.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import type { build, Loader, Plugin } from "esbuild";
import { clerkTables } from "../../convex/clerk/tables";
import { messageOf, Problem } from "./problem";
import type { Project } from "./project";

/** A validator as `schema.export()` gives it. */
export type Validator = {
  type: string;
  value?: unknown;
  tableName?: string;
};

export type Column = { validator: Validator; isOptional: boolean };

export type Table = {
  /** null for a table that is no plain object: a union, `v.any()`. */
  columns: Map<string, Column> | null;
  /** Fields by the name of the index, and those of them that are staged: they can't be asked yet. */
  indexes: Map<string, string[]>;
  staged: Set<string>;
  /** The table as exported, to compare. */
  text: string;
};

export type Schema = Map<string, Table>;

type Exported = {
  tables: {
    tableName: string;
    documentType: { type: string; value: unknown };
    indexes: { indexDescriptor: string; fields: string[] }[];
    stagedDbIndexes?: { indexDescriptor: string; fields: string[] }[];
  }[];
};

/**
 * @param file `schema.ts`
 * @param overlay files that are not written yet, or not so
 * @throws Problem where it does not compile, or is no schema
 */
export async function readSchema(
  project: Project,
  file: string,
  overlay: Map<string, string>,
): Promise<Schema> {
  const code = await bundle(project, file, overlay);
  let schema: { export?: () => string } | undefined;
  try {
    const url = `data:text/javascript;base64,${Buffer.from(code).toString("base64")}`;
    ({ default: schema } = (await import(/* @vite-ignore */ url)) as { default?: typeof schema });
  } catch (error) {
    throw new Problem(`${file} can't be evaluated: ${messageOf(error)}`);
  }
  if (typeof schema?.export !== "function") {
    throw new Problem(
      `${file} must export the app's schema by default: export default defineSchema({ … }).`,
    );
  }
  return tablesOf(JSON.parse(schema.export()) as Exported);
}

function tablesOf({ tables }: Exported): Schema {
  return new Map(
    tables.map(({ tableName, documentType, indexes, stagedDbIndexes = [] }) => {
      const fields =
        documentType.type === "object" ? Object.entries(documentType.value as object) : null;
      const columns = fields?.map(([name, value]): [string, Column] => {
        const { fieldType, optional } = value as { fieldType: Validator; optional: boolean };
        return [name, { validator: fieldType, isOptional: optional }];
      });
      const all = [...indexes, ...stagedDbIndexes];
      const table: Table = {
        columns: columns ? new Map(columns) : null,
        indexes: new Map(all.map((index) => [index.indexDescriptor, index.fields])),
        staged: new Set(stagedDbIndexes.map(({ indexDescriptor }) => indexDescriptor)),
        text: JSON.stringify([documentType, all]),
      };
      return [tableName, table];
    }),
  );
}

/** Convex depends on it; where the app's packages are not installed, this project's own does. */
function bundlerOf({ convex, root }: Project): { build: Build; packages: string } {
  const folder = convex.folder ?? ownConvex();
  if (folder === null) {
    throw new Problem(
      `expected an app whose packages are installed: convex is not in ${root}. Install them first.`,
    );
  }
  const esbuild = createRequire(path.join(folder, "package.json"))("esbuild") as { build: Build };
  return { build: esbuild.build, packages: path.dirname(folder) };
}

type Build = typeof build;

function ownConvex(): string | null {
  try {
    return path.dirname(createRequire(import.meta.url).resolve("convex/package.json"));
  } catch {
    return null;
  }
}

async function bundle(
  project: Project,
  file: string,
  overlay: Map<string, string>,
): Promise<string> {
  const { build: run, packages } = bundlerOf(project);
  try {
    const { outputFiles } = await run({
      entryPoints: [file],
      absWorkingDir: project.root,
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      target: "esnext",
      conditions: ["convex", "module"],
      logLevel: "silent",
      nodePaths: [packages],
      plugins: [overlaid(overlay, project.functions)],
    });
    return outputFiles[0]?.text ?? "";
  } catch (error) {
    const [first] = (error as { errors?: BuildError[] }).errors ?? [];
    if (first === undefined) throw error;
    const { text, location } = first;
    const at = location ? `${path.resolve(project.root, location.file)}:${location.line}` : file;
    const advice = text.startsWith("Could not resolve") ? " Install the app's packages first." : "";
    throw new Problem(`${at} does not compile: ${text}.${advice}`);
  }
}

type BuildError = { text: string; location: { file: string; line: number } | null };

/** Files as they are to be; @param folder one that there is, for those in a folder that is not there yet */
function overlaid(overlay: Map<string, string>, folder: string): Plugin {
  return {
    name: "overlay",
    setup(build) {
      build.onResolve({ filter: /^(\.{1,2})?\// }, ({ path: specifier, importer }) => {
        const target = path.resolve(path.dirname(importer), specifier);
        const candidates = [target, `${target}.ts`, target.replace(/\.js$/, ".ts")];
        const found = candidates.find((each) => overlay.has(each) && !existsSync(each));
        return found === undefined ? undefined : { path: found };
      });
      build.onLoad({ filter: /\.[jt]sx?$/ }, ({ path: file }) => {
        const contents = overlay.get(file) ?? null;
        if (contents === null) return undefined;
        return {
          contents,
          loader: path.extname(file).slice(1) as Loader,
          resolveDir: existsSync(path.dirname(file)) ? path.dirname(file) : folder,
        };
      });
    },
  };
}

/** Columns of the app's other tables that hold ids of a table, as `posts.author`. */
export function refersTo(schema: Schema, table: string): string[] {
  const others = [...schema].filter(([name]) => !(name in clerkTables));
  return others.flatMap(([name, { columns }]) =>
    [...(columns ?? [])].flatMap(([column, { validator }]) => {
      const isOfTable = JSON.stringify(validator).includes(`"tableName":${JSON.stringify(table)}`);
      return isOfTable && name !== table ? [`${name}.${column}`] : [];
    }),
  );
}

/** Whether a validator takes a text, a number …; a union where one of its members does. */
export function takes({ type, value }: Validator, wanted: string): boolean {
  if (type === "union") return (value as Validator[]).some((each) => takes(each, wanted));
  return type === wanted || type === "any";
}
