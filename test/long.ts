/**
 * Lives through many generated histories, in two processes with seeds of their own:
 * `npm run test:long -- --histories 10000 --seed 1`. Exits with 1 when one does not hold.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { answerHelp } from "../scripts/usage";

const PROCESSES = 2;
const VITEST = "node_modules/vitest/vitest.mjs";

answerHelp(
  "usage: npm run test:long [-- --histories 10000 --seed 1]   a fifth of a second each, on two cores",
);
const { values } = parseArgs({
  options: {
    histories: { type: "string", default: "10000" },
    seed: { type: "string", default: String(Date.now() % 2 ** 30) },
  },
});
const [histories, seed] = [Number(values.histories), Number(values.seed)];
if (!Number.isInteger(histories) || histories < 40 || !Number.isInteger(seed)) {
  console.error("--histories must be a whole number of at least 40, and --seed a whole number.");
  process.exit(2);
}

const startedAt = Date.now();
const exits = Array.from({ length: PROCESSES }, async (_, index) => {
  const args = [
    VITEST,
    "run",
    "--config",
    "test/vitest.config.ts",
    // Of the file's tests those that live through as many as told.
    "--tagsFilter",
    "!slow",
    "test/convergence/histories.test.ts",
  ];
  const share = Math.ceil(histories / PROCESSES);
  const env = {
    ...process.env,
    HISTORIES: String(share),
    // The fixed seed belongs to `npm test`: each process here has two of its own.
    FIXED_SEED: String(seed + 2 * index),
    SEED: String(seed + 2 * index + 1),
  };
  const child = spawn(process.execPath, args, { env, stdio: "inherit" });
  const [code] = (await once(child, "close")) as [number | null];
  return code;
});
const codes = await Promise.all(exits);
const minutes = ((Date.now() - startedAt) / 60_000).toFixed(1);
const hold = codes.every((code) => code === 0);
console.log(`${histories} histories ${hold ? "hold" : "do NOT all hold"}: ${minutes} min.`);
process.exit(hold ? 0 : 1);
