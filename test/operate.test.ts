/** What who operates the sync sees: verdict, health route, reports, log, exceptions. */
import { describe, expect, test, vi } from "vitest";
import { hooks } from "../convex/clerk/app";
import { DAY, HOUR, MINUTE } from "../convex/clerk/clock";
import { deploymentFlag, runCommand } from "../convex/clerk/commands";
import { DriftLog } from "../convex/clerk/driftLog";
import { ReconcileError } from "../convex/clerk/report";
import { loseRows, signUp } from "./people";
import { complete, internal, pass, post, report, run, useSetting } from "./setting";

const setting = useSetting({ http: false });

async function status() {
  const { t } = setting;
  const health = await t.fetch("/clerk-users-health", { method: "GET" });
  const answer = await t.query(internal.clerk.reconcile.status, {});
  expect(await health.text()).toBe("");
  expect(health.status).toBe(answer.verdict === "healthy" ? 200 : 503);
  expect(answer.verdict).toBe(answer.reasons.length === 0 ? "healthy" : "attention");
  return answer;
}

async function reasons(): Promise<string[]> {
  return (await status()).reasons;
}

async function tick() {
  return await complete(setting.t, { mode: "due" });
}

/** Lets a schedule of hourly ticks go by. */
async function live(hours: number): Promise<void> {
  for (let i = 0; i < hours; i++) {
    pass(HOUR);
    await tick();
  }
}

async function backfilled(count: number): Promise<string[]> {
  const ids = signUp(setting, count);
  await tick();
  pass(HOUR);
  return ids;
}

function lines(event: string) {
  return setting.log.filter((line) => line.event === event);
}

