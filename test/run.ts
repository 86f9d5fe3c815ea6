/** `npm test`: the tests that nobody waits for, lint and types, side by side; what the last two say is told at the end. */
import { spawn } from "node:child_process";

const VITEST = ["node_modules/vitest/vitest.mjs", "run", "--config", "test/vitest.config.ts"];

type Ended = { name: string; code: number; said: string };

/** @param isShown whether its lines appear as they come */
async function run(name: string, command: string, args: string[], isShown = false): Promise<Ended> {
  const child = spawn(command, args, {
    stdio: ["ignore", isShown ? "inherit" : "pipe", isShown ? "inherit" : "pipe"],
    env: { ...process.env, LOOP: "1" },
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  }
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => {
      resolve(status ?? 1);
    });
  });
  return { name, code, said };
}

const npm = process.platform === "win32" ? "npm.cmd" : "npm";
const loop = [...VITEST, "--tagsFilter", "!slow", ...process.argv.slice(2)];
const ended = await Promise.all([
  run("tests", process.execPath, loop, true),
  run("lint", npm, ["run", "--silent", "lint"]),
  run("types", npm, ["run", "--silent", "typecheck"]),
]);
for (const { name, code, said } of ended) {
  console.log(`${code === 0 ? "✓" : "✗"} ${name}`);
  if (code !== 0) console.log(said);
}
process.exitCode = ended.some(({ code }) => code !== 0) ? 1 : 0;
