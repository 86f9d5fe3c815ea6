/**
 * Full runs over an instance that is never still: while they ask, users sign up, change and leave,
 * the events of that come a moment later, and Clerk's count lags behind. `BUSY_RUNS=200` lives
 * through so many runs of each setting, from the seed `BUSY_SEED` on, and prints how they ended.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { convexTest } from "convex-test";
import { describe, expect, test, vi } from "vitest";
import { clock, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import type { UserEvent } from "../../scripts/stand-in/clerk-json";
import { ClerkStandIn, type CountedUser } from "../../scripts/stand-in/clerk-stand-in";
import { Random } from "../../scripts/stand-in/random";
import { expectMirror, loseRows, seed as seedRows, signUp } from "../world/people";
import { complete, post, report, rows, run, useSetting, type Convex } from "../world/setting";

const RUNS = Number(process.env.BUSY_RUNS ?? 1);
const FIRST_SEED = Number(process.env.BUSY_SEED ?? 1);

const START = 1_750_000_000_000;
/** A run of 16 pages. */
const [PAGE_SIZE, USERS] = [10, 160];
/** So that it stays one of about 16 pages. */
const [FEWEST_USERS, MOST_USERS] = [110, 210];
/**
 * There and back. At 20 changes a second 3 of the 10 places of a page change within it, where of 500
 * it would not be one in a hundred. At 6 of 10 a list by latest change shifts too often to be read.
 */
const REQUEST_MS = 150;
/** From a change to its event. */
const DELIVERY_MS = 800;
const LOST_SHARE = 0.01;
/** What is older, every answer of Clerk's shows. */
const SETTLED_MS = 5 * MINUTE;
/** Of a longer wait only the end is busy: the rest would bring more of the same, and take its time. */
const BUSY_WAIT_MS = 5 * SECOND;

/** Shares of the changes; the rest are new names. */
const GROWTHS = {
  grows: { signUps: 0.5, deletions: 0.1 },
  "stays as large": { signUps: 0.3, deletions: 0.3 },
  shrinks: { signUps: 0.1, deletions: 0.5 },
};
type Busy = { changesPerSecond: number; growth: keyof typeof GROWTHS; countLagMs: number };

const SETTINGS: Busy[] = [1, 5, 20].flatMap((changesPerSecond) =>
  (["grows", "stays as large", "shrinks"] as const).flatMap((growth) =>
    [0, 5, 30].map((lag) => ({ changesPerSecond, growth, countLagMs: lag * SECOND })),
  ),
);

const modules = import.meta.glob("../../convex/**/*.ts");
const setting = useSetting({ http: false });

/** A Clerk instance, its people, and the time that passes for them and for the sync. */
class BusyInstance {
  readonly clerk = new ClerkStandIn();
  readonly #t: Convex;
  readonly #busy: Busy;
  readonly #random: Random;
  readonly #counted = new Map<string, CountedUser>();
  readonly #ids: string[];
  /** What is yet to happen, by its time. */
  readonly #due: { at: number; happen: () => Promise<void> | void }[] = [];
  /** Time passes in calls of the sync, but what happens then is no part of them. */
  readonly #outside = AsyncLocalStorage.snapshot();
  #passing = Promise.resolve();
  #isBusy = false;
  #restsUntil = 0;
  #names = 0;

  constructor(t: Convex, busy: Busy, seed: number) {
    this.#t = t;
    this.#busy = busy;
    this.#random = new Random(seed);
    this.#ids = signUp({ ...setting, clerk: this.clerk }, USERS);
    for (const id of this.#ids) this.#recount(id);
    this.clerk.countFrom(this.#counted);
  }

  /** Comes back once so much time has passed, and all has happened that was due in it. */
  async pass(ms: number): Promise<void> {
    const until = Date.now() + ms;
    this.#passing = this.#outside(async () => {
      await this.#passing;
      await this.#passUntil(until);
    });
    await this.#passing;
  }

  /** Answers as Clerk does, after a while. */
  readonly fetch = async (...args: Parameters<typeof fetch>): Promise<Response> => {
    await this.pass(REQUEST_MS / 2);
    const answer = await this.clerk.fetch(...args);
    await this.pass(REQUEST_MS / 2);
    return answer;
  };

