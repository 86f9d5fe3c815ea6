/** What fails for long, or alike each time, ends: with the one who is at fault set aside, and nobody else. */
import { afterEach, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { clock, DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { backfill, signUp } from "../world/people";
import { complete, internal, pass, post, report, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

afterEach(() => {
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
});

async function live(ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end && vi.getTimerCount() > 0;) {
    vi.advanceTimersToNextTimer();
    await setting.t.finishInProgressScheduledFunctions();
  }
}

test("an outage of six minutes does not end a run that has just set somebody aside", async () => {
  const { t, clerk, log } = setting;
  const gone = (await backfill(setting, 60)).slice(0, 6);
  pass(DAY);
  for (const id of gone) clerk.users.delete(id);
  const odd = gone.slice(0, 3);
  let outage: number | null = null;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    const { pathname } = new URL(new Request(...args).url);
    pass(200);
    if (odd.some((id) => pathname.endsWith(id))) {
      pass(20 * SECOND);
      throw new DOMException("timed out", "TimeoutError");
    }
    // Clerk is down for six minutes.
    const isSetAside = log.some(({ action }) => action === "setAside");
    if (pathname.endsWith("/instance") && isSetAside) outage ??= Date.now();
    if (outage !== null && Date.now() - outage < 6 * MINUTE)
      return new Response("", { status: 502 });
    return await clerk.fetch(...args);
  });
  const { runId } = await t.action(run, {});
  await live(3 * HOUR);
  expect(await t.query(report, { runId })).toMatchObject({ status: "completed" });
});

test.each([1, 2])(
  "a run ends where Clerk slows it down, then hangs, about one of %i",
  async (count) => {
    const { t, clerk } = setting;
    const gone = (await backfill(setting, 60)).slice(0, count);
    pass(DAY);
    for (const id of gone) clerk.users.delete(id);
    const odd = gone[0] ?? "";
    let asked = 0;
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      const { url } = new Request(...args);
      if (!url.includes(odd)) {
        pass(200);
        return await clerk.fetch(...args);
      }
      asked += 1;
      if (asked % 2 === 1) {
        return new Response("{}", { status: 429, headers: { "Retry-After": "25" } });
      }
      pass(20 * SECOND);
      throw new DOMException("timed out", "TimeoutError");
    });
    const { runId } = await t.action(run, {});
    await live(3 * HOUR);
    expect(await t.query(report, { runId })).toMatchObject({ status: "completed", setAside: 1 });
  },
);

test.each([5, 15])(
  "one user whose transaction takes %i s and then throws is set aside",
  async (s) => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 10);
    pass(DAY);
    const odd = ids[3] ?? "";
    for (const id of ids.slice(0, 5))
      clerk.updateUser(id, { first_name: "New" }, Date.now() - HOUR);
    const mirror = await import("../../convex/clerk/mirror/mirror");
    const { applyListed } = mirror;
    vi.spyOn(mirror, "applyListed").mockImplementation(async (...args) => {
      if (args[1].clerkId !== odd) return await applyListed(...args);
      pass(s * SECOND);
      // As Convex has it of a transaction that takes too long.
      throw new Error("Function execution timed out");
    });
    const { runId } = await t.action(run, {});
    await live(6 * HOUR);
    const expected = { status: "completed", setAside: 1, repaired: { updated: 4 } };
    expect(await t.query(report, { runId })).toMatchObject(expected);
  },
);

test.each([1, 3, 4])(
  "newcomers for each of whom a hook schedules %i calls are all mirrored",
  async (calls) => {
    const { t } = setting;
    signUp(setting, 500);
    hooks.created = async ({ scheduler }) => {
      for (let i = 0; i < calls; i += 1) {
        await scheduler.runAfter(0, internal.clerk.memory.retention.pruneRuns, {});
      }
    };
    expect(await t.action(run, {})).toMatchObject({
      status: "completed",
      setAside: 0,
      repaired: { created: 500 },
    });
  },
);

test("an outage of a minute, right after one was set aside, sets aside nobody else", async () => {
  const { t, clerk, log } = setting;
  const gone = (await backfill(setting, 60)).slice(0, 10);
  pass(DAY);
  for (const id of gone) clerk.users.delete(id);
  const odd = gone[0] ?? "";
  let outage: number | null = null;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    const { pathname } = new URL(new Request(...args).url);
    pass(200);
    if (pathname.endsWith(odd)) {
      pass(20 * SECOND);
      throw new DOMException("timed out", "TimeoutError");
    }
    if (log.some(({ action }) => action === "setAside")) outage ??= Date.now();
    if (outage !== null && Date.now() - outage < MINUTE) return new Response("", { status: 502 });
    return await clerk.fetch(...args);
  });
  const { runId } = await t.action(run, {});
  await live(3 * HOUR);
  const expected = { status: "completed", setAside: 1, repaired: { deleted: 9 } };
  expect(await t.query(report, { runId })).toMatchObject(expected);
});

