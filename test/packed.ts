/** The command as it is packed: `npm pack`'s archive, unpacked, without this repository around it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Problem } from "../scripts/command/problem";
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
  run("tar", ["xzf", "clerk-convex-sync-0.1.0.tgz"], folder);
  // Of its dependencies the command needs the bundler that Convex brings; npm installs them beside it.
  packed = path.join(folder, "package");
  return packed;
}

export type Result = { status: number | null; stdout: string; stderr: string };

/** Runs the packed command. */
export function runPacked(
  args: string[],
  { cwd = packedFolder(), env = process.env } = {},
): Result {
  return spawnSync(process.execPath, [path.join(packedFolder(), "dist/cli.js"), ...args], {
    cwd,
    env,
    encoding: "utf8",
    input: "",
  });
}

/** `init --yes`, with the app's own package manager, on packages that it has installed. */
export function takeInForReal(made: MadeUpApp, { options = {} }: Shape): Told {
  const given = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { status, stdout, stderr } = runPacked(["init", "--app", made.folder, "--yes", ...given]);
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
