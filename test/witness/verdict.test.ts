/** When `status` and the health route ask for attention, and when no longer. */
import { describe, expect, test } from "vitest";
import { DAY, HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { operatorOf } from "../world/operator";
import { signUp } from "../world/people";
import { complete, internal, pass, post, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const { status, reasons, tick, live, backfilled } = operatorOf(setting);

describe("the verdict turns to attention and back", () => {
  test("while nothing was ever compared, but not for the backfill", async () => {
    const { t, clerk } = setting;
    expect(await reasons()).toEqual([
      expect.stringMatching(/^No run has compared .+crons\.ts.+clerk\/reconcile:run$/),
    ]);
    signUp(setting, 30);
    let during: Promise<unknown> | undefined;
    clerk.onRequest = () => {
      during ??= reasons();
    };
    expect(await complete(t)).toMatchObject({ repaired: { created: 30 } });
    expect(await during).toEqual([]);
    pass(HOUR);
    expect(await reasons()).toEqual([]);
  });

  test("where the first full run doesn't get to its end for two periods", async () => {
    const { clerk } = setting;
    signUp(setting, 3);
    clerk.order(/users/, { kind: "status", status: 401 });
    await tick();
    pass(DAY);
    expect(await reasons()).toHaveLength(1);
    pass(DAY + HOUR);
    expect(await reasons()).toEqual([
      expect.stringMatching(/^No full run has completed yet, since .+clerk\/doctor:check$/),
      expect.stringMatching(/^The last run/),
    ]);
    clerk.heal();
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("where no full run completes for two periods", async () => {
    await backfilled(3);
    pass(2 * DAY - 2 * HOUR);
    expect(await reasons()).toEqual([]);
    pass(2 * HOUR);
    expect(await reasons()).toEqual([
      expect.stringMatching(/^No full run has completed since .+clerk\/doctor:check$/),
    ]);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("while a run is held, whatever recent, dry and failed runs come after", async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(40);
    for (const id of ids.slice(0, 20)) clerk.users.delete(id);
    const held = await complete(t);
    const why = [
      expect.stringMatching(
        new RegExp(
          `^Deletions are held since .+20.+clerk/reconcile:report '{"runId":"${held.runId}"}' .+'{"maxDeletions":20}'$`,
        ),
      ),
    ];
    expect(await reasons()).toEqual(why);
    await post(t, clerk.deleteUser(ids[20] ?? "", Date.now()));
    await live(3);
    await complete(t, { dryRun: true });
    expect(await reasons()).toEqual(why);
    clerk.order(/users/, { kind: "status", status: 401 });
    await complete(t);
    clerk.heal();
    expect(await reasons()).toHaveLength(2);
    await complete(t, { maxDeletions: 20 });
    expect(await reasons()).toEqual([]);
  });

  test("while the last run failed", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    clerk.order(/users/, { kind: "status", status: 401 });
    await tick();
    expect(await reasons()).toEqual([
      expect.stringMatching(/^The last run.+failed.+CLERK_SECRET_KEY.+clerk\/doctor:check/),
    ]);
    clerk.heal();
    await complete(t, { dryRun: true });
    expect(await reasons()).toHaveLength(1);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test.each(["full", "recent"] as const)(
    "while users are set aside, found by a %s run",
    async (mode) => {
      const { t, clerk } = setting;
      const [id = ""] = await backfilled(3);
      await post(t, clerk.updateUser(id, { public_metadata: { $key: 1 } }, Date.now()));
      expect(await reasons()).toEqual([]);
      pass(10 * MINUTE);
      const { runId } = await complete(t, { mode });
      await live(5);
      expect(await reasons()).toEqual([
        expect.stringMatching(
          new RegExp(
            `^1 user was set aside by the ${mode} .+clerk/reconcile:report '{"runId":"${runId}"}'$`,
          ),
        ),
      ]);
      await post(t, clerk.updateUser(id, { public_metadata: {} }, Date.now()));
      await complete(t);
      expect(await reasons()).toEqual([]);
    },
  );

  test("after a move to another instance, until a full run has gone through there", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_new" });
    clerk.instanceId = "ins_new";
    expect(await reasons()).toEqual([expect.stringMatching(/pinned by hand.+reconcile:run/)]);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("after a first run that died, was cancelled, or was dry", async () => {
    const { t } = setting;
    signUp(setting, 3);
    await complete(t, { dryRun: true });
    expect(await reasons()).toEqual([expect.stringMatching(/^No run has compared/)]);
    await t.mutation(internal.clerk.run.lifecycle.begin, {
      mode: "full",
      dryRun: false,
      pageSize: 2,
    });
    expect(await reasons()).toEqual([]);
    await t.mutation(internal.clerk.reconcile.cancel, {});
    expect(await reasons()).toEqual([expect.stringMatching(/^No run has compared/)]);
    await t.mutation(internal.clerk.run.lifecycle.begin, {
      mode: "full",
      dryRun: false,
      pageSize: 2,
    });
    pass(30 * DAY);
    expect(await reasons()).toEqual([expect.stringMatching(/^No run has compared/)]);
    await tick();
    expect(await reasons()).toEqual([]);
  });

  test("tells of those whom the full run and a recent one since set aside", async () => {
    const { t, clerk } = setting;
    const ids = await backfilled(4);
    const spoil = async (some: string[]) => {
      for (const id of some) {
        await post(t, clerk.updateUser(id, { public_metadata: { $key: 1 } }, Date.now()));
      }
      pass(10 * MINUTE);
    };
    await spoil(ids.slice(0, 2));
    await complete(t);
    await live(2);
    await spoil(ids.slice(2, 3));
    await complete(t, { mode: "recent" });
    await live(2);
    expect(await reasons()).toEqual([
      expect.stringMatching(/^2 users were set aside by the full run/),
      expect.stringMatching(/^1 user was set aside by the recent run/),
    ]);
  });

  test("pinning the instance that is mirrored already changes nothing", async () => {
    const { t, clerk } = setting;
    await backfilled(3);
    const before = await status();
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: clerk.instanceId });
    expect(await status()).toEqual(before);
  });
});