test("who was absent from a page is asked about soon, though an old event leaves a doubt for later", async () => {
  const { t, clerk } = setting;
  const [id = "", ...others] = await backfill(setting, 20);
  pass(HOUR);
  const locked = { locked: true, lockout_expires_in_seconds: 6 * 3600 };
  const old = clerk.updateUser(id, locked, Date.now() - 10 * MINUTE);
  await post(t, clerk.updateUser(id, { locked: false }, Date.now() - 8 * MINUTE));
  await live(10 * MINUTE);
  pass(HOUR);
  // Its event is lost; a page of the app's asks.
  clerk.updateUser(id, { first_name: "New" }, Date.now() - 7 * MINUTE);
  let pages = 0;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    pass(100);
    const answer = await clerk.fetch(...args);
    if (!new URL(new Request(...args).url).searchParams.getAll("user_id").includes(id))
      return answer;
    if (pages++ > 0) return answer;
    // Clerk's page holds fewer than it should.
    return Response.json(
      ((await answer.json()) as { id: string }[]).filter((user) => user.id !== id),
    );
  });
  for (const clerkId of [id, ...others]) {
    await t.mutation(internal.clerk.memory.worker.doubt, { clerkId });
  }
  // Before the worker asks again, Clerk sends the older event once more.
  let isSent = false;
  vi.spyOn(clock, "sleep").mockImplementation(async (ms) => {
    pass(ms);
    if (pages === 1 && !isSent) {
      isSent = true;
      await post(t, old);
    }
  });
  await live(30 * MINUTE);
  const row = (await rows(t)).find(({ clerkId }) => clerkId === id);
  expect(isSent).toBe(true);
  expect(row?.firstName).toBe("New");
});

test.each([true, false])(
  "a run goes on where one request a minute gets through, and each 429 says for how long: %s",
  async (isSaid) => {
    const { t, clerk } = setting;
    signUp(setting, 30);
    let last = -Infinity;
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      pass(10);
      const waitMs = last + MINUTE - Date.now();
      if (waitMs > 0) {
        const headers = { "retry-after": String(Math.ceil(waitMs / SECOND)) };
        return new Response("{}", { status: 429, ...(isSaid && { headers }) });
      }
      last = Date.now();
      return await clerk.fetch(...args);
    });
    const { runId } = await t.action(run, {});
    await live(HOUR);
    expect(await t.query(report, { runId })).toMatchObject({ status: "completed", scanned: 30 });
  },
);

test.each(["the first run", "the first run over rows of an app", "a later run"])(
  "%s goes on where Clerk lets one request through at a time",
  async (which) => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 4);
    if (which === "a later run") await complete(t);
    else if (which !== "the first run") {
      await t.run(async ({ db }) => {
        for (const clerkId of ids) await db.insert("users", { clerkId, color: "teal" });
      });
    }
    pass(DAY);
    clerk.allows = { requests: 1, inMs: 40 * SECOND };
    const { runId } = await t.action(run, {});
    await live(2 * HOUR);
    expect(await t.query(report, { runId })).toMatchObject({ status: "completed", scanned: 4 });
  },
);

test.each([
  [2, 49],
  [5, 30],
  [6, 49],
])(
  "a look-back ends whose list changes before its page %i, where %i of 200 change again",
  async (at, changed) => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 200);
    pass(HOUR);
    for (const id of ids) {
      clerk.updateUser(id, { updated_at: Date.now() }, Date.now());
      pass(10);
    }
    let looks = 0;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "-updated_at") return;
      looks += 1;
      if (looks !== at) return;
      for (const id of ids.slice(0, changed)) clerk.updateUser(id, {}, Date.now());
    };
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      pass(15 * SECOND);
      return await clerk.fetch(...args);
    });
    const { runId } = await t.action(run, { mode: "recent", pageSize: 50 });
    await live(2 * HOUR);
    expect(await t.query(report, { runId })).toMatchObject({ status: "completed" });
    expect(looks).toBeLessThan(30);
  },
);
