/** Ten runs in a row: report and log tell of exactly what an oracle found before each. */
import type { FunctionArgs, FunctionReturnType } from "convex/server";
import { expect, test } from "vitest";
import { HOUR } from "../../convex/clerk/shared/clock";
import {
  complete,
  LONG_AGO,
  pass,
  rows,
  useSetting,
  type report,
  type run,
} from "../world/setting";

const setting = useSetting({ http: false });

type Report = NonNullable<FunctionReturnType<typeof report>>;
type Drift = { missing: string[]; stale: Map<string, string[]>; orphaned: string[] };

/** What differs between Clerk and the table, by the test's own reading of both. */
async function lookFor(): Promise<Drift> {
  const { t, clerk } = setting;
  const mirror = new Map((await rows(t)).map((row) => [row.clerkId ?? "", row]));
  const drift: Drift = { missing: [], stale: new Map(), orphaned: [] };
  for (const [id, user] of clerk.users) {
    const row = mirror.get(id);
    if (row === undefined) drift.missing.push(id);
    else {
      const fields = [
        row.firstName === user.first_name ? [] : ["firstName", "name"],
        row.username === (user.username ?? undefined) ? [] : ["username"],
        row.banned === user.banned ? [] : ["banned"],
      ].flat();
      if (fields.length > 0) drift.stale.set(id, fields);
    }
  }
  drift.orphaned = [...mirror.keys()].filter((id) => !clerk.users.has(id));
  return drift;
}

let made = 0;

/** Clerk changes, and no event tells of it. */
function change({ sign = 0, rename = 0, leave = 0, spoil = 0 }): void {
  const { clerk } = setting;
  const ids = [...clerk.users.keys()];
  const at = Date.now() - HOUR / 2;
  for (const id of ids.slice(0, leave)) clerk.users.delete(id);
  ids.slice(leave, leave + rename).forEach((id, i) => {
    const changes = [{ first_name: `New${made}` }, { username: `u${made}_${i}` }, { banned: true }];
    clerk.updateUser(id, changes[i % 3] ?? {}, at);
  });
  for (const id of ids.slice(leave + rename, leave + rename + spoil)) {
    clerk.updateUser(id, { public_metadata: { $not: "holdable" } }, at);
  }
  for (let i = 0; i < sign; i++) {
    made += 1;
    clerk.createUser({ created_at: LONG_AGO + made, updated_at: at, first_name: `N${made}` });
  }
}

/** The ids, sorted, of the entries or log lines of an action. */
function idsOf(found: Record<string, unknown>[], action: string): string[] {
  return found
    .filter((each) => each.action === action)
    .flatMap(({ clerkId, clerkIds }) => (clerkIds as string[] | undefined) ?? [clerkId as string])
    .sort();
}

type Told = { args?: FunctionArgs<typeof run>; held?: boolean; setAside?: number };

/** Runs, and compares what it tells with what there was to find. */
async function expectWitness({ args = {}, held = false, setAside = 0 }: Told): Promise<Report> {
  pass(HOUR);
  const { missing, stale, orphaned } = await lookFor();
  const users = setting.clerk.users.size;
  setting.log.length = 0;
  const told = await complete(setting.t, args);
  const { dryRun = false } = args;
  const drift = { missing: missing.length, stale: stale.size, orphaned: orphaned.length };
  const done = dryRun
    ? { created: 0, updated: 0, deleted: 0 }
    : {
        created: missing.length,
        updated: stale.size,
        deleted: held ? 0 : orphaned.length,
      };
  expect(told).toMatchObject({
    status: held ? "held" : "completed",
    clerkUsers: users,
    scanned: users,
    unchanged: users - missing.length - stale.size,
    drift,
    repaired: done,
    held: held ? orphaned.length : 0,
    setAside,
    postponed: 0,
    continueCursor: null,
  });

  const lines = setting.log.filter(({ event }) => event === "reconcile.drift");
  const unlogged = lines.reduce(
    (sum, line) => sum + ((line.unlogged as number | undefined) ?? 0),
    0,
  );
  const actions = dryRun
    ? [["none", [...missing, ...stale.keys(), ...orphaned]] as const]
    : ([
        ["created", missing],
        ["updated", [...stale.keys()]],
        [held ? "held" : "deleted", orphaned],
      ] as const);
  const listed = actions.reduce(
    (sum, [action, ids]) => sum + (action === "deleted" ? 0 : ids.length),
    setAside,
  );
  let lost = 0;
  for (const [action, ids] of actions) {
    const entries = idsOf(told.entries, action);
    const logged = idsOf(lines, action);
    const sorted = [...ids].sort();
    if (action === "deleted" || listed <= 1000) expect(entries).toEqual(sorted);
    else expect(sorted).toEqual(expect.arrayContaining(entries));
    if (action === "deleted" || listed <= 150) expect(logged).toEqual(sorted);
    else expect(sorted).toEqual(expect.arrayContaining(logged));
    lost += sorted.length - logged.length;
  }
  const others = told.entries.filter(({ action }) => action !== "deleted");
  expect(others).toHaveLength(Math.min(1000, listed));
  expect(unlogged).toBe(lost);
  for (const { clerkId, fields, kind } of told.entries) {
    if (kind === "stale" && stale.has(clerkId)) expect(fields).toEqual(stale.get(clerkId));
    expect(kind === "missing").toBe(missing.includes(clerkId));
    expect(kind === "orphaned").toBe(orphaned.includes(clerkId));
  }

  const end = setting.log.at(-1);
  const { entries: _, continueCursor: __, ...numbers } = told;
  expect(end).toEqual({
    event: held ? "reconcile.held" : "reconcile.finished",
    level: held ? "error" : "info",
    ...numbers,
  });
  expect(setting.log.length).toBeLessThanOrEqual(200);
  for (const { level: _level, ...line } of setting.log) {
    expect(JSON.stringify(line).length).toBeLessThan(4096);
  }
  return told;
}

test("ten runs with drift in between", async () => {
  change({ sign: 60 });
  await expectWitness({});

  change({ sign: 3, rename: 4, leave: 2 });
  await expectWitness({});

  await expectWitness({});

  change({ sign: 2, rename: 3, leave: 1 });
  await expectWitness({ args: { dryRun: true } });
  await expectWitness({});

  change({ sign: 1, rename: 1, leave: 30 });
  const { next } = await expectWitness({ held: true });
  expect(next).toMatch(`'{"maxDeletions":30}'`);
  await expectWitness({ args: { maxDeletions: 30 } });

  change({ sign: 1010, leave: 10 });
  await expectWitness({});

  change({ sign: 3, rename: 160, leave: 100 });
  await expectWitness({ args: { maxDeletions: 100 } });

  change({ rename: 2, spoil: 3 });
  const told = await expectWitness({ setAside: 3 });
  expect(told.entries.filter(({ action }) => action === "setAside")).toHaveLength(3);
});
