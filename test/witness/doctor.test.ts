/** The doctor names each fault that is planted, one at a time, and is green when there is none. */
import { convexTest } from "convex-test";
import { httpRouter } from "convex/server";
import { beforeEach, describe, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { addClerkRoutes } from "../../convex/clerk/routes";
import schema from "../../convex/schema";
import { signUp } from "../world/people";
import {
  complete,
  everything,
  internal,
  LONG_AGO,
  pass,
  post,
  useSetting,
  WEBHOOK_SECRET,
} from "../world/setting";

const setting = useSetting({ http: false });
const modules = import.meta.glob("../../convex/**/*.ts");
const SITE = "https://happy-animal-1.convex.site";

type Answer = (request: Request) => Promise<Response>;

/** Requests to the deployment's own site are answered by its routes, others by Clerk. */
function serveSite(site: Answer): void {
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    const request = new Request(...args);
    vi.setSystemTime(Date.now() + 10);
    return request.url.startsWith(SITE) ? await site(request) : await setting.clerk.fetch(...args);
  });
}

async function routes(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const { method, headers } = request;
  return await setting.t.fetch(pathname, { method, headers, body: await request.text() });
}

let ids: string[];

/** An app at peace: synced, with its schedule running and its webhooks coming. */
beforeEach(async () => {
  vi.stubEnv("CONVEX_SITE_URL", SITE);
  serveSite(routes);
  ids = signUp(setting, 5);
  const { t, clerk } = setting;
  await complete(t, { mode: "due" });
  pass(HOUR);
  await post(t, clerk.updateUser(ids[0] ?? "", { first_name: "New" }, Date.now()));
});

async function check() {
  return await setting.t.action(internal.clerk.doctor.check, {});
}

/** The points that are not as they should be. */
async function faults() {
  const { verdict, checks } = await check();
  const wrong = checks.filter(({ ok }) => !ok);
  expect(verdict).toBe(wrong.length === 0 ? "healthy" : "attention");
  for (const { mend } of wrong) expect(mend).not.toBeNull();
  return wrong;
}

test("is green where nothing is wrong, and changes nothing", async () => {
  const before = await everything(setting.t);
  expect(await check()).toMatchObject({
    verdict: "healthy",
    summary: "All 15 points are as they should be.",
  });
  expect(await everything(setting.t)).toBe(before);
});

