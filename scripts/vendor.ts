/**
 * Copies the sync into an app's folder of functions: `npx tsx scripts/vendor.ts ../my-app/convex`. What an adopter
 * edits, `app.ts` and `fields.ts`, is written only where it is not there yet; files of a former copy that are no longer
 * part of the sync are deleted.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

const SYNC = path.join(import.meta.dirname, "../convex/clerk");

/** Each app has its own compiler and linter, and what they say of these files is not its concern. */
export const HEADER = "/* eslint-disable */\n// @ts-nocheck\n";

/** What an app begins with: nothing is mirrored but the id, and what is required the compiler names. */
const TO_EDIT: Record<string, string> = {
  "fields.ts": `/**
 * Which columns of \`users\` mirror Clerk, and how each is read from Clerk's user: one line a column. null clears an
 * optional column, undefined leaves it as it is, a required one must get a value. \`readers.ts\` has the usual readers.
 */
import type { Fields } from "./types.js";

export const fields = {
  // email: (user) => primaryEmail(user) ?? "",
} satisfies Fields;
`,
  "app.ts": `/** What else of the sync is this app's: its own columns of a new row, what removal means, its code that runs with a change. */
import type { Hooks, Key, NewUserFields, Removal } from "./types.js";

/** The app's own columns of a row that the sync creates: at least the required ones that \`fields.ts\` does not fill. */
export const newUserFields: NewUserFields = () => ({});

/** What becomes of the row of a user who is gone from Clerk: "delete", or { mark: { … } }. */
export const removal: Removal = "delete";

/** Another column by which the app knows its rows, such as tokenIdentifier. */
export const key: Key = null;

/** What the app does with a change, in the transaction that makes it. */
export const hooks: Hooks = {};
`,
};

/** What the person who runs this has to mend. */
class VendorError extends Error {}

/**
 * @param functions the app's folder of functions, `convex` for instance
 * @returns the files that were written, from there on
 * @throws VendorError where that is no such folder, or holds a file of the app's in the way
 */
export function vendor(functions: string): string[] {
  const isFunctions = ["_generated", "schema.ts"].some((name) =>
    existsSync(path.join(functions, name)),
  );
  if (!isFunctions) {
    throw new VendorError(
      `expected the app's folder of Convex functions, with a schema.ts or _generated in it: ${functions} is none`,
    );
  }
  const target = path.join(functions, "clerk");
  const files = readdirSync(SYNC, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(ts|md)$/.test(name) && !(name in TO_EDIT))
    .map((name) => [name, textOf(name, functions)] as const);
  const inTheWay = files.filter(([name]) => isTheApps(path.join(target, name)));
  if (inTheWay.length > 0) {
    const names = inTheWay.map(([name]) => path.join(target, name)).join(", ");
    throw new VendorError(`these files are not of a former copy, move them away first: ${names}`);
  }
  removeFormer(target, new Set(files.map(([name]) => name)));
  const edited = Object.entries(TO_EDIT).filter(([name]) => !existsSync(path.join(target, name)));
  for (const [name, text] of [...files, ...edited]) {
    mkdirSync(path.dirname(path.join(target, name)), { recursive: true });
    writeFileSync(path.join(target, name), text);
  }
  return [...files, ...edited].map(([name]) => path.join("clerk", name));
}

function textOf(name: string, functions: string): string {
  const text = withSvix(readFileSync(path.join(SYNC, name), "utf8"), functions);
  return name.endsWith(".ts") ? HEADER + text : text;
}

/** Whether there is a file that is none of ours. */
function isTheApps(file: string): boolean {
  return file.endsWith(".ts") && existsSync(file) && !readFileSync(file, "utf8").startsWith(HEADER);
}

function removeFormer(target: string, names: Set<string>): void {
  if (!existsSync(target)) return;
  for (const name of readdirSync(target, { recursive: true, encoding: "utf8" })) {
    const file = path.join(target, name);
    const isOurs = name.endsWith(".ts") && readFileSync(file, "utf8").startsWith(HEADER);
    if (isOurs && !names.has(name)) rmSync(file);
  }
}

/** Of version 1 the whole library is loaded, unless one says which part of it; version 2 has no other parts. */
function withSvix(text: string, functions: string): string {
  return versionOf("svix", functions)?.startsWith("1.")
    ? text.replace('from "svix"', 'from "svix/dist/webhook.js"')
    : text;
}

/** The version of a package that a folder would get; undefined where it is not installed. */
function versionOf(name: string, folder: string): string | undefined {
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    const manifest = path.join(at, "node_modules", name, "package.json");
    if (existsSync(manifest)) {
      return (JSON.parse(readFileSync(manifest, "utf8")) as { version?: string }).version;
    }
    if (at === path.dirname(at)) return undefined;
  }
}

function main([to]: string[]): void {
  if (to === undefined || to === "--help") {
    console.log("npx tsx scripts/vendor.ts DIR   DIR: the app's folder of Convex functions");
    process.exitCode = to === undefined ? 1 : 0;
    return;
  }
  try {
    console.log(`${vendor(to).length} files written to ${path.join(to, "clerk")}.`);
  } catch (error) {
    if (!(error instanceof VendorError)) throw error;
    console.error(`Nothing was written: ${error.message}.`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === import.meta.filename) main(process.argv.slice(2));
