/** Whom Clerk's own word has said to be gone, though the app kept the row: no number of them is too many. */
import { afterEach, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { backfill, expectMirror, typeNext } from "../world/people";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { api, complete, internal, LONG_AGO, pass, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
afterEach(() => {
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
});

async function settle(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
}

async function broken(): Promise<never> {
  await Promise.resolve();
  throw new Error("broken");
}

/** Twelve of so many go, more than a run may remove unasked, and Clerk's events tell of it. @returns all ids */
async function tellOfTwelve(count = 40): Promise<string[]> {
  const { t, clerk } = setting;
  const ids = await backfill(setting, count);
  pass(HOUR);
  for (const id of ids.slice(0, 12)) await post(t, clerk.deleteUser(id, Date.now()));
  return ids;
}

/** Events tell of twelve of forty, which a hook refuses; Clerk has them all the same, as they were. @returns the twelve */
async function tellOfThoseWhoAreThere() {
  const { t, clerk } = setting;
  hooks.removed = broken;
  const ids = await backfill(setting, 40);
  pass(HOUR);
  const told = ids.slice(0, 12).flatMap((id) => clerk.users.get(id) ?? []);
  for (const { id } of told) await post(t, clerk.deleteUser(id, Date.now()));
  for (const user of told) clerk.users.set(user.id, user);
  return told;
}

test("they go with the first tick after the app has given up an `erase` that threw", async () => {
  const { t } = setting;
  hooks.erase = broken;
  const ids = await tellOfTwelve();
  await settle();
  expect(await rows(t)).toHaveLength(40);
  delete hooks.erase;
  pass(HOUR);
  await complete(t, { mode: "due" });
  await settle();
  await expectMirror(setting);
  const ada = t.withIdentity({ subject: ids[0] ?? "" });
  expect(await ada.query(api.account.current, {})).toEqual({ status: "syncing" });
  const { verdict } = await t.query(internal.clerk.reconcile.status, {});
  expect(verdict).toBe("healthy");
  // Nor do they use up what the worker may remove of others.
  setting.clerk.users.delete(ids[20] ?? "");
  await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: ids[20] ?? "" });
  await settle();
  await expectMirror(setting);
});

test.each([40, 12])(
  "they go with the run after a hook that refused each of them is mended, twelve of %i",
  async (count) => {
    const { t } = setting;
    hooks.removed = broken;
    await tellOfTwelve(count);
    await settle();
    delete hooks.removed;
    pass(HOUR);
    expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 12 } });
    await expectMirror(setting);
  },
);

test("they make room for nobody of whom Clerk has not told: those are held, and none goes where a person allows none", async () => {
  const { t, clerk } = setting;
  hooks.removed = broken;
  const ids = await tellOfTwelve();
  await settle();
  delete hooks.removed;
  pass(HOUR);
  expect(await complete(t, { maxDeletions: 0 })).toMatchObject({ status: "held", held: 12 });
  for (const id of ids.slice(12, 23)) clerk.users.delete(id);
  const { status, held, next, summary } = await complete(t);
  expect({ status, held }).toEqual({ status: "held", held: 23 });
  expect(summary).toMatch("23 of 40 mirrored users are gone from Clerk");
  expect(await rows(t)).toHaveLength(40);
  expect(await typeNext(setting, next)).toMatchObject({ repaired: { deleted: 23 } });
});

test("nor do they count while it is too early to judge them: the one beside them goes", async () => {
  const { t, clerk } = setting;
  hooks.removed = broken;
  const ids = await tellOfTwelve();
  delete hooks.removed;
  clerk.users.delete(ids[20] ?? "");
  expect(await complete(t)).toMatchObject({
    status: "completed",
    postponed: 12,
    repaired: { deleted: 1 },
  });
  await settle();
  await expectMirror(setting);
});

