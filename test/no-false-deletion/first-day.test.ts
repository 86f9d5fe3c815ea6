/**
 * The first three ticks on tables that nobody has seen: who is there afterwards, what `status` says, and
 * what its command then mends. With DAYS=1 each day's ticks are printed.
 */
import { describe, expect, test, vi } from "vitest";
import { clock, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { placeBetween } from "../../convex/clerk/run/firstDay";
import { clerkUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { expectMirror, signUp } from "../world/people";
import {
  complete,
  internal,
  LONG_AGO,
  pass,
  post,
  rows,
  run,
  useSetting,
  WEBHOOK_SECRET,
} from "../world/setting";

const setting = useSetting({ http: false });
const { status } = internal.clerk.reconcile;
const { fill } = internal.clerk.adopt;

type NewRow = { clerkId?: string; clerkExternalId?: string; name?: string; color?: string };

async function insert(all: NewRow[]): Promise<void> {
  for (let from = 0; from < all.length; from += 500) {
    await setting.t.run(async (ctx) => {
      for (const row of all.slice(from, from + 500)) {
        await ctx.db.insert("users", { color: "own", ...row });
      }
    });
  }
  // The app may have made its youngest rows for users who sign up at this moment.
  pass(HOUR);
}

const guests = (count: number): NewRow[] =>
  Array.from({ length: count }, () => ({ name: "Guest" }));

/** An event as Clerk's dashboard, or somebody's test, sends it. */
async function hear(clerkId: string, instanceId: string): Promise<void> {
  const data = clerkUser({ id: clerkId, created_at: LONG_AGO });
  const event = userEvent("user.created", data, { instanceId, at: LONG_AGO });
  expect((await post(setting.t, event, WEBHOOK_SECRET)).status).toBe(200);
}

/** Three ticks of the schedule, a quarter of an hour apart. @returns the end of each, and what `status` says then */
async function ticks(day: string) {
  const { t } = setting;
  const ends: string[] = [];
  for (let tick = 0; tick < 3; tick += 1) {
    await complete(t, { mode: "due" });
    const { lastRun } = await t.query(status, {});
    ends.push(lastRun?.status ?? "none");
    if (process.env.DAYS) {
      process.stdout.write(`| ${day} | ${tick + 1} | ${lastRun?.mode}: ${lastRun?.summary} |\n`);
    }
    pass(15 * MINUTE);
  }
  const { reasons } = await t.query(status, {});
  if (process.env.DAYS) process.stdout.write(`| ${day} | status | ${reasons.join(" ")} |\n`);
  return { ends, reasons: reasons.join("\n") };
}

const DONE = ["completed", "completed", "completed"];
const REFUSED = ["failed", "failed", "failed"];

/** No user of Clerk has two rows, and nobody's row is gone. */
async function expectNobodyDoubled(count: number): Promise<void> {
  const ids: string[] = [];
  let [rowsSeen, since] = [0, -Infinity];
  for (;;) {
    // As many big rows as one transaction may read.
    const page = await setting.t.run(
      async (ctx) =>
        await ctx.db
          .query("users")
          .withIndex("by_creation_time", (q) => q.gt("_creationTime", since))
          .take(20),
    );
    rowsSeen += page.length;
    ids.push(...page.flatMap(({ clerkId }) => clerkId ?? []));
    since = page.at(-1)?._creationTime ?? Infinity;
    if (page.length < 20) break;
  }
  expect(new Set(ids).size).toBe(ids.length);
  expect(rowsSeen).toBe(count);
}

describe("a first day on a table of", () => {
  test("guests alone begins once a person says that they are guests", async () => {
    const { t, clerk } = setting;
    signUp(setting, 20);
    await insert(guests(300));
    const { ends, reasons } = await ticks("guests alone");
    expect(ends).toEqual(REFUSED);
    expect(reasons).toMatch(/rows or more without a clerkId.+clerk\/adopt:fill.+pinInstance/);
    await expectNobodyDoubled(300);
    const { instanceId } = clerk;
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId });
    expect((await ticks("… pinned")).ends).toEqual(DONE);
    await expectNobodyDoubled(320);
  });

  test("3,000 guests and 20 users among them begins", { timeout: 120_000 }, async () => {
    const ids = signUp(setting, 20);
    await insert([...guests(52), ...ids.map((clerkId) => ({ clerkId })), ...guests(2948)]);
    expect((await ticks("guests and users")).ends).toEqual(DONE);
    await expectNobodyDoubled(3020);
  });

  test(
    "3,000 guests and the users of another instance is not written from this one",
    { tags: ["slow"], timeout: 120_000 },
    async () => {
      const ids = Array.from({ length: 20 }, (_, i) => ({ clerkId: `user_ofAnother${i}` }));
      await insert([...guests(52), ...ids, ...guests(2948)]);
      signUp(setting, 20);
      const before = await rows(setting.t);
      const { ends, reasons } = await ticks("another instance's users");
      expect(ends).toEqual(REFUSED);
      expect(reasons).toMatch(/ins_stand_in knows only 0 of 20 users.+secret key.+pinInstance/);
      expect(await rows(setting.t)).toEqual(before);
    },
  );

  test.each([
    [100, 14_000],
    [300, 9000],
    [20, 600_000],
  ])("%i rows of %i bytes each begins", { timeout: 120_000 }, async (count, bytes) => {
    const ids = signUp(setting, count);
    await insert(ids.map((clerkId) => ({ clerkId, color: "x".repeat(bytes) })));
    expect((await ticks(`${count} rows of ${bytes / 1000} kB`)).ends).toEqual(DONE);
    await expectNobodyDoubled(count);
  });

  test("2,500 rows of 9 kB each is looked at within a transaction", async () => {
    const { t } = setting;
    const ids = Array.from({ length: 2500 }, (_, i) => ({ clerkId: `user_${i}` }));
    await insert(ids.map((row) => ({ ...row, color: "x".repeat(9000) })));
    const { ids: sampled } = await t.query(internal.clerk.run.firstDay.sample, {});
    expect(sampled.length).toBe(40);
    // From everywhere: ids begin with 1 to 9, and go up to four digits.
    expect(new Set(sampled.map((id) => id.slice(0, 6))).size).toBeGreaterThan(7);
  });

  test("users whose id is in another column begins when that is filled in", async () => {
    const { t } = setting;
    const ids = signUp(setting, 43);
    await insert(ids.map((id) => ({ clerkExternalId: `https://a.clerk.example|${id}` })));
    const { ends, reasons } = await ticks("another column");
    expect(ends).toEqual(REFUSED);
    expect(reasons).toMatch(/clerk\/adopt:fill '{"column":"clerkExternalId","dryRun":true}'/);
    await expectNobodyDoubled(43);
    expect(await t.action(fill, { column: "clerkExternalId" })).toMatchObject({ filled: 43 });
    expect((await ticks("… filled")).ends).toEqual(DONE);
    await expectNobodyDoubled(43);
  });

  test("which half is filled in begins when the other half is", async () => {
    const { t } = setting;
    const ids = signUp(setting, 60);
    const filled = ids.slice(0, 30).map((id) => ({ clerkId: id, clerkExternalId: id }));
    await insert([...filled, ...ids.slice(30).map((id) => ({ clerkExternalId: id }))]);
    const { ends, reasons } = await ticks("half filled");
    expect(ends).toEqual(REFUSED);
    expect(reasons).toMatch('{"column":"clerkExternalId","dryRun":true}');
    await t.action(fill, { column: "clerkExternalId" });
    expect((await ticks("… filled")).ends).toEqual(DONE);
    await expectNobodyDoubled(60);
  });

  test("users whose clerkId is Convex's tokenIdentifier begins when it is cut", async () => {
    const { t } = setting;
    const ids = signUp(setting, 25);
    await insert(ids.map((id) => ({ clerkId: `https://a.clerk.example|${id}` })));
    expect((await complete(t, { dryRun: true })).status).toBe("failed");
    const { ends, reasons } = await ticks("tokenIdentifier as clerkId");
    expect(ends).toEqual(REFUSED);
    expect(reasons).toMatch(
      /25 of 25 rows.+another form than user_….+adopt:fill '{"dryRun":true}'/,
    );
    await expectNobodyDoubled(25);
    await t.action(fill, {});
    expect((await ticks("… cut")).ends).toEqual(DONE);
    await expectNobodyDoubled(25);
    await expectMirror(setting);
  });

  test("a few tokenIdentifiers among right ids doubles nobody", async () => {
    const { t } = setting;
    const ids = signUp(setting, 60);
    const cut = ids.slice(50).map((id) => ({ clerkId: `https://a.clerk.example|${id}` }));
    await insert([...ids.slice(0, 50).map((clerkId) => ({ clerkId })), ...cut]);
    expect((await ticks("a few tokenIdentifiers")).ends).toEqual(REFUSED);
    await t.action(fill, {});
    expect((await ticks("… cut")).ends).toEqual(DONE);
    await expectNobodyDoubled(60);
  });

  test("unfilled rows between guests is seen through", async () => {
    const ids = signUp(setting, 60);
    const right = ids.slice(0, 30).map((clerkId) => ({ clerkId }));
    const others = ids.slice(30).map((id) => ({ clerkExternalId: id }));
    await insert([...guests(100), ...right, ...others, ...guests(100)]);
    expect((await ticks("unfilled between guests")).ends).toEqual(REFUSED);
    await expectNobodyDoubled(260);
  });

  test("guests whose names look like ids begins", async () => {
    const ids = signUp(setting, 20);
    await insert([...ids.map((clerkId) => ({ clerkId })), { name: "user_4821" }]);
    expect((await ticks("a guest named user_4821")).ends).toEqual(DONE);
  });

  test("such guests, and users whose id is in another column, names the right column", async () => {
    const ids = signUp(setting, 20);
    const others = ids.map((id, i) => ({ name: `user_${i}x`, clerkExternalId: id }));
    await insert([{ name: "user_4821" }, ...others]);
    const { reasons } = await ticks("names like ids beside ids");
    expect(reasons).toMatch(`clerk/adopt:fill '{"column":"clerkExternalId","dryRun":true}'`);
  });

  test.each([
    ["huge", `user_${"a".repeat(20_000)}`],
    ["refused by Clerk", "user_refused"],
  ])("one id that is %s begins", async (_, clerkId) => {
    const { clerk } = setting;
    const ids = signUp(setting, 20);
    await insert([...ids, clerkId].map((each) => ({ clerkId: each })));
    clerk.order(/user_id=user_refused/, { kind: "status", status: 422, code: "no" });
    expect((await ticks("an odd id")).ends).not.toContain("failed");
    const here = (await rows(setting.t)).map((row) => row.clerkId);
    expect(here).toEqual(expect.arrayContaining([...ids, clerkId]));
  });

  test("users and versions without what was pinned gets nobody of another instance", async () => {
    const { t, clerk } = setting;
    signUp(setting, 30);
    await complete(t);
    await t.run(async ({ db }) => {
      const state = await db.query("clerkSyncState").first();
      if (state) await db.delete("clerkSyncState", state._id);
    });
    pass(HOUR);
    clerk.instanceId = "ins_other";
    clerk.users.clear();
    clerk.createUser({ id: "user_other", created_at: LONG_AGO });
    expect((await ticks("restored but for the pin")).ends).toEqual(REFUSED);
    await expectNobodyDoubled(30);
  });

  test("a webhook's one row, beside rows without a clerkId, opens no door", async () => {
    const ids = signUp(setting, 12);
    await insert(ids.map(() => ({ name: "Somebody" })));
    await hear(ids[0] ?? "", "ins_stand_in");
    const { ends, reasons } = await ticks("one row by webhook");
    expect(ends).toEqual(REFUSED);
    expect(reasons).toMatch(/none with one that the app has set/);
    await expectNobodyDoubled(13);
  });

  test("two rows for some users begins, mirrors the older ones, and names them", async () => {
    const ids = signUp(setting, 30);
    await insert([...ids, ...ids.slice(0, 5)].map((clerkId) => ({ clerkId })));
    const { ends, reasons } = await ticks("two rows of some");
    expect(ends).toEqual(DONE);
    expect(reasons).toMatch(/^5 users were set aside by the full run .+clerk\/reconcile:report/);
    expect((await rows(setting.t)).length).toBe(35);
  });

  test("a backup, restored without the sync's own tables, begins and is in sync", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 60);
    await complete(t);
    const backup = (await rows(t)).map(({ _id, _creationTime, ...row }) => row);
    const { convexTest } = await import("convex-test");
    const { default: schema } = await import("../../convex/schema");
    const modules = import.meta.glob("../../convex/**/*.ts");
    setting.t = convexTest({ schema, modules, transactionLimits: true });
    await insert(backup);
    clerk.users.delete(ids[3] ?? "");
    const { ends, reasons } = await ticks("a restored backup");
    expect([ends, reasons]).toEqual([DONE, ""]);
    await expectMirror(setting);
  });

  test("nobody, of an instance that has nobody, stays healthy whatever is made up", async () => {
    const { t } = setting;
    const first = await ticks("nobody");
    expect([first.ends, first.reasons]).toEqual([DONE, ""]);
    await hear("user_madeup", "ins_stand_in");
    pass(24 * HOUR);
    const next = await ticks("… and a made-up user");
    expect([next.ends, next.reasons]).toEqual([DONE, ""]);
    expect(await rows(t)).toEqual([]);
    expect((await t.fetch("/clerk-users-health", { method: "GET" })).status).toBe(200);
  });

  test("one row of the dashboard's example begins, and says whom it holds", async () => {
    const { t } = setting;
    await hear("user_29w83sxmDNGwOuEthce5gg56FcC", "ins_123");
    const ids = signUp(setting, 3);
    pass(HOUR);
    const { ends, reasons } = await ticks("the dashboard's example");
    expect(ends[0]).toBe("held");
    expect(reasons).toMatch(/clerk\/reconcile:run '{"maxDeletions":1}'/);
    const here = (await rows(t)).map((row) => row.clerkId);
    expect(here).toEqual(expect.arrayContaining(ids));
  });

  test("one row of a test user who was deleted again begins, and is rid of it", async () => {
    await hear("user_tester", "ins_stand_in");
    signUp(setting, 3);
    pass(HOUR);
    const dry = await complete(setting.t, { dryRun: true });
    expect(dry).toMatchObject({ status: "completed", held: 0, drift: { missing: 3, orphaned: 1 } });
    const { ends, reasons } = await ticks("a test user who was deleted again");
    expect([ends, reasons]).toEqual([DONE, ""]);
    await expectMirror(setting);
  });

  test("rows of one instance's events begins with another's key, and names both", async () => {
    const { t } = setting;
    for (const i of [1, 2, 3]) await hear(`user_ofA${i}`, "ins_a");
    const ids = signUp(setting, 5);
    pass(HOUR);
    const { ends, reasons } = await ticks("events of one, key of another");
    expect(ends[0]).toBe("held");
    expect(reasons).toMatch(
      /newest webhook event is of .+ ins_a, but the table mirrors ins_stand_in/,
    );
    const here = (await rows(t)).map(({ clerkId }) => clerkId);
    expect(here).toEqual(expect.arrayContaining([...ids, "user_ofA1", "user_ofA2", "user_ofA3"]));
    await hear(ids[0] ?? "", "ins_stand_in");
    expect((await t.query(status, {})).reasons.join()).not.toMatch("newest webhook event");
  });
});

