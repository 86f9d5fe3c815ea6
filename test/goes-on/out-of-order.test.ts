/** One user whom Clerk lists out of the order that was asked for. */
import { expect, test } from "vitest";
import { HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { expectMirror, signUp } from "../world/people";
import { complete, LONG_AGO, pass, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

test.each([
  ["far too late, by creation", /order_by=%2Bcreated_at/, { created_at: LONG_AGO + 10 * HOUR }],
  ["far too early, by creation", /order_by=%2Bcreated_at/, { created_at: LONG_AGO - 10 * HOUR }],
  ["among those who changed long ago", /order_by=-updated_at/, { updated_at: LONG_AGO }],
])("stops nobody else, and is mirrored: %s", async (_, path, odd) => {
  const { t, clerk } = setting;
  const all = signUp(setting, 20);
  await complete(t);
  pass(HOUR);
  for (const [i, id] of all.entries()) {
    clerk.updateUser(id, { first_name: "New" }, Date.now() - MINUTE + i);
  }
  const change = (json: unknown) =>
    (json as { id: string }[]).map((user) => (user.id === all[10] ? { ...user, ...odd } : user));
  clerk.order(path, { kind: "change", change });
  const report = await complete(t);
  expect(report).toMatchObject({ status: "completed", setAside: 0, unlisted: 0, scanned: 20 });
  clerk.heal();
  expect(await complete(t)).toMatchObject({
    status: "completed",
    repaired: { created: 0, deleted: 0 },
  });
  await expectMirror(setting);
});

test.each([
  ["the list, shown far too late", 0, LONG_AGO + 10 * HOUR],
  ["its second page, shown as from before it", 10, LONG_AGO - 10 * HOUR],
])("who begins %s, is met all the same", async (_, place, created_at) => {
  const { t, clerk } = setting;
  // Behind the one at that place many signed up at once.
  const ids = Array.from({ length: 40 }, (_, i) => {
    const created = LONG_AGO + Math.min(i, place + (place === 0 ? 1 : 0));
    return clerk.createUser({ created_at: created, updated_at: LONG_AGO }).user.id;
  });
  const change = (json: unknown) =>
    (json as { id: string }[]).map((user) =>
      user.id === ids[place] ? { ...user, created_at } : user,
    );
  clerk.order(/order_by=%2Bcreated_at/, { kind: "change", change });
  const report = await complete(t, { pageSize: 12 });
  expect(report).toMatchObject({ status: "completed", setAside: 0, unlisted: 0 });
  const made = (await rows(t)).map(({ clerkId }) => clerkId);
  expect(made).toEqual(expect.arrayContaining(ids));
});
