/** What who operates the sync sees of runs: exceptions, reports, log, what is kept. */
import { describe, expect, test, vi } from "vitest";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import {
  deploymentFlag,
  DriftLog,
  ReconcileError,
  runCommand,
} from "../../convex/clerk/report/report";
import { operatorOf } from "../world/operator";
import { signUp } from "../world/people";
import { complete, internal, pass, post, report, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const { status, reasons, tick, backfilled, lines } = operatorOf(setting);

describe("a run of the schedule", () => {
  test("that failed or is held throws once that is recorded, one by hand returns", async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(40);
    clerk.order(/users/, { kind: "status", status: 401 });
    const failure = t.action(run, { mode: "due" });
    await expect(failure).rejects.toThrow(ReconcileError);
    await expect(failure).rejects.toThrow(/^Failed: .+CLERK_SECRET_KEY.+npx convex run/);
    expect(await t.query(report, {})).toMatchObject({ status: "failed" });
    expect(await t.action(run, {})).toMatchObject({ status: "failed" });
    clerk.heal();
    for (const id of ids.slice(0, 20)) clerk.users.delete(id);
    pass(DAY);
    await expect(t.action(run, { mode: "due" })).rejects.toThrow(/^Held: .+"maxDeletions":20/);
    expect(await t.query(report, {})).toMatchObject({ status: "held", held: 20 });
    expect(await t.action(run, {})).toMatchObject({ status: "held" });
  });

  test("throws from the call that ends it, also where a tick resumed it", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await t.mutation(internal.clerk.run.lifecycle.begin, {
      mode: "full",
      dryRun: false,
      pageSize: 500,
    });
    pass(30 * MINUTE);
    clerk.order(/users/, { kind: "status", status: 500 });
    expect((await tick()).status).toBe("failed");
    expect(setting.exceptions).toMatchObject([
      { message: expect.stringMatching(/^Failed: /) as unknown },
    ]);
    await complete(t);
    expect(setting.exceptions).toHaveLength(1);
  });

  test("is told of by the call that closes it, where it died", async () => {
    const { t } = setting;
    signUp(setting, 3);
    await t.mutation(internal.clerk.run.lifecycle.begin, {
      mode: "due",
      dryRun: false,
      pageSize: 2,
    });
    pass(2 * HOUR);
    await tick();
    expect(setting.log.map(({ event }) => event).slice(0, 2)).toEqual([
      "reconcile.failed",
      "reconcile.started",
    ]);
  });

  test("that takes over one by hand leaves its end to be told once, and the caller in peace", async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(40);
    for (const id of ids.slice(0, 20)) clerk.users.delete(id);
    pass(DAY);
    let taken: Promise<unknown> | undefined;
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      if (taken === undefined && new Request(...args).url.includes("/count")) {
        pass(4 * MINUTE);
        taken = expect(t.action(run, { mode: "due" })).rejects.toThrow(ReconcileError);
        await taken;
      }
      return await clerk.fetch(...args);
    });
    expect(await t.action(run, {})).toMatchObject({ status: "held" });
    expect(taken).toBeDefined();
    expect(lines("reconcile.held")).toHaveLength(1);
  });

  test("that is dry returns like one by hand, and throws nothing", async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(40);
    for (const id of ids.slice(0, 20)) clerk.users.delete(id);
    pass(DAY);
    const dry = await t.action(run, { mode: "due", dryRun: true });
    expect(dry).toMatchObject({ mode: "full", status: "held" });
  });

  test("without a key throws where a mirror is there already", async () => {
    await backfilled(3);
    vi.stubEnv("CLERK_SECRET_KEY", "");
    await expect(setting.t.action(run, { mode: "due" })).rejects.toThrow(ReconcileError);
  });

  test("before any secret is set says so in one line, and throws nothing", async () => {
    vi.stubEnv("CLERK_SECRET_KEY", "");
    await setting.t.action(run, { mode: "due" });
    expect(setting.log).toMatchObject([
      {
        event: "reconcile.failed",
        level: "error",
        summary: expect.stringMatching("CLERK_SECRET_KEY is not set") as unknown,
      },
    ]);
    expect(await reasons()).toEqual([expect.stringMatching(/CLERK_SECRET_KEY is not set/)]);
  });
});

test(
  "a week of being held says so once a full run, keeps to its size, and asks for attention",
  { tags: ["slow"] },
  async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(40);
    for (const id of ids.slice(0, 20)) clerk.users.delete(id);
    const [before] = setting.log.splice(0);
    expect(before).toBeDefined();
    let thrown = 0;
    for (let hour = 0; hour < 7 * 24; hour++) {
      pass(HOUR);
      await t.action(run, { mode: "due" }).catch((error: unknown) => {
        expect(error).toBeInstanceOf(ReconcileError);
        thrown += 1;
      });
      if (hour >= 24) expect((await status()).verdict).toBe("attention");
    }
    const fullRuns = lines("reconcile.started").filter(({ mode }) => mode === "full").length;
    expect(fullRuns).toBe(7);
    expect(lines("reconcile.held")).toHaveLength(7);
    expect(thrown).toBe(7);
    const kept = await t.run(async (ctx) => ({
      runs: (await ctx.db.query("clerkRuns").take(500)).length,
      entries: (await ctx.db.query("clerkDriftEntries").take(500)).length,
      suspects: (await ctx.db.query("clerkDoubts").take(500)).length,
    }));
    // The seven, the backfill, and the newest quiet run of the recent ones.
    expect(kept).toEqual({ runs: 9, entries: 7 * 20 + 40, suspects: 0 });
  },
);

