// @vitest-environment node
/** The budgets of `scripts/bench/budgets.ts`, counted: no figure here depends on the machine. */
import { convexTest } from "convex-test";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { internal } from "../../convex/_generated/api";
import { clock, SECOND } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import { overruns } from "../../scripts/bench/budgets";
import { pointAt } from "../../scripts/bench/durations";
import * as handwritten from "../../scripts/bench/handwritten-cron";
import { Meter, type Transaction } from "../../scripts/bench/measure";
import {
  measureBackfill,
  measureCrowd,
  measureDrift,
  measurePeerDrift,
  measurePeerQuiet,
  measurePeerBackfill,
  measurePeerStale,
  measureQuiet,
  measureQuietRun,
  measureStale,
  Mirror,
  signUp,
  type Figures,
  type Measured,
} from "../../scripts/bench/scenarios";
import * as usual from "../../scripts/bench/usual-cron";

/** Rows without a creation time; with 50,000 this in-memory database takes minutes. */
const UNDATED = Number(process.env.UNDATED ?? 2200);

const modules = import.meta.glob("../../convex/**/*.ts");
const real = { ...clock, fetch };

beforeAll(() => {
  vi.spyOn(console, "info").mockImplementation(() => undefined);
});
afterAll(() => {
  vi.restoreAllMocks();
  Object.assign(clock, { now: real.now, sleep: real.sleep });
  globalThis.fetch = real.fetch;
});

function calls({ actions, queries, mutations }: Figures): number {
  return actions + queries + mutations;
}

describe("within every budget are", { timeout: 120_000 }, () => {
  const quiet = async (...sizes: number[]) => {
    const measured: Measured[] = [];
    for (const users of sizes) measured.push(...(await measureQuiet(modules, users)));
    expect(measured).toHaveLength(3 * sizes.length);
    expect(overruns(measured)).toEqual([]);
  };
  test("quiet runs and a webhook at 1,000 and 2,500 users, each user as cheap as another", async () => {
    await quiet(1000, 2500);
  });
  test("the same at 5,000 and 20,000 users", { tags: ["slow"] }, async () => {
    await quiet(1000, 5000, 20_000);
  });

  const written = async (users: number) => {
    const measured = [
      await measureBackfill(modules, users),
      await measureStale(modules, users),
      await measureDrift(modules, users),
    ];
    expect(overruns(measured)).toEqual([]);
  };
  test("a backfill, and runs that find all users, or one in a hundred, to differ", async () => {
    await written(500);
  });
  test("the same of a thousand users", { tags: ["slow"] }, async () => {
    await written(1000);
  });

  test(
    "a quiet run over users who share one creation time, in pages and unseen rows",
    { tags: ["slow"] },
    async () => {
      expect(overruns([await measureCrowd(modules, 700)])).toEqual([]);
    },
  );
});

describe("no transaction reads 4,000 documents or 8 MiB, where a window holds", () => {
  const MAX_DOCUMENTS = 3500;
  const MAX_BYTES = 8 * 1024 * 1024;

  function expectSmall(transactions: Transaction[]): void {
    expect(transactions.length).toBeGreaterThan(3);
    for (const { documentsRead, bytesRead, name } of transactions) {
      expect(documentsRead, name).toBeLessThan(MAX_DOCUMENTS);
      expect(bytesRead, name).toBeLessThan(MAX_BYTES);
    }
  }

  test("500 rows of 34 kB", async () => {
    const mirror = new Mirror(modules);
    await mirror.seed(signUp(mirror.clerk, 500), { color: "x".repeat(33_500) });
    const { report, transactions } = await mirror.run();
    expect(report).toMatchObject({ scanned: 500, unchanged: 500 });
    expectSmall(transactions);
  });

  test("thousands of rows without a creation time, whom nobody listed", async () => {
    const meter = new Meter();
    const wrapped = meter.wrap(modules);
    const t = convexTest({ schema, modules: wrapped, transactionLimits: true });
    for (let from = 0; from < UNDATED; from += 1000) {
      await t.run(async (ctx) => {
        for (let i = from; i < from + 1000; i++) {
          await ctx.db.insert("users", { clerkId: `user_${i}`, color: "from before" });
        }
      });
    }
    const { begin, walk, lookBack, count } = internal.clerk.run;
    const { run } = await t.mutation(internal.clerk.run.lifecycle.begin, {
      mode: "full",
      dryRun: false,
      pageSize: 500,
    });
    let step = 0;
    const at = () => ({ runId: run._id, step: step++, requests: 0 });
    const seenAt = clock.now();
    await t.mutation(begin.settle, { at: at(), instanceId: "ins_1", clerkUsers: 0 });
    await t.mutation(walk.settle, { at: at(), users: [], until: null, seenAt });
    const end = { key: 0, clerkId: "" };
    const looked = { users: [], until: end, end, seenAt, next: null };
    await t.mutation(lookBack.settle, { at: at(), ...looked });
    const result = await t.mutation(count.settle, { at: at(), clerkUsers: 0 });
    expect(result?.run.state).toMatchObject({ phase: { kind: "count" } });
    expectSmall(meter.transactions);
  });
});

