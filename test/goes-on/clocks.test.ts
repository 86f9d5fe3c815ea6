/** The clock that changes are written by, and that of the machine which asks Clerk, need not agree. */
import { describe, expect, test, vi } from "vitest";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { backfill } from "../world/people";
import {
  complete,
  driftApart,
  internal,
  LONG_AGO,
  pass,
  post,
  rows,
  useSetting,
} from "../world/setting";

const setting = useSetting({ http: false });

const ahead = [-20 * SECOND, -3 * SECOND, -100, 0, 3 * SECOND, 20 * SECOND];

describe.each(ahead)("where the clock of actions is %i ms ahead", (aheadMs) => {
  test("a run asks about each doubt, and not time and again", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 30);
    for (const id of ids.slice(0, 3)) clerk.deleteUser(id, Date.now());
    // Of whom Clerk knows, beside those whom it does not.
    clerk.updateUser(ids[5] ?? "", { created_at: LONG_AGO + DAY }, Date.now());
    pass(DAY);
    driftApart(aheadMs);
    const report = await complete(t);
    expect(report).toMatchObject({ status: "completed", repaired: { deleted: 3 }, postponed: 0 });
    expect(report.requests).toBeLessThanOrEqual(30 / 500 + 8 + 2 + 3);
    expect(await rows(t)).toHaveLength(27);
  });

  test("so does the worker, in few steps", async () => {
    const { t, clerk } = setting;
    const ids = await backfill(setting, 30);
    for (const id of ids) clerk.updateUser(id, { first_name: "New" }, Date.now());
    pass(DAY);
    driftApart(aheadMs);
    clerk.requests.length = 0;
    for (const clerkId of ids) await t.mutation(internal.clerk.memory.worker.doubt, { clerkId });
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10);
    expect((await rows(t)).map(({ firstName }) => firstName)).toEqual(ids.map(() => "New"));
    expect(clerk.requests.length).toBeLessThanOrEqual(3);
  });

  test("the worker judges five minutes later of whom it was too early to tell", async () => {
    const { t, clerk } = setting;
    const [gone = ""] = await backfill(setting, 40);
    pass(HOUR);
    driftApart(aheadMs);
    // An event about an old change comes late, and that of the deletion never.
    const late = clerk.updateUser(gone, { first_name: "Late" }, Date.now() - 3 * HOUR);
    clerk.users.delete(gone);
    await post(t, late);
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 100);
    expect(await rows(t)).toHaveLength(39);
  });

  test("a removal waits for five minutes of the clock that events are written by", async () => {
    const { t, clerk } = setting;
    const [gone = ""] = await backfill(setting, 40);
    const unreadable = { ...clerk.users.get(gone), created_at: undefined };
    pass(HOUR);
    const { instanceId } = clerk;
    await post(t, userEvent("user.updated", unreadable, { instanceId, at: 0 }));
    clerk.users.delete(gone);
    pass(5 * MINUTE - SECOND);
    driftApart(aheadMs);
    const report = await complete(t, { maxDeletions: 1 });
    expect(report).toMatchObject({ postponed: 1, repaired: { deleted: 0 } });
  });
});
