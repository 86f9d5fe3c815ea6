/** Recent runs, and what a tick of the schedule runs. */
import { describe, expect, test, vi } from "vitest";
import { MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { expectMirror, seed, signUp } from "../world/people";
import { complete, internal, pass, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

describe("a recent run", () => {
  const changedAt = () => Date.now() - SECOND;

  test("finds creations and updates among 400 changes with at most 4 requests, and deletes nobody", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 600);
    await seed(setting, ids);
    await complete(t, {});
    pass(15 * MINUTE);
    for (const id of ids.slice(0, 390)) clerk.updateUser(id, { first_name: "New" }, changedAt());
    for (let i = 0; i < 10; i++)
      clerk.createUser({ created_at: changedAt(), first_name: "Newcomer" });
    clerk.deleteUser(ids[599] ?? "", changedAt());
    const report = await complete(t, { mode: "recent" });
    expect(report).toMatchObject({
      mode: "recent",
      status: "completed",
      scanned: 400,
      drift: { missing: 10, stale: 390, orphaned: 0 },
      repaired: { created: 10, updated: 390, deleted: 0 },
    });
    expect(report.requests).toBeLessThanOrEqual(4);
    expect((await rows(t)).length).toBe(610);
  });

  test("that is quiet takes at most 4 requests, and looks no further back than the run before", async () => {
    const { t } = setting;
    signUp(setting, 50);
    await complete(t, {});
    pass(15 * MINUTE);
    const report = await complete(t, { mode: "recent" });
    expect(report).toMatchObject({ status: "completed", scanned: 0, next: null });
    expect(report.requests).toBeLessThanOrEqual(4);
  });

  test("over many pages meets each user once", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await complete(t, {});
    pass(15 * MINUTE);
    for (const id of ids.slice(0, 23)) clerk.updateUser(id, { first_name: "New" }, changedAt());
    const report = await complete(t, { mode: "recent", pageSize: 5 });
    expect(report).toMatchObject({ scanned: 23, drift: { stale: 23 }, repaired: { updated: 23 } });
    await expectMirror(setting);
  });

  test("misses nobody when others change or are deleted while it lists", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await complete(t, {});
    pass(15 * MINUTE);
    const changed = ids.slice(0, 23);
    for (const [i, id] of changed.entries()) {
      clerk.updateUser(id, { first_name: "New" }, changedAt() + i);
    }
    let listed = 0;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "-updated_at") return;
      listed += 1;
      if (listed === 2) clerk.updateUser(ids[30] ?? "", { first_name: "Now" }, Date.now());
      if (listed === 3) for (const id of changed.slice(19, 22)) clerk.users.delete(id);
    };
    expect(await complete(t, { mode: "recent", pageSize: 5 })).toMatchObject({
      status: "completed",
    });
    const stale = (await rows(t)).filter(
      (row) => clerk.users.get(row.clerkId ?? "")?.first_name === "New" && row.firstName !== "New",
    );
    expect(stale).toEqual([]);
  });

  test("asks about a user who is listed although deleted, and brings them back", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 3);
    await complete(t, {});
    const user = clerk.users.get(id);
    const gone = { id, object: "user", deleted: true };
    await post(t, userEvent("user.deleted", gone, { instanceId: clerk.instanceId, at: 0 }));
    expect((await rows(t)).length).toBe(2);
    pass(15 * MINUTE);
    clerk.updateUser(user?.id ?? "", { first_name: "Alive" }, changedAt());
    expect(await complete(t, { mode: "recent" })).toMatchObject({ repaired: { created: 1 } });
    await expectMirror(setting);
  });

  test("never judges absence, not even of a user it has to ask about", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 3);
    await complete(t, {});
    pass(15 * MINUTE);
    clerk.updateUser(id, { first_name: "New" }, changedAt());
    await complete(t, { mode: "recent" });
    const older = { ...clerk.users.get(id), first_name: "Old", updated_at: changedAt() - MINUTE };
    clerk.users.delete(id);
    clerk.order(/-updated_at/, { kind: "change", change: () => [older] });
    expect(await complete(t, { mode: "recent" })).toMatchObject({
      status: "completed",
      drift: { orphaned: 0, stale: 0 },
    });
    expect((await rows(t)).find(({ clerkId }) => clerkId === id)?.firstName).toBe("New");
  });

  test("before any full run fails with a sentence", async () => {
    expect((await complete(setting.t, { mode: "recent" })).summary).toMatch(
      "needs a completed full run",
    );
  });
});

describe("a tick", () => {
  test("is full at first, then recent, and full again after a day of recent ones", async () => {
    const { t } = setting;
    signUp(setting, 3);
    const modes: string[] = [];
    for (let i = 0; i < 100; i++) {
      modes.push((await complete(t, { mode: "due" })).mode);
      pass(15 * MINUTE);
    }
    expect(modes.flatMap((mode, tick) => (mode === "full" ? tick : []))).toEqual([0, 96]);
  });

  test("stays full until a full run has completed, which a failed or dry one has not", async () => {
    const { t, clerk } = setting;
    await complete(t, { dryRun: true });
    expect((await complete(t, { mode: "due", dryRun: true })).mode).toBe("full");
    clerk.order(/users/, { kind: "status", status: 401 });
    expect(await complete(t, { mode: "due" })).toMatchObject({ mode: "full", status: "failed" });
    clerk.heal();
    expect(await complete(t, { mode: "due" })).toMatchObject({ mode: "full", status: "completed" });
    expect((await complete(t, { mode: "due" })).mode).toBe("recent");
  });

  test("counts a held run as completed", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t, {});
    clerk.users.clear();
    expect((await complete(t, {})).status).toBe("held");
    expect((await complete(t, { mode: "due" })).mode).toBe("recent");
  });
});

