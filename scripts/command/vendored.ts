/** The sync as it is copied into an app: its files, their header, and the file that lists them. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { Problem } from "./problem";
import { isBelow, isFolder, type Svix } from "./project";

/** In the repository and in the packed archive, `dist/cli.js`, the sync stands at the same place. */
const PACKAGE = packageAbove(import.meta.dirname);
const SYNC = path.join(PACKAGE, "convex/clerk");
const HOOK = "scripts/demo/use-current-user.ts";
export const NAME = "clerk-convex-sync";
/** How it was called: a person can type that again. */
export const COMMAND = process.argv[1]?.endsWith(".ts") ? "npx tsx scripts/cli.ts" : NAME;

/** What an adopter edits: never copied, never touched again. */
const EDITED = ["fields.ts", "app.ts"];
/** Lists what was copied. */
export const VERSION_FILE = "vendored.json";
const CHANGELOG = "CHANGELOG.md";

/** Each app has its own compiler and linter, and what they say of these files is not its concern. */
const START = "/* eslint-disable */\n// @ts-nocheck\n";

function packageAbove(folder: string): string {
  return existsSync(path.join(folder, "convex/clerk"))
    ? folder
    : packageAbove(path.dirname(folder));
}

const { version: VERSION } = JSON.parse(
  readFileSync(path.join(PACKAGE, "package.json"), "utf8"),
) as { version: string };

/** The version that is copied. */
export function version(): string {
  return VERSION;
}

/** The React hook, which Convex would push if it were among the functions. */
export function reactHook(): string {
  return readFileSync(path.join(PACKAGE, HOOK), "utf8");
}

/** The sync's own files, by their path in the folder. */
const TEXTS = new Map(
  readdirSync(SYNC, { recursive: true, encoding: "utf8" })
    .map(posix)
    .filter((name) => /\.(ts|md)$/.test(name) && !EDITED.includes(name))
    .sort()
    .map((name) => [name, readFileSync(path.join(SYNC, name), "utf8")]),
);

/** @returns what each copied file says first */
export function header(): string {
  return `${START}// ${NAME} ${version()}: copied, and written anew by \`${NAME} update\`. What is yours is fields.ts and app.ts.\n`;
}

/**
 * The files that are copied, by their path in the folder, with their text.
 * @param svix the version that the app has
 */
export function vendoredFiles(svix: Svix | null): Map<string, string> {
  return new Map(
    [...TEXTS].map(([name, text]) => [
      name,
      name.endsWith(".ts") ? header() + withSvix(text, svix) : text,
    ]),
  );
}

/** Of version 1 the whole library is loaded, unless one says which part of it; version 2, and the first ones, have no parts. */
function withSvix(text: string, svix: Svix | null): string {
  const isPart = svix !== null && isBelow(svix.version, "2") && svix.hasPart;
  return isPart ? text.replace('from "svix"', 'from "svix/dist/webhook.js"') : text;
}

/** Each file with the hash of the text that was copied. */
export type Copied = { version: string; files: Record<string, string> };

/** The text of the file that lists a copy. */
export function versionFile(texts: Map<string, string>): string {
  const files = Object.fromEntries([...texts].map(([name, text]) => [name, hashOf(text)]));
  return `${JSON.stringify({ name: NAME, version: version(), files }, null, 2)}\n`;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

/** Files of a copy that are no longer what was copied: a person, or a formatter, has changed them. */
export function changedIn(folder: string, { files }: Copied): string[] {
  return Object.entries(files).flatMap(([name, hash]) => {
    const file = path.join(folder, name);
    return existsSync(file) && hashOf(readFileSync(file, "utf8")) !== hash ? [name] : [];
  });
}

/** What a folder says was copied into it; null where it does not. @throws Problem where it can't be told */
export function readCopied(folder: string): Copied | null {
  const file = path.join(folder, VERSION_FILE);
  if (!existsSync(file)) return null;
  let read: Partial<Copied> & { name?: string } = {};
  try {
    read = JSON.parse(readFileSync(file, "utf8")) as typeof read;
  } catch {
    // Told below.
  }
  const { name, version: copied, files } = read;
  const isList = typeof files === "object" && Object.keys(files).every(isWithin);
  if (name !== NAME || typeof copied !== "string" || !/^\d+\.\d+\.\d+/.test(copied) || !isList) {
    throw new Problem(
      `${file} must be what ${NAME} wrote, its name, version and files: it is not. Get it back from version control, or move the folder away and run init.`,
    );
  }
  return { version: copied, files };
}

/** A path that stays in the folder. */
function isWithin(name: string): boolean {
  return /^[\w-]+(\/[\w-]+)*\.(ts|md)$/.test(name) && !EDITED.includes(name);
}

/**
 * Whether the sync may be copied into a folder: there is none, or only what an earlier start of this copied.
 * @throws Problem where it holds anything else
 */
export function refuseForeign(folder: string): void {
  if (!existsSync(folder)) return;
  if (!isFolder(folder)) {
    throw new Problem(
      `${folder} must be free for the sync's folder: it is a file. Move it away first.`,
    );
  }
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map(posix)
    .filter((name) => !isFolder(path.join(folder, name)));
  const texts = names.filter((name) => name.endsWith(".ts") && existsSync(path.join(folder, name)));
  const ours = texts.filter((name) =>
    readFileSync(path.join(folder, name), "utf8").includes(`\n// ${NAME} `),
  );
  const edited = ours.length > 0 ? EDITED : [];
  const own = names.filter(
    (name) =>
      !ours.includes(name) && !edited.includes(name) && !/^(README|CHANGELOG)\.md$/.test(name),
  );
  if (own.length > 0) {
    throw new Problem(
      `${folder} must be free for the sync's folder: it holds files of the app's own, ${own.slice(0, 5).join(", ")}. Move them elsewhere first.`,
    );
  }
}

function posix(name: string): string {
  return name.split(path.sep).join("/");
}

/** What changed after one version, up to another: sections of the changelog. */
export function changesBetween(
  from: string,
  to: string,
  text = readFileSync(path.join(SYNC, CHANGELOG), "utf8"),
): string {
  const sections = text.split(/^(?=## )/m).filter((section) => section.startsWith("## "));
  const between = sections.filter((section) => {
    const [, of = ""] = /^## (\d+\.\d+\.\d+)/.exec(section) ?? [];
    return of !== "" && isBelow(from, of) && !isBelow(to, of);
  });
  return between.map((section) => section.trim()).join("\n\n");
}