  /** Some changes of which no event tells. */
  changeUnheard(): void {
    for (let i = 0; i < 4; i += 1) this.#signUp();
    for (let i = 0; i < 4; i += 1) this.#rename();
    for (let i = 0; i < 2; i += 1) this.#delete();
  }

  begin(): void {
    this.#isBusy = true;
    this.#scheduleChange();
  }

  stop(): void {
    this.#isBusy = false;
  }

  async #passUntil(until: number): Promise<void> {
    this.#restsUntil = until - BUSY_WAIT_MS;
    for (let next = this.#due[0]; next && next.at <= until; next = this.#due[0]) {
      this.#due.shift();
      advanceTo(next.at);
      await next.happen();
    }
    advanceTo(until);
  }

  #at(at: number, happen: () => Promise<void> | void): void {
    const place = this.#due.findLastIndex((other) => other.at <= at) + 1;
    this.#due.splice(place, 0, { at, happen });
  }

  #scheduleChange(): void {
    const gapMs = -Math.log(1 - this.#random.next()) * (SECOND / this.#busy.changesPerSecond);
    this.#at(Date.now() + Math.ceil(gapMs), () => {
      if (!this.#isBusy) return;
      if (Date.now() >= this.#restsUntil) this.#tell(this.#change());
      this.#scheduleChange();
    });
  }

  #change(): UserEvent {
    const { signUps, deletions } = GROWTHS[this.#busy.growth];
    const kind = this.#random.next();
    if (kind < signUps && this.#ids.length < MOST_USERS) return this.#signUp();
    if (kind >= 1 - deletions && this.#ids.length > FEWEST_USERS) return this.#delete();
    return this.#rename();
  }

  #signUp(): UserEvent {
    const { user, event } = this.clerk.createUser({
      created_at: Date.now(),
      first_name: this.#newName(),
    });
    this.#ids.push(user.id);
    this.#recountLater(user.id);
    return event;
  }

  #rename(): UserEvent {
    const id = this.#ids[this.#random.below(this.#ids.length)] ?? "";
    return this.clerk.updateUser(id, { first_name: this.#newName() }, Date.now());
  }

  #delete(): UserEvent {
    const [id = ""] = this.#ids.splice(this.#random.below(this.#ids.length), 1);
    const event = this.clerk.deleteUser(id, Date.now());
    this.#recountLater(id);
    return event;
  }

  #newName(): string {
    this.#names += 1;
    return `Name ${this.#names}`;
  }

  #tell(event: UserEvent): void {
    if (this.#random.next() < LOST_SHARE) return;
    this.#at(Date.now() + DELIVERY_MS, async () => {
      const { status } = await post(this.#t, event);
      if (status !== 200) throw new Error(`${event.type} was answered with ${status}`);
    });
  }

  #recountLater(id: string): void {
    this.#at(Date.now() + this.#busy.countLagMs, () => {
      this.#recount(id);
    });
  }

  /** The count knows no more than who is there, and since when. */
  #recount(id: string): void {
    const user = this.clerk.users.get(id);
    if (user === undefined) this.#counted.delete(id);
    else this.#counted.set(id, { id, created_at: user.created_at });
  }
}

/** What is scheduled up to then begins at its time. */
function advanceTo(at: number): void {
  vi.advanceTimersByTime(Math.max(0, at - Date.now()));
}

/** Ms until the next scheduled call. */
async function untilNextCall(t: Convex): Promise<number> {
  const calls = await t.run(
    async (ctx) => await ctx.db.system.query("_scheduled_functions").take(10_000),
  );
  const times = calls.flatMap(({ state, scheduledTime }) =>
    state.kind === "pending" ? scheduledTime : [],
  );
  if (times.length === 0) throw new Error("the run goes on, but no call of it is scheduled");
  return Math.max(0, Math.ceil(Math.min(...times) - Date.now()));
}

/** A run to its end, and nothing beyond. */
async function runBusily(t: Convex, instance: BusyInstance) {
  const { runId } = await t.action(run, { pageSize: PAGE_SIZE });
  for (;;) {
    const found = await t.query(report, { runId });
    if (found === null) throw new Error("the run is gone");
    if (found.status !== "running") return found;
    await instance.pass(await untilNextCall(t));
    await t.finishInProgressScheduledFunctions();
  }
}

