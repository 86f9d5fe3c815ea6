/** A set of files that change together: shown, checked, and written all, or none. */
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { createTwoFilesPatch, FILE_HEADERS_ONLY } from "diff";
import { messageOf, Problem } from "./problem";
import { isFolder, posixFrom } from "./project";
import { parseSource } from "./source";

/** Texts by file; null is one that goes. The order is that in which they are written. */
export type Changes = Map<string, string | null>;

function textBefore(file: string): string | null {
  return existsSync(file) ? readFileSync(file, "utf8") : null;
}

/** Those that make a difference. */
export function realChanges(changes: Changes): Changes {
  return new Map(
    [...changes].filter(([file, text]) => isFolder(file) || textBefore(file) !== text),
  );
}

/** @returns one unified diff, as git and patch take it, with paths from a folder on */
export function diffOf(changes: Changes, root: string): string {
  return [...realChanges(changes)]
    .map(([file, text]) => {
      const name = posixFrom(root, file);
      const before = textBefore(file);
      const [from, to] = [
        before === null ? "/dev/null" : `a/${name}`,
        text === null ? "/dev/null" : `b/${name}`,
      ];
      return createTwoFilesPatch(from, to, before ?? "", text ?? "", undefined, undefined, {
        headerOptions: FILE_HEADERS_ONLY,
      });
    })
    .join("");
}

/** @throws Problem where one could not be written, or would not be TypeScript any more */
export function checkChanges(changes: Changes): void {
  for (const [file, text] of realChanges(changes)) {
    if (text !== null && /\.[jt]s$/.test(file)) parseSource(file, text);
    if (existsSync(file)) {
      if (!statSync(file).isFile())
        throw new Problem(`${file} must be a file: it is a folder. Move it away first.`);
      refuseReadOnly(file);
    }
    refuseReadOnly(nearestFolder(path.dirname(file)));
  }
}

/** The folder, or the nearest above it that there is. */
function nearestFolder(folder: string): string {
  if (!existsSync(folder)) return nearestFolder(path.dirname(folder));
  if (isFolder(folder)) return folder;
  throw new Problem(`${folder} must be a folder: it is a file. Move it away first.`);
}

function refuseReadOnly(file: string): void {
  const isReadOnly = (statSync(file).mode & 0o222) === 0;
  try {
    accessSync(file, constants.W_OK);
  } catch {
    throw new Problem(`${file} must be writable: it is not. Change its permissions first.`);
  }
  // Whom everything is allowed, its mode asks to leave it alone all the same.
  if (isReadOnly)
    throw new Problem(`${file} must be writable: it is read-only. Change its permissions first.`);
}

/** @throws Problem where one can't be written: then all are as they were */
export function applyChanges(changes: Changes): void {
  const undo: (() => void)[] = [];
  try {
    for (const [file, text] of realChanges(changes)) {
      const before = textBefore(file);
      undo.push(() => {
        if (before === null) rmSync(file, { force: true });
        else {
          mkdirSync(path.dirname(file), { recursive: true });
          writeFileSync(file, before);
        }
      });
      if (text === null) {
        rmSync(file);
        removeEmpty(path.dirname(file));
      } else {
        const made = makeFolders(path.dirname(file));
        undo.splice(-1, 0, () => {
          for (const folder of made) rmdirSync(folder);
        });
        writeFileSync(file, text);
      }
    }
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw new Problem(`could not write, and everything is as it was: ${messageOf(error)}`);
  }
}

/** A folder of which the last file went, and those above it that hold no other. */
function removeEmpty(folder: string): void {
  if (readdirSync(folder).length > 0) return;
  rmdirSync(folder);
  removeEmpty(path.dirname(folder));
}

/** @returns the folders that were made, the innermost first */
function makeFolders(folder: string): string[] {
  if (existsSync(folder)) return [];
  const made = [folder, ...makeFolders(path.dirname(folder))];
  mkdirSync(folder);
  return made;
}