test("a budget that is exceeded is named", async () => {
  const quiet = await measureQuietRun(modules, 100);
  expect(overruns([{ ...quiet, documentsRead: 143 }])).toEqual([
    "quiet full run, 100 users: 143 documentsRead, budget 142",
  ]);
  const twice = { ...quiet, users: 200, documentsRead: 200, bytesRead: 2 * quiet.bytesRead };
  const uneven = { ...twice, users: 300, bytesRead: 9 * quiet.bytesRead };
  expect(overruns([quiet, twice, uneven]).join()).toMatch("one more user costs");
});

test(
  "a full run makes a hundredth of the usual cron's calls, and fewer requests",
  { tags: ["slow"] },
  async () => {
    const mine = await measureDrift(modules, 2000);
    const theirs = await measurePeerDrift(usual, 2000);
    expect(calls(theirs) / calls(mine)).toBeGreaterThanOrEqual(100);
    expect(mine.requests).toBeLessThan(theirs.requests);
  },
);

describe("on the simulated clock", { timeout: 120_000 }, () => {
  test(
    "20 pages at 1 s a request take 14 s at most, and no request more than one at a time",
    { tags: ["slow"] },
    async () => {
      const runIn = async (environment: "production" | "development") => {
        const mirror = new Mirror(modules, 1000);
        mirror.clerk.environment = environment;
        await mirror.seed(signUp(mirror.clerk, 9900));
        const found = await mirror.run();
        const pages = mirror.clerk.requests.filter(
          ({ query }) => query.get("order_by") === "+created_at" && query.get("offset") !== "1",
        );
        // Those that list somebody new, and the one that lists the last of all once more, twice.
        expect(pages).toHaveLength(22);
        return found;
      };
      const [fast, slow] = [await runIn("production"), await runIn("development")];
      expect(fast.figures.durationMs).toBeLessThanOrEqual(14_000);
      expect(slow.figures.durationMs).toBeGreaterThan(20_000);
      expect(fast.figures.requests).toBe(slow.figures.requests);
      const numbers = ({ report }: typeof fast) => {
        const { runId: _, startedAt, finishedAt, durationMs, requests, summary, ...rest } = report;
        return rest;
      };
      expect(numbers(fast)).toEqual(numbers(slow));
    },
  );

  test(
    "a run of 5,000 is not behind one that is written by hand, and the usual cron is far behind",
    { tags: ["slow"] },
    async () => {
      const users = 5000;
      const mine = (await measureQuietRun(modules, users)).durationMs / SECOND;
      const byHand = [
        await measurePeerQuiet(handwritten, 1000),
        await measurePeerQuiet(handwritten, 2000),
      ];
      expect(mine).toBeLessThanOrEqual(pointAt(byHand, users).seconds);
      const theirs = await measurePeerQuiet(usual, users);
      expect(mine * 5).toBeLessThan(theirs.durationMs / SECOND);
    },
  );

  test(
    "the peer by hand waits as often as such code does on Convex",
    { tags: ["slow"] },
    async () => {
      const quiet = await measurePeerQuiet(handwritten, 1000);
      const backfill = await measurePeerBackfill(handwritten, 1000);
      const stale = await measurePeerStale(handwritten, 1000);
      // A hit of `unique` is two reads, a miss is one: 16 of either at once, of 500 users.
      expect([quiet.mostWaits, backfill.mostWaits, stale.mostWaits]).toEqual([63, 32, 63]);
    },
  );
});
