/**
 * Many events at once, and the messages of an outage that are resent. `BURST=10000` resends so many; the in-memory
 * database looks at every document in each look-up, so that takes an hour.
 */
import { describe, expect, test, vi } from "vitest";
import { HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import type { UserEvent } from "../../scripts/stand-in/clerk-json";
import { expectMirror, seed, signUp } from "../world/people";
import { complete, pass, post, run, useSetting } from "../world/setting";

const BURST = Number(process.env.BURST ?? 500);

const setting = useSetting({ http: false });

/** Changes of which no event came at the time. @returns the messages that are resent */
function outage(ids: string[]): UserEvent[] {
  return ids.map((id) =>
    setting.clerk.updateUser(id, { first_name: "In the outage" }, Date.now() - HOUR),
  );
}

async function scheduled(): Promise<string[]> {
  const calls = await setting.t.run(
    async (ctx) => await ctx.db.system.query("_scheduled_functions").take(10_000),
  );
  return calls.flatMap(({ state, name }) => (state.kind === "pending" ? name : []));
}

/** What every event reads, or any other one: all but the rows of a user. */
async function shared(): Promise<string> {
  const tables = (Object.keys(schema.tables) as (keyof typeof schema.tables)[]).filter(
    (table) => !["users", "clerkVersions", "clerkDoubts"].includes(table),
  );
  return await setting.t.run(async (ctx) =>
    JSON.stringify(await Promise.all(tables.map((table) => ctx.db.query(table).take(1000)))),
  );
}

async function settle(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
}

describe("messages of an outage, resent while a full run is under way,", () => {
  test(
    "300 cost 30 requests at most, none of them more than a development instance allows",
    { tags: ["slow"] },
    async () => {
      const { t, clerk, log } = setting;
      clerk.environment = "development";
      clerk.allows = { requests: 100, inMs: 10_000 };
      const ids = signUp(setting, 1200);
      await seed(setting, ids);
      pass(2 * HOUR);
      await complete(t);
      pass(10 * MINUTE);
      const alone = clerk.requests.length;
      await complete(t);
      const requests = clerk.requests.length - alone;
      pass(HOUR);

      const messages = outage(ids.slice(0, 300));
      const before = clerk.requests.length;
      let walked = 0;
      const posted: Promise<Response>[] = [];
      clerk.onRequest = ({ query }) => {
        if (query.get("order_by") !== "+created_at" || ++walked !== 2) return;
        posted.push(...messages.map(async (message) => await post(t, message)));
      };
      await t.action(run, {});
      const answers = await Promise.all(posted);
      await settle();
      expect(answers.map(({ status }) => status)).toEqual(messages.map(() => 200));
      expect(clerk.requests.length - before - requests).toBeLessThanOrEqual(30);
      expect(clerk.refused).toBe(0);
      expect(log.filter(({ level }) => level === "error")).toEqual([]);
      await expectMirror(setting);
    },
  );

  test(
    `${BURST} cost no more requests than 150 for 10,000`,
    { tags: ["slow"], timeout: 7_200_000 },
    async () => {
      const { t, clerk } = setting;
      await complete(t);
      pass(HOUR);
      // Nobody knows these: each is asked about all the same.
      const messages = Array.from({ length: BURST }, () => {
        const { event } = clerk.createUser({ created_at: Date.now() - 2 * HOUR });
        return event;
      });
      await t.run(async (ctx) => {
        const state = await ctx.db.query("clerkSyncState").unique();
        if (state)
          await ctx.db.patch("clerkSyncState", state._id, { fullRunStartedAt: Date.now() });
      });
      const before = clerk.requests.length;
      for (const message of messages) await post(t, message);
      expect(await scheduled()).toHaveLength(1);
      await settle();
      expect(clerk.requests.length - before).toBeLessThanOrEqual(Math.ceil(BURST * 0.015));
      await expectMirror(setting);
    },
  );
});

describe("400 events at once", () => {
  const people = () =>
    Array.from({ length: 200 }, () => setting.clerk.createUser({ created_at: Date.now() }));

  test.each([
    ["where an instance is mirrored", true],
    ["before the first run", false],
  ])("schedule nothing, and write nothing that another one reads, %s", async (_, isPinned) => {
    const { t, clerk } = setting;
    if (isPinned) await complete(t);
    pass(MINUTE);
    const before = await shared();
    const users = people();
    for (const { event } of users) await post(t, event);
    pass(1);
    for (const { user } of users) {
      await post(t, clerk.updateUser(user.id, { first_name: "New" }, Date.now()));
    }
    expect(await scheduled()).toEqual([]);
    expect(await shared()).toBe(before);
    await expectMirror(setting);
  });

  test("that leave doubts wake one worker, and after the first one write no more than each its own", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 300);
    await seed(setting, ids);
    await complete(t);
    pass(10 * MINUTE);
    const [first, ...others] = outage(ids);
    await post(t, first);
    const before = await shared();
    for (const message of others) await post(t, message);
    expect(await scheduled()).toEqual(["clerk/reconcile:advance"]);
    expect(await shared()).toBe(before);
    await settle();
    expect(clerk.users.size).toBe(300);
    await expectMirror(setting);
  });
});
