/** The app as it is found: its folder of functions, its packages, and how it writes its imports. */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { Choice, Problem } from "./problem";

export const MANAGERS = ["npm", "pnpm", "yarn", "bun"] as const;
export type Manager = (typeof MANAGERS)[number];

/** What tells a package manager: the newest of bun writes text. */
const LOCK_FILES: Record<string, Manager> = {
  "package-lock.json": "npm",
  "npm-shrinkwrap.json": "npm",
  "pnpm-lock.yaml": "pnpm",
  "yarn.lock": "yarn",
  "bun.lock": "bun",
  "bun.lockb": "bun",
};
/** The sync calls `ctx.meta.getTransactionMetrics` and reads `process.env` as that version has it. */
const OLDEST_CONVEX = "1.40";
/** Folders below the given one in which packages are looked for. */
const MAX_DEPTH = 3;

export type Project = {
  /** The folder with the app's `package.json`. */
  root: string;
  /** The folder of functions. */
  functions: string;
  /** The folder that holds both: paths are told from there. */
  top: string;
  manager: Manager;
  /** The app's lock file; null where there is none. */
  lockFile: string | null;
  /** The version that is installed, or asked for at least; its folder is null where it is not installed. */
  convex: { version: string; folder: string | null };
  /** Null where the app has none. */
  svix: Svix | null;
  /** What imports may begin with, and the folders that these beginnings stand for. */
  aliases: [string, string][];
  /** Whether generated types change with a push only. */
  isStatic: boolean;
  /** Whether imports have to end in `.js`. */
  hasExtensions: boolean;
};

/** The version that is installed, or that the range asks for at least, and whether its webhooks are a part that can be had alone. */
export type Svix = { version: string; hasPart: boolean };

type Json = Record<string, unknown>;

/**
 * @param app the folder that the person gives: the app's, its functions', or a monorepo's
 * @param manager the package manager, where the app does not tell
 * @throws Problem where there is no app, there are several, or its Convex is too old
 */
export function findProject(app: string, manager?: Manager): Project {
  const { root, functions } = findFunctions(path.resolve(app));
  const manifest = readJson(path.join(root, "package.json"));
  const lock = findLock(root);
  return {
    root,
    functions,
    top: above(root).find((each) => !path.relative(each, functions).startsWith("..")) ?? root,
    manager: manager ?? managerOf(root, lock),
    lockFile: lock[0]?.file ?? null,
    convex: convexOf(root, functions, manifest),
    svix: svixOf(functions) ?? wantedSvix(rangeOf(manifest, "svix")),
    aliases: aliasesOf(root, functions),
    isStatic: isStatic(root),
    hasExtensions: [functions, root].some((folder) =>
      isNodeNext(path.join(folder, "tsconfig.json")),
    ),
  };
}

function findFunctions(folder: string): { root: string; functions: string } {
  if (!isFolder(folder))
    throw new Problem(`--app must be the folder of an app: ${folder} is none.`);
  const functions = functionsOf(folder);
  if (functions !== null) return { root: folder, functions };
  if (looksLikeFunctions(folder)) {
    const root = above(path.dirname(folder)).find(
      (each) => existsSync(path.join(each, "package.json")) && functionsOf(each) === folder,
    );
    if (root !== undefined) return { root, functions: folder };
  }
  const [only, ...others] = packagesWithin(folder);
  if (only === undefined) {
    throw new Problem(
      `expected an app with a folder of Convex functions, convex/ or the one that convex.json names: there is none in ${folder}. Give the app's folder with --app, or set Convex up first: npx convex dev.`,
    );
  }
  if (others.length > 0) {
    const names = [only, ...others].map((each) => path.join(folder, each)).join(", ");
    throw new Problem(
      `there are several folders with Convex functions: give one of them with --app: ${names}.`,
    );
  }
  const root = path.join(folder, only);
  return { root, functions: functionsOf(root) ?? path.join(root, "convex") };
}

