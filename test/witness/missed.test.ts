/** Whether events still come: a change that none told of turns the alarm on, one that the app refused does not. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import type { EventType } from "../../convex/clerk/shared/user";
import schema from "../../convex/schema";
import { operatorOf } from "../world/operator";
import { backfill } from "../world/people";
import { api, complete, internal, pass, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const { status, reasons } = operatorOf(setting);

afterEach(() => {
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
});

async function settle(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
}

async function looksDead(type: EventType): Promise<boolean | undefined> {
  const { webhooks } = await status();
  return webhooks.find((each) => each.type === type)?.looksDead;
}

/** Users are deleted in Clerk, and no event tells of it. */
function loseDeletions(gone: string[]): void {
  for (const id of gone) setting.clerk.users.delete(id);
}

describe("webhooks that are dead look dead", () => {
  test("though the page of each newcomer asks for its row", async () => {
    const { t, clerk } = setting;
    await backfill(setting, 10);
    for (let day = 0; day < 4; day += 1) {
      for (let i = 0; i < 2; i += 1) {
        pass(HOUR);
        const { user } = clerk.createUser({ created_at: Date.now(), first_name: "Ada" });
        pass(3 * SECOND);
        const page = t.withIdentity({ subject: user.id, issuer: "https://convex.test" });
        await page.mutation(api.account.ensureSynced, {});
        await settle();
        await complete(t, { mode: "due" });
      }
      pass(DAY - 2 * HOUR);
    }
    await complete(t, { mode: "due" });
    expect(await rows(t)).toHaveLength(18);
    expect(await looksDead("user.created")).toBe(true);
  });

  test("after the table was restored without the sync's own tables", async () => {
    const { t } = setting;
    const ids = await backfill(setting, 40);
    await t.run(async ({ db }) => {
      for (const table of Object.keys(schema.tables)) {
        if (table === "users") continue;
        for (const { _id } of await db.query(table as "clerkRuns").take(1000)) await db.delete(_id);
      }
    });
    expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 40 });
    pass(DAY);
    loseDeletions(ids.slice(0, 3));
    expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 3 } });
    pass(HOUR);
    expect(await looksDead("user.deleted")).toBe(true);
  });

  test("after a person has removed one by one whom a run held", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 40);
    pass(DAY);
    loseDeletions(ids.slice(0, 12));
    expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
    pass(HOUR);
    for (const clerkId of ids.slice(0, 12)) {
      await t.action(internal.clerk.reconcile.user, { clerkId });
    }
    // Webhooks are mended, and the last of them says so; then they break again.
    pass(HOUR);
    await post(t, clerk.deleteUser(ids[12] ?? "", Date.now()));
    pass(HOUR);
    loseDeletions(ids.slice(13, 18));
    pass(DAY);
    expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 5 } });
    pass(HOUR);
    expect(await looksDead("user.deleted")).toBe(true);
  });
});

describe("what came, and the app refused, was not missed:", () => {
  test("user.deleted", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 20);
    pass(HOUR);
    hooks.removed = () => Promise.reject(new Error("a bug of the app's"));
    expect((await post(t, clerk.deleteUser(id, Date.now()))).status).toBe(200);
    await settle();
    expect(await rows(t)).toHaveLength(20);
    delete hooks.removed;
    pass(DAY);
    expect(await complete(t, { mode: "due" })).toMatchObject({ repaired: { deleted: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("user.updated", async () => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 20);
    pass(HOUR);
    hooks.updated = () => Promise.reject(new Error("a bug of the app's"));
    const answer = await post(t, clerk.updateUser(id, { first_name: "New" }, Date.now()));
    expect(answer.status).toBe(200);
    delete hooks.updated;
    pass(MINUTE);
    expect(await complete(t, { mode: "recent" })).toMatchObject({ repaired: { updated: 1 } });
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });
});

test("a hold that is long over does not hide that user.deleted is missed", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 40);
  pass(DAY);
  // Deleted by mistake: a run holds them.
  const mistaken = ids.slice(0, 12);
  const users = mistaken.map((id) => clerk.users.get(id));
  for (const id of mistaken) clerk.users.delete(id);
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
  // Restored in Clerk: the next run finds them alive and completes.
  for (const user of users) if (user) clerk.users.set(user.id, user);
  pass(DAY);
  expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 40 });
  // A month later the endpoint dies, and some of them are deleted.
  await post(t, clerk.deleteUser(ids[20] ?? "", Date.now()));
  expect((await status()).reasons).toEqual([]);
  for (let day = 0; day < 30; day += 1) {
    pass(DAY);
    await complete(t);
  }
  for (const id of mistaken.slice(0, 5)) clerk.users.delete(id);
  pass(DAY);
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 5 } });
  pass(HOUR);
  const { webhooks } = await status();
  expect(webhooks.find(({ type }) => type === "user.deleted")?.looksDead).toBe(true);
});

