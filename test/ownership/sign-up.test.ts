/** Who is signed in, and how their row comes at sign-up: what an app registers of `clerk/users.ts`. */
import { describe, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { MINUTE } from "../../convex/clerk/shared/clock";
import type { User } from "../../convex/clerk/types";
import { getCurrentUser, getCurrentUserOrThrow } from "../../convex/clerk/users";
import {
  api,
  everything,
  LONG_AGO,
  pass,
  post,
  rows,
  type Setting,
  useSetting,
} from "../world/setting";

const setting = useSetting({ http: false });
const { current, ensureSynced } = api.account;
const ADA = "user_ada";

const as = (clerkId: string, issuer?: string) =>
  setting.t.withIdentity({ subject: clerkId, ...(issuer !== undefined && { issuer }) });

async function settle(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
}

function signUp(id: string): void {
  setting.clerk.createUser({ id, created_at: LONG_AGO, first_name: "New" });
}

async function sizes(): Promise<Record<string, number>> {
  const tables = [
    "users",
    "clerkVersions",
    "clerkDoubts",
    "clerkRuns",
    "clerkDriftEntries",
  ] as const;
  return await setting.t.run(async ({ db }) =>
    Object.fromEntries(
      await Promise.all(
        tables.map(async (table) => [table, (await db.query(table).take(5000)).length] as const),
      ),
    ),
  );
}

/** Requests about users; each call of the worker asks for the instance, too. */
function asked(): Setting["clerk"]["requests"] {
  return setting.clerk.requests;
}

describe("ensureSynced", () => {
  test("makes the row that a lost webhook did not, of the caller alone, within two seconds", async () => {
    for (const id of [ADA, "user_bob"]) signUp(id);
    expect(await as(ADA).query(current, {})).toEqual({ status: "syncing" });
    const since = Date.now();
    await as(ADA).mutation(ensureSynced, {});
    await settle();
    expect(Date.now() - since).toBeLessThan(2000);
    expect(await rows(setting.t)).toMatchObject([{ clerkId: ADA }]);
    expect(await as(ADA).query(current, {})).toMatchObject({ status: "ready" });
    expect(setting.log.map(({ event }) => event)).toEqual([
      "reconcile.drift",
      "reconcile.finished",
    ]);
  });

  test(
    "of 1,000 accounts at once costs Clerk 20 requests at most, and of nobody unknown a row stays",
    { tags: ["slow"] },
    async () => {
      const ids = Array.from({ length: 1000 }, (_, i) => `user_new${i}`);
      const known = ids.filter((_, i) => i % 4 === 0);
      known.forEach(signUp);
      for (const id of ids) await as(id).mutation(ensureSynced, {});
      expect(await sizes()).toMatchObject({ clerkDoubts: 1000, clerkRuns: 1, users: 0 });
      await settle();
      expect(asked().length).toBeLessThanOrEqual(20);
      expect((await rows(setting.t)).map(({ clerkId }) => clerkId).sort()).toEqual(known.sort());
      expect(await sizes()).toEqual({
        users: 250,
        clerkVersions: 250,
        clerkDoubts: 0,
        clerkRuns: 1,
        clerkDriftEntries: 250,
      });
    },
  );

  test("1,000 times by one account asks once, and writes once", async () => {
    await as("user_nobody").mutation(ensureSynced, {});
    const before = await everything(setting.t);
    for (let i = 1; i < 1000; i += 1) {
      pass(1);
      await as("user_nobody").mutation(ensureSynced, {});
    }
    expect(await everything(setting.t)).toBe(before);
    await settle();
    expect(asked().filter(({ query }) => query.has("user_id")).length).toBe(1);
    expect(await sizes()).toMatchObject({
      users: 0,
      clerkVersions: 0,
      clerkDoubts: 0,
      clerkRuns: 1,
    });
  });

  test("over and over by one account asks once a second at most", async () => {
    const since = Date.now();
    for (let i = 0; i < 30; i += 1) {
      await as("user_nobody").mutation(ensureSynced, {});
      await settle();
    }
    const seconds = (Date.now() - since) / 1000;
    const requests = asked().filter(({ query }) => query.has("user_id")).length;
    expect(requests).toBeLessThanOrEqual(seconds + 1);
    expect(await sizes()).toMatchObject({
      users: 0,
      clerkVersions: 0,
      clerkDoubts: 0,
      clerkRuns: 1,
    });
  });

  test.each([
    ["signed out", () => setting.t],
    ["with another issuer's token", () => as(ADA, "https://other.example")],
    ["with an address as subject", () => as("ada@example.com")],
    ["with a subject of another provider", () => as("auth0|123")],
    ["with a subject that begins like an id", () => as("user_ada,user_bob")],
  ])("%s is refused, and writes, schedules and asks nothing", async (_, caller) => {
    signUp(ADA);
    const before = await everything(setting.t);
    await expect(caller().mutation(ensureSynced, {})).rejects.toThrow("Sign in with Clerk first.");
    await settle();
    expect(asked()).toEqual([]);
    expect(await everything(setting.t)).toBe(before);
    expect(setting.log).toEqual([]);
  });

  test("asks nothing for whoever has a row", async () => {
    signUp(ADA);
    await as(ADA).mutation(ensureSynced, {});
    await settle();
    const { length } = asked();
    await as(ADA).mutation(ensureSynced, {});
    await settle();
    expect(asked().length).toBe(length);
  });

  test("does not bring back who was just deleted, though Clerk still shows them", async () => {
    const { t, clerk } = setting;
    const { event } = clerk.createUser({ id: ADA, created_at: LONG_AGO });
    await post(t, event);
    clerk.fallBehind(new Map(clerk.users));
    await post(t, clerk.deleteUser(ADA, Date.now()));
    await as(ADA).mutation(ensureSynced, {});
    vi.advanceTimersToNextTimer();
    await t.finishInProgressScheduledFunctions();
    expect(asked().filter(({ query }) => query.has("user_id")).length).toBe(1);
    expect(await rows(t)).toEqual([]);
    clerk.catchUp();
    await settle();
    expect(await rows(t)).toEqual([]);
  });

  test("does not use up the looks that a lockout's end is waited for with", async () => {
    const { t, clerk } = setting;
    const said = app as unknown as { isBanned: unknown };
    const isLocked = ({ locked }: User) => locked === true;
    vi.spyOn(said, "isBanned", "get").mockReturnValue(isLocked);
    await post(t, clerk.createUser({ id: ADA, created_at: LONG_AGO }).event);
    pass(10 * MINUTE);
    const lockout = { locked: true, lockout_expires_in_seconds: 3600 };
    await post(t, clerk.updateUser(ADA, lockout, Date.now()));
    const doubts = async () => await t.run(async ({ db }) => await db.query("clerkDoubts").take(9));
    for (let i = 0; i < 10; i += 1) {
      await as(ADA).mutation(ensureSynced, {});
      for (let k = 0; k < 3; k += 1) {
        vi.advanceTimersToNextTimer();
        await t.finishInProgressScheduledFunctions();
      }
      pass(MINUTE);
      expect((await doubts()).map(({ clerkId }) => clerkId)).toEqual([ADA]);
    }
  });

  test("lets in again whose ban ended unheard", async () => {
    const { t, clerk } = setting;
    await post(t, clerk.createUser({ id: ADA, created_at: LONG_AGO }).event);
    await post(t, clerk.updateUser(ADA, { banned: true }, Date.now()));
    expect(await as(ADA).query(current, {})).toEqual({ status: "banned" });
    pass(10 * MINUTE);
    clerk.updateUser(ADA, { banned: false }, Date.now());
    await as(ADA).mutation(ensureSynced, {});
    await settle();
    expect(await as(ADA).query(current, {})).toMatchObject({ status: "ready" });
  });
});

describe("who asks", () => {
  const found = async (clerkId: string, issuer?: string) =>
    await as(clerkId, issuer).run(async (ctx) => await getCurrentUser(ctx));

  test("is the row of that id, of that issuer alone, however the issuer is written", async () => {
    await setting.t.run(async ({ db }) => {
      await db.insert("users", { clerkId: ADA, color: "ada" });
    });
    vi.stubEnv("CLERK_JWT_ISSUER_DOMAIN", "https://clerk.example/");
    expect(await found(ADA, "https://clerk.example")).toMatchObject({ color: "ada" });
    expect(await found(ADA, "clerk.example/")).toMatchObject({ color: "ada" });
    for (const issuer of ["https://clerk.example.org", "https://clerk", "http://clerk.example"]) {
      expect(await found(ADA, issuer), issuer).toBeNull();
    }
    expect(await found("user_bob", "https://clerk.example")).toBeNull();
    expect(await setting.t.run(async (ctx) => await getCurrentUser(ctx))).toBeNull();
  });

  test("needs the issuer, and a sentence says where", async () => {
    for (const issuer of [undefined, "", () => undefined]) {
      vi.spyOn(app, "issuer", "get" as never).mockReturnValue(issuer);
      await expect(found(ADA)).rejects.toThrow("convex/clerk/app.ts lacks the issuer");
      expect(await setting.t.run(async (ctx) => await getCurrentUser(ctx))).toBeNull();
    }
    vi.spyOn(app, "issuer", "get" as never).mockReturnValue("https://convex.test");
    expect(await found(ADA)).toBeNull();
  });

  test("is told why there is nobody, and their token opens nothing", async () => {
    await setting.t.run(async ({ db }) => {
      await db.insert("users", { clerkId: "user_marked", color: "x", deletedAt: 1 });
      await db.insert("users", { clerkId: "user_banned", color: "x", banned: true });
      const erased = { clerkId: "user_erased", color: "x" };
      const userId = await db.insert("users", erased);
      const at = { step: 0, calledAt: 1, isPurge: false };
      await db.insert("clerkErasures", { clerkId: "user_erased", userId, ...at });
    });
    const why = async (clerkId: string) => {
      expect(await found(clerkId)).toBeNull();
      return await as(clerkId)
        .run(async (ctx) => await getCurrentUserOrThrow(ctx))
        .catch(String);
    };
    expect(await why("user_new")).toMatch("Your account has not arrived here yet.");
    expect(await why("user_banned")).toMatch("Your account is banned.");
    vi.spyOn(app, "removal", "get" as never).mockReturnValue({ mark: {} });
    expect(await why("user_marked")).toMatch("Your account was removed.");
    const erase = async () => await Promise.resolve("more" as const);
    vi.spyOn(app, "hooks", "get" as never).mockReturnValue({ erase });
    expect(await why("user_erased")).toMatch("Your account was removed.");
    await expect(setting.t.run(async (ctx) => await getCurrentUserOrThrow(ctx))).rejects.toThrow(
      "Sign in with Clerk first.",
    );
  });
});