/** The folder of functions of an app; null where it has none. */
function functionsOf(root: string): string | null {
  const config = path.join(root, "convex.json");
  const named = existsSync(config) ? readJson(config).functions : undefined;
  const functions = path.resolve(root, typeof named === "string" ? named : "convex");
  return isFolder(functions) ? functions : null;
}

function looksLikeFunctions(folder: string): boolean {
  return ["_generated", "schema.ts", "schema.js"].some((name) =>
    existsSync(path.join(folder, name)),
  );
}

/** Packages below a folder that have Convex functions, from there on. */
function packagesWithin(folder: string, depth = 1): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(\.|node_modules$)/.test(entry.name))
    .flatMap(({ name }) => {
      const inner = path.join(folder, name);
      const functions = existsSync(path.join(inner, "package.json")) ? functionsOf(inner) : null;
      if (functions !== null && looksLikeFunctions(functions)) return [name];
      if (depth >= MAX_DEPTH) return [];
      return packagesWithin(inner, depth + 1).map((each) => path.join(name, each));
    });
}

type Lock = { file: string; manager: Manager };

/** The lock files of the nearest folder that has any. */
function findLock(root: string): Lock[] {
  for (const folder of above(root)) {
    const locks = Object.entries(LOCK_FILES)
      .filter(([name]) => existsSync(path.join(folder, name)))
      .map(([name, manager]) => ({ file: path.join(folder, name), manager }));
    if (locks.length > 0) return locks;
    if (existsSync(path.join(folder, ".git"))) break;
  }
  return [];
}

function managerOf(root: string, locks: Lock[]): Manager {
  for (const folder of above(root)) {
    const file = path.join(folder, "package.json");
    const named = existsSync(file) ? readJson(file).packageManager : undefined;
    const manager = MANAGERS.find(
      (each) => typeof named === "string" && named.startsWith(`${each}@`),
    );
    if (manager) return manager;
    if (existsSync(path.join(folder, ".git"))) break;
  }
  const managers = [...new Set(locks.map(({ manager }) => manager))];
  if (managers.length > 1) {
    const files = locks.map(({ file }) => path.basename(file)).join(" and ");
    throw new Choice(
      `the app has ${files}: say which package manager is its own with --package-manager ${managers.join("|")}.`,
      "manager",
      managers,
    );
  }
  return managers[0] ?? "npm";
}

function convexOf(root: string, functions: string, manifest: Json): Project["convex"] {
  const found = installed("convex", functions) ?? installed("convex", root);
  const version = found?.version ?? rangeOf(manifest, "convex");
  if (version === null) {
    throw new Problem(
      `expected an app that has the package convex: ${path.join(root, "package.json")} does not name it, and it is not installed. Set Convex up first: npm install convex && npx convex dev.`,
    );
  }
  if (isBelow(version, OLDEST_CONVEX)) {
    throw new Problem(
      `convex must be ${OLDEST_CONVEX} or newer: the app has ${version}. Update it first, for instance with npm install convex@latest.`,
    );
  }
  return { version, folder: found?.folder ?? null };
}

/** The svix that is installed; null where none is. */
export function svixOf(functions: string): Svix | null {
  const found = installed("svix", functions);
  if (found === null) return null;
  return {
    version: found.version,
    hasPart: existsSync(path.join(found.folder, "dist/webhook.js")),
  };
}

/** The newest of a range is what will be installed. */
function wantedSvix(version: string | null): Svix | null {
  return version === null ? null : { version, hasPart: isBelow(version, "2") };
}

/** A package as a folder would get it; null where it is not installed. */
function installed(name: string, folder: string): { version: string; folder: string } | null {
  for (const each of above(folder)) {
    const at = path.join(each, "node_modules", name);
    if (!existsSync(path.join(at, "package.json"))) continue;
    const { version } = readJson(path.join(at, "package.json"));
    return { version: typeof version === "string" ? version : "0", folder: realpathSync(at) };
  }
  return null;
}