test("a user.deleted of long ago does not hide that one is missed", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 20);
  const [id = ""] = ids;
  const user = clerk.users.get(id);
  if (user === undefined) throw new Error("no user");
  pass(DAY);
  await post(t, clerk.deleteUser(id, Date.now()));
  pass(HOUR);
  // Restored in Clerk, under the same id.
  clerk.users.set(id, { ...user, updated_at: Date.now() });
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "completed" });
  expect(await rows(t)).toHaveLength(20);
  for (let day = 0; day < 40; day += 1) {
    pass(DAY);
    await complete(t);
  }
  clerk.users.delete(id);
  pass(DAY);
  expect(await complete(t)).toMatchObject({ repaired: { deleted: 1 } });
  pass(HOUR);
  const { webhooks } = await status();
  expect(webhooks.find(({ type }) => type === "user.deleted")?.looksDead).toBe(true);
});

test("a deletion whose event came, and was refused by the app, is not missed (a row that was right when adopted)", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 30);
  // The table was right before the sync came: nothing else is known of its rows.
  await t.run(async (ctx) => {
    for (const table of ["clerkVersions", "clerkSyncState", "clerkRuns"] as const) {
      for (const { _id } of await ctx.db.query(table).take(1000)) await ctx.db.delete(table, _id);
    }
  });
  expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 30 });
  pass(HOUR);
  hooks.removed = () => {
    throw new Error("a bug of the app's");
  };
  const [gone = ""] = ids;
  expect((await post(t, clerk.deleteUser(gone, Date.now()))).status).toBe(200);
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  expect((await rows(t)).length).toBe(30);
  delete hooks.removed;
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 1 } });
  pass(11 * MINUTE);
  const { reasons } = await t.query(internal.clerk.reconcile.status, {});
  expect(reasons).toEqual([]);
});

test.each([0, 2, 20])(
  "a change whose event comes a second after a run has met it is not missed, where Clerk's clock is %i s ahead",
  async (aheadS) => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 20);
    const clerkNow = () => Date.now() + aheadS * SECOND;
    pass(HOUR);
    for (const id of ids.slice(5, 9)) {
      await post(t, clerk.updateUser(id, { first_name: "Earlier" }, clerkNow()));
    }
    pass(10 * MINUTE);
    const event = clerk.updateUser(ids[0] ?? "", { first_name: "New" }, clerkNow());
    let looks = 0;
    clerk.onRequest = ({ query }) => {
      looks += Number(query.get("order_by") === "-updated_at");
      if (looks !== 2) return;
      // The first page, which shows the change, is settled.
      pass(SECOND);
      clerk.order(/-updated_at/, { kind: "wait", for: post(t, event) }, 1);
    };
    expect(await complete(t, { mode: "recent", pageSize: 2 })).toMatchObject({
      drift: { stale: 1 },
    });
    pass(16 * MINUTE);
    await complete(t, { mode: "due" });
    expect(await reasons()).toEqual([]);
  },
);
