/** Runs that last, are killed, die and are cancelled; and what is kept of them. */
import type { FunctionArgs } from "convex/server";
import { describe, expect, test, vi } from "vitest";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import type * as Server from "../../convex/_generated/server";
import type { Doc } from "../../convex/_generated/dataModel";
import { killAt, type Death, type Killer } from "../world/kill";
import { drift, expectMirror, seed, signUp } from "../world/people";
import {
  complete,
  internal,
  pass,
  post,
  report as reportQuery,
  rows,
  run,
  useSetting,
} from "../world/setting";

vi.mock("../../convex/_generated/server", async (importOriginal) => {
  const { mortal } = await import("../world/kill");
  const server = await importOriginal<typeof Server>();
  type Definition = { handler: (ctx: Server.ActionCtx, ...args: unknown[]) => unknown };
  const internalAction = ({ handler, ...rest }: Definition) => {
    const mortalHandler: Definition["handler"] = (ctx, ...args) => handler(mortal(ctx), ...args);
    return server.internalAction({ ...rest, handler: mortalHandler });
  };
  return { ...server, internalAction };
});

const setting = useSetting({ http: false });

const realSetTimeout = globalThis.setTimeout;

async function runs(): Promise<Doc<"clerkRuns">[]> {
  return await setting.t.run(async (ctx) => await ctx.db.query("clerkRuns").take(1000));
}

/**
 * Turns of the event loop after which nothing is taken to go on any more: a digest is made beside it, and
 * takes some of them where the machine is busy.
 */
const IDLE_TURNS = 40;

/** Whatever waits for its time comes to it, until nothing does; what hangs is left hanging. */
async function letTimePass(isOver: () => boolean): Promise<void> {
  for (let idle = 0; idle < IDLE_TURNS && !isOver(); idle += 1) {
    await new Promise((resolve) => realSetTimeout(resolve, 0));
    const jobs = await setting.t.run(
      async (ctx) => await ctx.db.system.query("_scheduled_functions").take(1000),
    );
    if (jobs.every(({ state }) => state.kind !== "pending")) continue;
    vi.advanceTimersToNextTimer();
    idle = 0;
  }
}

/** Calls `run` with a killer about, and comes back when it has ended or is dead. */
async function runUnder(killer: Killer, args: FunctionArgs<typeof run>): Promise<void> {
  const call = { hasReturned: false };
  void setting.t.action(run, args).then(() => {
    call.hasReturned = true;
  });
  while (!call.hasReturned && !killer.isDead) {
    await new Promise((resolve) => realSetTimeout(resolve, 0));
  }
  await letTimePass(() => killer.isDead);
  killer.restore();
}

/** Like `complete`, beside actions that hang. */
async function completeBeside(args: FunctionArgs<typeof run>) {
  const { runId } = await setting.t.action(run, args);
  await letTimePass(() => false);
  const report = await setting.t.query(reportQuery, { runId });
  if (report === null) throw new Error("the run is gone");
  return report;
}

describe("a long run", () => {
  test(
    "of 2,000 users, one page a call, finishes with the Report of a run in one go",
    { tags: ["slow"], timeout: 120_000 },
    async () => {
      const { t, clerk } = setting;
      const ids = signUp(setting, 2000);
      await seed(setting, ids);
      const found = await drift(setting, ids);
      const dry = await complete(t, { dryRun: true, pageSize: 100 });
      clerk.onRequest = () => {
        pass(41 * SECOND);
      };
      const first = await t.action(run, { pageSize: 100 });
      expect(first).toMatchObject({
        status: "running",
        next: expect.stringMatching(
          /^npx convex run clerk\/reconcile:report '{"runId":/,
        ) as unknown,
      });
      const report = await complete(t, {});
      expect(report).toMatchObject({ runId: first.runId, status: "completed", drift: found });
      const { clerkUsers, scanned, unchanged, drift: sum, held, setAside, postponed } = report;
      expect(dry).toMatchObject({
        clerkUsers,
        scanned,
        unchanged,
        drift: sum,
        held,
        setAside,
        postponed,
      });
      expect(
        setting.log.filter(({ event }) => event === "reconcile.resumed").length,
      ).toBeGreaterThan(20);
      await expectMirror(setting);
    },
  );

  test("returns within about a minute from the call that began it", async () => {
    const { t, clerk } = setting;
    signUp(setting, 100);
    // One request after the other, so that each takes its time.
    clerk.environment = "development";
    clerk.onRequest = () => {
      pass(15 * SECOND);
    };
    const startedAt = Date.now();
    expect((await t.action(run, { pageSize: 2 })).status).toBe("running");
    expect(Date.now() - startedAt).toBeLessThan(70 * SECOND);
  });

  test("makes sure in every call that the instance is still the same", async () => {
    const { t, clerk } = setting;
    signUp(setting, 20);
    await complete(t, {});
    clerk.onRequest = ({ path }) => {
      pass(20 * SECOND);
      if (!path.endsWith("instance")) clerk.instanceId = "ins_other";
    };
    const report = await complete(t, { pageSize: 2 });
    expect(report).toMatchObject({ status: "failed" });
    expect(report.summary).toMatch("instance ins_other, but this table mirrors ins_stand_in");
  });
});

