/** The command as it is packed: `npm pack`'s archive, unpacked, without this repository around it. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Problem } from "../../scripts/command/problem";
import type { FieldApp } from "./field-apps";
import { ROOT, type MadeUpApp, type Shape, type Told } from "./made-up-app";

let packed: string | null = null;

/** @returns the folder of the package as npm would install it */
export function packedFolder(): string {
  if (packed !== null) return packed;
  const folder = mkdtempSync(path.join(tmpdir(), "packed-"));
  process.on("exit", () => {
    rmSync(folder, { recursive: true, force: true });
  });
  run("npm", ["pack", "--silent", "--pack-destination", folder], ROOT);
  run("tar", ["xzf", readdirSync(folder)[0] ?? ""], folder);
  // Of its dependencies the command needs the bundler that Convex brings; npm installs them beside it.
  packed = path.join(folder, "package");
  return packed;
}

export type Result = { status: number | null; stdout: string; stderr: string };

/** Runs the packed command. @param folder of which package */
export function runPacked(args: string[], folder = packedFolder()): Result {
  return spawnSync(process.execPath, [path.join(folder, "dist/cli.js"), ...args], {
    cwd: folder,
    encoding: "utf8",
    input: "",
  });
}

/** The package as it might have been before. @param change what was other in its `convex/clerk` */
export function packedAs(version: string, change: (folder: string) => void): string {
  const folder = mkdtempSync(path.join(tmpdir(), "packed-"));
  process.on("exit", () => {
    rmSync(folder, { recursive: true, force: true });
  });
  cpSync(packedFolder(), folder, { recursive: true });
  const manifest = path.join(folder, "package.json");
  const text = readFileSync(manifest, "utf8");
  writeFileSync(manifest, text.replace(/"version": "[^"]+"/, `"version": "${version}"`));
  change(path.join(folder, "convex/clerk"));
  return folder;
}

/** Has the app's own package manager install what it has. */
export function installPackages(made: MadeUpApp, { packages, manager = "npm" }: FieldApp): void {
  const workspace = manager === "pnpm" ? { "@made-up/shared": "workspace:*" } : {};
  const manifest = { name: "app", type: "module", dependencies: { ...packages, ...workspace } };
  writeFileSync(path.join(made.folder, "package.json"), JSON.stringify(manifest, null, 2));
  const quiet = manager === "npm" ? ["--no-audit", "--no-fund", "--loglevel", "error"] : [];
  run(manager, ["install", ...quiet], made.folder);
}

/** `init --yes`, with the app's own package manager, on packages that it has installed. */
export function takeInForReal(made: MadeUpApp, { options = {} }: Shape): Told {
  const given = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { status, stdout, stderr } = runPacked(["init", "--app", made.top, "--yes", ...given]);
  const [diff = ""] = /^--- [^]*/m.exec(stdout) ?? [];
  return {
    said: stdout,
    printed: stdout,
    problem: status === 0 ? null : new Problem(stderr, diff),
  };
}

function run(command: string, args: string[], cwd: string): void {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`);
}