/** The lowest version that a manifest's range of a package takes; null where it names none. */
function rangeOf(manifest: Json, name: string): string | null {
  for (const kind of ["dependencies", "devDependencies", "peerDependencies"]) {
    const range = (manifest[kind] as Record<string, unknown> | undefined)?.[name];
    if (typeof range !== "string") continue;
    // Without a number the newest comes: *, latest, catalog: …
    return /\d+(\.\d+)*/.exec(range)?.[0] ?? "999";
  }
  return null;
}

export function isBelow(version: string, least: string): boolean {
  const [numbers, others] = [version, least].map((each) => each.split(/[.+-]/).map(Number));
  for (const [at, other] of (others ?? []).entries()) {
    const number = numbers?.[at] ?? 0;
    if (number !== other) return number < other;
  }
  return false;
}

function isStatic(root: string): boolean {
  const file = path.join(root, "convex.json");
  const codegen = existsSync(file) ? (readJson(file).codegen as Json | undefined) : undefined;
  return codegen?.staticApi === true || codegen?.staticDataModel === true;
}

/** Whether a tsconfig, or what it extends, asks for file extensions. */
function isNodeNext(file: string, depth = 0): boolean {
  if (!existsSync(file) || !statSync(file).isFile() || depth > 5) return false;
  const text = readFileSync(file, "utf8").replace(/^\s*\/\/.*$/gm, "");
  const [, named] =
    /"moduleResolution"\s*:\s*"(\w+)"/i.exec(text) ?? /"module"\s*:\s*"(\w+)"/i.exec(text) ?? [];
  if (named !== undefined) return /^node(16|18|20|next)$/i.test(named);
  const [, bases = ""] = /"extends"\s*:\s*(\[[^\]]*\]|"[^"]+")/.exec(text) ?? [];
  return [...bases.matchAll(/"([^"]+)"/g)].some(([, base = ""]) => {
    return filesOf(file, base).some((each) => isNodeNext(each, depth + 1));
  });
}

/** "@/" and "~/", as most have them, and the `paths` of a tsconfig that are written out there. */
function aliasesOf(root: string, functions: string): [string, string][] {
  const usual = ["@/", "~/"].flatMap((prefix) =>
    [root, path.join(root, "src"), path.dirname(functions)].map((to): [string, string] => [
      prefix,
      to,
    ]),
  );
  const written = [root, functions].flatMap((folder) => {
    const file = path.join(folder, "tsconfig.json");
    const text = existsSync(file) && statSync(file).isFile() ? readFileSync(file, "utf8") : "";
    const [, paths = ""] = /"paths"\s*:\s*\{([^}]*)\}/.exec(text) ?? [];
    return [...paths.matchAll(/"([^"]+)\*"\s*:\s*\[\s*"([^"]+)\*"/g)].map(
      ([, prefix = "", to = ""]): [string, string] => [prefix, path.resolve(folder, to)],
    );
  });
  return [...written, ...usual];
}

/** What a tsconfig may mean by the one that it extends. */
function filesOf(file: string, base: string): string[] {
  const folder = path.dirname(file);
  if (base.startsWith(".")) return [base, `${base}.json`].map((each) => path.resolve(folder, each));
  return above(folder).flatMap((each) => {
    const target = path.join(each, "node_modules", base);
    return [target, `${target}.json`, path.join(target, "tsconfig.json")];
  });
}

function readJson(file: string): Json {
  if (!existsSync(file)) return {};
  try {
    const read: unknown = JSON.parse(readFileSync(file, "utf8").replace(/^\uFEFF/, ""));
    if (typeof read === "object" && read !== null) return read as Json;
  } catch {
    // Told below.
  }
  throw new Problem(`${file} must be a JSON object: it can't be read as that.`);
}

/** A folder and those above it. */
function above(folder: string): string[] {
  const parent = path.dirname(folder);
  return parent === folder ? [folder] : [folder, ...above(parent)];
}

export function isFolder(at: string): boolean {
  return existsSync(at) && statSync(at).isDirectory();
}

/** A path from a folder on, with slashes, as git and imports have it. */
export function posixFrom(folder: string, file: string): string {
  return path.relative(folder, file).split(path.sep).join("/");
}
