/** What is measured: a mirror of so many users, and what a run or a webhook does to it. */
import { isDeepStrictEqual } from "node:util";
import { convexTest } from "convex-test";
import { internal } from "../../convex/_generated/api";
import type { Doc } from "../../convex/_generated/dataModel";
import { newUserFields } from "../../convex/clerk/app";
import { clock, DAY, HOUR } from "../../convex/clerk/shared/clock";
import { columnsOf } from "../../convex/clerk/mirror/plan";
import { readUser } from "../../convex/clerk/profile/profile";
import { endRun } from "../../convex/clerk/memory/ended";
import { insertRun } from "../../convex/clerk/memory/runs";
import { updateSyncState } from "../../convex/clerk/memory/state";
import schema from "../../convex/schema";
import type { ClerkUserJSON, UserEvent } from "../stand-in/clerk-json";
import { ClerkStandIn } from "../stand-in/clerk-stand-in";
import { Meter, type Cost } from "./measure";
import { peerRowOf, peerSchema, type CronToCompare } from "./peer";
import { signedEvent } from "../stand-in/signed-event";
import { SimulatedClock } from "./simulated-clock";

const LONG_AGO = Date.UTC(2020, 0);
/** What a request takes, there and back. */
const REQUEST_MS = 300;
const SEEDED_AT_ONCE = 400;
const WEBHOOK_SECRET = `whsec_${btoa("a signing secret of the benchmark")}`;

/** `mostWaits`: of one transaction. */
export type Figures = Cost & { requests: number; durationMs: number; mostWaits: number };
export type Measured = Figures & {
  what:
    | "backfill"
    | "full run, all stale"
    | "quiet recent run"
    | "quiet full run"
    | "quiet full run, one creation time"
    | "full run, 1 % drift"
    | "webhook";
  users: number;
  /** Users to be deleted. */
  orphaned: number;
};
export type Modules = Record<string, () => Promise<unknown>>;

/** Puts a stand-in for Clerk, and a simulated clock, in the place of the real ones. */
function standIn(requestMs = REQUEST_MS): { clerk: ClerkStandIn; time: SimulatedClock } {
  const clerk = new ClerkStandIn();
  const time = new SimulatedClock(Date.UTC(2026, 0));
  clock.now = () => Math.floor(time.now);
  clock.sleep = async (ms) => {
    await time.sleep(ms);
  };
  process.env.CLERK_SECRET_KEY = clerk.secretKey;
  process.env.CLERK_API_URL = "https://clerk.test";
  process.env.CLERK_WEBHOOK_SECRET = WEBHOOK_SECRET;
  globalThis.fetch = async (input, init) => {
    await time.sleep(requestMs / 2);
    const [answer, body] = await time.during(
      clerk.fetch(input, init).then(async (sent) => [sent, await sent.text()] as const),
    );
    await time.sleep(requestMs / 2);
    // Its own would take turns of the event loop, which the clock would take for idleness.
    const text = async () => await Promise.resolve(body);
    const json = async () => JSON.parse(await text()) as unknown;
    return Object.assign(new Response(null, answer), { text, json });
  };
  return { clerk, time };
}

/** Users who signed up a minute apart, or all in one moment. */
export function signUp(clerk: ClerkStandIn, count: number, apartMs = 60_000): ClerkUserJSON[] {
  return Array.from({ length: count }, (_, i) => {
    const name = `User${i}`;
    return clerk.createUser({
      created_at: LONG_AGO + i * apartMs,
      first_name: name,
      last_name: "Example",
      email: `${name}@example.com`,
      image_url: `https://img.clerk.com/${"x".repeat(60)}${i}`,
    }).user;
  });
}

/** One in a hundred differs: a third each is missing, stale and orphaned. @returns how many of each */
function drift(clerk: ClerkStandIn, users: ClerkUserJSON[]) {
  const counts = { missing: 0, stale: 0, orphaned: 0 };
  const kinds = ["missing", "stale", "orphaned"] as const;
  const changes = Math.floor(users.length / 100);
  for (let i = 0; i < changes; i += 1) {
    const kind = kinds[i % 3] ?? "stale";
    const id = users[i * 100]?.id ?? "";
    counts[kind] += 1;
    const at = clock.now() - HOUR;
    if (kind === "orphaned") clerk.users.delete(id);
    else if (kind === "stale") clerk.updateUser(id, { first_name: "Renamed" }, at);
    else clerk.createUser({ created_at: LONG_AGO + i * 6_000_000 + 1, updated_at: at });
  }
  return counts;
}

