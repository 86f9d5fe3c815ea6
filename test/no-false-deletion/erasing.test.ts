/** Rows on their way out, which `hooks.erase` does not let go, and who turns out to need them. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { backfill } from "../world/people";
import { complete, internal, pass, post, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

afterEach(() => {
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
});

const settle = async () => {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
};

async function rowOf(id: string) {
  const row = (await rows(setting.t)).find(({ clerkId }) => clerkId === id);
  if (row === undefined) throw new Error(`the row of ${id} is gone`);
  return row;
}

/** `hooks.erase` throws until it is mended; how many it has erased since. */
function breakErase() {
  const seen = { isBroken: true, erased: 0 };
  hooks.erase = async () => {
    await Promise.resolve();
    if (seen.isBroken) throw new Error("storage is down");
    seen.erased += 1;
  };
  return seen;
}

test("a row that the app gave to somebody else meanwhile is theirs, and stays", async () => {
  const { t, clerk } = setting;
  const [old = ""] = await backfill(setting, 20);
  const erasing = breakErase();
  pass(HOUR);
  await post(t, clerk.deleteUser(old, Date.now()));
  await settle();
  const { _id } = await rowOf(old);
  // She signs up again, and the app's sign-in finds her row by her address.
  pass(HOUR);
  const { user, event } = clerk.createUser({ created_at: Date.now(), first_name: "Ada" });
  await t.run(async ({ db }) => {
    await db.patch("users", _id, { clerkId: user.id, color: "precious" });
  });
  await post(t, event);
  await settle();
  pass(DAY);
  expect((await complete(t)).status).toBe("completed");
  expect(await rowOf(user.id)).toMatchObject({ _id });
  erasing.isBroken = false;
  pass(HOUR);
  await complete(t, { mode: "due" });
  expect(await rowOf(user.id)).toMatchObject({ _id, color: "precious" });
});

test("a row whose user is found alive before anything of theirs was erased is kept", async () => {
  const { t, clerk } = setting;
  const [id = ""] = await backfill(setting, 20);
  const { _id } = await rowOf(id);
  const user = clerk.users.get(id);
  if (user === undefined) throw new Error("no user");
  const erasing = breakErase();
  const tick = async () => {
    const begun = await t.action(run, { mode: "due" });
    for (let i = 0; i < 10; i += 1) {
      vi.advanceTimersByTime(MINUTE);
      await t.finishInProgressScheduledFunctions();
    }
    return begun;
  };
  pass(DAY);
  clerk.users.delete(id);
  expect(await tick()).toMatchObject({ repaired: { deleted: 1 } });
  pass(HOUR);
  clerk.users.set(id, user);
  pass(DAY);
  await tick();
  expect(erasing.erased).toBe(0);
  pass(DAY);
  erasing.isBroken = false;
  await tick();
  expect(await rowOf(id)).toMatchObject({ _id });
});

describe("an erasure that is left from before `erase` was taken out", () => {
  /** Somebody goes while `erase` throws; it is taken out, and they are back. */
  async function comeBack(change: object): Promise<string> {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 20);
    const user = clerk.users.get(id);
    breakErase();
    pass(HOUR);
    await post(t, clerk.deleteUser(id, Date.now()));
    await settle();
    delete hooks.erase;
    pass(HOUR);
    if (user) clerk.users.set(id, { ...user, ...change });
    return id;
  }

  test("does not take a row that a completed run has called right", async () => {
    const { t } = setting;
    const id = await comeBack({});
    const { _id } = await rowOf(id);
    pass(DAY);
    expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 20, setAside: 0 });
    pass(20 * DAY);
    const erasing = breakErase();
    erasing.isBroken = false;
    // What a tick takes up again comes before its run has asked anything.
    const options = { mode: "due", dryRun: false, pageSize: 500 } as const;
    await t.mutation(internal.clerk.run.lifecycle.begin, options);
    vi.advanceTimersByTime(1);
    await t.finishInProgressScheduledFunctions();
    expect(erasing.erased).toBe(0);
    expect((await rowOf(id))._id).toBe(_id);
  });

  test.each([
    ["an event", true],
    ["a recent run", false],
  ])("gives nobody who is back a second row, by %s", async (_, isByEvent) => {
    const { t, clerk } = setting;
    const id = await comeBack({ first_name: "Back", updated_at: Date.now() + HOUR });
    pass(2 * HOUR);
    // Without a tick in between: one ends what was left.
    await post(t, clerk.updateUser(id, { first_name: "Back" }, Date.now()));
    await settle();
    pass(HOUR);
    const erasing = breakErase();
    erasing.isBroken = false;
    const event = clerk.updateUser(id, { first_name: "New" }, Date.now());
    if (isByEvent) await post(t, event);
    else await complete(t, { mode: "recent" });
    await settle();
    expect((await rows(t)).filter(({ clerkId }) => clerkId === id)).toHaveLength(1);
    expect(await rowOf(id)).toMatchObject({ firstName: "New" });
  });
});

