/** What most tests need: the functions on convex-test, a Clerk stand-in over HTTP, the log. */
import { convexTest } from "convex-test";
import { defineSchema, type FunctionArgs, type TableDefinition } from "convex/server";
import { afterEach, beforeEach, vi } from "vitest";
import { api, internal } from "../../convex/_generated/api";
import { clock } from "../../convex/clerk/shared/clock";
import { ReconcileError } from "../../convex/clerk/report/report";
import schema from "../../convex/schema";
import { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";
import { signedEvent } from "../../scripts/stand-in/signed-event";

export const WEBHOOK_SECRET = `whsec_${btoa("a signing secret of the tests")}`;
/** A creation time long before any test. */
export const LONG_AGO = 1_600_000_000_000;

/** Of whom convex-test's identities are, where nothing else is said. */
const ISSUER = "https://convex.test";
/** What a request takes where Clerk answers in this process. */
const REQUEST_MS = 10;

const modules = import.meta.glob("../../convex/**/*.ts");

export type Convex = ReturnType<typeof convex>;

function convex() {
  return convexTest({ schema, modules, transactionLimits: true });
}

/** The functions on an app whose table of users has other columns, or that has other tables, too. */
export function convexWith(
  users: TableDefinition,
  others: Record<string, TableDefinition> = {},
): Convex {
  const tables = defineSchema({ ...schema.tables, users, ...others });
  return convexTest({ schema: tables, modules, transactionLimits: true });
}

type LogLine = { level: "info" | "error"; event: string; [detail: string]: unknown };

export type Setting = {
  t: Convex;
  clerk: ClerkStandIn;
  log: LogLine[];
  /** What scheduled calls threw to be seen by exception reporting. */
  exceptions: ReconcileError[];
};

/**
 * Call it in a `describe` or at the top of a file: each test gets a setting of its own.
 * @param http whether Clerk answers over HTTP, or in this process
 */
export function useSetting({ http = true }: { http?: boolean } = {}): Setting {
  const setting = {} as Setting;
  beforeEach(async () => {
    // Time stands still but for what sleeps and waits for its schedule.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: Date.now() });
    vi.spyOn(clock, "sleep").mockImplementation(async (ms) => {
      await Promise.resolve();
      vi.setSystemTime(Date.now() + ms);
    });
    setting.t = convex();
    setting.clerk = new ClerkStandIn();
    setting.log = [];
    setting.exceptions = [];
    vi.stubEnv("CLERK_SECRET_KEY", setting.clerk.secretKey);
    vi.stubEnv("CLERK_API_URL", http ? await setting.clerk.start() : "https://clerk.test");
    if (!http) {
      vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
        vi.setSystemTime(Date.now() + REQUEST_MS);
        return await setting.clerk.fetch(...args);
      });
    }
    vi.stubEnv("CLERK_WEBHOOK_SECRET", WEBHOOK_SECRET);
    vi.stubEnv("CLERK_JWT_ISSUER_DOMAIN", ISSUER);
    for (const level of ["info", "error"] as const) {
      vi.spyOn(console, level).mockImplementation((line: string, error?: unknown) => {
        // convex-test tells so of a scheduled function that throws.
        if (error instanceof ReconcileError) setting.exceptions.push(error);
        else setting.log.push({ level, ...(JSON.parse(line) as { event: string }) });
      });
    }
  });
  afterEach(async () => {
    await setting.clerk.stop();
    vi.unstubAllEnvs();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
    vi.useRealTimers();
  });
  return setting;
}

export const run = internal.clerk.reconcile.run;
export const report = internal.clerk.reconcile.report;
export { api, internal };

/** Time goes on; nothing that is scheduled happens meanwhile. */
export function pass(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

/** From now on the clock of actions, which may run on another machine, is so far ahead of the database's (ms). */
export function driftApart(ms: number): void {
  // In a transaction convex-test has another one, which stands still.
  const outside = Date;
  vi.spyOn(clock, "now").mockImplementation(() => Date.now() + (Date === outside ? ms : 0));
}

/** Starts a run and lets what it schedules happen, to its end. */
export async function complete(t: Convex, args: FunctionArgs<typeof run> = {}) {
  const runId = await t.action(run, args).then(
    (begun) => begun.runId,
    (error: unknown) => {
      if (!(error instanceof ReconcileError)) throw error;
      return undefined;
    },
  );
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  const ended = await t.query(report, runId ? { runId } : {});
  if (ended === null) throw new Error("the run is gone");
  return ended;
}

export async function rows(t: Convex) {
  return await t.run(async (ctx) => await ctx.db.query("users").take(20_000));
}

/** Everything in the database, as text. */
export async function everything(t: Convex): Promise<string> {
  const tables = Object.keys(schema.tables) as (keyof typeof schema.tables)[];
  const all = await t.run(
    async (ctx) =>
      await Promise.all(tables.map(async (table) => await ctx.db.query(table).take(20_000))),
  );
  return JSON.stringify(all);
}

/** Whether no table has a row. */
export async function isUntouched(t: Convex): Promise<boolean> {
  return /^[[\],]*$/.test(await everything(t));
}

let sent = 0;

/** Posts an event to the mounted route as Clerk does. */
export async function post(t: Convex, event: unknown, secret = WEBHOOK_SECRET): Promise<Response> {
  sent += 1;
  const { body, headers } = signedEvent(event, { secret, id: `msg_${sent}` });
  return await t.fetch("/clerk-users-webhook", { method: "POST", body, headers });
}