describe("names", () => {
  test("a missing secret key", async () => {
    vi.stubEnv("CLERK_SECRET_KEY", "");
    expect(await faults()).toMatchObject([
      { check: "CLERK_SECRET_KEY", found: expect.stringMatching("is not set") as unknown },
    ]);
  });

  test("a wrong secret key, without showing it", async () => {
    vi.stubEnv("CLERK_SECRET_KEY", "sk_test_wrong");
    const wrong = await faults();
    expect(wrong).toMatchObject([{ check: "CLERK_SECRET_KEY" }]);
    expect(wrong[0]?.found).toMatch("authentication_invalid");
    expect(JSON.stringify(await check())).not.toMatch("sk_test_wrong");
  });

  test("the key of another instance, and both by name", async () => {
    setting.clerk.instanceId = "ins_other";
    const [fault, ...others] = await faults();
    expect(others).toEqual([]);
    expect(fault?.found).toMatch(/ins_other.+ins_stand_in/);
    expect(fault?.mend).toMatch(`clerk/reconcile:pinInstance '{"instanceId":"ins_other"}'`);
  });

  test("events of another instance than the key's, and both by name", async () => {
    const { t, clerk } = setting;
    const { event } = clerk.createUser({ created_at: Date.now() });
    await post(t, { ...event, instance_id: "ins_other" });
    const [fault, ...others] = await faults();
    expect(others).toEqual([]);
    expect(fault).toMatchObject({ check: "instance of the events" });
    expect(fault?.found).toMatch(/ins_other.+ins_stand_in/);
    await post(t, clerk.updateUser(ids[1] ?? "", { first_name: "New" }, Date.now()));
    expect(await faults()).toEqual([]);
  });

  test("why the last run failed, in its own words", async () => {
    const { t, clerk } = setting;
    clerk.order(/users/, { kind: "status", status: 400, code: "bad_request" });
    await complete(t, { mode: "recent" });
    clerk.heal();
    expect(await faults()).toMatchObject([
      { check: "last run", found: expect.stringContaining("400, bad_request") as string },
    ]);
  });

  test("a table that no first run can begin on", async () => {
    const { t } = setting;
    await t.run(async (ctx) => {
      for (const row of await ctx.db.query("users").take(100))
        await ctx.db.delete("users", row._id);
      const state = await ctx.db.query("clerkSyncState").first();
      if (state) await ctx.db.delete("clerkSyncState", state._id);
      for (let i = 0; i < 12; i += 1) {
        await ctx.db.insert("users", { clerkExternalId: ids[i % 5], color: "own" });
      }
    });
    const fault = (await faults()).find(({ check }) => check === "table");
    expect(fault?.found).toMatch(/clerk\/adopt:fill '{"column":"clerkExternalId","dryRun":true}'/);
  });

  test.each(["", "not a secret"])("a webhook secret that is %j", async (secret) => {
    vi.stubEnv("CLERK_WEBHOOK_SECRET", secret);
    expect(await faults()).toMatchObject([{ check: "CLERK_WEBHOOK_SECRET" }]);
  });

  test("the other name of the webhook's secret, where that is at fault", async () => {
    vi.stubEnv("CLERK_WEBHOOK_SIGNING_SECRET", "changeme");
    const [fault] = await faults();
    expect(fault).toMatchObject({ check: "CLERK_WEBHOOK_SIGNING_SECRET" });
    expect(fault?.mend).toMatch("npx convex env set CLERK_WEBHOOK_SIGNING_SECRET");
  });

  test("a point that can't be looked at, as an index is being built, and the others", async () => {
    const versions = await import("../../convex/clerk/memory/versions");
    const message =
      "Index users.by_clerkId is currently backfilling and not available to query yet.";
    const broken = vi.spyOn(versions, "readVersion").mockRejectedValue(new Error(message));
    const [fault] = await faults();
    broken.mockRestore();
    expect(fault?.found).toMatch("The index users.by_clerkId is still being built");
  });

  test("no new key to set where Clerk can't be asked just now", async () => {
    setting.clerk.order(/instance/, { kind: "status", status: 503 });
    expect((await faults())[0]?.mend).toMatch("ask the doctor again");
  });

  test("a route that is not mounted, not reached, or another one's", async () => {
    const answers: Answer[] = [
      async () => await Promise.resolve(new Response("", { status: 404 })),
      async () => await Promise.reject(new TypeError("fetch failed")),
      async () => await Promise.resolve(new Response("", { status: 200 })),
    ];
    const found: unknown[] = [];
    for (const answer of answers) {
      serveSite(answer);
      found.push(...(await faults()));
    }
    expect(found).toMatchObject([
      { check: "webhook route", mend: expect.stringMatching("addClerkRoutes") as unknown },
      { check: "webhook route", found: expect.stringMatching("can't be reached") as unknown },
      { check: "webhook route", found: expect.stringMatching("with 200, not 400") as unknown },
    ]);
  });

  test("a route that checks another secret", async () => {
    serveSite(async (request) => {
      vi.stubEnv("CLERK_WEBHOOK_SECRET", `whsec_${btoa("another secret, of an older sync")}`);
      const response = await routes(request);
      vi.stubEnv("CLERK_WEBHOOK_SECRET", WEBHOOK_SECRET);
      return response;
    });
    expect(await faults()).toMatchObject([
      { check: "signed event", found: expect.stringMatching("with 400, not 200") as unknown },
    ]);
  });

  test("a schedule that is silent, and full runs that don't complete", async () => {
    pass(3 * HOUR);
    expect(await faults()).toMatchObject([{ check: "schedule" }]);
    pass(2 * DAY);
    expect(await faults()).toMatchObject([{ check: "schedule" }, { check: "full run" }]);
    await complete(setting.t, { mode: "due" });
    expect(await faults()).toEqual([]);
  });

  test("webhooks that came once and come no more, each kind apart", async () => {
    const { t, clerk } = setting;
    pass(HOUR);
    clerk.updateUser(ids[1] ?? "", { first_name: "Unheard" }, Date.now());
    clerk.deleteUser(ids[2] ?? "", Date.now());
    pass(15 * MINUTE);
    await complete(t);
    await complete(t, { mode: "due" });
    pass(11 * MINUTE);
    const [fault, ...others] = await faults();
    expect(others).toEqual([]);
    expect(fault).toMatchObject({ check: "webhooks" });
    expect(fault?.found).toMatch(/no user\.updated .+no user\.deleted/);
    expect(fault?.mend).toMatch(`${SITE}/clerk-users-webhook`);
    await post(t, clerk.updateUser(ids[1] ?? "", { first_name: "Heard" }, Date.now()));
    expect((await faults())[0]?.found).toMatch("Webhooks look dead: no user.deleted has come");
    await post(t, clerk.deleteUser(ids[3] ?? "", Date.now()));
    expect(await faults()).toEqual([]);
  });

  test("each of many duplicates, however the rows fall on queries", async () => {
    const { t } = setting;
    const many = Array.from({ length: 3000 }, (_, i) => `user_x${String(i).padStart(4, "0")}`);
    const twice = many.filter((_, i) => i % 400 === 0);
    await t.run(async (ctx) => {
      for (const clerkId of [...many, ...twice, ...twice]) {
        await ctx.db.insert("users", { clerkId, clerkCreatedAt: LONG_AGO, color: "x" });
      }
    });
    const [fault] = await faults();
    expect(fault?.found).toMatch(
      /^8 clerkIds are on more than one row, 3021 rows were looked at: /,
    );
    for (const id of twice) expect(fault?.found).toMatch(id);
  });

  test("rows with one clerkId, and rows without a creation time", async () => {
    const { t } = setting;
    await t.run(async (ctx) => {
      await ctx.db.insert("users", { clerkId: ids[1], clerkCreatedAt: LONG_AGO, color: "second" });
      await ctx.db.insert("users", { color: "guest" });
    });
    expect(await faults()).toMatchObject([
      { check: "duplicates", found: expect.stringMatching(ids[1] ?? "nobody") as unknown },
    ]);
    await t.run(async (ctx) => {
      await ctx.db.insert("users", { clerkId: "user_undated", color: "old" });
    });
    expect((await faults()).map((fault) => fault.check)).toEqual(["duplicates", "creation times"]);
  });

  test("a row without a creation time behind thousands that are marked as removed", async () => {
    const { t } = setting;
    vi.spyOn(app, "removal", "get").mockReturnValue({ mark: {} });
    await t.run(async (ctx) => {
      for (let i = 0; i < 2500; i++) {
        await ctx.db.insert("users", { clerkId: `user_0${i}`, deletedAt: LONG_AGO, color: "gone" });
      }
      await ctx.db.insert("users", { clerkId: "user_z", color: "old" });
    });
    const [fault] = await faults();
    expect(fault).toMatchObject({ check: "creation times" });
    expect(fault?.found).toMatch(/^1 row with a clerkId lacks a creation time/);
  });
});

