/** Whom Clerk lists a little later than it counts them. */
import { expect, test, vi } from "vitest";
import { HOUR, SECOND } from "../../convex/clerk/shared/clock";
import { backfill, expectMirror, signUp } from "../world/people";
import { complete, LONG_AGO, pass, post, report, run, useSetting } from "../world/setting";

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

test("whoever is created behind the walk of a run that has a thousand entries already is not unlisted", async () => {
  const { t, clerk } = setting;
  signUp(setting, 1010);
  let isImported = false;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "-updated_at" || isImported) return;
    isImported = true;
    clerk.createUser({ created_at: LONG_AGO + 500, updated_at: Date.now() });
  };
  expect(await complete(t)).toMatchObject({
    status: "completed",
    repaired: { created: 1011 },
    unlisted: 0,
  });
});
