/** What doubts, events and rows on their way out cost: requests, and documents read and written. */
import { convexTest } from "convex-test";
import { afterEach, describe, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { clock, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { Meter } from "../../scripts/bench/measure";
import { backfill, expectMirror, signUp } from "../world/people";
import { complete, internal, pass, post, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const modules = import.meta.glob("../../convex/**/*.ts");

afterEach(() => {
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
});

/** So many users, mirrored an hour ago by functions whose cost is counted. */
async function metered(count: number) {
  const meter = new Meter();
  setting.t = convexTest({ schema, modules: meter.wrap(modules), transactionLimits: true });
  const ids = signUp(setting, count);
  await complete(setting.t);
  pass(HOUR);
  return { meter, ids };
}

test("the doubts of an outage cost no more requests where one in ten is about somebody who is gone", async () => {
  const { t, clerk } = setting;
  await complete(t);
  pass(HOUR);
  const created_at = Date.now() - 2 * HOUR;
  const messages = Array.from({ length: 400 }, () => clerk.createUser({ created_at }));
  messages.forEach(({ user }, i) => {
    if (i % 10 === 0) clerk.users.delete(user.id);
  });
  const asked: number[] = [];
  clerk.onRequest = () => {
    asked.push(Date.now());
  };
  for (const { event } of messages) await post(t, event);
  // Whom Clerk does not know yet is asked about again five minutes later.
  const end = Date.now() + 4 * MINUTE;
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  await expectMirror(setting);
  // 150 for 10,000.
  expect(asked.filter((at) => at < end).length).toBeLessThanOrEqual(0.015 * messages.length);
});

describe("an event stays within the webhook's budget", () => {
  async function expectWithin(meter: Meter, event: unknown, written = 3): Promise<void> {
    meter.take();
    await post(setting.t, event);
    const { mutations, queries, documentsRead, documentsWritten } = meter.take();
    expect({ mutations, queries }).toEqual({ mutations: 1, queries: 0 });
    expect(documentsRead).toBeLessThanOrEqual(6);
    expect(documentsWritten).toBeLessThanOrEqual(written);
  }

  test("of a user who was locked out, but for the one that wakes the worker as that ends", async () => {
    const { meter, ids } = await metered(5);
    const change = { locked: true, lockout_expires_in_seconds: 1800 };
    await expectWithin(meter, setting.clerk.updateUser(ids[0] ?? "", change, Date.now()), 4);
  });

  test.each(["created", "updated", "removed", "database"] as const)("by hooks.%s", async (name) => {
    const { meter, ids } = await metered(5);
    const { clerk } = setting;
    if (name === "database") hooks.database = (ctx) => ctx.db;
    else hooks[name] = () => Promise.resolve();
    await expectWithin(meter, clerk.createUser({ created_at: Date.now() }).event);
    await expectWithin(meter, clerk.updateUser(ids[0] ?? "", { first_name: "N" }, Date.now()));
    await expectWithin(meter, clerk.deleteUser(ids[1] ?? "", Date.now()));
  });

  test("that leaves a doubt while the worker sleeps", async () => {
    const { meter, ids } = await metered(5);
    const { t, clerk } = setting;
    await post(t, clerk.updateUser(ids[0] ?? "", { first_name: "A" }, Date.now()));
    await complete(t, { mode: "recent" });
    pass(HOUR);
    const at = Date.now() - 3 * HOUR;
    await expectWithin(meter, clerk.updateUser(ids[1] ?? "", { first_name: "B" }, at));
  });

  test("after one of another instance", async () => {
    const { meter, ids } = await metered(5);
    const { t, clerk } = setting;
    const event = clerk.updateUser(ids[0] ?? "", { first_name: "A" }, Date.now());
    await post(t, { ...event, instance_id: "ins_other" });
    const next = clerk.updateUser(ids[0] ?? "", { first_name: "B" }, Date.now());
    await expectWithin(meter, next);
  });

  test("that begins to erase", async () => {
    const { meter, ids } = await metered(5);
    hooks.erase = () => Promise.resolve();
    await expectWithin(meter, setting.clerk.deleteUser(ids[0] ?? "", Date.now()));
  });
});

test("a quiet full run reads no more while a row's erasure does not get to its end", async () => {
  const { meter, ids } = await metered(301);
  const { t, clerk } = setting;
  hooks.erase = () => {
    throw new Error("stuck");
  };
  await post(t, clerk.deleteUser(ids[0] ?? "", Date.now()));
  vi.advanceTimersByTime(1);
  await t.finishInProgressScheduledFunctions();
  pass(HOUR);
  meter.take();
  expect(await t.action(run, {})).toMatchObject({ status: "completed", unchanged: 300 });
  expect(meter.take().documentsRead).toBeLessThanOrEqual(1.02 * 300 + 40);
});

test("the worker answers about an orphan while others' events go on leaving doubts", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 40);
  pass(HOUR);
  const [gone = "", ...others] = ids;
  clerk.users.delete(gone);
  const start = Date.now();
  // Events of another API version: each leaves a doubt. One comes in each second, for two minutes.
  let count = 0;
  const event = async () => {
    if (Date.now() - start > 2 * MINUTE) return;
    const id = others[count++ % others.length] ?? "";
    clerk.updateUser(id, { first_name: `New${count}` }, Date.now());
    const at = { instanceId: clerk.instanceId, at: Date.now() };
    await post(t, userEvent("user.updated", { ...clerk.users.get(id), username: undefined }, at));
  };
  let asked = 0;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    if (new Request(...args).url.includes(gone)) asked += 1;
    pass(10);
    return await clerk.fetch(...args);
  });
  vi.spyOn(clock, "sleep").mockImplementation(async (ms) => {
    pass(ms / 2);
    await event();
    pass(ms / 2);
  });
  await event();
  // A page of the app's asks about who is gone.
  await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: gone });
  while (Date.now() - start < 3 * MINUTE && vi.getTimerCount() > 0) {
    vi.advanceTimersToNextTimer();
    await t.finishInProgressScheduledFunctions();
    await event();
  }
  expect(asked).toBeLessThan(10);
});