/** This project's backend, measured. */
export class Mirror {
  readonly meter: Meter;
  readonly clerk: ClerkStandIn;
  readonly #time: SimulatedClock;
  readonly #t;

  /** @param requestMs what a request to Clerk takes, there and back */
  constructor(modules: Modules, requestMs?: number) {
    const { clerk, time } = standIn(requestMs);
    this.clerk = clerk;
    this.#time = time;
    this.meter = new Meter(time);
    this.#t = convexTest({ schema, modules: this.meter.wrap(modules), transactionLimits: true });
  }

  /**
   * Rows as a run of an hour ago would have left them, written directly.
   * @param change made to each row
   */
  async seed(users: ClerkUserJSON[], change: Partial<Doc<"users">> = {}): Promise<void> {
    const at = clock.now() - HOUR;
    await this.#t.run(async (ctx) => {
      const options = { mode: "full" as const, dryRun: false, pageSize: 500, isScheduled: true };
      const run = await insertRun(ctx, options, { kind: "cancelled", finishedAt: at });
      await endRun(ctx, run, { kind: "completed" }, { ...run.counts, scanned: users.length }, 10);
      await updateSyncState(ctx, {
        instanceId: this.clerk.instanceId,
        fullRunStartedAt: at - DAY,
        lastFullRunStartedAt: at - DAY,
        lastRecentRunStartedAt: at,
      });
    });
    for (let from = 0; from < users.length; from += SEEDED_AT_ONCE) {
      await this.#t.run(async (ctx) => {
        for (const user of users.slice(from, from + SEEDED_AT_ONCE)) {
          const reading = readUser(user);
          if (reading.kind !== "profile") throw new Error("expected a user that can be mirrored");
          const { version } = reading;
          const held = Object.entries(columnsOf(reading)).filter(([, value]) => value !== null);
          const row = { ...newUserFields(user), ...Object.fromEntries(held), ...change };
          await ctx.db.insert("users", row);
          const applied = { clerkId: user.id, appliedAt: at, appliedBy: "run" as const };
          await ctx.db.insert("clerkVersions", { kind: "live", version, ...applied });
        }
      });
    }
  }

  /** Runs to the end. @returns the Report, what it took, and each transaction */
  async run(args: { mode?: "full" | "recent" } = {}) {
    this.#reset();
    const began = this.#time.now;
    const report = await this.#t.action(internal.clerk.reconcile.run, args);
    if (report.status !== "completed") throw new Error(`the run is ${report.status}`);
    const transactions = [...this.meter.transactions];
    return { report, figures: this.#figures(began), transactions };
  }

  /** Posts an event to the mounted route. */
  async webhook(event: UserEvent): Promise<Figures> {
    this.#reset();
    const began = this.#time.now;
    await this.#post(event);
    const figures = this.#figures(began);
    // The HTTP action itself.
    return { ...figures, actions: figures.actions + 1 };
  }

  async #post(event: UserEvent): Promise<void> {
    const { body, headers } = signedEvent(event, { secret: WEBHOOK_SECRET, id: "msg_bench" });
    const init = { method: "POST", body, headers };
    const { status } = await this.#t.fetch("/clerk-users-webhook", init);
    if (status !== 200) throw new Error(`the webhook answered ${status}`);
  }

  #reset(): void {
    this.meter.take();
    this.clerk.requests.length = 0;
  }

  #figures(began: number): Figures {
    return figuresOf(this.meter, this.clerk, this.#time.now - began);
  }
}

function figuresOf(meter: Meter, { requests }: ClerkStandIn, durationMs: number): Figures {
  const mostWaits = Math.max(0, ...meter.transactions.map(({ waits }) => waits));
  return { ...meter.take(), requests: requests.length, durationMs, mostWaits };
}

/** A cron to compare with, measured. */
class Peer {
  readonly clerk: ClerkStandIn;
  readonly #meter: Meter;
  readonly #time: SimulatedClock;
  readonly #peer: CronToCompare;
  readonly #t;

  constructor(peer: CronToCompare) {
    const { clerk, time } = standIn();
    this.clerk = clerk;
    this.#time = time;
    this.#meter = new Meter(time);
    this.#peer = peer;
    const modules = this.#meter.wrap(peer.modules);
    this.#t = convexTest({ schema: peerSchema, modules, transactionLimits: true });
  }

