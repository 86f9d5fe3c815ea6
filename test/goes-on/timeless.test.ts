/** Users whose creation time Clerk does not show, more of them in a row than a page holds. */
import { expect, test } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
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
  const before = clerk.requests.length;
  expect(await complete(t, { pageSize: 2 })).toMatchObject({
    status: "completed",
    setAside: 5,
    scanned: 12,
    unlisted: 0,
    repaired: { updated: 3, deleted: 0 },
  });
  expect(clerk.requests.length - before).toBeLessThan(40);
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