describe("the verdict turns to attention and back", () => {
  test("while nothing was ever compared, but not for the backfill", async () => {
    const { t, clerk } = setting;
    expect(await reasons()).toEqual([
      expect.stringMatching(/^No run has compared .+crons\.ts.+clerk\/reconcile:run$/),
    ]);
    signUp(setting, 30);
    let during: Promise<unknown> | undefined;
    clerk.onRequest = () => {
      during ??= reasons();
    };
    expect(await complete(t)).toMatchObject({ repaired: { created: 30 } });
    expect(await during).toEqual([]);
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("where the first full run doesn't get to its end for two periods", async () => {
    const { clerk } = setting;
    signUp(setting, 3);
    clerk.order(/users/, { kind: "status", status: 401 });
    await tick();
    pass(DAY);
    expect(await reasons()).toHaveLength(1);
    pass(DAY + HOUR);
    expect(await reasons()).toEqual([
      expect.stringMatching(/^No full run has completed yet, since .+clerk\/doctor:check$/),
      expect.stringMatching(/^The last run/),
    ]);
    clerk.heal();
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("where no full run completes for two periods", async () => {
    await backfilled(3);
    pass(2 * DAY - 2 * HOUR);
    expect(await reasons()).toEqual([]);
    pass(2 * HOUR);
    expect(await reasons()).toEqual([
      expect.stringMatching(/^No full run has completed since .+clerk\/doctor:check$/),
    ]);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("while a run is held, whatever recent, dry and failed runs come after", async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(40);
    for (const id of ids.slice(0, 20)) clerk.users.delete(id);
    const held = await complete(t);
    const why = [
      expect.stringMatching(
        new RegExp(
          `^Deletions are held since .+20.+clerk/reconcile:report '{"runId":"${held.runId}"}' .+'{"maxDeletions":20}'$`,
        ),
      ),
    ];
    expect(await reasons()).toEqual(why);
    await post(t, clerk.deleteUser(ids[20] ?? "", Date.now()));
    await live(3);
    await complete(t, { dryRun: true });
    expect(await reasons()).toEqual(why);
    clerk.order(/users/, { kind: "status", status: 401 });
    await complete(t);
    clerk.heal();
    expect(await reasons()).toHaveLength(2);
    await complete(t, { maxDeletions: 20 });
    expect(await reasons()).toEqual([]);
  });

  test("while the last run failed", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    clerk.order(/users/, { kind: "status", status: 401 });
    await tick();
    expect(await reasons()).toEqual([
      expect.stringMatching(/^The last run.+failed.+CLERK_SECRET_KEY.+clerk\/doctor:check/),
    ]);
    clerk.heal();
    await complete(t, { dryRun: true });
    expect(await reasons()).toHaveLength(1);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test.each(["full", "recent"] as const)(
    "while users are set aside, found by a %s run",
    async (mode) => {
      const { t, clerk } = setting;
      const [id = ""] = await backfilled(3);
      await post(t, clerk.updateUser(id, { public_metadata: { $key: 1 } }, Date.now()));
      expect(await reasons()).toEqual([]);
      pass(10 * MINUTE);
      const { runId } = await complete(t, { mode });
      await live(5);
      expect(await reasons()).toEqual([
        expect.stringMatching(
          new RegExp(
            `^1 user was set aside by the ${mode} .+clerk/reconcile:report '{"runId":"${runId}"}'$`,
          ),
        ),
      ]);
      await post(t, clerk.updateUser(id, { public_metadata: {} }, Date.now()));
      await complete(t);
      expect(await reasons()).toEqual([]);
    },
  );

  test("after a move to another instance, until a full run has gone through there", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_new" });
    clerk.instanceId = "ins_new";
    expect(await reasons()).toEqual([expect.stringMatching(/pinned by hand.+reconcile:run/)]);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("after a first run that died, was cancelled, or was dry", async () => {
    const { t } = setting;
    signUp(setting, 3);
    await complete(t, { dryRun: true });
    expect(await reasons()).toEqual([expect.stringMatching(/^No run has compared/)]);
    await t.mutation(internal.clerk.lifecycle.begin, { mode: "full", dryRun: false, pageSize: 2 });
    expect(await reasons()).toEqual([]);
    await t.mutation(internal.clerk.reconcile.cancel, {});
    expect(await reasons()).toEqual([expect.stringMatching(/^No run has compared/)]);
    await t.mutation(internal.clerk.lifecycle.begin, { mode: "full", dryRun: false, pageSize: 2 });
    pass(30 * DAY);
    expect(await reasons()).toEqual([expect.stringMatching(/^No run has compared/)]);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("tells of those whom the full run and a recent one since set aside", async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(4);
    const spoil = async (some: string[]) => {
      for (const id of some) {
        await post(t, clerk.updateUser(id, { public_metadata: { $key: 1 } }, Date.now()));
      }
      pass(10 * MINUTE);
    };
    await spoil(ids.slice(0, 2));
    await complete(t);
    await live(2);
    await spoil(ids.slice(2, 3));
    await complete(t, { mode: "recent" });
    await live(2);
    expect(await reasons()).toEqual([
      expect.stringMatching(/^2 users were set aside by the full run/),
      expect.stringMatching(/^1 user was set aside by the recent run/),
    ]);
  });

  test("pinning the instance that is mirrored already changes nothing", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    const before = await status();
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: clerk.instanceId });
    expect(await status()).toEqual(before);
  });
});

describe("webhooks look dead", () => {
  const DEAD = /^Webhooks look dead: no user\.(\w+) has come since [^;]+ due\./;

  test.each(["created", "updated", "deleted"] as const)(
    "where only user.%s is not subscribed to, until one comes",
    async (kind) => {
      const { t, clerk } = setting;
      const ids = await backfilled(30);
      const change = {
        created: () => clerk.createUser({ created_at: Date.now() }).event,
        updated: () => clerk.updateUser(ids.pop() ?? "", { first_name: "New" }, Date.now()),
        deleted: () => clerk.deleteUser(ids.pop() ?? "", Date.now()),
      };
      const happen = async () => {
        for (const each of ["created", "updated", "deleted"] as const) {
          const event = change[each]();
          pass(MINUTE);
          if (each !== kind) await post(t, event);
        }
      };
      await happen();
      pass(5 * MINUTE);
      await complete(t);
      pass(MINUTE);
      expect(await reasons()).toEqual([]);
      for (let i = 0; i < 5; i++) {
        await happen();
        pass(10 * MINUTE);
        await complete(t);
      }
      const [reason, ...others] = await reasons();
      expect(others).toEqual([]);
      expect(DEAD.exec(reason ?? "")?.[1]).toBe(kind);
      expect(reason).toMatch("/clerk-users-webhook");
      await post(t, change[kind]());
      expect(await reasons()).toEqual([]);
    },
  );

  test("even where ticks are so frequent that all that they find is young", async () => {
    const { clerk } = setting;
    const ids = await backfilled(3);
    for (let i = 0; i < 10; i++) {
      clerk.updateUser(ids[i % 3] ?? "", { first_name: `N${i}` }, Date.now());
      pass(2 * MINUTE);
      await tick();
    }
    expect(await reasons()).toEqual([expect.stringMatching(DEAD)]);
  });

  test("not for drift that is younger than the first retries, nor once the event came late", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    const event = clerk.updateUser(id, { first_name: "New" }, Date.now());
    pass(2 * MINUTE);
    expect(await tick()).toMatchObject({ repaired: { updated: 1 } });
    pass(7 * MINUTE);
    expect(await reasons()).toEqual([]);
    await post(t, event);
    pass(DAY);
    expect(await reasons()).toEqual([]);
  });

  test("not for an event that came within a minute of another one", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    await post(t, clerk.updateUser(id, { first_name: "A" }, Date.now()));
    pass(20_000);
    const second = clerk.updateUser(id, { first_name: "B" }, Date.now());
    pass(5000);
    await complete(t, { mode: "recent" });
    pass(5000);
    await post(t, second);
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("where new users become known by user.updated only", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    for (let i = 0; i < 2; i++) {
      const { user } = clerk.createUser({ created_at: Date.now() });
      pass(1000);
      await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now()));
      pass(9 * MINUTE);
      await tick();
    }
    expect((await reasons())[0]).toMatch(/no user\.created has come since/);
    await post(t, clerk.createUser({ created_at: Date.now() }).event);
    expect(await reasons()).toEqual([]);
  });

  test("not where user.created comes after user.updated, nor where the app made the row", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    for (const isInserted of [false, true]) {
      const { user, event } = clerk.createUser({ created_at: Date.now() });
      if (isInserted) {
        const row = { clerkId: user.id, color: "signed in" };
        await t.run(async (ctx) => await ctx.db.insert("users", row));
        pass(5000);
        await complete(t, { mode: "recent" });
      } else await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now() + 1));
      pass(MINUTE);
      await post(t, event);
      pass(HOUR);
      expect(await reasons()).toEqual([]);
    }
  });

  test("not of user.updated any more, where the event that ends it shows that user.created is", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    clerk.updateUser(id, { first_name: "Unheard" }, Date.now());
    pass(HOUR);
    await complete(t);
    expect(await reasons()).toEqual([expect.stringMatching(/no user\.updated/)]);
    const { user } = clerk.createUser({ created_at: Date.now() });
    pass(1000);
    await post(t, clerk.updateUser(user.id, { first_name: "N" }, Date.now()));
    pass(HOUR);
    const [reason = "", ...others] = await reasons();
    expect(others).toEqual([]);
    expect(DEAD.exec(reason)?.[1]).toBe("created");
  });

  test("of changes that a run found before it failed", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    clerk.updateUser(id, { first_name: "Unheard" }, Date.now());
    clerk.order(/-updated_at/, { kind: "status", status: 401 });
    expect(await complete(t)).toMatchObject({ status: "failed", repaired: { updated: 1 } });
    clerk.heal();
    pass(HOUR);
    await complete(t);
    expect(await reasons()).toEqual([expect.stringMatching(DEAD)]);
  });

  test.each(["updated", "deleted"] as const)(
    "not for a user.%s that the app refused, which is tried again",
    async (kind) => {
      const { t, clerk } = setting;
      const [id = ""] = await backfilled(5);
      const hook = () => Promise.reject(new Error("refused"));
      if (kind === "deleted") hooks.removed = hook;
      else hooks.updated = hook;
      const event =
        kind === "deleted"
          ? clerk.deleteUser(id, Date.now())
          : clerk.updateUser(id, { first_name: "New" }, Date.now());
      expect((await post(t, event)).status).toBe(200);
      delete hooks.removed;
      delete hooks.updated;
      await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
      pass(HOUR);
      const { drift } = await complete(t);
      expect(drift).toEqual({ missing: 0, stale: 0, orphaned: 0 });
      pass(HOUR);
      expect(await reasons()).toEqual([]);
    },
  );

  test("not for a deletion that was told of, though the app made the row again", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(5);
    await post(t, clerk.deleteUser(id, Date.now()));
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: id, color: "back" }));
    pass(HOUR);
    expect(await complete(t)).toMatchObject({ repaired: { deleted: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("not for what was missed of the instance from before a move", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfilled(3);
    clerk.updateUser(id, { first_name: "Unheard" }, Date.now());
    pass(HOUR);
    await complete(t);
    expect(await reasons()).toEqual([expect.stringMatching(DEAD)]);
    clerk.instanceId = "ins_new";
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_new" });
    await complete(t);
    expect(await reasons()).toEqual([]);
  });

  test("not blocked by a user whose creation time lies ahead", async () => {
    const { clerk } = setting;
    await backfilled(3);
    clerk.createUser({ created_at: Date.now() + 100 * DAY, updated_at: Date.now() });
    pass(HOUR);
    await tick();
    pass(HOUR);
    expect(await reasons()).toEqual([expect.stringMatching(DEAD)]);
  });

  test("not for what changed in the table alone, or in app.ts", async () => {
    const { t } = setting;
    const ids = await backfilled(6);
    await loseRows(setting, ids.slice(0, 2));
    await t.run(async (ctx) => {
      const row = await ctx.db.query("users").first();
      if (row) await ctx.db.patch("users", row._id, { firstName: "Tampered" });
    });
    expect(await complete(t)).toMatchObject({ repaired: { created: 2, updated: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("not for orphans from before the sync, nor twice for those that are held", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await t.run(async (ctx) => {
      for (const clerkId of [...ids, "user_before"]) {
        await ctx.db.insert("users", { clerkId, color: "old" });
      }
    });
    expect((await complete(t)).status).toBe("held");
    pass(HOUR);
    expect(await complete(t, { maxDeletions: 1 })).toMatchObject({ repaired: { deleted: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
    for (const id of ids.slice(0, 20)) clerk.deleteUser(id, Date.now());
    expect((await complete(t)).status).toBe("held");
    pass(HOUR);
    await post(t, clerk.deleteUser(ids[20] ?? "", Date.now()));
    expect(await complete(t, { maxDeletions: 20 })).toMatchObject({ repaired: { deleted: 20 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });
});

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
    await t.mutation(internal.clerk.lifecycle.begin, {
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
    await t.mutation(internal.clerk.lifecycle.begin, { mode: "due", dryRun: false, pageSize: 2 });
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
      if (taken === undefined && new Request(...args).url.endsWith("/count")) {
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

test("a week of being held says so once a full run, keeps to its size, and asks for attention", async () => {
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
    runs: (await ctx.db.query("reconcileRuns").take(500)).length,
    entries: (await ctx.db.query("driftEntries").take(500)).length,
    suspects: (await ctx.db.query("reconcileSuspects").take(500)).length,
  }));
  // The seven, the backfill, and the newest quiet run of the recent ones.
  expect(kept).toEqual({ runs: 9, entries: 7 * 20 + 40, suspects: 0 });
});

test("runs that status tells of outlive a hundred others", async () => {
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
  const runs = await t.run(async (ctx) => await ctx.db.query("reconcileRuns").take(500));
  expect(runs.length).toBeLessThan(110);
});

test("a call whose log is full lets another one go on", async () => {
  const { t } = setting;
  signUp(setting, 3);
  vi.spyOn(DriftLog.prototype, "isFull", "get").mockReturnValueOnce(true);
  const { runId, status: first } = await t.action(run, {});
  expect(first).toBe("running");
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
  expect(await t.query(report, { runId })).toMatchObject({ repaired: { created: 3 } });
});

describe("what a person reads", () => {
  test("lists whom a run holds or sets aside, after more findings than are kept", async () => {
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
  });

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
    expect(await complete(t)).toMatchObject({ setAside: 1 });
    expect(JSON.stringify(setting.log)).not.toMatch("ada@");
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
