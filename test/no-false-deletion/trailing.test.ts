/** The end of the list, where a step stops among rows that Clerk does not list: what comes behind is judged as well. */
import { expect, test } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import { seed, signUp } from "../world/people";
import { complete, pass, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

test("more deletions than the limit are held, also of the newest users, whose rows fill several steps", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 300);
  await complete(t);
  // A step reads 2 MiB of rows.
  await t.run(async (ctx) => {
    for (const { _id } of await ctx.db.query("users").order("desc").take(40)) {
      await ctx.db.patch("users", _id, { color: "x".repeat(150_000) });
    }
  });
  pass(DAY);
  // 30 of 300 are more than 5 %.
  for (const id of ids.slice(270)) clerk.users.delete(id);
  expect(await complete(t)).toMatchObject({ status: "held", held: 30, repaired: { deleted: 0 } });
});

test(
  "each of 1,300 orphans behind the last user is found, though a step reads 1,000 rows",
  { tags: ["slow"] },
  async () => {
    const ids = signUp(setting, 1300);
    await seed(setting, ids);
    for (const id of ids) setting.clerk.users.delete(id);
    expect(await complete(setting.t)).toMatchObject({ status: "held", held: 1300 });
  },
);
