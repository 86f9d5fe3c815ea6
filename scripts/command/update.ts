/** `update`: writes the files anew that were copied, and leaves what is the app's own. */
import { existsSync } from "node:fs";
import path from "node:path";
import { applyChanges, checkChanges, diffOf, realChanges, type Changes } from "./change";
import { addPackages, installCommand, lackingPackages, refuseDirtyLock } from "./packages";
import { Problem } from "./problem";
import { findProject, isBelow, type Manager } from "./project";
import type { Terminal } from "./terminal";
import {
  changesBetween,
  NAME,
  readCopied,
  vendoredFiles,
  version,
  versionFile,
  VERSION_FILE,
} from "./vendored";

export type UpdateOptions = { app: string; dryRun?: boolean; install?: boolean; manager?: Manager };

/** @throws Problem for whatever the person has to mend: nothing is changed then */
export async function update(options: UpdateOptions, terminal: Terminal): Promise<void> {
  const project = findProject(options.app, options.manager);
  const folder = path.join(project.functions, "clerk");
  const copied = readCopied(folder);
  if (!copied) {
    throw new Problem(
      `expected a folder that ${NAME} init has copied, with a ${VERSION_FILE}: ${folder} ${existsSync(folder) ? "has none" : "is not there"}. Take the sync in first: ${NAME} init --app ${options.app}.`,
    );
  }
  if (isBelow(version(), copied.version)) {
    throw new Problem(
      `${folder} has ${NAME} ${copied.version}, which is newer than this, ${version()}: use that version or a newer one.`,
    );
  }
  const files = vendoredFiles(project.svix);
  const inTheWay = [...files.keys()].filter(
    (name) => !copied.files.includes(name) && existsSync(path.join(folder, name)),
  );
  if (inTheWay.length > 0) {
    throw new Problem(
      `these are files of your own, and the new version has files of that name: ${inTheWay.map((name) => path.join(folder, name)).join(", ")}. Move them elsewhere first.`,
    );
  }
  const gone = copied.files.filter(
    (name) => !files.has(name) && existsSync(path.join(folder, name)),
  );
  const changes: Changes = new Map([
    ...gone.map((name): [string, null] => [path.join(folder, name), null]),
    ...[...files].map(([name, text]): [string, string] => [path.join(folder, name), text]),
    [path.join(folder, VERSION_FILE), versionFile([...files.keys()])],
  ]);
  const real = realChanges(changes);
  if (real.size === 0) {
    terminal.say(`Nothing to change: ${NAME} ${version()} is in ${folder}.`);
    return;
  }
  checkChanges(real);
  const packages = options.install === false ? [] : lackingPackages(project);
  if (packages.length > 0) refuseDirtyLock(project);
  const added = [...files.keys()].filter((name) => !copied.files.includes(name));
  terminal.note(`${NAME} in ${folder}: ${copied.version} → ${version()}`, [
    `writes ${real.size - gone.length} files anew`,
    ...(added.length > 0 ? [`new: ${added.join(", ")}`] : []),
    ...(gone.length > 0 ? [`deletes: ${gone.join(", ")}`] : []),
    ...(packages.length > 0
      ? [`adds ${packages.join(", ")}: ${installCommand(project, packages)}`]
      : []),
    "leaves fields.ts, app.ts and whatever else is yours as it is",
  ]);
  if (options.dryRun) {
    terminal.print(diffOf(real, project.root));
    return;
  }
  const whatChanged = changesBetween(copied.version, version());
  await terminal.agree("Go ahead?");
  const takeBack = packages.length > 0 ? await addPackages(project, packages) : () => undefined;
  try {
    applyChanges(real);
  } catch (error) {
    takeBack();
    throw error;
  }
  terminal.say(`\n${whatChanged === "" ? "No version came between." : whatChanged}\n`);
  terminal.say("Done. Deploy it: npx convex dev, or npx convex deploy.");
}
