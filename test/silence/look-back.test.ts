/** What a full run's look-back reads of users who changed meanwhile, and whose rows are right. */
import { convexTest } from "convex-test";
import { expect, test } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import { Meter } from "../../scripts/bench/measure";
import { signUp } from "../world/people";
import { complete, pass, post, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const modules = import.meta.glob("../../convex/**/*.ts");

test("is a document each", async () => {
  const meter = new Meter();
  setting.t = convexTest({ schema, modules: meter.wrap(modules), transactionLimits: true });
  const { t, clerk } = setting;
  const ids = signUp(setting, 200);
  await complete(t);
  pass(DAY);
  for (const [i, id] of ids.entries()) {
    await post(t, clerk.updateUser(id, { first_name: `New ${i}` }, Date.now() + i));
  }
  pass(1000);
  meter.take();
  expect(await complete(t)).toMatchObject({ drift: { missing: 0, stale: 0, orphaned: 0 } });
  const lookBacks = meter.transactions.filter(({ name }) => name.includes("lookBack"));
  const read = lookBacks.reduce((sum, { documentsRead }) => sum + documentsRead, 0);
  expect(read).toBeGreaterThanOrEqual(200);
  expect(read).toBeLessThanOrEqual(1.02 * 200 + 40);
});