test("looks at the path that the app gave its routes, and says that it is not at the usual one", async () => {
  const http = httpRouter();
  addClerkRoutes(http, { path: "/hooks/clerk" });
  const t = convexTest({
    schema,
    modules: {
      ...modules,
      "../../convex/http.ts": async () => await Promise.resolve({ default: http }),
    },
    transactionLimits: true,
  });
  const asked: string[] = [];
  serveSite(async (request) => {
    const { pathname } = new URL(request.url);
    asked.push(`${request.method} ${pathname}`);
    const { method, headers } = request;
    const body = method === "POST" ? await request.text() : undefined;
    return await t.fetch(pathname, { method, headers, body });
  });
  const { checks } = await t.action(internal.clerk.doctor.check, {});
  const route = checks.find((each) => each.check === "webhook route");
  expect(route).toMatchObject({
    ok: true,
    found: expect.stringMatching("POST /hooks/clerk") as unknown,
  });
  expect(checks.find((each) => each.check === "signed event")).toMatchObject({ ok: true });
  expect(asked).toEqual(["GET /clerk-users-health", "POST /hooks/clerk", "POST /hooks/clerk"]);
  expect(() => {
    addClerkRoutes(http, { path: "/hooks/clerk" });
  }).toThrow("/hooks/clerk");
});
