/** A newer folder is deployed over one that runs: what that one had scheduled calls functions that are gone. */
import { makeFunctionReference } from "convex/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { DriftLog } from "../../convex/clerk/report/report";
import { HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { expectMirror, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, post, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
/** From one tick of the schedule to the next. */
const TICK_MS = 15 * MINUTE;

/** What convex-test says of a scheduled call that threw. */
const failures: string[] = [];
beforeEach(() => {
  failures.length = 0;
  vi.spyOn(console, "error").mockImplementation((line: string) => {
    failures.push(line);
  });
});

async function pending() {
  const jobs = await setting.t.run(
    async (ctx) => await ctx.db.system.query("_scheduled_functions").take(100),
  );
  return jobs.filter(({ state }) => state.kind === "pending");
}

/** Gives each scheduled call a path of the older folder, which leads nowhere now, and lets it fail. */
async function deploy(): Promise<void> {
  const { t } = setting;
  const jobs = await pending();
  expect(jobs.length).toBeGreaterThan(0);
  const gone = makeFunctionReference<"mutation">("clerk/formerly:goOn");
  await t.run(async (ctx) => {
    for (const { _id } of jobs) await ctx.scheduler.cancel(_id);
    for (const { args } of jobs) {
      await ctx.scheduler.runAfter(0, gone, (args as [Record<string, unknown>])[0]);
    }
  });
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 100);
  expect(failures).toEqual(
    jobs.map(() => "Error when running scheduled function clerk/formerly:goOn"),
  );
  expect(await pending()).toEqual([]);
}

async function tick() {
  pass(TICK_MS);
  return await complete(setting.t, { mode: "due" });
}

test("a run goes on where it stood, by the next tick", async () => {
  const { t, clerk } = setting;
  signUp(setting, 30);
  // A full log has the call hand the run on, here after its first page.
  vi.spyOn(DriftLog.prototype, "write").mockImplementationOnce(function (this: DriftLog) {
    this.isFull = true;
  });
  const { runId, status, scanned } = await t.action(run, { mode: "due", pageSize: 10 });
  expect(status).toBe("running");
  expect(scanned).toBeGreaterThan(0);

  await deploy();

  pass(TICK_MS);
  clerk.requests.length = 0;
  const resumed = await t.action(run, { mode: "due", pageSize: 10 });
  expect(resumed).toMatchObject({ runId, status: "completed", repaired: { created: 30 } });
  const first = clerk.requests.find(({ path }) => path.endsWith("/users"));
  expect(first?.query.get("created_at_after")).not.toBeNull();
  await expectMirror(setting);
});

test("doubts are judged by the next tick", async () => {
  const { t, clerk } = setting;
  const [id = ""] = signUp(setting, 3);
  await complete(t);
  pass(HOUR);
  await post(t, clerk.updateUser(id, { first_name: "Heard" }, LONG_AGO + HOUR));
  expect((await rows(t)).map(({ firstName }) => firstName)).not.toContain("Heard");

  await deploy();
  await tick();

  await expectMirror(setting);
  const doubts = await t.query(internal.clerk.reconcile.report, { mode: "doubts" });
  expect(doubts).toMatchObject({ status: "completed", repaired: { updated: 1 } });
});

const hooks = app.hooks;
afterEach(() => {
  delete hooks.erase;
});

test("erasures go on by the next tick", async () => {
  const { t, clerk } = setting;
  let calls = 0;
  hooks.erase = async () => {
    calls += 1;
    return await Promise.resolve(calls < 3 ? "more" : undefined);
  };
  const [id = ""] = signUp(setting, 20);
  await complete(t);
  pass(HOUR);
  await post(t, clerk.deleteUser(id, Date.now()));
  expect(await t.query(internal.clerk.reconcile.status, {})).toMatchObject({ erasing: 1 });

  await deploy();
  await tick();

  expect(calls).toBe(3);
  expect(await t.query(internal.clerk.reconcile.status, {})).toMatchObject({ erasing: 0 });
  await expectMirror(setting);
});