describe("whom a run let go, and whose `erase` threw before it had erased anything,", () => {
  /** An hour after that, `erase` is mended, and a tick takes it up again. */
  async function mendErase({ isBack }: { isBack: boolean }) {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 20);
    const before = await rowOf(id);
    await t.run(async ({ db }) => {
      await db.patch("users", before._id, { color: "precious" });
    });
    const erasing = breakErase();
    pass(DAY);
    const user = clerk.users.get(id);
    clerk.users.delete(id);
    expect(await complete(t, { mode: "due" })).toMatchObject({ repaired: { deleted: 1 } });
    vi.advanceTimersByTime(MINUTE);
    await t.finishInProgressScheduledFunctions();
    if (isBack && user) clerk.users.set(id, user);
    pass(HOUR);
    erasing.isBroken = false;
    await t.action(run, { mode: "due" });
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
    return { erasing, id };
  }

  test("is kept if Clerk has them again, as it is asked before anything is erased", async () => {
    const { erasing, id } = await mendErase({ isBack: true });
    expect(erasing.erased).toBe(0);
    expect(await rowOf(id)).toMatchObject({ color: "precious" });
  });

  test("goes if Clerk has them no more", async () => {
    const { erasing, id } = await mendErase({ isBack: false });
    expect(erasing.erased).toBe(1);
    expect((await rows(setting.t)).map(({ clerkId }) => clerkId)).not.toContain(id);
  });
});

test.each([
  [
    "has deleted",
    async (id: string) => {
      const { _id } = await rowOf(id);
      await setting.t.run(async ({ db }) => {
        await db.delete("users", _id);
      });
    },
  ],
  [
    "has given to somebody else",
    async (id: string) => {
      const { t, clerk } = setting;
      const { _id } = await rowOf(id);
      const { user, event } = clerk.createUser({ created_at: Date.now() });
      await t.run(async ({ db }) => {
        await db.patch("users", _id, { clerkId: user.id });
      });
      await post(t, event);
    },
  ],
])("an erasure whose row the app itself %s ends, and nobody is told to mend it", async (_, act) => {
  const { t, clerk } = setting;
  const [id = ""] = await backfill(setting, 20);
  const erasing = breakErase();
  pass(HOUR);
  await post(t, clerk.deleteUser(id, Date.now()));
  await settle();
  await act(id);
  await settle();
  erasing.isBroken = false;
  for (let day = 0; day < 2; day += 1) {
    pass(DAY);
    await complete(t, { mode: "due" });
    await settle();
  }
  const { erasing: left, reasons } = await t.query(internal.clerk.reconcile.status, {});
  expect({ left, reasons }).toEqual({ left: 0, reasons: [] });
});

test("the 404 of another instance, to which the mirror has moved, has no erasure go on", async () => {
  const { t, clerk } = setting;
  const [id = ""] = await backfill(setting, 20);
  const erasing = breakErase();
  pass(DAY);
  clerk.users.delete(id);
  expect(await complete(t, { mode: "due" })).toMatchObject({ repaired: { deleted: 1 } });
  await settle();
  await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_new" });
  clerk.instanceId = "ins_new";
  clerk.users.clear();
  erasing.isBroken = false;
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "held" });
  await settle();
  expect(erasing.erased).toBe(0);
  await rowOf(id);
});