describe("a call that throws in its first transaction", () => {
  test("leaves a failed run with its reason, and the tick is known", async () => {
    const { t } = setting;
    const worker = await import("../../convex/clerk/memory/worker");
    const message =
      "Index users.by_clerkId is currently backfilling and not available to query yet.";
    const broken = vi.spyOn(worker, "wakeForDoubts").mockRejectedValue(new Error(message));
    await complete(t, { mode: "due" });
    broken.mockRestore();
    const { lastRun, lastTickAt, reasons } = await t.query(status, {});
    expect(lastRun?.status).toBe("failed");
    expect(lastRun?.summary).toMatch(/could not begin. The index users.by_clerkId is still being/);
    expect(lastTickAt).not.toBeNull();
    expect(reasons.join()).not.toMatch("Add the schedule");
    expect(setting.log.at(-1)).toMatchObject({ event: "reconcile.failed" });
  });

  test("by hand, too", async () => {
    const { t } = setting;
    const worker = await import("../../convex/clerk/memory/worker");
    const broken = vi.spyOn(worker, "wakeForDoubts").mockRejectedValue(new Error("a@b.example"));
    const report = await t.action(run, {});
    broken.mockRestore();
    expect(report).toMatchObject({ status: "failed", summary: /The transaction threw Error/ });
  });
});

