/** Hosts the Convex functions on a real Convex backend, on this machine and without an account. */
import type { Doc, TableNames } from "../../convex/_generated/dataModel";
import { ISSUER } from "../stand-in/clerk-stand-in";
import { CliError, ConvexCli, PINNED_CLI, type Command } from "./convex-cli";
import type { Host } from "./host";

/** What the CLI prints where it can't fetch a backend (lib/localDeployment/download.ts). */
const CANNOT_FETCH =
  /Failed to fetch latest backend version|version\.convex\.dev returned|File not found at https|fetch failed|Unsupported platform/;
/** Printed once the functions are pushed (lib/dev.ts). */
const READY = "Convex functions ready!";
const READY_WITHIN_MS = 120_000;
const FIRST_TICK_WITHIN_MS = 20_000;
const MOST_ROWS = 20_000;

/** There is no Convex backend on this machine, and none could be fetched. */
export class BackendUnavailable extends Error {
  constructor() {
    super(
      "No Convex backend could be downloaded (from version.convex.dev and github.com): " +
        "run this where the internet can be reached, or npm run demo without --live, which needs none.",
    );
  }
}

/**
 * Starts a local deployment, and pushes the functions to it.
 * @param signal stops it, at any time
 * @throws BackendUnavailable where no backend can be downloaded
 */
export async function startLive({
  command = PINNED_CLI,
  signal,
}: { command?: Command; signal?: AbortSignal } = {}): Promise<Host> {
  const cli = new ConvexCli(command);
  const stop = async () => {
    await cli.stop();
  };
  signal?.addEventListener("abort", () => void stop());
  try {
    await deploy(cli);
    await outlastFirstTick(cli);
  } catch (error) {
    await stop();
    throw error;
  }
  return new LiveHost(cli, signal);
}

async function deploy(cli: ConvexCli): Promise<void> {
  try {
    // Makes the deployment, and pushes nothing (init.ts).
    await cli.call("init");
  } catch (error) {
    if (error instanceof CliError && CANNOT_FETCH.test(error.output.stderr)) {
      throw new BackendUnavailable();
    }
    throw error;
  }
  // The push needs one, though nobody signs in. The backend is started for the call (lib/localDeployment/run.ts, `withRunningBackend`).
  await setVariable(cli, "CLERK_JWT_ISSUER_DOMAIN", ISSUER);
  await push(cli);
}

/** Pushes, and keeps the backend running until the CLI is stopped (dev.ts). */
async function push(cli: ConvexCli): Promise<void> {
  const args = ["dev", "--typecheck", "disable", "--codegen", "disable", "--tail-logs", "disable"];
  await new Promise<void>((resolve, reject) => {
    const fail = (stderr: string) => {
      reject(new CliError("dev", { stdout: "", stderr }));
    };
    let printed = "";
    const timer = setTimeout(() => {
      fail(`${printed}\nThe functions were not ready within ${READY_WITHIN_MS / 1000} s.`);
    }, READY_WITHIN_MS);
    const ended = cli.start(args, (stderr) => {
      printed = stderr;
      if (!stderr.includes(READY)) return;
      clearTimeout(timer);
      resolve();
    });
    ended.then(({ output }) => {
      clearTimeout(timer);
      fail(output.stderr);
    }, reject);
  });
}

/** The schedule fires at once on the first deploy: that run ends for want of a key, and the story begins. */
async function outlastFirstTick(cli: ConvexCli): Promise<void> {
  const until = Date.now() + FIRST_TICK_WITHIN_MS;
  while (Date.now() < until) {
    const { result } = await run(cli, "clerk/reconcile:report", {});
    const report = result as { status: string } | null;
    if (report !== null && report.status !== "running") return;
  }
}

/** `convex env set NAME value` (env.ts). */
async function setVariable(cli: ConvexCli, name: string, value: string): Promise<void> {
  await cli.call("env", "set", name, value);
}

/**
 * `convex run name args` (run.ts): the result on stdout as JSON, nothing for null (lib/run.ts), and
 * the function's log lines on stderr, each behind `[CONVEX A(name)] [INFO] ` (browser/logging.ts).
 */
async function run(cli: ConvexCli, name: string, args: Record<string, unknown>) {
  const { stdout, stderr } = await cli.call("run", name, JSON.stringify(args));
  const result: unknown = stdout.trim() === "" ? null : JSON.parse(stdout);
  return { result, log: stderr.split("\n").flatMap((line) => logLineIn(line) ?? []) };
}

/** Convex shows a string that is logged within quotes, of one kind or the other. */
function logLineIn(line: string): string | undefined {
  const text = /\{\\?"event.*\}/.exec(line)?.[0];
  return text?.startsWith('{"') ? text : text?.replaceAll('\\"', '"');
}

class LiveHost implements Host {
  readonly name = "on a local Convex backend";
  #log: string[] = [];

  constructor(
    readonly cli: ConvexCli,
    readonly signal: AbortSignal | undefined,
  ) {}

  async setVariable(name: string, value: string): Promise<void> {
    await setVariable(this.cli, name, value);
  }

  async run(name: string, args: Record<string, unknown>): Promise<unknown> {
    const { result, log } = await run(this.cli, name, args);
    this.#log.push(...log);
    return result;
  }

  async postWebhook({ body, headers }: Parameters<Host["postWebhook"]>[0]): Promise<number> {
    const site = this.cli.local(/CONVEX_SITE_URL$/);
    if (site === undefined) throw new Error("The CLI wrote no CONVEX_SITE_URL to .env.local.");
    // A request whose server is stopped under it may never settle by itself.
    const request = { method: "POST", body, headers, signal: this.signal ?? null };
    return (await fetch(`${site}/clerk-users-webhook`, request)).status;
  }

  /** `convex data table --format jsonLines` (lib/data.ts): a row a line on stdout, nothing for none. */
  async readTable<Table extends TableNames>(table: Table): Promise<Doc<Table>[]> {
    const limit = ["--limit", String(MOST_ROWS)];
    const { stdout } = await this.cli.call("data", table, "--format", "jsonLines", ...limit);
    const lines = stdout.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Doc<Table>);
  }

  /** Of runs only: the CLI shows what the function that it ran has logged. */
  takeLog(): string[] {
    return this.#log.splice(0);
  }

  async stop(): Promise<void> {
    await this.cli.stop();
  }
}
