/** Users who share one creation time and are more than a page. */
import { describe, expect, test, vi } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import { expectMirror, loseRows, signUp } from "../world/people";
import { complete, LONG_AGO, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

describe("users who share one creation time, more than a page", () => {
  const T = LONG_AGO + 5_000_000;

  function crowd(count: number): string[] {
    const { clerk } = setting;
    signUp(setting, 5);
    return Array.from({ length: count }, (_, i) => {
      return clerk.createUser({ created_at: T, first_name: `C${i}` }).user.id;
    });
  }

  test.each([
    [true, { pageSize: 100 }],
    [false, { pageSize: 100 }],
  ])(
    "are mirrored, and orphans among them found (inclusive: %s, by pages: %o)",
    { timeout: 120_000 },
    async (inclusive, { pageSize }) => {
      const { t, clerk } = setting;
      clerk.createdAtAfterIsInclusive = inclusive;
      const size = 3 * pageSize;
      const ids = crowd(size);
      signUp(setting, 3, 10_000);
      clerk.createUser({ created_at: T + 1, first_name: "Next" });
      const first = await complete(t, { pageSize });
      expect(first).toMatchObject({ status: "completed", scanned: size + 9 });
      await expectMirror(setting);
      for (const i of [0, 170, size - 1]) clerk.deleteUser(ids[i] ?? "", LONG_AGO + DAY);
      clerk.updateUser(ids[200] ?? "", { first_name: "New" }, LONG_AGO + DAY);
      await loseRows(setting, ids.slice(220, 222));
      expect(await complete(t, { pageSize })).toMatchObject({
        status: "completed",
        scanned: size + 6,
        drift: { missing: 2, stale: 1, orphaned: 3 },
        repaired: { created: 2, updated: 1, deleted: 3 },
      });
      await expectMirror(setting);
    },
  );

  test.each([true, false])(
    "some deleted while the crowd is walked (inclusive: %s): nobody is lost",
    async (inclusive) => {
      const { t, clerk } = setting;
      clerk.createdAtAfterIsInclusive = inclusive;
      const ids = crowd(60);
      await complete(t, { pageSize: 10 });
      clerk.deleteUser(ids[30] ?? "", LONG_AGO + DAY);
      clerk.updateUser(ids[40] ?? "", { first_name: "New" }, LONG_AGO + DAY);
      await loseRows(setting, ids.slice(50, 52));
      let pages = 0;
      clerk.onRequest = ({ query }) => {
        if (query.get("order_by") !== "+created_at" || !query.has("offset")) return;
        pages += 1;
        if (pages === 2) clerk.users.delete(ids[3] ?? "");
        if (pages === 4) clerk.users.delete(ids[12] ?? "");
      };
      const report = await complete(t, { pageSize: 10 });
      expect(report).toMatchObject({ status: "completed", drift: { missing: 2, stale: 1 } });
      clerk.onRequest = () => undefined;
      const here = new Set((await rows(t)).map(({ clerkId }) => clerkId));
      expect([...clerk.users.keys()].every((id) => here.has(id))).toBe(true);
      expect(here.has(ids[30])).toBe(false);
      await complete(t, { pageSize: 10 });
      await expectMirror(setting);
    },
  );

  test("whose order is another one with each page: all are met", async () => {
    const { t, clerk } = setting;
    const ids = crowd(60);
    let removed = 0;
    clerk.onRequest = ({ query }) => {
      if (!query.has("offset") || query.get("order_by") !== "+created_at") return;
      const id = ids[removed] ?? "";
      const user = clerk.users.get(id);
      removed = (removed + 1) % 60;
      clerk.users.delete(id);
      if (user) clerk.users.set(id, user);
    };
    expect(await complete(t, { pageSize: 10 })).toMatchObject({ status: "completed", unlisted: 0 });
    clerk.onRequest = () => undefined;
    await expectMirror(setting);
  });

  test.each([0, 1, 7, 19])(
    "a poison user among them, number %i, is set aside alone",
    async (index) => {
      const { t } = setting;
      const ids = crowd(20);
      const app = await import("../../convex/clerk/app");
      const { newUserFields } = app;
      const defaults = vi.spyOn(app, "newUserFields").mockImplementation((user) => {
        if (user.id === ids[index]) throw new Error("poison");
        return newUserFields(user);
      });
      const report = await complete(t, { pageSize: 6 });
      defaults.mockRestore();
      expect(report).toMatchObject({ status: "completed", setAside: 1, scanned: 25 });
      expect(report.entries.find(({ action }) => action === "setAside")?.clerkId).toBe(ids[index]);
      expect((await rows(t)).length).toBe(24);
    },
  );

  test.each([true, false])(
    "one without an id, which looks another way each time, is set aside once, in another order each time: %s",
    async (shuffles) => {
      const { t, clerk } = setting;
      clerk.shufflesTies = shuffles;
      const ids = crowd(24);
      let asked = 0;
      clerk.order(/^\/v1\/users\?/, {
        kind: "change",
        change: (json) => {
          asked += 1;
          if (asked > 200) throw new Error("it asks for ever");
          return (json as { id: string }[]).map((user) =>
            user.id === ids[4] ? { ...user, id: null, last_active_at: asked } : user,
          );
        },
      });
      expect(await complete(t, { pageSize: 5 })).toMatchObject({
        status: "completed",
        setAside: 1,
        scanned: 29,
      });
    },
  );

  test.each([true, false])(
    "two without an id on different pages are two, in another order each time: %s",
    async (shuffles) => {
      const { t, clerk } = setting;
      clerk.shufflesTies = shuffles;
      const ids = crowd(24);
      const odd = [ids[4], ids[20]];
      clerk.order(/^\/v1\/users\?/, {
        kind: "change",
        change: (json) =>
          (json as { id: string }[]).map((user) =>
            odd.includes(user.id) ? { ...user, id: null } : user,
          ),
      });
      expect(await complete(t, { pageSize: 5 })).toMatchObject({
        status: "completed",
        scanned: 29,
        setAside: 2,
        unlisted: 0,
      });
    },
  );

  test.each([10, 500])(
    "a second row of one of them is reported, by pages of %i",
    async (pageSize) => {
      const { t } = setting;
      const [id = ""] = crowd(30);
      await complete(t, { pageSize });
      await t.run(async (ctx) => {
        await ctx.db.insert("users", { clerkId: id, clerkCreatedAt: T, color: "twin" });
      });
      const report = await complete(t, { pageSize });
      expect(report).toMatchObject({ status: "completed", setAside: 1 });
      expect(report.entries).toMatchObject([
        { clerkId: id, kind: "duplicate", action: "setAside" },
      ]);
    },
  );

  test("a crowd of exactly a page, and one more, are settled", async () => {
    const { t } = setting;
    crowd(21);
    for (const pageSize of [20, 21, 22, 2]) {
      expect((await complete(t, { pageSize })).status).toBe("completed");
      await expectMirror(setting);
    }
  });
});

test.each(["before", "of"])(
  "two %s a crowd who are deleted between two of its pages hide nobody of it",
  async (where) => {
    const { t, clerk } = setting;
    clerk.createdAtAfterIsInclusive = true;
    const at = (created_at: number) => clerk.createUser({ created_at }).user.id;
    const before = [at(LONG_AGO), at(LONG_AGO)];
    const ids = Array.from({ length: 8 }, () => at(LONG_AGO + 1));
    let pages = 0;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "+created_at" || !query.has("offset")) return;
      pages += 1;
      // More than the one by whom pages overlap.
      const gone = where === "before" ? before : ids.slice(0, 2);
      if (pages === 2) for (const id of gone) clerk.users.delete(id);
    };
    const report = await complete(t, { pageSize: 4 });
    expect(report).toMatchObject({ status: "completed", unlisted: 0 });
    const here = (await rows(t)).map(({ clerkId }) => clerkId);
    expect([...clerk.users.keys()].every((id) => here.includes(id))).toBe(true);
  },
);

test("those before a crowd who are deleted while it is listed hide nobody after it", async () => {
  const { t, clerk } = setting;
  clerk.createdAtAfterIsInclusive = true;
  const at = (created_at: number) => clerk.createUser({ created_at }).user.id;
  const before = [at(LONG_AGO), at(LONG_AGO)];
  at(LONG_AGO + 1);
  at(LONG_AGO + 2);
  let isDone = false;
  clerk.onRequest = ({ query }) => {
    if (isDone || query.get("offset") !== "2") return;
    isDone = true;
    for (const id of before) clerk.users.delete(id);
  };
  await complete(t, { pageSize: 3 });
  expect(isDone).toBe(true);
  const here = (await rows(t)).map(({ clerkId }) => clerkId);
  expect([...clerk.users.keys()].every((id) => here.includes(id))).toBe(true);
});
