import { expect, test } from "vitest";
import { LONG_AGO, rows, run, useSetting } from "./setting";

const setting = useSetting();

test("a first run is the backfill", async () => {
  const { t, clerk } = setting;
  for (let i = 0; i < 7; i++) clerk.createUser({ created_at: LONG_AGO + i, first_name: `N${i}` });
  const result = await t.action(run, { pageSize: 3 });
  console.warn(result, setting.log.at(-1));
  expect(result.status).toBe("completed");
  expect((await rows(t)).length).toBe(7);
});
