/** Faults of Clerk, of the database and of the app's own code, while a run is under way. */
import { describe, expect, test, vi } from "vitest";
import { clock, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import type { ClerkUser } from "../../convex/clerk/types";
import { Step } from "../../convex/clerk/run/step";
import { drift, expectMirror, seed, signUp } from "../world/people";
import { complete, LONG_AGO, pass, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

describe("trouble with Clerk", () => {
  const faults = [
    { kind: "status", status: 429, code: "too_many_requests", retryAfter: 20 },
    { kind: "status", status: 500 },
    { kind: "status", status: 429 },
    { kind: "reset" },
    { kind: "hang" },
    { kind: "body", body: "<html>", contentType: "text/html" },
    { kind: "body", body: '"[]"' },
  ] as const;

  async function troubledFor(ms: number, fault: (typeof faults)[number]) {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await complete(t, { pageSize: 50 });
    const found = await drift(setting, ids);
    let listed = 0;
    let healAt = Infinity;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") === "+created_at" && ++listed === 4) {
        healAt = Date.now() + ms;
        clerk.order(/./, fault);
      }
      if (Date.now() >= healAt) clerk.heal();
    };
    const started = clerk.requests.length;
    const report = await complete(t, { pageSize: 5 });
    return { report, found, requests: clerk.requests.length - started };
  }

  test.each(faults)("for ten minutes costs no repair and no duplicate: %o", async (fault) => {
    const { report, found, requests } = await troubledFor(10 * MINUTE, fault);
    expect(report).toMatchObject({ status: "completed", drift: found, scanned: 38 });
    expect(report.requests).toBe(requests);
    // It went on where it was: nothing before was listed again, and nobody was pestered.
    expect(requests).toBeLessThan(120);
    await expectMirror(setting);
  });

  test("a transaction that throws twice and then no more sets nobody aside", async () => {
    const { t } = setting;
    signUp(setting, 1);
    const compare = await import("../../convex/clerk/run/compare");
    const broken = vi.spyOn(compare, "compareUsers");
    for (let i = 0; i < 2; i += 1) broken.mockRejectedValueOnce(new Error("conflict"));
    expect(await complete(t, {})).toMatchObject({ setAside: 0, repaired: { created: 1 } });
    broken.mockRestore();
  });

  test("for fifteen minutes and more fails the run with its reason", async () => {
    const { report } = await troubledFor(HOUR, { kind: "status", status: 500 });
    expect(report.status).toBe("failed");
    expect(report.summary).toMatch("500, internal_clerk_error, trace id trace_stand_in");
    expect(report.durationMs).toBeGreaterThanOrEqual(15 * MINUTE);
    expect(report.durationMs).toBeLessThan(18 * MINUTE);
  });

  test("with Retry-After is left alone for so long, and the lease lasts", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    const asked: number[] = [];
    clerk.onRequest = () => {
      asked.push(Date.now());
    };
    clerk.order(/count/, { kind: "status", status: 429, retryAfter: 600 }, 1);
    const first = await t.action(run, {});
    const waitedFrom = asked.at(-1) ?? 0;
    pass(9 * MINUTE);
    expect(await t.action(run, {})).toMatchObject({ runId: first.runId, status: "running" });
    pass(-9 * MINUTE);
    const count = asked.length;
    expect(await complete(t, {})).toMatchObject({ runId: first.runId, status: "completed" });
    expect((asked[count] ?? 0) - waitedFrom).toBeGreaterThanOrEqual(600 * SECOND);
  });

  test("with an absurd Retry-After holds a run up for a quarter of an hour at most", async () => {
    signUp(setting, 3);
    setting.clerk.order(/count/, { kind: "status", status: 429, retryAfter: 1e9 }, 1);
    const report = await complete(setting.t, {});
    expect(report.status).toBe("completed");
    expect(report.durationMs).toBeLessThan(16 * MINUTE);
  });

  test("about the key fails at once and names the variable", async () => {
    const { t, clerk } = setting;
    for (const status of [401, 403]) {
      clerk.heal();
      clerk.order(/users/, { kind: "status", status, code: "authentication_invalid" });
      const before = Date.now();
      const report = await complete(t, {});
      expect(report).toMatchObject({ status: "failed", requests: 2 });
      expect(report.summary).toMatch(`Clerk refused CLERK_SECRET_KEY (${status}`);
      expect(Date.now() - before).toBeLessThan(SECOND);
    }
  });

  test("is waited out where a transaction about nobody throws, and fails the run", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 3);
    await complete(t);
    await t.run(async (ctx) => {
      await ctx.db.insert("users", { clerkId: "user_of_old", color: "from before" });
    });
    // The look-back takes these users; what throws after it is about none of them.
    for (const id of ids) clerk.updateUser(id, { first_name: "New" }, Date.now());
    let thrown = 0;
    vi.spyOn(Step.prototype, "isIn").mockImplementation(function (this: unknown, kind) {
      const { phase } = (this as Step<"begin">).run.state;
      if ((phase.kind as string) !== "count") return phase.kind === kind;
      thrown += 1;
      if (thrown > 100) pass(HOUR);
      throw new Error("it conflicts");
    });
    const report = await complete(t);
    expect(report.status).toBe("failed");
    expect(report.summary).toMatch("It was tried again for 15 minutes.");
    expect(thrown).toBeLessThan(100);
  });

  test("waits longer the longer it lasts, with jitter", async () => {
    const sleeps: number[] = [];
    vi.mocked(clock.sleep).mockImplementation(async (ms) => {
      await Promise.resolve();
      sleeps.push(ms);
      pass(ms);
    });
    setting.clerk.order(/./, { kind: "reset" });
    await complete(setting.t, {});
    expect(sleeps[0]).toBeGreaterThanOrEqual(500);
    expect(sleeps[0]).toBeLessThanOrEqual(1000);
    expect(Math.max(...sleeps)).toBeLessThanOrEqual(5000);
    expect(setting.clerk.requests.length).toBeLessThan(40);
  });
});

