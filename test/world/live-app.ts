/** An app that has taken the sync in, at work: its modules on convex-test, its users at a stand-in for Clerk. */
import { convexTest, type TestConvex } from "convex-test";
import { makeFunctionReference, type GenericSchema, type SchemaDefinition } from "convex/server";
import { expect, vi } from "vitest";
import type { Report } from "../../convex/clerk/report/report";
import { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";
import { signedEvent } from "../../scripts/stand-in/signed-event";
import type { MadeUpApp } from "./made-up-app";

export const LONG_AGO = 1_600_000_000_000;
export const DAY = 24 * 3600 * 1000;
const SECRET = `whsec_${btoa("a signing secret of the tests")}`;

export type Row = Record<string, unknown> & { _id: string; clerkId?: string };
export type Entry = { clerkId: string; action: string; kind: string; reason?: string };
export type Args = Record<string, unknown>;
export const run = makeFunctionReference<"action", Args, Report>("clerk/reconcile:run");
export const report = makeFunctionReference<"query", Args, Report & { entries: Entry[] }>(
  "clerk/reconcile:report",
);
export const fill = makeFunctionReference<"action", Args, { filled: number }>("clerk/adopt:fill");

type T = TestConvex<SchemaDefinition<GenericSchema, boolean>>;
export type LiveApp = { t: T; clerk: ClerkStandIn; ids: string[]; rows: () => Promise<Row[]> };

/**
 * @param inBoth users of whom there may be rows, and how many more Clerk has
 * @param before the rows, of these ids
 */
export async function liveApp(
  app: MadeUpApp,
  { inBoth, more }: { inBoth: number; more: number },
  before: (ids: string[]) => object[],
): Promise<LiveApp> {
  const clerk = new ClerkStandIn();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: LONG_AGO + 1000 * DAY });
  vi.stubEnv("CLERK_SECRET_KEY", clerk.secretKey);
  vi.stubEnv("CLERK_API_URL", "https://clerk.test");
  vi.stubEnv("CLERK_WEBHOOK_SECRET", SECRET);
  vi.stubGlobal("fetch", clerk.fetch);
  for (const level of ["info", "error"] as const) {
    vi.spyOn(console, level).mockImplementation(() => undefined);
  }
  const modules = app.modules();
  const { default: schema } = (await modules["../convex/schema.ts"]?.()) ?? {};
  const t = convexTest({
    schema: schema as SchemaDefinition<GenericSchema, boolean>,
    modules,
    transactionLimits: true,
  });
  const ids = Array.from({ length: inBoth + more }, (_, i) => {
    const created_at = LONG_AGO + i * 1000;
    const last_sign_in_at = LONG_AGO + DAY + 5000 + i;
    return clerk.createUser({ created_at, first_name: `N${i}`, last_sign_in_at }).user.id;
  });
  await insert(t, "users", before(ids));
  // The app may have made the youngest rows for users who sign up at this moment.
  vi.setSystemTime(Date.now() + 6 * 60_000);
  return { t, clerk, ids, rows: async () => (await all(t, "users")) as Row[] };
}

type AnyDatabase = {
  insert: (table: string, row: object) => Promise<string>;
  query: (table: string) => { take: (count: number) => Promise<unknown[]> };
};
const databaseOf = (ctx: { db: unknown }) => ctx.db as AnyDatabase;

export async function insert(t: T, table: string, rows: object[]): Promise<string[]> {
  return await t.run(async (ctx) => {
    const ids: string[] = [];
    for (const row of rows) ids.push(await databaseOf(ctx).insert(table, row));
    return ids;
  });
}

export async function all(t: T, table: string): Promise<unknown[]> {
  return await t.run(async (ctx) => await databaseOf(ctx).query(table).take(2000));
}

let sent = 0;

export async function post(
  { t }: LiveApp,
  event: unknown,
  path = "/clerk-users-webhook",
): Promise<void> {
  sent += 1;
  const { body, headers } = signedEvent(event, { secret: SECRET, id: `msg_${sent}` });
  const { status } = await t.fetch(path, { method: "POST", body, headers });
  expect(status).toBe(200);
}

export function without(row: Row, ...names: string[]): Row {
  const kept = Object.entries(row).filter(([name]) => !names.includes(name));
  return Object.fromEntries(kept) as Row;
}

export function twins(rows: Row[], column: string): unknown[] {
  const values = rows.flatMap((row) => row[column] ?? []);
  return values.filter((value, index) => values.indexOf(value) !== index);
}
