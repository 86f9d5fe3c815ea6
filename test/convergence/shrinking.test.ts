/** A look-back over a list that becomes shorter, or that Clerk shows whatever offset is asked for. */
import { expect, test } from "vitest";
import { DAY, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { complete, pass, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

/** Users of whom all have changed since the last run, at times of their own, the first one last. */
async function changedUsers(count: number, changed = count): Promise<string[]> {
  const { t, clerk } = setting;
  const now = Date.now();
  const ids = Array.from({ length: count }, (_, i) => {
    const at = now - 10 * DAY - i * SECOND;
    return clerk.createUser({ created_at: at, updated_at: at }).user.id;
  });
  await complete(t);
  pass(DAY);
  for (const [i, id] of ids.slice(0, changed).entries()) {
    clerk.updateUser(id, { first_name: "New" }, Date.now() - 10 * MINUTE - i * 100);
  }
  return ids;
}

async function stale(): Promise<string[]> {
  const shown = new Map((await rows(setting.t)).map((row) => [row.clerkId, row.firstName ?? null]));
  const users = [...setting.clerk.users.values()];
  return users.filter((user) => shown.get(user.id) !== user.first_name).map(({ id }) => id);
}

test.each([
  [60, 2, null, 12, 54],
  [45, 500, 1, 10, 40],
  [400, 500, 10, 20, 380],
  [9, 500, 1, 3, 4],
  [6, 2, null, 4, 4],
  [9, 3, null, 4, 5],
])(
  "of %i users, in pages of %i (falls back to %s), meets everyone where %i settled ones go at offset %i",
  async (count, pageSize, fallsBackTo, gone, from) => {
    const { t, clerk } = setting;
    const ids = await changedUsers(count);
    clerk.limitFallsBackTo = fallsBackTo;
    let hasShrunk = false;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "-updated_at" || Number(query.get("offset")) < from) return;
      if (!hasShrunk) for (const id of ids.slice(0, gone)) clerk.users.delete(id);
      hasShrunk = true;
    };
    expect(await complete(t, { mode: "recent", pageSize })).toMatchObject({ status: "completed" });
    expect(hasShrunk).toBe(true);
    expect(await stale()).toEqual([]);
  },
);

test("ends where Clerk makes nothing of the offset, and as many as a page change meanwhile", async () => {
  const { t, clerk } = setting;
  const ids = await changedUsers(8, 5);
  let looks = 0;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "-updated_at") return;
    looks += 1;
    query.set("offset", "0");
    if (looks === 2) for (const id of ids.slice(5)) clerk.updateUser(id, {}, Date.now());
  };
  await complete(t, { mode: "recent", pageSize: 3 });
  expect(looks).toBeLessThan(100);
});
