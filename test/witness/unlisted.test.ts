/** Whom Clerk lists a little later than it counts them. */
import { expect, test, vi } from "vitest";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { backfill, expectMirror } from "../world/people";
import {
  complete,
  internal,
  LONG_AGO,
  pass,
  post,
  report,
  run,
  useSetting,
} from "../world/setting";

const setting = useSetting({ http: false });

/** Somebody signs up, whom Clerk counts at once and lists once it has caught up. @returns their event */
function signUpUnlisted(agoMs: number) {
  const { clerk } = setting;
  const before = new Map(clerk.users);
  const { event } = clerk.createUser({ created_at: Date.now() - agoMs });
  clerk.fallBehind(before);
  clerk.countFrom(new Map(clerk.users));
  return event;
}

test("a newcomer of whom an event told just before the run, and whom only its look-back is shown, is not unlisted", async () => {
  const { t, clerk } = setting;
  await backfill(setting, 20);
  pass(HOUR);
  const event = signUpUnlisted(1.5 * SECOND);
  pass(SECOND / 2);
  await post(t, event);
  pass(SECOND);
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") === "-updated_at") clerk.catchUp();
  };
  expect(await complete(t)).toMatchObject({ status: "completed", unlisted: 0 });
  await expectMirror(setting);
});

test("a newcomer of whom an event tells while the run waits to count again is not unlisted", async () => {
  const { t, clerk } = setting;
  await backfill(setting, 20);
  pass(HOUR);
  const event = signUpUnlisted(SECOND / 2);
  const { runId, status } = await t.action(run, {});
  expect(status).toBe("running");
  pass(2 * SECOND);
  clerk.catchUp();
  await post(t, event);
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  expect(await t.query(report, { runId })).toMatchObject({ status: "completed", unlisted: 0 });
  await expectMirror(setting);
});

test("newcomers who change while the look-back is read are not unlisted", async () => {
  const { t, clerk } = setting;
  await backfill(setting, 20);
  pass(HOUR);
  const ids = Array.from({ length: 30 }, () => {
    pass(SECOND);
    return clerk.createUser({ created_at: Date.now(), updated_at: Date.now() }).user.id;
  });
  pass(MINUTE);
  // Between the first page and the next one, one of those behind signs in.
  let n = 0;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "-updated_at") return;
    if (Number(query.get("offset") ?? 0) === 0) n = 0;
    else {
      const oldest = [...ids].sort(
        (a, b) => (clerk.users.get(a)?.updated_at ?? 0) - (clerk.users.get(b)?.updated_at ?? 0),
      )[0];
      if (n++ < 1) clerk.updateUser(oldest ?? "", {}, Date.now());
    }
  };
  const report = await complete(t, { pageSize: 10 });
  await expectMirror(setting);
  expect(report).toMatchObject({ status: "completed", clerkUsers: 50, scanned: 50, unlisted: 0 });
});

test("newcomers who share one time are not unlisted as the run looks back again", async () => {
  const { t, clerk } = setting;
  await backfill(setting, 20);
  pass(HOUR);
  const at = Date.now();
  for (let i = 0; i < 15; i += 1) clerk.createUser({ created_at: at, updated_at: at });
  pass(MINUTE);
  // One more, whom Clerk counts at once and lists a minute later.
  const before = new Map(clerk.users);
  clerk.createUser({ created_at: Date.now() - SECOND, updated_at: Date.now() - SECOND });
  clerk.fallBehind(before);
  clerk.countFrom(new Map(clerk.users));
  const since = Date.now();
  clerk.onRequest = () => {
    if (Date.now() - since > MINUTE) clerk.catchUp();
  };
  const report = await complete(t, { pageSize: 10 });
  await expectMirror(setting);
  expect(report).toMatchObject({ status: "completed", clerkUsers: 36, unlisted: 0 });
});

test("a newcomer who can't be read is not unlisted as the run looks back again", async () => {
  const { t, clerk } = setting;
  await backfill(setting, 20);
  pass(HOUR);
  const none = new Map(clerk.users);
  clerk.createUser({
    created_at: Date.now() - 2 * SECOND,
    updated_at: Date.now() - 2 * SECOND,
    id: "user_import-1",
  });
  const one = new Map(clerk.users);
  clerk.createUser({ created_at: Date.now() - SECOND, updated_at: Date.now() - SECOND });
  clerk.fallBehind(none);
  clerk.countFrom(new Map(clerk.users));
  const since = Date.now();
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") === "-updated_at") clerk.fallBehind(one);
    if (Date.now() - since > MINUTE) clerk.catchUp();
  };
  const report = await complete(t, { pageSize: 10 });
  expect(report).toMatchObject({ status: "completed", clerkUsers: 22, setAside: 1, unlisted: 0 });
});

test.each([false, true])(
  "somebody unlisted is found though a newcomer was set aside in the walk alone (set aside: %s)",
  async (isOdd) => {
    const { t, clerk } = setting;
    await backfill(setting, 20);
    pass(HOUR);
    const at = Date.now() - 30 * SECOND;
    const { user } = clerk.createUser({ created_at: at, updated_at: at });
    // One whom Clerk counts and never lists.
    clerk.fallBehind(new Map(clerk.users));
    const other = clerk.createUser({ created_at: at - HOUR });
    clerk.countFrom(new Map(clerk.users));
    clerk.users.delete(other.user.id);
    const mirror = await import("../../convex/clerk/mirror/mirror");
    const { applyListed } = mirror;
    let throws = 0;
    vi.spyOn(mirror, "applyListed").mockImplementation(async (...args) => {
      if (isOdd && args[1].clerkId === user.id && throws < 5 && ++throws)
        throw new Error("a conflict");
      return await applyListed(...args);
    });
    const { status, unlisted, clerkUsers } = await complete(t);
    expect({ status, clerkUsers, unlisted }).toEqual({
      status: "completed",
      clerkUsers: 22,
      unlisted: 1,
    });
  },
);

test.each([
  ["before the look-back, by an event", "-updated_at", true],
  ["before the look-back, by a person's repair", "-updated_at", false],
  ["before the count, by an event", "created_at_before", true],
  ["before the count, by a person's repair", "created_at_before", false],
])("an import behind the walk that is mirrored %s, is not unlisted", async (_, at, isByEvent) => {
  const { t, clerk } = setting;
  await backfill(setting, 20);
  pass(DAY);
  let made: Promise<unknown> | null = null;
  clerk.onRequest = ({ query }) => {
    if (made !== null || (query.get("order_by") !== at && !query.has(at))) return;
    // What comes later has another time.
    pass(10);
    const { user, event } = clerk.createUser({
      created_at: LONG_AGO + 1500,
      updated_at: Date.now(),
    });
    const { id: clerkId } = user;
    made = isByEvent ? post(t, event) : t.action(internal.clerk.reconcile.user, { clerkId });
    clerk.order(new RegExp(at), { kind: "wait", for: made }, 1);
  };
  expect(await complete(t, { pageSize: 50 })).toMatchObject({ status: "completed", unlisted: 0 });
  expect(made).not.toBeNull();
  expect(await t.query(internal.clerk.reconcile.status, {})).toMatchObject({ reasons: [] });
  await expectMirror(setting);
});
