/** `update`: writes the files anew that were copied, and leaves what is the app's own. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { checkChanges, diffOf, realChanges, type Changes } from "./change";
import { installCommand, lackingPackages, refuseDirtyLock, withPackages } from "./packages";
import { folderOf, vendoredChanges } from "./plan";
import { Problem } from "./problem";
import { findProject, isBelow, posixFrom, svixOf, type Manager, type Project } from "./project";
import type { Terminal } from "./terminal";
import {
  changedIn,
  changesBetween,
  COMMAND,
  NAME,
  readCopied,
  version,
  VERSION_FILE,
  type Copied,
} from "./vendored";

type UpdateOptions = { app: string; dryRun?: boolean; install?: boolean; manager?: Manager };

/** @throws Problem for whatever the person has to mend: nothing is changed then */
export async function update(options: UpdateOptions, terminal: Terminal): Promise<void> {
  const project = findProject(options.app, options.manager);
  const folder = folderOf(project);
  const copied = readCopied(folder);
  if (!copied) {
    throw new Problem(
      `expected a folder that ${NAME} init has copied, with a ${VERSION_FILE}: ${folder} ${existsSync(folder) ? "has none" : "is not there"}. Take the sync in first: ${COMMAND} init --app ${options.app}.`,
    );
  }
  if (isBelow(version(), copied.version)) {
    throw new Problem(
      `${folder} has ${NAME} ${copied.version}, which is newer than this, ${version()}: use that version or a newer one.`,
    );
  }
  const changesNow = () => realChanges(changesOf(project, copied));
  const changes = changesNow();
  if (changes.size === 0) {
    terminal.say(`Nothing to change: ${NAME} ${version()} is in ${folder}.`);
    return;
  }
  refuseOwn(folder, copied, changes);
  checkChanges(changes);
  const packages = options.install === false ? [] : lackingPackages(project);
  if (packages.length > 0) refuseDirtyLock(project);
  const lines = describeUpdate(folder, copied, changes);
  const adds = packages.map((name) => `adds ${name}: ${installCommand(project, packages)}`);
  terminal.note(`${NAME} ${version()}, over ${copied.version}, in ${folder}`, [...lines, ...adds]);
  if (options.dryRun) {
    terminal.print(diffOf(changes, project.top));
    return;
  }
  const lost = lostImports(project, changes);
  await terminal.agree("Go ahead?");
  await withPackages(project, packages, changesNow);
  const news =
    copied.version === version()
      ? `A newer state of the same version, ${version()}: the changelog has nothing that is new to you.`
      : changesBetween(copied.version, version());
  const left =
    lost.length === 0
      ? ""
      : ` First change what imports files that have another place or are gone:\n  ${lost.join("\n  ")}`;
  terminal.say(
    `${news === "" ? "" : `${news}\n\n`}Done. Deploy it: npx convex dev, or npx convex deploy.${left}`,
  );
}

/** The copied files anew, and without those that the sync has no longer. */
function changesOf(project: Project, copied: Copied): Changes {
  const files = vendoredChanges(project, svixOf(project.functions) ?? project.svix);
  const gone = Object.keys(copied.files)
    .map((name) => path.join(folderOf(project), name))
    .filter((file) => !files.has(file) && existsSync(file));
  return new Map([...gone.map((file): [string, null] => [file, null]), ...files]);
}

/** What the app's own files import of those that go, and where that is now: those files are left as they are. */
function lostImports(project: Project, changes: Changes): string[] {
  const bare = (file: string) => file.replace(/\.[jt]s$/, "");
  const gone = new Set([...changes].flatMap(([file, text]) => (text === null ? bare(file) : [])));
  if (gone.size === 0) return [];
  return readdirSync(project.functions, { recursive: true, encoding: "utf8" })
    .map((name) => path.join(project.functions, name))
    .filter((file) => /\.tsx?$/.test(file) && !changes.has(file))
    .flatMap((file) => {
      const specifiers = readFileSync(file, "utf8").matchAll(/ from "(\.[^"]+)"/g);
      return [...specifiers].flatMap(([, from = ""]) => {
        const target = bare(path.resolve(path.dirname(file), from));
        if (!gone.has(target)) return [];
        const base = path.basename(target);
        const place = [...changes].find(
          ([other, text]) => text !== null && path.basename(bare(other)) === base,
        )?.[0];
        const now = place && `./${posixFrom(path.dirname(file), bare(place))}`;
        return `${posixFrom(project.top, file)}: "${from}" ${now ? `is "${now}"` : "is gone"}`;
      });
    });
}

/** @throws Problem where the app has files of its own by the names of new ones */
function refuseOwn(folder: string, copied: Copied, changes: Changes): void {
  const inTheWay = [...changes.keys()].filter((file) => {
    const name = posixFrom(folder, file);
    return name !== VERSION_FILE && !(name in copied.files) && existsSync(file);
  });
  if (inTheWay.length === 0) return;
  throw new Problem(
    `these are files of your own, and the new version has files of that name: ${inTheWay.join(", ")}. Move them elsewhere first.`,
  );
}

function describeUpdate(folder: string, copied: Copied, changes: Changes): string[] {
  const name = (file: string) => posixFrom(folder, file);
  const files = [...changes].filter(([file]) => name(file) !== VERSION_FILE);
  const gone = files.filter(([, text]) => text === null).map(([file]) => name(file));
  const added = files.filter(([file]) => !existsSync(file)).map(([file]) => name(file));
  const lost = changedIn(folder, copied).filter((each) => changes.has(path.join(folder, each)));
  const list = (names: string[]) => (names.length > 8 ? `${names.length} files` : names.join(", "));
  return [
    ...(files.length - gone.length - added.length > 0
      ? [
          `writes anew: ${files.length - gone.length - added.length} of ${Object.keys(copied.files).length} files`,
        ]
      : []),
    ...(added.length > 0 ? [`adds: ${list(added)}`] : []),
    ...(gone.length > 0 ? [`deletes: ${list(gone)}`] : []),
    ...(lost.length > 0
      ? [
          `changed in your app since they were copied, which is lost: ${list(lost)} (--dry-run shows it)`,
        ]
      : []),
    "leaves fields.ts, app.ts and whatever else is yours as it is",
  ];
}
