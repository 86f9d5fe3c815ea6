/** npm run demo [-- --users 500 --seed 1]: a drifted users table, reconciled end to end. */
import { parseArgs } from "node:util";
import { startInProcess } from "./in-process-host";
import { tell } from "./story";

const USAGE = "usage: npm run demo [-- --users 500 --seed 1]";
const [FEWEST_USERS, MOST_USERS] = [10, 5000];

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`--${name} must be a whole number from ${min} to ${max}, not ${text}.`);
}

function options() {
  const { values } = parseArgs({
    options: {
      users: { type: "string", default: "500" },
      seed: { type: "string", default: "1" },
    },
  });
  return {
    users: wholeNumber("users", values.users, FEWEST_USERS, MOST_USERS),
    seed: wholeNumber("seed", values.seed, 0, 2 ** 31 - 1),
  };
}

async function main(): Promise<number> {
  let chosen;
  try {
    chosen = options();
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return 2;
  }
  const host = await startInProcess();
  try {
    const print = (text = "") => {
      console.log(text);
    };
    return (await tell(host, { ...chosen, print })) ? 0 : 1;
  } finally {
    await host.stop();
  }
}

process.exitCode = await main();
