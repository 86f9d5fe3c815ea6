/** Users whose creation time Clerk does not show, more of them in a row than a page holds. */
import { expect, test } from "vitest";
import { DAY, SECOND } from "../../convex/clerk/shared/clock";
import { complete, pass, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

test("are set aside, and those behind them are mirrored, in few requests", async () => {
  const { t, clerk } = setting;
  const ids = Array.from({ length: 12 }, (_, i) => {
    const at = Date.now() - (20 - i) * DAY;
    return clerk.createUser({ created_at: at, updated_at: at }).user.id;
  });
  await complete(t, { pageSize: 2 });
  pass(DAY);
  for (const id of ids.slice(4, 9)) clerk.hidesCreationOf.add(id);
  for (const id of ids.slice(9)) clerk.updateUser(id, { first_name: "New" }, Date.now() - DAY / 2);
  const most = clerk.requests.length + 40;
  clerk.onRequest = () => {
    if (clerk.requests.length === most) clerk.order(/./, { kind: "status", status: 401 });
  };
  expect(await complete(t, { pageSize: 2 })).toMatchObject({
    status: "completed",
    setAside: 5,
    scanned: 12,
    unlisted: 0,
    repaired: { updated: 3, deleted: 0 },
  });
  expect(await rows(t)).toHaveLength(12);
});

test("are met where one of them begins a list of whom the rest of its page signed up at once", async () => {
  const { t, clerk } = setting;
  const at = Date.now() - DAY;
  const first = clerk.createUser({ created_at: at - 1, updated_at: at }).user.id;
  clerk.hidesCreationOf.add(first);
  for (let i = 0; i < 5; i += 1) clerk.createUser({ created_at: at, updated_at: at });
  pass(DAY);
  expect(await complete(t, { pageSize: 3 })).toMatchObject({
    scanned: 6,
    unlisted: 0,
    setAside: 1,
    repaired: { created: 5 },
  });
});

test.each([
  ["falls back to one user", { limitFallsBackTo: 1 }],
  [
    "lacks its last one",
    { dropsFromPage: <U>(users: U[]) => users.slice(0, users.length > 1 ? -1 : 1) },
  ],
])("end the list, in few requests, where each page %s", async (_, world) => {
  const { t, clerk } = setting;
  const ids = Array.from({ length: 4 }, (_, i) => {
    const at = Date.now() - (10 - i) * DAY;
    return clerk.createUser({ created_at: at, updated_at: at }).user.id;
  });
  for (const id of ids.slice(2)) clerk.hidesCreationOf.add(id);
  Object.assign(clerk, world);
  const report = await complete(t);
  expect(report).toMatchObject({ status: "completed", scanned: 4, setAside: 2, unlisted: 0 });
  expect(clerk.requests.length).toBeLessThan(60);
});

test("end the list where Clerk lets one request through at a time", async () => {
  const { t, clerk } = setting;
  const ids = Array.from({ length: 4 }, (_, i) => {
    const at = Date.now() - (10 - i) * DAY;
    return clerk.createUser({ created_at: at, updated_at: at }).user.id;
  });
  await complete(t);
  pass(DAY);
  clerk.hidesCreationOf.add(ids[3] ?? "");
  clerk.allows = { requests: 1, inMs: 40 * SECOND };
  clerk.requests.length = 0;
  clerk.refused = 0;
  expect(await complete(t)).toMatchObject({ status: "completed", setAside: 1, unlisted: 0 });
  expect(clerk.requests.length - clerk.refused).toBeLessThan(30);
});

test.each([false, true])(
  "fail no run beside others of the millisecond before (inclusive: %s)",
  async (isInclusive) => {
    const { t, clerk } = setting;
    clerk.createdAtAfterIsInclusive = isInclusive;
    const at = Date.now() - DAY;
    const [, odd = ""] = [-1000, 0, 0, 1].map((ms) => {
      return clerk.createUser({ created_at: at + ms, updated_at: at }).user.id;
    });
    clerk.hidesCreationOf.add(odd);
    const report = await complete(t);
    expect(report).toMatchObject({ status: "completed", scanned: 4, setAside: 1, unlisted: 0 });
    expect(await rows(t)).toHaveLength(3);
  },
);
