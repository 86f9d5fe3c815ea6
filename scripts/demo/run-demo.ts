/** The demo's command line: its options, its host, its exit code. */
import { parseArgs } from "node:util";
import type { Command } from "../host/convex-cli";
import { startInProcess } from "../host/in-process-host";
import { BackendUnavailable, startLive } from "../host/live-host";
import { tell } from "./story";
import { answerHelp } from "../usage";

const [FEWEST_USERS, MOST_USERS] = [10, 5000];
const USAGE = `usage: npm run demo [-- --users 500 --seed 1 --live], with ${FEWEST_USERS} to ${MOST_USERS} users`;
const EXIT = { told: 0, wrong: 1, usage: 2, noBackend: 3, interrupted: 130 };

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`--${name} must be a whole number from ${min} to ${max}, not ${text}.`);
}

function optionsOf(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      users: { type: "string", default: "500" },
      seed: { type: "string", default: "1" },
      live: { type: "boolean", default: false },
    },
  });
  return {
    users: wholeNumber("users", values.users, FEWEST_USERS, MOST_USERS),
    seed: wholeNumber("seed", values.seed, 0, 2 ** 31 - 1),
    live: values.live,
  };
}

const print = (text = "") => {
  console.log(text);
};

/**
 * @param command the Convex CLI, for `--live`
 * @returns the exit code: 0 when the table ends equal to Clerk, 1 when not, 2 for wrong options, 3
 *   where no backend can be downloaded, 130 when interrupted
 */
export async function runDemo(args: string[], command?: Command): Promise<number> {
  answerHelp(USAGE);
  let options;
  try {
    options = optionsOf(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return EXIT.usage;
  }
  if (options.live) return await tellLive(options, command);
  const host = await startInProcess();
  try {
    return (await tell(host, { ...options, print })) ? EXIT.told : EXIT.wrong;
  } finally {
    await host.stop();
  }
}

async function tellLive(
  options: { users: number; seed: number },
  command?: Command,
): Promise<number> {
  const interrupt = new AbortController();
  const { signal } = interrupt;
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => {
      interrupt.abort();
    });
  }
  print("Starting a local Convex backend: the first time, it is downloaded.");
  let host;
  try {
    host = await startLive({ command, signal });
    return (await tell(host, { ...options, print })) ? EXIT.told : EXIT.wrong;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    if (!(error instanceof BackendUnavailable)) throw error;
    console.error(error.message);
    return EXIT.noBackend;
  } finally {
    await host?.stop();
  }
}
