/**
 * Out of sight for some time: ticks every 15 minutes, changes with and without events, an outage of
 * Clerk, a revoked key, a dead endpoint. `DAYS=30` lives through a month and prints what an operator
 * would have found: tables, log, alarms.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { expectMirror, signUp } from "../world/people";
import { complete, internal, pass, post, useSetting } from "../world/setting";

const DAYS = Number(process.env.DAYS ?? 4);
const SEED = Number(process.env.SEED ?? 6);
const USERS = 60;
const TICK_MS = 15 * MINUTE;
/** In shares of the whole time. */
const REVOKED_KEY = [0.25, 0.3] as const;
const DEAD_ENDPOINT = [0.4, 0.65] as const;
const OUTAGE = [0.75, 0.8] as const;

const setting = useSetting({ http: false });

function isIn([from, to]: readonly [number, number], at: number): boolean {
  return at >= from * DAYS * DAY && at < to * DAYS * DAY;
}

type Change = { kind: number; who: number; isLost: boolean };

const changesOfATick = fc.array(
  fc.record({
    kind: fc.nat(29),
    who: fc.nat(1000),
    // Of what is sent, one event in a hundred gets lost for good.
    isLost: fc.nat(99).map((n) => n === 0),
  }),
  { maxLength: 3 },
);

async function happen({ kind, who, isLost }: Change, isDead: boolean): Promise<void> {
  const { t, clerk } = setting;
  pass(MINUTE);
  const ids = [...clerk.users.keys()];
  const id = ids[who % ids.length] ?? "";
  const event =
    kind === 0
      ? clerk.deleteUser(id, Date.now())
      : kind <= 2
        ? clerk.createUser({ created_at: Date.now() }).event
        : clerk.updateUser(id, { first_name: `N${Date.now()}` }, Date.now());
  if (!isLost && !isDead) await post(t, event);
}

/** What an operator does once a day: type what a held run says. */
async function lookAfter(typed: string[]): Promise<void> {
  const { t } = setting;
  const { lastFullRun } = await t.query(internal.clerk.reconcile.status, {});
  if (lastFullRun?.status !== "held" || lastFullRun.next === null) return;
  typed.push(lastFullRun.next);
  const args = JSON.parse(/'(.*)'$/.exec(lastFullRun.next)?.[1] ?? "") as { maxDeletions: number };
  await complete(t, args);
}

/** Bytes and rows of each table. */
async function sizes(): Promise<Record<string, string>> {
  const tables = [
    "clerkVersions",
    "clerkRuns",
    "clerkDriftEntries",
    "clerkDoubts",
    "clerkDoubts",
  ] as const;
  const found: Record<string, string> = {};
  for (const table of tables) {
    const all = await setting.t.run(async (ctx) => await ctx.db.query(table).take(20_000));
    found[table] = `${all.length} rows, ${Math.ceil(JSON.stringify(all).length / 1024)} kB`;
  }
  return found;
}

test(
  "nobody has to look, but for what status says",
  { tags: ["slow"], timeout: 600_000 },
  async () => {
    const { t, clerk, log } = setting;
    signUp(setting, USERS);
    const startedAt = Date.now();
    const alarms = new Map<string, number>();
    const told: string[] = [];
    const typed: string[] = [];
    const changes = fc.sample(changesOfATick, { seed: SEED, numRuns: (DAYS * DAY) / TICK_MS });
    for (const [tick, some] of changes.entries()) {
      const at = tick * TICK_MS;
      pass(Math.max(0, startedAt + at - Date.now()));
      clerk.heal();
      if (isIn(REVOKED_KEY, at)) clerk.order(/./, { kind: "status", status: 401 });
      if (isIn(OUTAGE, at)) clerk.order(/./, { kind: "status", status: 500 });
      if (Date.now() - startedAt < at + TICK_MS) await complete(t, { mode: "due" });
      if (tick % (DAY / TICK_MS) === 0) await lookAfter(typed);
      for (const change of some) await happen(change, isIn(DEAD_ENDPOINT, at));
      const { reasons } = await t.query(internal.clerk.reconcile.status, {});
      for (const reason of reasons) {
        const name = reason.split(" ").slice(0, 3).join(" ");
        if (!alarms.has(name)) told.push(`day ${(at / DAY).toFixed(1)}: ${reason.slice(0, 160)}…`);
        alarms.set(name, (alarms.get(name) ?? 0) + TICK_MS / HOUR);
      }
      const others = reasons.filter((reason) => !reason.startsWith("Webhooks look dead"));
      if (isIn([0, REVOKED_KEY[0]], at)) expect(others).toEqual([]);
      if (isIn([DEAD_ENDPOINT[0] + 0.1, DEAD_ENDPOINT[1]], at)) {
        expect(reasons.length).toBeGreaterThan(others.length);
      }
    }
    clerk.heal();
    for (let i = 0; i < 5; i += 1) await happen({ kind: i, who: i, isLost: false }, false);
    pass(HOUR);
    await complete(t);
    await lookAfter(typed);
    await expectMirror(setting);
    expect(await t.query(internal.clerk.reconcile.status, {})).toMatchObject({
      verdict: "healthy",
    });

    const texts = log.map(({ level: _, ...line }) => JSON.stringify(line));
    const longest = Math.max(...texts.map((text) => text.length));
    expect(longest).toBeLessThan(4096);
    const runs = await t.run(async (ctx) => await ctx.db.query("clerkRuns").take(1000));
    expect(runs.length).toBeLessThanOrEqual(106);
    const lines: Record<string, number> = {};
    for (const { event } of log) lines[event] = (lines[event] ?? 0) + 1;
    const summary = {
      days: DAYS,
      seed: SEED,
      users: clerk.users.size,
      tables: await sizes(),
      log: `${texts.length} lines, ${Math.ceil(texts.join("\n").length / 1024)} kB, the longest ${longest} bytes`,
      lines,
      exceptions: setting.exceptions.length,
      hoursOfAlarm: Object.fromEntries(alarms),
      told,
      typed,
    };
    if (process.env.DAYS) process.stdout.write(`${JSON.stringify(summary, null, 2)}\n`);
  },
);
