/** Packages that the app gains, by its own package manager. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { addDependency, addDependencyCommand } from "nypm";
import { applyChanges, type Changes } from "./change";
import { messageOf, Problem } from "./problem";
import type { Project } from "./project";

/** Version 1 does as well, where the app has it. */
const SVIX = "svix@^2";

/** What the app lacks: it has `convex`. */
export function lackingPackages({ svix }: Project): string[] {
  return svix === null ? [SVIX] : [];
}

/** What a person types instead. */
export function installCommand({ manager }: Project, names: string[]): string {
  return addDependencyCommand(manager, names);
}

/**
 * @returns what takes them back: the manifest and the lock file are as they were then
 * @throws Problem where they can't be installed; nothing is changed then
 */
async function addPackages(project: Project, names: string[]): Promise<() => void> {
  const takeBack = keep([path.join(project.root, "package.json"), ...locksOf(project)]);
  try {
    await addDependency(names, {
      cwd: project.root,
      packageManager: project.manager,
      silent: true,
      workspace: isWorkspaceRoot(project),
      corepack: !isOnPath(project.manager),
    });
  } catch (error) {
    takeBack();
    const said = messageOf(error)
      .split("\n")
      .filter((line) => line.trim() !== "");
    throw new Problem(
      `${names.join(", ")} could not be installed, and package.json is as it was: ${said.slice(0, 8).join("\n  ")}\nInstall it by hand (svix@1 where Node is older than 22, else svix@2), then run this again with --no-install.`,
    );
  }
  return takeBack;
}

/** Adds packages, then changes files: both, or neither. @param changes what is to be written once they are there */
export async function withPackages(
  project: Project,
  names: string[],
  changes: () => Changes,
): Promise<void> {
  const takeBack = names.length > 0 ? await addPackages(project, names) : () => undefined;
  try {
    applyChanges(changes());
  } catch (error) {
    takeBack();
    throw error;
  }
}

/** Before anything is asked. @throws Problem where the lock file has changes of its own */
export function refuseDirtyLock({ lockFile, root }: Project): void {
  if (lockFile === null) return;
  const { status, stdout } = spawnSync("git", ["status", "--porcelain", "--", lockFile], {
    cwd: root,
    encoding: "utf8",
  });
  if (status === 0 && stdout.trim() !== "") {
    throw new Problem(
      `${lockFile} must have no changes that are not committed, since a package is added to it: commit or undo them first, or install by hand and use --no-install.`,
    );
  }
}

function locksOf({ lockFile, root, manager }: Project): string[] {
  const made = {
    npm: "package-lock.json",
    pnpm: "pnpm-lock.yaml",
    yarn: "yarn.lock",
    bun: "bun.lock",
  };
  return [lockFile ?? path.join(root, made[manager])];
}

/** @returns what gives files their text again */
function keep(files: string[]): () => void {
  const texts = files.map((file) => [file, existsSync(file) ? readFileSync(file) : null] as const);
  return () => {
    for (const [file, text] of texts) {
      if (text === null) rmSync(file, { force: true });
      else writeFileSync(file, text);
    }
  };
}

/** pnpm, and yarn of old, have to be told that the root of a workspace is meant. */
function isWorkspaceRoot({ root, manager, lockFile }: Project): boolean {
  if (manager === "pnpm") return existsSync(path.join(root, "pnpm-workspace.yaml"));
  if (manager !== "yarn" || lockFile === null) return false;
  const manifest = readFileSync(path.join(root, "package.json"), "utf8");
  return (
    /"workspaces"/.test(manifest) && readFileSync(lockFile, "utf8").includes("yarn lockfile v1")
  );
}

function isOnPath(command: string): boolean {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
}