test("another instance's word is none", async () => {
  const { t, clerk } = setting;
  hooks.removed = broken;
  await tellOfTwelve();
  await settle();
  delete hooks.removed;
  await t.run(async ({ db }) => {
    for (const version of await db.query("clerkVersions").take(100)) {
      if (version.deletedEventAt !== undefined) {
        await db.patch("clerkVersions", version._id, { eventInstanceId: "ins_other" });
      }
    }
  });
  pass(HOUR);
  expect(clerk.users.size).toBe(28);
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
});

test("a word that a completed run has outlived is none: users found alive since are held like any others", async () => {
  const { t, clerk } = setting;
  const gone = await tellOfThoseWhoAreThere();
  delete hooks.removed;
  await settle();
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 40 });
  pass(30 * DAY);
  for (const { id } of gone) clerk.users.delete(id);
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
  expect(await rows(t)).toHaveLength(40);
});

test("nor is one after which an event said that they are alive", async () => {
  const { t, clerk } = setting;
  hooks.removed = broken;
  hooks.updated = broken;
  const ids = await tellOfTwelve();
  await settle();
  for (const id of ids.slice(0, 12)) {
    const user = { id, first_name: "Back", created_at: LONG_AGO, updated_at: Date.now() };
    const data = { ...clerk.users.get(ids[20] ?? ""), ...user };
    await post(t, userEvent("user.updated", data, { instanceId: clerk.instanceId, at: 0 }));
  }
  await settle();
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
});

test("before a full run has completed the worker removes nobody, whatever it is told", async () => {
  const { t, clerk } = setting;
  hooks.removed = broken;
  await tellOfTwelve();
  await t.run(async ({ db }) => {
    const [state] = await db.query("clerkSyncState").take(1);
    if (state) await db.patch("clerkSyncState", state._id, { completedFullRun: undefined });
  });
  delete hooks.removed;
  await settle();
  expect(clerk.users.size).toBe(28);
  expect(await rows(t)).toHaveLength(40);
});

test("what a run removed is no such word: rows that were restored are held", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 40);
  const before = await rows(t);
  for (const id of ids.slice(0, 12)) clerk.users.delete(id);
  pass(HOUR);
  expect(await complete(t, { maxDeletions: 12 })).toMatchObject({ repaired: { deleted: 12 } });
  await t.run(async ({ db }) => {
    for (const { _id, _creationTime, ...row } of before) {
      if (ids.indexOf(row.clerkId ?? "") < 12) await db.insert("users", row);
    }
  });
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
});

test("a hold by rule ends with the run that has found its users alive, so a later limit is a limit", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 100);
  const gone = ids.slice(0, 12).flatMap((id) => clerk.users.get(id) ?? []);
  for (const { id } of gone) clerk.users.delete(id);
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
  for (const user of gone) clerk.users.set(user.id, user);
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "completed" });
  pass(30 * DAY);
  for (const { id } of gone.slice(0, 6)) clerk.users.delete(id);
  pass(10 * MINUTE);
  expect(await complete(t, { maxDeletions: 0 })).toMatchObject({ status: "held", held: 6 });
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 6 } });
});

test("nor is a word after which Clerk itself answered that they are alive", async () => {
  const { t, clerk } = setting;
  const gone = await tellOfThoseWhoAreThere();
  delete hooks.removed;
  // The worker asks five minutes later, and Clerk shows all twelve.
  await settle();
  pass(HOUR);
  expect(await complete(t, { mode: "recent" })).toMatchObject({ status: "completed" });
  for (const { id } of gone) clerk.users.delete(id);
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
});

test("but an answer that may be older than the word does not end it", async () => {
  const { t, clerk } = setting;
  const gone = await tellOfThoseWhoAreThere();
  for (const { id: clerkId } of gone) await t.action(internal.clerk.reconcile.user, { clerkId });
  for (const { id } of gone) clerk.users.delete(id);
  await settle();
  delete hooks.removed;
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 12 } });
});