describe("one bad record does not stop the rest", () => {
  test(
    "a poison user, one whose app-side defaults throw, and a duplicate, among 600",
    { timeout: 120_000 },
    async () => {
      const { t, clerk } = setting;
      const ids = signUp(setting, 600);
      await seed(setting, ids.slice(0, 590));
      const app = await import("../../convex/clerk/app");
      const { newUserFields } = app;
      const thrower = ids[595];
      const poison = ids[597];
      const defaults = vi.spyOn(app, "newUserFields");
      defaults.mockImplementation(((user: ClerkUser) => {
        if (user.id === thrower) throw new Error("SECRET of ada@example.com");
        // The schema refuses this row.
        return user.id === poison ? { color: 7 } : newUserFields(user);
      }) as never);
      const twin = { clerkId: ids[3], clerkCreatedAt: LONG_AGO + 3000, color: "SECRET" };
      await t.run(async (ctx) => await ctx.db.insert("users", twin));

      const dry = await complete(t, { dryRun: true });
      const report = await complete(t, {});
      expect(report).toMatchObject({ status: "completed", setAside: 3, repaired: { created: 8 } });
      expect(dry).toMatchObject({ drift: report.drift, setAside: 3, status: "completed" });
      const aside = report.entries.filter(({ action }) => action === "setAside");
      expect(aside.map(({ clerkId }) => clerkId).sort()).toEqual([ids[3], thrower, poison].sort());
      expect(aside.find(({ clerkId }) => clerkId === thrower)?.reason).toMatch("threw Error");
      expect(JSON.stringify([report, setting.log])).not.toMatch("SECRET");

      defaults.mockRestore();
      expect(await complete(t, {})).toMatchObject({ setAside: 1, repaired: { created: 2 } });
      expect(clerk.users.size + 1).toBe((await rows(t)).length);
    },
  );
});