describe("a change and its undoing, of which only the first event comes, and late", () => {
  test.each(["a recent run", "a recent run that is under way", "a person's repair"])(
    "stays undone after %s has seen so",
    async (by) => {
      const { t, clerk } = setting;
      const ids = signUp(setting, 20);
      await seed(setting, ids);
      await complete(t);
      const [id = ""] = ids;
      pass(60 * MINUTE);
      for (const other of ids.slice(5, 9)) clerk.updateUser(other, {}, Date.now());
      pass(SECOND);
      const late = clerk.updateUser(id, { banned: true }, Date.now());
      pass(MINUTE);
      clerk.updateUser(id, { banned: false }, Date.now());
      pass(10 * MINUTE);
      const settle = async () => {
        await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
      };
      if (by === "a recent run that is under way") {
        let looks = 0;
        clerk.onRequest = ({ query }) => {
          looks += Number(query.get("order_by") === "-updated_at");
          if (looks !== 2) return;
          clerk.order(/-updated_at/, { kind: "wait", for: post(t, late) }, 1);
        };
        expect(await complete(t, { mode: "due", pageSize: 2 })).toMatchObject({ mode: "recent" });
        expect(looks).toBeGreaterThan(1);
        await settle();
      } else {
        if (by === "a recent run") await complete(t, { mode: "due" });
        else await t.action(internal.clerk.reconcile.user, { clerkId: id });
        pass(20 * MINUTE);
        await post(t, late);
        await settle();
      }
      const row = (await rows(t)).find(({ clerkId }) => clerkId === id);
      expect(row?.banned).toBe(false);
    },
  );
});

test("a recent run meets those whom many others overtake while it lists", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 260);
  await seed(setting, ids);
  await complete(t);
  pass(60 * MINUTE);
  const [changed, others] = [ids.slice(0, 60), ids.slice(60)];
  for (const [i, id] of changed.entries()) {
    clerk.updateUser(id, { first_name: "New" }, Date.now() - MINUTE + i);
  }
  let looks = 0;
  clerk.onRequest = ({ query }) => {
    looks += Number(query.get("order_by") === "-updated_at");
    if (looks !== 3) return;
    for (const [i, id] of others.entries()) clerk.updateUser(id, {}, Date.now() + i);
  };
  expect(await complete(t, { mode: "recent", pageSize: 6 })).toMatchObject({ status: "completed" });
  const shown = new Map((await rows(t)).map(({ clerkId, firstName }) => [clerkId, firstName]));
  expect(changed.filter((id) => shown.get(id) !== "New")).toEqual([]);
});

describe("while Clerk's API still shows what was", () => {
  const settle = async () => {
    await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 1000);
  };
  const nameOf = async (id: string) => {
    return (await rows(setting.t)).find(({ clerkId }) => clerkId === id)?.firstName;
  };
  async function oneUser(): Promise<string> {
    const { t, clerk } = setting;
    const at = Date.now() - 2 * 24 * 60 * MINUTE;
    const { id } = clerk.createUser({ created_at: at, updated_at: at, first_name: "Old" }).user;
    await complete(t);
    pass(20 * MINUTE);
    return id;
  }

  test("an event about a change from just before a recent run is not given up", async () => {
    const { t, clerk } = setting;
    const id = await oneUser();
    clerk.fallBehind(new Map(clerk.users));
    const event = clerk.updateUser(id, { first_name: "New" }, Date.now());
    pass(SECOND);
    await complete(t, { mode: "recent" });
    pass(SECOND);
    await post(t, event);
    vi.advanceTimersByTime(SECOND);
    await t.finishInProgressScheduledFunctions();
    expect(await nameOf(id)).toBe("Old");
    clerk.catchUp();
    await settle();
    expect(await nameOf(id)).toBe("New");
  });

  test("it does not win over an event by a change that no column shows", async () => {
    const { t, clerk } = setting;
    const id = await oneUser();
    const before = new Map(clerk.users);
    const repair = async () => await t.action(internal.clerk.reconcile.user, { clerkId: id });
    const event = clerk.updateUser(id, { first_name: "New" }, Date.now());
    pass(SECOND);
    await post(t, event);
    pass(20 * SECOND);
    clerk.updateUser(id, {}, Date.now());
    pass(SECOND);
    expect(await repair()).toMatchObject({ outcome: "unchanged" });
    pass(20 * SECOND);
    clerk.fallBehind(before);
    expect(await repair()).toMatchObject({ outcome: "unchanged" });
    expect(await nameOf(id)).toBe("New");
  });
});
