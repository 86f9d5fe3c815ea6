/** What the world did to lists and counts: short pages, counts that do not add up, ties, entries that can't be read. */
import { describe, expect, test } from "vitest";
import { HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { type ClerkUserJSON } from "../../scripts/stand-in/clerk-json";
import { expectMirror, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, post, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const { status } = internal.clerk.reconcile;

async function ids(): Promise<(string | undefined)[]> {
  return (await rows(setting.t)).map(({ clerkId }) => clerkId);
}

/** Starts a run and goes no further than that call. */
async function call(args: Parameters<typeof complete>[1] = {}) {
  return await setting.t.action(run, args);
}

/** Users are deleted in Clerk, and no event tells of it. */
function loseDeletions(gone: string[]): void {
  for (const id of gone) setting.clerk.users.delete(id);
}

describe("a list whose pages hold fewer than asked for", () => {
  const middle = (users: ClerkUserJSON[]) => (users.length > 1 ? users.slice(0, -1) : users);
  const faults: [string, () => void][] = [
    ["one user fewer", () => (setting.clerk.dropsFromPage = middle)],
    ["ten at most", () => (setting.clerk.limitFallsBackTo = 10)],
  ];

  test.each(faults)("%s: a recent run brings every change all the same", async (_, fault) => {
    const { t, clerk } = setting;
    const all = signUp(setting, 100);
    await complete(t);
    pass(HOUR);
    for (const [i, id] of all.slice(0, 71).entries()) {
      clerk.updateUser(id, { first_name: "New" }, Date.now() - MINUTE + i);
    }
    fault();
    const recent = await complete(t, { mode: "recent", pageSize: 50 });
    expect(recent).toMatchObject({ status: "completed", scanned: 71, repaired: { updated: 71 } });
    await expectMirror(setting);
  });

  test.each(faults)("%s: a full run meets everyone, and doubts nobody", async (_, fault) => {
    const { t, clerk } = setting;
    const all = signUp(setting, 262);
    await complete(t);
    pass(HOUR);
    loseDeletions(all.slice(7, 9));
    fault();
    const full = await complete(t, { pageSize: 50 });
    expect(full).toMatchObject({ status: "completed", scanned: 260, unlisted: 0 });
    expect(full.repaired).toEqual({ created: 0, updated: 0, deleted: 2 });
    expect(clerk.requests.filter(({ query }) => query.has("user_id")).length).toBe(1);
    await expectMirror(setting);
  });
});

describe("a count that does not add up", () => {
  test("is a finding, with both counts and the command, and stops nothing", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 30);
    await complete(t);
    pass(HOUR);
    clerk.countsTooMany = 1;
    loseDeletions(all.slice(0, 2));
    const full = await complete(t);
    expect(full).toMatchObject({ status: "completed", unlisted: 1, repaired: { deleted: 2 } });
    const { verdict, reasons } = await t.query(status, {});
    expect([verdict, reasons.length]).toEqual(["attention", 1]);
    expect(reasons[0]).toMatch(/^Clerk counts 29 users and lists 28,.+clerk\/reconcile:run/);
    expect((await t.fetch("/clerk-users-health", { method: "GET" })).status).toBe(200);
    pass(MINUTE);
    expect((await complete(t, { mode: "due" })).mode).toBe("recent");
    clerk.countsTooMany = 0;
    await complete(t);
    expect((await t.query(status, {})).verdict).toBe("healthy");
  });

  test("because it lags behind deletions is asked once more, and adds up", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 30);
    await complete(t);
    pass(HOUR);
    const before = new Map(clerk.users);
    for (const id of all.slice(0, 3)) await post(t, clerk.deleteUser(id, Date.now()));
    clerk.countFrom(before);
    const first = await call();
    expect(first).toMatchObject({ status: "running" });
    expect(first.summary).toMatch("Clerk counts 30 users and listed 27: it is asked once more.");
    clerk.countFrom(null);
    expect(await complete(t)).toMatchObject({ status: "completed", unlisted: 0 });
  });
});

describe("60 users who share a time, in another order with each page", () => {
  test.each([7, 20, 40])("of change are all met by a recent run, %i a page", async (pageSize) => {
    const { t, clerk } = setting;
    const all = signUp(setting, 80);
    await complete(t);
    pass(HOUR);
    clerk.shufflesTies = true;
    const at = Date.now() - MINUTE;
    for (const id of all.slice(0, 60)) clerk.updateUser(id, { first_name: "New" }, at);
    const recent = await complete(t, { mode: "recent", pageSize });
    expect(recent).toMatchObject({ status: "completed", scanned: 60, repaired: { updated: 60 } });
    await expectMirror(setting);
  });

  test.each([7, 20, 40])("of creation are all met by a full run, %i a page", async (pageSize) => {
    const { t, clerk } = setting;
    clerk.shufflesTies = true;
    const crowd = Array.from({ length: 60 }, () => clerk.createUser({ created_at: LONG_AGO }));
    signUp(setting, 20, 5);
    const full = await complete(t, { pageSize });
    expect(full).toMatchObject({ status: "completed", scanned: 80, unlisted: 0 });
    await expectMirror(setting);
    pass(HOUR);
    loseDeletions(crowd.slice(0, 2).map(({ user }) => user.id));
    await complete(t, { pageSize });
    await expectMirror(setting);
  });
});

describe("an entry of the list", () => {
  test.each([
    ["without a creation time", { created_at: null }, "user_odd"],
    ["with a text for it", { created_at: "yesterday" }, "user_odd"],
    ["with a fraction for it", { created_at: LONG_AGO + 2500.5 }, "user_odd"],
    ["with an id of another form", { id: "user_import-7" }, "N4"],
  ])("%s is set aside, and everyone else is mirrored", async (_, odd, place) => {
    const { t, clerk } = setting;
    const all = signUp(setting, 9);
    const json = { id: "user_odd", created_at: LONG_AGO + 4500, first_name: "Odd", ...odd };
    clerk.createUser(json as never);
    for (const pageSize of [4, 500]) {
      const full = await complete(t, { pageSize });
      expect(full).toMatchObject({ status: "completed", setAside: 1 });
      const entry = full.entries.find(({ action }) => action === "setAside");
      if (place !== "N4") expect(entry?.clerkId).toBe(place);
      else expect(entry?.reason).toMatch(`the entry after ${all[4]}`);
      expect((await ids()).sort()).toEqual([...all].sort());
    }
    expect(JSON.stringify(setting.log)).not.toMatch("import-7");
  });
});