type Reported = Awaited<ReturnType<typeof runBusily>>;

/** Users who have not changed for long, and whom the table neither shows as they are nor the run left. */
async function forgotten(t: Convex, { clerk }: BusyInstance, { startedAt, entries }: Reported) {
  const shown = new Map((await rows(t)).map(({ clerkId, firstName }) => [clerkId, firstName]));
  const left = new Set(
    entries.flatMap(({ clerkId, action }) =>
      action === "postponed" || action === "setAside" ? clerkId : [],
    ),
  );
  return [...clerk.users.values()].flatMap(({ id, first_name, updated_at }) => {
    const isSettled = updated_at < startedAt - SETTLED_MS;
    return isSettled && !left.has(id) && shown.get(id) !== first_name ? id : [];
  });
}

/**
 * Lives through one busy run over a table with some old drift, and through the peace after it.
 * @returns the run's report, and what did not hold
 */
async function live(busy: Busy, seed: number): Promise<{ found: Reported; violations: string[] }> {
  vi.clearAllTimers();
  vi.setSystemTime(START);
  setting.log.length = 0;
  const t = convexTest({ schema, modules, transactionLimits: true });
  const instance = new BusyInstance(t, busy, seed);
  const place = { ...setting, t, clerk: instance.clerk };
  vi.stubGlobal("fetch", instance.fetch);
  vi.spyOn(clock, "sleep").mockImplementation(async (ms) => {
    await instance.pass(ms);
  });
  const violations: string[] = [];

  const ids = [...instance.clerk.users.keys()];
  await seedRows(place, ids);
  instance.changeUnheard();
  await loseRows(place, ids.slice(0, 3));
  await instance.pass(2 * SETTLED_MS);
  instance.begin();
  await instance.pass(2 * SECOND);
  const found = await runBusily(t, instance);
  if (found.status !== "completed") violations.push(`${found.status}: ${found.summary}`);
  const unseen = await forgotten(t, instance, found);
  if (unseen.length > 0) violations.push(`not shown as they are: ${unseen.join(", ")}`);

  instance.stop();
  await instance.pass(DELIVERY_MS);
  await instance.pass(SETTLED_MS + MINUTE);
  await t.finishInProgressScheduledFunctions();
  const last = await complete(t);
  if (last.status !== "completed") violations.push(`in peace ${last.status}: ${last.summary}`);
  await expectMirror(place).catch((error: unknown) => {
    violations.push(`in peace the table differs from Clerk: ${String(error)}`);
  });
  return { found, violations };
}

/** Of seed and setting, so that no two settings see the same changes. */
function seedOf(seed: number, index: number): number {
  return seed * SETTINGS.length + index;
}

describe("a full run completes, and forgets nobody", () => {
  const named = SETTINGS.map((busy, index) => {
    const { changesPerSecond, growth, countLagMs } = busy;
    const lag = `its count ${countLagMs / SECOND} s behind`;
    const rate = changesPerSecond === 1 ? "1 change" : `${changesPerSecond} changes`;
    return { name: `${rate} a second, it ${growth}, ${lag}`, busy, index };
  });

  for (const { name, busy, index } of named) {
    // In the loop, few changes and many, of each growth.
    const isFew = busy.countLagMs === 5 * SECOND && busy.changesPerSecond !== 5;
    const tags = isFew ? [] : ["slow"];
    test(`over an instance that is busy: ${name}`, { tags, timeout: 3_600_000 }, async () => {
      const violations: string[] = [];
      const runs = { completed: 0, unlisted: 0, violated: 0 };
      for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed += 1) {
        const { found, violations: violated } = await live(busy, seedOf(seed, index));
        const { unlisted = 0 } = found as { unlisted?: number };
        if (found.status === "completed") runs.completed += 1;
        if (unlisted > 0) runs.unlisted += 1;
        if (violated.length > 0) runs.violated += 1;
        violations.push(...violated.map((violation) => `${name}, seed ${seed}: ${violation}`));
      }
      if (process.env.BUSY_RUNS) {
        const { completed, unlisted, violated } = runs;
        process.stdout.write(
          `${name}: ${completed} of ${RUNS} runs completed, ${unlisted} with users unlisted, ${violated} violated what must hold\n`,
        );
      }
      expect(violations).toEqual([]);
    });
  }
});