  /** @param change made to each row */
  async seed(users: ClerkUserJSON[], change: { name?: string } = {}): Promise<void> {
    for (let from = 0; from < users.length; from += SEEDED_AT_ONCE) {
      await this.#t.run(async (ctx) => {
        for (const user of users.slice(from, from + SEEDED_AT_ONCE)) {
          await ctx.db.insert("users", { ...peerRowOf(user), ...change });
        }
      });
    }
  }

  async run(): Promise<Figures> {
    this.#meter.take();
    this.clerk.requests.length = 0;
    const began = this.#time.now;
    await this.#t.action(this.#peer.syncReference, {});
    return figuresOf(this.#meter, this.clerk, this.#time.now - began);
  }
}

/** A backfill of an empty table. */
export async function measureBackfill(modules: Modules, users: number): Promise<Measured> {
  const mirror = new Mirror(modules);
  signUp(mirror.clerk, users);
  const { figures } = await mirror.run();
  return { what: "backfill", users, orphaned: 0, ...figures };
}

/** A quiet full run where all users share one creation time, more than a page. */
export async function measureCrowd(modules: Modules, users: number): Promise<Measured> {
  const mirror = new Mirror(modules);
  await mirror.seed(signUp(mirror.clerk, users, 0));
  const { figures } = await mirror.run();
  return { what: "quiet full run, one creation time", users, orphaned: 0, ...figures };
}

/** A full run that finds everybody to differ. */
export async function measureStale(modules: Modules, users: number): Promise<Measured> {
  const mirror = new Mirror(modules);
  await mirror.seed(signUp(mirror.clerk, users), { firstName: "Old" });
  const { figures } = await mirror.run();
  return { what: "full run, all stale", users, orphaned: 0, ...figures };
}

/** A full run that finds nothing. */
export async function measureQuietRun(modules: Modules, users: number): Promise<Measured> {
  const { mirror } = await seeded(modules, users);
  const { figures } = await mirror.run();
  return { what: "quiet full run", users, orphaned: 0, ...figures };
}

/** What a mirror that is there already costs while nothing happens, and one webhook. */
export async function measureQuiet(modules: Modules, users: number): Promise<Measured[]> {
  const { mirror, people } = await seeded(modules, users);
  const recent = await mirror.run({ mode: "recent" });
  const full = await mirror.run();
  const { id = "" } = people[Math.floor(users / 2)] ?? {};
  const event = mirror.clerk.updateUser(id, { first_name: "New" }, clock.now());
  const webhook = await mirror.webhook(event);
  return [
    { what: "quiet recent run", users, orphaned: 0, ...recent.figures },
    { what: "quiet full run", users, orphaned: 0, ...full.figures },
    { what: "webhook", users, orphaned: 0, ...webhook },
  ];
}

/** A full run that finds one user in a hundred to differ. */
export async function measureDrift(modules: Modules, users: number): Promise<Measured> {
  const { mirror, people } = await seeded(modules, users);
  const counts = drift(mirror.clerk, people);
  const { report, figures } = await mirror.run();
  if (!isDeepStrictEqual(report.drift, counts)) throw new Error("the drift is not what was made");
  return { what: "full run, 1 % drift", users, orphaned: counts.orphaned, ...figures };
}

async function seeded(modules: Modules, users: number) {
  const mirror = new Mirror(modules);
  const people = signUp(mirror.clerk, users);
  await mirror.seed(people);
  return { mirror, people };
}

/** The same by a cron, of which none knows recent runs. */
export async function measurePeerQuiet(peer: CronToCompare, users: number): Promise<Measured> {
  const cron = new Peer(peer);
  await cron.seed(signUp(cron.clerk, users));
  return { what: "quiet full run", users, orphaned: 0, ...(await cron.run()) };
}

export async function measurePeerDrift(peer: CronToCompare, users: number): Promise<Measured> {
  const cron = new Peer(peer);
  const people = signUp(cron.clerk, users);
  await cron.seed(people);
  const { orphaned } = drift(cron.clerk, people);
  return { what: "full run, 1 % drift", users, orphaned, ...(await cron.run()) };
}

export async function measurePeerBackfill(peer: CronToCompare, users: number): Promise<Measured> {
  const cron = new Peer(peer);
  signUp(cron.clerk, users);
  return { what: "backfill", users, orphaned: 0, ...(await cron.run()) };
}

export async function measurePeerStale(peer: CronToCompare, users: number): Promise<Measured> {
  const cron = new Peer(peer);
  await cron.seed(signUp(cron.clerk, users), { name: "Old" });
  return { what: "full run, all stale", users, orphaned: 0, ...(await cron.run()) };
}