describe("an action killed at any place", () => {
  // Its calls: two slices, so that a schedule is among the places.
  async function begin(death: Death) {
    const { t, clerk } = setting;
    const ids = signUp(setting, 12);
    await complete(t, {});
    const found = await drift(setting, ids);
    const now = Date.now();
    let requests = 0;
    clerk.onRequest = () => {
      requests += 1;
      if (requests === 6) pass(41 * SECOND);
    };
    const killer = killAt(death);
    await runUnder(killer, { pageSize: 5, maxDeletions: 2 });
    clerk.onRequest = () => undefined;
    return { killer, found, now };
  }

  async function placesOfALivingRun(): Promise<number> {
    const { killer, found } = await begin(null);
    const [, living] = await runs();
    expect([living?.state.kind, living?.counts.drift]).toEqual(["completed", found]);
    return killer.places;
  }

  const PLACES = 29;
  const places = Array.from({ length: PLACES }, (_, i) => i + 1);

  test("has as many places as are tried here", async () => {
    expect(await placesOfALivingRun()).toBe(PLACES);
  });

  test.each(
    places.flatMap(
      (place) =>
        [
          [place, "before"],
          [place, "after"],
        ] as const,
    ),
  )("place %i, %s it: the next call converges, each repair counted once", async (place, when) => {
    const { killer, found } = await begin({ place, when });
    expect(killer.isDead).toBe(true);
    const [, stopped] = await runs();
    const isOver = stopped?.state.kind === "completed";
    pass(4 * MINUTE);
    const next = await completeBeside({ pageSize: 5, maxDeletions: 2 });
    expect(next.status).toBe("completed");
    await expectMirror(setting);

    const all = await runs();
    const sum = (pick: (run: Doc<"clerkRuns">) => number) =>
      all.slice(1).reduce((total, each) => total + pick(each), 0);
    expect(sum(({ counts }) => counts.repaired.created)).toBe(found.missing);
    expect(sum(({ counts }) => counts.repaired.updated)).toBe(found.stale);
    expect(sum(({ counts }) => counts.repaired.deleted)).toBe(found.orphaned);
    expect(
      sum(({ counts }) => counts.drift.missing + counts.drift.stale + counts.drift.orphaned),
    ).toBe(6);
    // It was resumed, not begun anew, unless it had ended or not begun.
    if (!isOver && stopped) expect(next.runId).toBe(stopped._id);
  });
});

