/** Pages that are requested while the one before them is settled. */
import { describe, expect, test, vi } from "vitest";
import { HOUR } from "../../convex/clerk/shared/clock";
import { readUser } from "../../convex/clerk/profile/profile";
import { hooks } from "../../convex/clerk/app";
import { leadsOn, nextAhead } from "../../convex/clerk/run/sweep";
import type { Reading } from "../../convex/clerk/shared/user";
import { clerkUser } from "../../scripts/stand-in/clerk-json";
import { expectMirror, loseRows, seed, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

function readings(...times: number[]): Reading[] {
  return times.map((created_at, i) => {
    const reading = readUser(clerkUser({ id: `user_${created_at}x${i}`, created_at }));
    if (reading.kind !== "profile") throw new Error("it can be read");
    return reading;
  });
}

/** Requests of the walk, as `created_at_after` and offset, and how many were under way at most. */
function watch() {
  const walked: { after: string | null; offset: number }[] = [];
  const underWay = { now: 0, most: 0 };
  const { clerk } = setting;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    underWay.now += 1;
    underWay.most = Math.max(underWay.most, underWay.now);
    pass(10);
    try {
      // Others may be sent meanwhile.
      for (let i = 0; i < 20; i += 1) await Promise.resolve();
      return await clerk.fetch(...args);
    } finally {
      underWay.now -= 1;
    }
  });
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "+created_at") return;
    walked.push({ after: query.get("created_at_after"), offset: Number(query.get("offset") ?? 0) });
  };
  return { walked, underWay };
}

describe("a page that was requested ahead", () => {
  const settled = { key: 20, clerkId: "" };

  test("by offset leads on only where it begins before what is settled, and ends after it", () => {
    const ahead = { from: 10, offset: 3 };
    const isUsed = (...times: number[]) => leadsOn(readings(...times), ahead, settled);
    expect(isUsed(15, 20, 30)).toBe(true);
    // Between the last page and this one somebody may stand whom neither shows.
    expect(isUsed(20, 30)).toBe(false);
    expect(isUsed(30, 40)).toBe(false);
    // It brings nobody.
    expect(isUsed(15, 20)).toBe(false);
    expect(isUsed()).toBe(false);
  });

  test("without an offset leads on where the walk stands at the time that it was asked from", () => {
    const page = readings(20, 30);
    expect(leadsOn(page, { from: 20, offset: 0 }, settled)).toBe(true);
    expect(leadsOn(page, { from: 19, offset: 0 }, settled)).toBe(false);
  });

  test("is worth it only where somebody should stand there, and pages are more than their overlap", () => {
    expect(nextAhead(undefined, 0, 500)).toBe(0);
    expect([nextAhead(0, 499, 500), nextAhead(0, 500, 500)]).toEqual([null, 498]);
    expect([2, 3, 4].map((pageSize) => nextAhead(0, 9, pageSize))).toEqual([null, null, 2]);
  });
});