describe("the fill", () => {
  test("looks first, fills then, and finds nothing the second time", async () => {
    const { t } = setting;
    const ids = signUp(setting, 7);
    await insert([...guests(1200), ...ids.map((id) => ({ clerkExternalId: id })), ...guests(1200)]);
    await insert([{ clerkExternalId: "customer_7" }]);
    const before = await rows(t);
    const args = { column: "clerkExternalId" };
    const dry = await t.action(fill, { ...args, dryRun: true });
    expect(dry).toMatchObject({ rows: 2408, filled: 7, doubled: [] });
    expect(dry.next).toMatch(/clerk\/adopt:fill '{"column":"clerkExternalId"}'$/);
    expect(await rows(t)).toEqual(before);
    expect(await t.action(fill, args)).toMatchObject({ rows: 2408, filled: 7 });
    const again = await t.action(fill, args);
    expect(again).toMatchObject({ rows: 2401, filled: 0 });
    expect(again.next).toMatch(/clerk\/reconcile:run '{"dryRun":true}'$/);
    const here = (await rows(t)).flatMap(({ clerkId }) => clerkId ?? []);
    expect(here.sort()).toEqual([...ids].sort());
  });

  test(
    "goes through rows of any size, and past guests of any number",
    { timeout: 120_000 },
    async () => {
      const { t } = setting;
      const big = { color: "x".repeat(600_000) };
      await insert([...guests(3000), ...Array.from({ length: 20 }, () => big)]);
      await insert([{ clerkExternalId: "user_last", ...big }]);
      expect(await t.action(fill, { column: "clerkExternalId" })).toMatchObject({ filled: 1 });
    },
  );

  test("names ids that have a row already", async () => {
    const { t } = setting;
    await insert([
      { clerkId: "user_a" },
      { clerkExternalId: "user_a" },
      { clerkExternalId: "user_b" },
    ]);
    const filled = await t.action(fill, { column: "clerkExternalId" });
    expect(filled).toMatchObject({ filled: 2, doubled: ["user_a"] });
    expect(filled.summary).toMatch("1 of these ids are on another row, too");
  });

  test("goes on where a call before it stopped, by a cursor that shows nothing", async () => {
    const { t } = setting;
    const names = Array.from({ length: 600 }, (_, i) => ({ clerkId: `o'hara${i}@example.com` }));
    await insert([...names, { clerkId: "https://a.clerk.example|user_z" }]);
    const slow = vi.spyOn(clock, "now").mockImplementation(() => {
      pass(10 * MINUTE);
      return Date.now();
    });
    const first = await t.action(fill, {});
    slow.mockRestore();
    expect(first.next).not.toMatch(/example|o'hara/);
    const args = JSON.parse(/'(.+)'$/.exec(first.next)?.[1] ?? "") as { cursor: string };
    const second = await t.action(fill, args);
    expect(first.filled + second.filled).toBe(1);
    expect(first.rows + second.rows).toBe(601);
    await expect(t.action(fill, { cursor: "?" })).rejects.toThrow("cursor must be");
  });

  test("that is not done keeps a first run away, and says how to go on", async () => {
    const { t } = setting;
    const ids = signUp(setting, 40);
    const column = "clerkExternalId";
    await insert([...guests(480), ...ids.map((id) => ({ clerkExternalId: id })), ...guests(20)]);
    await t.mutation(internal.clerk.adopt.fillPage, { column, dryRun: false, after: null });
    const { ends, reasons } = await ticks("a fill half done");
    expect(ends).toEqual(REFUSED);
    expect(reasons).toMatch(`clerk/adopt:fill '{"column":"clerkExternalId"}'`);
    await t.action(fill, { column });
    expect((await ticks("… done")).ends).toEqual(DONE);
    await expectNobodyDoubled(540);
  });

  test("refuses a column that no row has", async () => {
    await insert(guests(3));
    const attempt = setting.t.action(fill, { column: "clerkExternalID" });
    await expect(attempt).rejects.toThrow("none of 3 has clerkExternalID");
  });

  test("reaches ids of another form, and empty ones, whose users have theirs elsewhere", async () => {
    const { t } = setting;
    const ids = signUp(setting, 8);
    await insert(ids.slice(0, 4).map((id) => ({ clerkId: "", clerkExternalId: id })));
    await insert(ids.slice(4).map((id, i) => ({ clerkId: `cus_${i}`, clerkExternalId: id })));
    expect((await complete(t)).status).toBe("failed");
    expect(await t.action(fill, { column: "clerkExternalId" })).toMatchObject({ filled: 8 });
    expect((await complete(t)).status).toBe("completed");
    await expectNobodyDoubled(8);
    await expectMirror(setting);
  });
});

test("a place between two ids lies behind the first and not behind the last", () => {
  for (const [a, b] of [
    ["user_a", "user_b"],
    ["user_2abcd", "user_2abce"],
    ["a", "user_z"],
    ["user_1", "user_1x"],
    ["https://x|user_1", "user_9"],
  ] as const) {
    expect(placeBetween(a, b) > a).toBe(true);
    expect(placeBetween(a, b) <= b).toBe(true);
  }
});