test("runs that status tells of outlive a hundred others", { tags: ["slow"] }, async () => {
  const { t, clerk } = setting;
  const ids = await backfilled(40);
  for (const id of ids.slice(0, 20)) clerk.users.delete(id);
  const held = await complete(t);
  for (let i = 0; i < 110; i++) {
    pass(10 * MINUTE);
    await post(t, clerk.updateUser(ids[30] ?? "", { first_name: `Heard ${i}` }, Date.now()));
    pass(10 * MINUTE);
    clerk.updateUser(ids[30] ?? "", { first_name: `Unheard ${i}` }, Date.now() - MINUTE);
    await complete(t, { dryRun: true, mode: i % 2 ? "full" : "recent" });
  }
  expect((await status()).lastFullRun).toMatchObject({ runId: held.runId, status: "held" });
  expect(await t.query(report, { runId: held.runId })).toMatchObject({ held: 20 });
  const runs = await t.run(async (ctx) => await ctx.db.query("clerkRuns").take(500));
  expect(runs.length).toBeLessThan(110);
});

test("a call whose log is full lets another one go on", async () => {
  const { t } = setting;
  signUp(setting, 3);
  vi.spyOn(DriftLog.prototype, "write").mockImplementationOnce(function (this: DriftLog) {
    this.isFull = true;
  });
  const { runId, status: first } = await t.action(run, {});
  expect(first).toBe("running");
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
  expect(await t.query(report, { runId })).toMatchObject({ repaired: { created: 3 } });
});

describe("what a person reads", () => {
  test(
    "lists whom a run holds or sets aside, after more findings than are kept",
    { tags: ["slow"] },
    async () => {
      const { t, clerk } = setting;
      const ids = await backfilled(30);
      signUp(setting, 1010, 30);
      for (const id of ids.slice(0, 20)) clerk.users.delete(id);
      const updated_at = Date.now() - MINUTE;
      const metadata = { public_metadata: { $key: 1 } };
      clerk.createUser({ created_at: Date.now() - DAY, updated_at, ...metadata });
      for (const dryRun of [true, false]) {
        const { entries, held, next } = await complete(t, { dryRun });
        expect(held).toBe(20);
        const actions = entries.map(({ action }) => action);
        expect(actions.filter((action) => action === "held")).toHaveLength(20);
        expect(actions.filter((action) => action === "setAside")).toHaveLength(1);
        expect(next).toMatch("maxDeletions");
      }
    },
  );

  test("pages by runId and cursor, never by cursor alone", async () => {
    await backfilled(3);
    const { t } = setting;
    await expect(t.query(report, { cursor: "0" })).rejects.toThrow("needs the runId");
  });

  test("hides what an app keeps as clerkId by mistake from the log", async () => {
    const { t } = setting;
    await backfilled(3);
    await t.run(async (ctx) => {
      await ctx.db.insert("users", { clerkId: "ada@example.com", color: "wrong" });
    });
    const report = await complete(t);
    expect(report).toMatchObject({ setAside: 0, appOwned: 1 });
    expect(report.summary).toMatch("1 row has a clerkId that is no Clerk user id (user_…)");
    expect(JSON.stringify([setting.log, report])).not.toMatch("ada@");
  });

  test("offers a full run where a recent one can't begin", async () => {
    const { next } = await complete(setting.t, { mode: "recent" });
    expect(next).toBe("npx convex run clerk/reconcile:run");
  });

  test("begins with the summary in the log", async () => {
    await backfilled(3);
    const [line = {}] = lines("reconcile.finished");
    expect(Object.keys(line).slice(0, 4)).toEqual(["level", "event", "summary", "next"]);
  });

  test("names the deployment in each command, where the CLI knows it by name", async () => {
    const on = async (name: string, region: string | null) =>
      await deploymentFlag({
        meta: { getDeploymentMetadata: () => Promise.resolve({ name, region, class: "s16" }) },
      });
    const flag = await on("happy-animal-1", "aws-eu-west-1");
    expect(runCommand(flag, "reconcile:run", { dryRun: undefined, maxDeletions: 20 })).toBe(
      `npx convex run --deployment happy-animal-1 clerk/reconcile:run '{"maxDeletions":20}'`,
    );
    expect(runCommand(await on("local-me-app", null), "reconcile:run")).toBe(
      "npx convex run clerk/reconcile:run",
    );
  });
});