describe("a walk over a production instance", () => {
  test("has four requests under way, by offsets of at most four pages, and none in vain", async () => {
    const { t } = setting;
    await seed(setting, signUp(setting, 100));
    const { walked, underWay } = watch();
    const report = await t.action(run, { pageSize: 10 });
    expect(report).toMatchObject({ status: "completed", scanned: 100, unchanged: 100 });
    expect(underWay.most).toBe(4);
    expect(Math.max(...walked.map(({ offset }) => offset))).toBeLessThanOrEqual(40);
    // 13 pages that overlap by two, the last user once more, nobody after that one, who is still there.
    expect(walked).toHaveLength(16);
  });

  test.each([
    ["nobody", () => undefined],
    ["somebody who is settled", (ids: string[]) => setting.clerk.users.delete(ids[3] ?? "")],
    ["somebody who comes yet", (ids: string[]) => setting.clerk.users.delete(ids[38] ?? "")],
    [
      "all of a page that comes yet",
      (ids: string[]) => {
        for (const id of ids.slice(20, 29)) setting.clerk.users.delete(id);
      },
    ],
    [
      "those at the end of a page",
      (ids: string[]) => {
        for (const id of ids.slice(16, 20)) setting.clerk.users.delete(id);
      },
    ],
  ])("meets everyone once though %s leaves between its requests", async (_, leave) => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 60);
    await seed(setting, ids.slice(0, 50));
    for (let place = 2; place < 12; place += 1) {
      const all = new Map(clerk.users);
      // Whoever is passed over has no row then, and no doubt asks about them.
      await loseRows(setting, ids.slice(20));
      const { walked } = watch();
      const { onRequest } = clerk;
      clerk.onRequest = (request) => {
        onRequest(request);
        if (walked.length === place) leave(ids);
      };
      const report = await complete(t, { pageSize: 10 });
      expect(report).toMatchObject({ status: "completed", unlisted: 0, setAside: 0 });
      expect(report.scanned).toBeGreaterThanOrEqual(clerk.users.size);
      expect(report.scanned).toBeLessThanOrEqual(all.size);
      clerk.onRequest = () => undefined;
      const shown = new Set((await rows(t)).map(({ clerkId }) => clerkId));
      expect([...clerk.users.keys()].filter((id) => !shown.has(id))).toEqual([]);
      await complete(t);
      await expectMirror(setting);
      for (const [id, user] of all) clerk.users.set(id, user);
      pass(HOUR);
    }
  });

  test("meets everyone where many share a time, in another order with each page", async () => {
    const { t, clerk } = setting;
    clerk.shufflesTies = true;
    for (let i = 0; i < 70; i += 1) {
      clerk.createUser({ created_at: LONG_AGO + Math.floor(i / 3), first_name: `N${i}` });
    }
    for (let seedOfTies = 1; seedOfTies < 20; seedOfTies += 1) {
      clerk.seed = seedOfTies;
      const report = await complete(t, { pageSize: 8 });
      expect(report).toMatchObject({ status: "completed", scanned: 70, unlisted: 0 });
      pass(HOUR);
    }
    await expectMirror(setting);
  });

  test("asks for one page at a time once Clerk has said 429, and goes on", async () => {
    const { t, clerk } = setting;
    await seed(setting, signUp(setting, 200));
    const { walked, underWay } = watch();
    const { onRequest } = clerk;
    clerk.onRequest = (request) => {
      onRequest(request);
      if (walked.length === 8) {
        clerk.order(/created_at_after/, { kind: "status", status: 429, retryAfter: 1 }, 6);
      }
    };
    const report = await complete(t, { pageSize: 10 });
    expect(report).toMatchObject({ status: "completed", scanned: 200, unchanged: 200 });
    underWay.most = 0;
    expect(report.requests).toBeLessThan(60);
    await expectMirror(setting);
  });

  test("goes on where one of them is reset, or its body is no list", async () => {
    const { t, clerk } = setting;
    await seed(setting, signUp(setting, 100));
    for (const body of ["[", "null", '{"data":[]}']) {
      clerk.order(/created_at_after.*offset/, { kind: "body", body }, 2);
      const report = await complete(t, { pageSize: 10 });
      expect(report).toMatchObject({ status: "completed", scanned: 100, unchanged: 100 });
      pass(HOUR);
    }
  });

  test("leaves nothing under way where it is cancelled", async () => {
    const { t, clerk } = setting;
    await seed(setting, signUp(setting, 100));
    const { walked, underWay } = watch();
    const { onRequest } = clerk;
    const cancelled: Promise<unknown>[] = [];
    clerk.onRequest = (request) => {
      onRequest(request);
      if (walked.length !== 6) return;
      cancelled.push(t.mutation(internal.clerk.reconcile.cancel, {}));
    };
    expect(await t.action(run, { pageSize: 10 })).toMatchObject({ status: "cancelled" });
    await Promise.all(cancelled);
    expect(underWay.now).toBe(0);
  });
});

test("a page that was sent more than ten seconds ago is asked for anew", async () => {
  const { t } = setting;
  signUp(setting, 40);
  const { walked } = watch();
  hooks.created = async () => {
    await Promise.resolve();
    pass(2000);
  };
  const report = await complete(t, { pageSize: 10 }).finally(() => {
    delete hooks.created;
  });
  expect(report).toMatchObject({ status: "completed", repaired: { created: 40 } });
  const asked = walked.map(({ after, offset }) => `${after} ${offset}`);
  expect(new Set(asked).size).toBeLessThan(asked.length);
});

test("a development instance is asked for one page at a time", async () => {
  const { t, clerk } = setting;
  clerk.environment = "development";
  await seed(setting, signUp(setting, 100));
  const { walked, underWay } = watch();
  const report = await t.action(run, { pageSize: 10 });
  expect(report).toMatchObject({ status: "completed", scanned: 100 });
  expect(underWay.most).toBe(1);
  expect(walked.filter(({ offset }) => offset > 1)).toEqual([]);
});

test.each([2, 3, 4])("no page of %i users is asked for twice", async (pageSize) => {
  const { t } = setting;
  await seed(setting, signUp(setting, 40));
  const { walked } = watch();
  expect(await t.action(run, { pageSize })).toMatchObject({ scanned: 40, unchanged: 40 });
  const asked = walked.map(({ after, offset }) => `${after} ${offset}`);
  // But for the last one, who must still be there once nobody was found behind.
  expect(new Set(asked).size).toBe(asked.length - 1);
  expect(asked.at(-1)).toBe(asked.at(-3));
});

test("of pages that are not full none is requested ahead", async () => {
  const { t, clerk } = setting;
  clerk.limitFallsBackTo = 9;
  await seed(setting, signUp(setting, 60));
  const { underWay } = watch();
  expect(await t.action(run, { pageSize: 10 })).toMatchObject({ scanned: 60 });
  expect(underWay.most).toBe(1);
});