describe("a dead run", () => {
  async function dead(options: Parameters<typeof complete>[1]) {
    const { t } = setting;
    const ids = signUp(setting, 12);
    await complete(t, {});
    await drift(setting, ids);
    const killer = killAt({ place: 8, when: "after" });
    await runUnder(killer, { pageSize: 5, ...options });
    const [, stopped] = await runs();
    if (stopped?.state.kind !== "running") throw new Error("it ended");
    return stopped;
  }

  test("is left alone while its lease lasts", async () => {
    const { _id } = await dead({});
    pass(MINUTE);
    expect(await setting.t.action(run, {})).toMatchObject({ runId: _id, status: "running" });
  });

  test.each([
    ["a real run, by a dry one", {}, { dryRun: true }],
    ["a dry run, by a real one", { dryRun: true }, {}],
    ["a run with maxDeletions, by a tick", { maxDeletions: 5 }, { mode: "due" }],
    ["a run without maxDeletions, by one with", {}, { maxDeletions: 5 }],
    ["a full run, by a recent one", {}, { mode: "recent" }],
  ] as const)("is closed, not resumed: %s", async (_, first, second) => {
    const { _id } = await dead(first);
    pass(4 * MINUTE);
    expect((await complete(setting.t, second)).runId).not.toBe(_id);
    const closed = await setting.t.query(reportQuery, { runId: _id });
    expect(closed).toMatchObject({ status: "failed" });
    expect(closed?.summary).toMatch("was not heard of again");
  });

  test("is closed when it has been dead for an hour", async () => {
    const { _id } = await dead({});
    pass(HOUR + 4 * MINUTE);
    expect((await complete(setting.t, {})).runId).not.toBe(_id);
  });

  test("fails after three resumptions without progress, and counts afresh after any", async () => {
    const { _id } = await dead({});
    const resumeAndDie = async (place: number) => {
      pass(4 * MINUTE);
      const killer = killAt({ place, when: "after" });
      await runUnder(killer, { pageSize: 5 });
      return (await runs()).find((each) => each._id === _id)?.state;
    };
    // Place 1 begins, 2 asks for the instance, 4 makes the next step.
    expect(await resumeAndDie(2)).toMatchObject({ resumptions: 1 });
    expect(await resumeAndDie(2)).toMatchObject({ resumptions: 2 });
    expect(await resumeAndDie(4)).toMatchObject({ resumptions: 0 });
    for (const resumptions of [1, 2, 3]) {
      expect(await resumeAndDie(2)).toMatchObject({ resumptions });
    }
    expect(await resumeAndDie(2)).toMatchObject({ kind: "failed" });
  });
});

describe("cancel", () => {
  test("stops a run within one page, but for what it has requested ahead", async () => {
    const { t, clerk } = setting;
    clerk.environment = "development";
    signUp(setting, 30);
    let listed = 0;
    let cancelled: Promise<unknown> | undefined;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "+created_at" || ++listed !== 3) return;
      cancelled = t.mutation(internal.clerk.reconcile.cancel, {});
    };
    const stopped = await t.action(run, { pageSize: 5 });
    expect(await cancelled).toMatchObject({ status: "cancelled" });
    expect(stopped).toMatchObject({ status: "cancelled" });
    expect(listed).toBeLessThanOrEqual(4);
    expect((await rows(t)).length).toBeLessThanOrEqual(12);
    clerk.onRequest = () => undefined;
    expect(await complete(t, {})).toMatchObject({ status: "completed", clerkUsers: 30 });
  });

  test("answers null when nothing runs", async () => {
    expect(await setting.t.mutation(internal.clerk.reconcile.cancel, {})).toBeNull();
  });
});

describe("what is kept", () => {
  test("tombstones go after 30 days, with the next full run", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 2);
    await complete(t, {});
    await post(t, clerk.deleteUser(id, Date.now()));
    const tombstones = async () =>
      await t.run(
        async (ctx) =>
          (await ctx.db.query("clerkVersions").take(10)).filter(({ kind }) => kind === "tombstone")
            .length,
      );
    pass(29 * DAY);
    await complete(t, {});
    expect(await tombstones()).toBe(1);
    pass(2 * DAY);
    await complete(t, {});
    expect(await tombstones()).toBe(0);
  });

  test(
    "the newest 100 runs with findings, with their entries, and the newest of each mode",
    { tags: ["slow"] },
    async () => {
      const { t, clerk } = setting;
      const [id = ""] = signUp(setting, 1);
      await complete(t, {});
      for (let i = 0; i < 105; i++) {
        pass(MINUTE);
        clerk.updateUser(id, { first_name: `N${i}` }, Date.now());
        await complete(t, { mode: "recent" });
        await complete(t, { mode: "recent" });
      }
      const kept = await runs();
      expect(kept.filter(({ hasFindings }) => hasFindings).length).toBe(101);
      expect(kept.filter(({ hasFindings }) => !hasFindings).length).toBe(1);
      expect(kept.filter(({ mode }) => mode === "full").length).toBe(1);
      const entries = await t.run(
        async (ctx) => await ctx.db.query("clerkDriftEntries").take(1000),
      );
      expect(new Set(entries.map(({ runId }) => runId)).size).toBe(101);
    },
  );
});
