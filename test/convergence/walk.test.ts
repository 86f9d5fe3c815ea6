/** What moves in Clerk and in the table while a full run walks. */
import { describe, expect, test } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import { expectMirror, signUp } from "../world/people";
import { complete, LONG_AGO, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

describe("users whose creation time changes while a run walks", () => {
  test.each([false, true])("are right after the run (webhooks: %s)", async (withWebhooks) => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 30);
    await complete(t, { pageSize: 5 });
    let listed = 0;
    const posted: Promise<unknown>[] = [];
    const change = (id: string | undefined, created_at: number) => {
      const event = clerk.updateUser(id ?? "", { created_at }, Date.now());
      if (withWebhooks) posted.push(post(t, event));
    };
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "+created_at" || ++listed !== 4) return;
      change(ids[29], LONG_AGO + 2);
      change(ids[25], LONG_AGO + 3);
      change(ids[1], LONG_AGO + 28_500);
      const { event } = clerk.createUser({
        created_at: LONG_AGO + 1,
        updated_at: Date.now(),
        first_name: "I",
      });
      if (withWebhooks) posted.push(post(t, event));
    };
    const report = await complete(t, { pageSize: 5 });
    await Promise.all(posted);
    expect(report).toMatchObject({ status: "completed", repaired: { deleted: 0 } });
    await expectMirror(setting);
  });
});

test("a user whom an event moves behind the walk is not missed in Clerk's count", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 30);
  await complete(t, { pageSize: 5 });
  let listed = 0;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "+created_at" || ++listed !== 4) return;
    const moved = post(
      t,
      clerk.updateUser(ids[29] ?? "", { created_at: LONG_AGO + 2 }, Date.now()),
    );
    clerk.order(/created_at_after/, { kind: "wait", for: moved }, 1);
  };
  expect(await complete(t, { pageSize: 5 })).toMatchObject({ status: "completed", scanned: 29 });
  await expectMirror(setting);
});

test("an import behind the walk, with its event, and a deletion ahead of it fail no run", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 12);
  await complete(t, { pageSize: 4 });
  let listed = 0;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "+created_at" || ++listed !== 3) return;
    const { event } = clerk.createUser({ created_at: LONG_AGO + 1, updated_at: Date.now() });
    clerk.order(/created_at_after/, { kind: "wait", for: post(t, event) }, 1);
    clerk.users.delete(ids[11] ?? "");
  };
  const report = await complete(t, { pageSize: 4 });
  expect(report).toMatchObject({ status: "completed", repaired: { deleted: 1 } });
  await expectMirror(setting);
});

test("who is last is met where the one before goes as the run asks if the list ends there", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 4);
  clerk.limitFallsBackTo = 1;
  const [, , before = "", last = ""] = ids;
  const from = (clerk.users.get(before)?.created_at ?? 0) - 1;
  let hasGone = false;
  clerk.onRequest = ({ query }) => {
    const isAsked = query.get("created_at_after") === String(from) && query.get("offset") === "1";
    if (hasGone || !isAsked) return;
    hasGone = true;
    clerk.users.delete(before);
  };
  await complete(t);
  expect(hasGone).toBe(true);
  expect((await rows(t)).map(({ clerkId }) => clerkId)).toContain(last);
});

test.each([
  [2, null, 3],
  [500, 1, 1],
  [500, 10, 11],
])(
  "users of one time that lies ahead, and one behind them, end a run (pages of %i, falling back to %s)",
  async (pageSize, fallsBackTo, count) => {
    const { t, clerk } = setting;
    const now = Date.now();
    clerk.limitFallsBackTo = fallsBackTo;
    const times = [now - DAY, ...Array.from({ length: count }, () => now + DAY), now + 2 * DAY];
    for (const created_at of times) clerk.createUser({ created_at, updated_at: now - DAY });
    const report = await complete(t, { pageSize });
    expect(report).toMatchObject({ status: "completed", scanned: count + 2 });
    expect(clerk.requests.length).toBeLessThan(80);
  },
);

test("nobody is passed over by pages of one, whoever goes at whichever of them", async () => {
  const { t, clerk } = setting;
  for (let who = 0; who < 3; who += 1) {
    for (let place = 1; place < 16; place += 1) {
      clerk.users.clear();
      clerk.limitFallsBackTo = 1;
      const ids = signUp(setting, 5, 10 * (20 * who + place));
      let pages = 0;
      clerk.onRequest = ({ query }) => {
        pages += Number(query.get("order_by") === "+created_at");
        if (pages === place) clerk.users.delete(ids[who] ?? "");
      };
      const { status, unlisted } = await complete(t, { maxDeletions: 100 });
      const here = new Set((await rows(t)).map(({ clerkId }) => clerkId));
      const missing = [...clerk.users.keys()].filter((id) => !here.has(id));
      expect([who, place, status, missing.length <= unlisted]).toEqual([
        who,
        place,
        "completed",
        true,
      ]);
      clerk.onRequest = () => undefined;
    }
  }
});
