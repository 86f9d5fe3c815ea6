/** The clock that changes are written by, and that of the machine which asks Clerk, need not agree. */
import { expect, test } from "vitest";
import { DAY, SECOND } from "../../convex/clerk/shared/clock";
import { backfill } from "../world/people";
import { complete, driftApart, pass, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

test.each([0, 100, 3 * SECOND, 20 * SECOND])(
  "a run asks once about each doubt where the database's is %i ms ahead",
  async (aheadMs) => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 30);
    for (const id of ids.slice(0, 3)) clerk.deleteUser(id, Date.now());
    pass(DAY);
    await driftApart(t, aheadMs);
    const report = await complete(t);
    expect(report).toMatchObject({ status: "completed", repaired: { deleted: 3 }, postponed: 0 });
    expect(report.requests).toBeLessThanOrEqual(30 / 500 + 8 + 1 + 3);
    expect(await rows(t)).toHaveLength(27);
  },
);
