/** Users, events and answers that are refused, by the app or by Clerk: they hold up nobody else, and not for ever. */
import { afterEach, describe, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import type { ClerkUser } from "../../convex/clerk/types";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { backfill, signUp } from "../world/people";
import {
  complete,
  internal,
  LONG_AGO,
  pass,
  post,
  report,
  rows,
  run,
  useSetting,
} from "../world/setting";

const setting = useSetting({ http: false });
const { hooks } = app;

afterEach(() => {
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
});

/** A bug of the app's: it refuses some users, or all. */
function refuse(hook: "created" | "updated" | "removed", only?: string): void {
  hooks[hook] = async (_, { clerkId }) => {
    await Promise.resolve();
    if (only === undefined || clerkId === only) throw new Error("a bug of the app's");
  };
}

/** What is scheduled happens, in its time, for so long at most. */
async function live(ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end && vi.getTimerCount() > 0;) {
    vi.advanceTimersToNextTimer();
    await setting.t.finishInProgressScheduledFunctions();
  }
}

/** Clerk takes so long for each answer. */
function answerIn(ms: number): void {
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    pass(ms);
    return await setting.clerk.fetch(...args);
  });
}

describe("where the app refuses everybody, few requests are made:", () => {
  test("ten for a hundred doubts of its events", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 100);
    pass(HOUR);
    refuse("updated");
    for (const id of ids) await post(t, clerk.updateUser(id, { first_name: "New" }, Date.now()));
    const before = clerk.requests.length;
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
    expect(clerk.requests.length - before).toBeLessThanOrEqual(10);
    expect(await t.query(report, { mode: "doubts" })).toMatchObject({ setAside: 100 });
  });

  test("ten for a full run of a hundred newcomers", async () => {
    signUp(setting, 100);
    refuse("created");
    expect(await complete(setting.t)).toMatchObject({ status: "completed", setAside: 100 });
    expect(setting.clerk.requests.length).toBeLessThanOrEqual(10);
  });
});

describe("one that is refused does not keep the others waiting for ever:", () => {
  test("a removal, by the app, in a full run", async () => {
    const { t, clerk } = setting;
    clerk.environment = "development";
    const gone = (await backfill(setting, 60)).slice(0, 25);
    pass(DAY);
    for (const id of gone) clerk.users.delete(id);
    refuse("removed", gone[0]);
    answerIn(600);
    const { runId } = await t.action(run, { maxDeletions: 25 });
    await live(HOUR);
    expect(await t.query(report, { runId })).toMatchObject({
      status: "completed",
      setAside: 1,
      repaired: { deleted: 24 },
    });
  });

  test("an event, by the app, among those whom the worker asks about", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 100);
    pass(DAY);
    refuse("updated", ids[0]);
    const at = { instanceId: clerk.instanceId, at: Date.now() };
    // Of another API version, without what a column's reader asks for.
    for (const id of ids) {
      clerk.updateUser(id, { first_name: "New" }, Date.now());
      const lacking = { ...clerk.users.get(id), username: undefined };
      await post(t, userEvent("user.updated", lacking, at));
    }
    answerIn(2600);
    await live(HOUR);
    expect(await t.query(report, { mode: "doubts" })).toMatchObject({
      status: "completed",
      setAside: 1,
      repaired: { updated: 99 },
    });
  });

  test("an answer, by Clerk, about one id", async () => {
    const { t, clerk } = setting;
    const gone = (await backfill(setting, 60)).slice(0, 8);
    pass(DAY);
    for (const id of gone) clerk.users.delete(id);
    const odd = gone[0] ?? "";
    clerk.order(new RegExp(odd), { kind: "hang" });
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      pass(new Request(...args).url.includes(odd) ? 20 * SECOND : 200);
      return await clerk.fetch(...args);
    });
    const { runId } = await t.action(run, {});
    await live(3 * HOUR);
    expect(await t.query(report, { runId })).toMatchObject({
      status: "completed",
      setAside: 1,
      repaired: { deleted: 7 },
    });
  });

  test("every answer, by Clerk, about any one id: a run is over within half an hour", async () => {
    const { t, clerk } = setting;
    const gone = (await backfill(setting, 60)).slice(0, 9);
    pass(HOUR);
    for (const id of gone) clerk.users.delete(id);
    clerk.order(/\/v1\/users\/user_/, { kind: "status", status: 500 });
    const since = Date.now();
    await complete(t);
    expect(Date.now() - since).toBeLessThan(30 * MINUTE);
  });
});

describe("a key of newUserFields that Convex can't hold, which comes from Clerk's metadata,", () => {
  const ODD = { größe: 1 };

  /** It compiles: what is spread is a record of anything. */
  function spreadMetadata(): void {
    vi.spyOn(app, "newUserFields").mockImplementation(
      ({ public_metadata, unsafe_metadata }: ClerkUser) => ({
        color: "teal",
        ...public_metadata,
        ...unsafe_metadata,
      }),
    );
  }

  test("has its event accepted, and ignored with a reason", async () => {
    const { t, clerk, log } = setting;
    await backfill(setting, 3);
    spreadMetadata();
    pass(HOUR);
    const { event } = clerk.createUser({ created_at: Date.now(), public_metadata: ODD });
    expect((await post(t, event)).status).toBe(200);
    expect(log.at(-1)).toMatchObject({ event: "webhook.ignored" });
  });

  test("sets aside its own user alone in a run", async () => {
    const { t, clerk } = setting;
    spreadMetadata();
    signUp(setting, 40);
    clerk.createUser({ created_at: LONG_AGO, public_metadata: { $size: 1 } });
    expect(await complete(t)).toMatchObject({
      status: "completed",
      setAside: 1,
      repaired: { created: 40 },
    });
  });

  test.each([
    ["a change", { first_name: "New", public_metadata: ODD }, { firstName: "New" }],
    ["a ban", { banned: true, unsafe_metadata: ODD }, { banned: true }],
  ])("keeps %s from nobody who has a row", async (_, change, changed) => {
    const { t, clerk } = setting;
    const [id = ""] = await backfill(setting, 3);
    spreadMetadata();
    pass(HOUR);
    const answer = await post(t, clerk.updateUser(id, change, Date.now()));
    expect(answer.status).toBe(200);
    pass(10 * MINUTE);
    await complete(t);
    expect((await rows(t)).find(({ clerkId }) => clerkId === id)).toMatchObject(changed);
  });
});

test("an event that the app refuses still tells of which instance the newest one is", async () => {
  const { t, clerk } = setting;
  const [id = ""] = await backfill(setting, 3);
  pass(HOUR);
  const { event } = clerk.createUser({ created_at: Date.now() });
  await post(t, { ...event, instance_id: "ins_other" });
  refuse("updated");
  pass(MINUTE);
  await post(t, clerk.updateUser(id, { first_name: "New" }, Date.now()));
  const { webhooks, eventInstanceId, reasons } = await t.query(internal.clerk.reconcile.status, {});
  expect(webhooks.find(({ type }) => type === "user.updated")?.lastEventAt).toBe(Date.now());
  expect(eventInstanceId).toBe(clerk.instanceId);
  expect(reasons).toEqual([]);
});
