import type { FunctionArgs } from "convex/server";
import { describe, expect, test, vi } from "vitest";
import { clock, DAY, HOUR, MINUTE, SECOND } from "../convex/clerk/clock";
import type { Profile } from "../convex/clerk/validators";
import type * as Server from "../convex/_generated/server";
import type { Doc } from "../convex/_generated/dataModel";
import { userEvent } from "../scripts/clerk-json";
import { killAt, type Death, type Killer } from "./kill";
import { expectMirror, loseRows, seed, signUp } from "./people";
import {
  complete,
  internal,
  LONG_AGO,
  pass,
  post,
  report as reportQuery,
  rows,
  run,
  useSetting,
} from "./setting";

vi.mock("../convex/_generated/server", async (importOriginal) => {
  const { mortal } = await import("./kill");
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

async function runs(): Promise<Doc<"reconcileRuns">[]> {
  return await setting.t.run(async (ctx) => await ctx.db.query("reconcileRuns").take(1000));
}

/** Drift of all three kinds: 2 users deleted, 2 renamed, 2 missing. */
async function drift(ids: string[]) {
  const { clerk } = setting;
  for (const id of ids.slice(0, 2)) clerk.deleteUser(id, LONG_AGO + DAY);
  for (const id of ids.slice(2, 4)) clerk.updateUser(id, { first_name: "New" }, LONG_AGO + DAY);
  await loseRows(setting, ids.slice(4, 6));
  return { missing: 2, stale: 2, orphaned: 2 };
}

/** Whatever waits for its time comes to it, until nothing does; what hangs is left hanging. */
async function letTimePass(isOver: () => boolean): Promise<void> {
  for (let idle = 0; idle < 5 && !isOver(); idle += 1) {
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
    { timeout: 120_000 },
    async () => {
      const { t, clerk } = setting;
      const ids = signUp(setting, 2000);
      await seed(setting, ids);
      const found = await drift(ids);
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
    const found = await drift(ids);
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

  const PLACES = 25;
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
    const sum = (pick: (run: Doc<"reconcileRuns">) => number) =>
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
    await drift(ids);
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
  test("stops a run within one page", async () => {
    const { t, clerk } = setting;
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
    expect(listed).toBe(3);
    expect((await rows(t)).length).toBeLessThanOrEqual(8);
    clerk.onRequest = () => undefined;
    expect(await complete(t, {})).toMatchObject({ status: "completed", clerkUsers: 30 });
  });

  test("answers null when nothing runs", async () => {
    expect(await setting.t.mutation(internal.clerk.reconcile.cancel, {})).toBeNull();
  });
});

describe("users whose creation time changes while a run walks", () => {
  test.each([false, true])("are right after the run (webhooks: %s)", async (withWebhooks) => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 30);
    await complete(t, { pageSize: 5 });
    let listed = 0;
    const posted: Promise<unknown>[] = [];
    const change = (id: string | undefined, created_at: number) => {
      const event = clerk.updateUser(id ?? "", { created_at }, Date.now());
      if (withWebhooks) posted.push(post(t, event));
    };
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "+created_at" || ++listed !== 4) return;
      change(ids[29], LONG_AGO + 2);
      change(ids[25], LONG_AGO + 3);
      change(ids[1], LONG_AGO + 28_500);
      const { event } = clerk.createUser({
        created_at: LONG_AGO + 1,
        updated_at: Date.now(),
        first_name: "I",
      });
      if (withWebhooks) posted.push(post(t, event));
    };
    const report = await complete(t, { pageSize: 5 });
    await Promise.all(posted);
    expect(report).toMatchObject({ status: "completed", repaired: { deleted: 0 } });
    await expectMirror(setting);
  });
});

test("a user whom an event moves behind the walk is not missed in Clerk's count", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 30);
  await complete(t, { pageSize: 5 });
  let listed = 0;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "+created_at" || ++listed !== 4) return;
    const moved = post(
      t,
      clerk.updateUser(ids[29] ?? "", { created_at: LONG_AGO + 2 }, Date.now()),
    );
    clerk.order(/created_at_after/, { kind: "wait", for: moved }, 1);
  };
  expect(await complete(t, { pageSize: 5 })).toMatchObject({ status: "completed", scanned: 29 });
  await expectMirror(setting);
});

test("an import behind the walk, with its event, and a deletion ahead of it fail no run", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 12);
  await complete(t, { pageSize: 4 });
  let listed = 0;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "+created_at" || ++listed !== 3) return;
    const { event } = clerk.createUser({ created_at: LONG_AGO + 1, updated_at: Date.now() });
    clerk.order(/created_at_after/, { kind: "wait", for: post(t, event) }, 1);
    clerk.users.delete(ids[11] ?? "");
  };
  const report = await complete(t, { pageSize: 4 });
  expect(report).toMatchObject({ status: "completed", repaired: { deleted: 1 } });
  await expectMirror(setting);
});

describe("a recent run", () => {
  const changedAt = () => Date.now() - SECOND;

  test("finds creations and updates among 400 changes with at most 4 requests, and deletes nobody", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 600);
    await seed(setting, ids);
    await complete(t, {});
    pass(15 * MINUTE);
    for (const id of ids.slice(0, 390)) clerk.updateUser(id, { first_name: "New" }, changedAt());
    for (let i = 0; i < 10; i++)
      clerk.createUser({ created_at: changedAt(), first_name: "Newcomer" });
    clerk.deleteUser(ids[599] ?? "", changedAt());
    const report = await complete(t, { mode: "recent" });
    expect(report).toMatchObject({
      mode: "recent",
      status: "completed",
      scanned: 400,
      drift: { missing: 10, stale: 390, orphaned: 0 },
      repaired: { created: 10, updated: 390, deleted: 0 },
    });
    expect(report.requests).toBeLessThanOrEqual(4);
    expect((await rows(t)).length).toBe(610);
  });

  test("that is quiet takes at most 4 requests, and looks no further back than the run before", async () => {
    const { t } = setting;
    signUp(setting, 50);
    await complete(t, {});
    pass(15 * MINUTE);
    const report = await complete(t, { mode: "recent" });
    expect(report).toMatchObject({ status: "completed", scanned: 0, next: null });
    expect(report.requests).toBeLessThanOrEqual(4);
  });

  test("over many pages meets each user once", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await complete(t, {});
    pass(15 * MINUTE);
    for (const id of ids.slice(0, 23)) clerk.updateUser(id, { first_name: "New" }, changedAt());
    const report = await complete(t, { mode: "recent", pageSize: 5 });
    expect(report).toMatchObject({ scanned: 23, drift: { stale: 23 }, repaired: { updated: 23 } });
    await expectMirror(setting);
  });

  test("misses nobody when others change or are deleted while it lists", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await complete(t, {});
    pass(15 * MINUTE);
    const changed = ids.slice(0, 23);
    for (const [i, id] of changed.entries()) {
      clerk.updateUser(id, { first_name: "New" }, changedAt() + i);
    }
    let listed = 0;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") !== "-updated_at") return;
      listed += 1;
      if (listed === 2) clerk.updateUser(ids[30] ?? "", { first_name: "Now" }, Date.now());
      if (listed === 3) for (const id of changed.slice(19, 22)) clerk.users.delete(id);
    };
    expect(await complete(t, { mode: "recent", pageSize: 5 })).toMatchObject({
      status: "completed",
    });
    const stale = (await rows(t)).filter(
      (row) => clerk.users.get(row.clerkId ?? "")?.first_name === "New" && row.firstName !== "New",
    );
    expect(stale).toEqual([]);
  });

  test("asks about a user who is listed although deleted, and brings them back", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 3);
    await complete(t, {});
    const user = clerk.users.get(id);
    const gone = { id, object: "user", deleted: true };
    await post(t, userEvent("user.deleted", gone, { instanceId: clerk.instanceId, at: 0 }));
    expect((await rows(t)).length).toBe(2);
    pass(15 * MINUTE);
    clerk.updateUser(user?.id ?? "", { first_name: "Alive" }, changedAt());
    expect(await complete(t, { mode: "recent" })).toMatchObject({ repaired: { created: 1 } });
    await expectMirror(setting);
  });

  test("never judges absence, not even of a user it has to ask about", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 3);
    await complete(t, {});
    pass(15 * MINUTE);
    clerk.updateUser(id, { first_name: "New" }, changedAt());
    await complete(t, { mode: "recent" });
    const older = { ...clerk.users.get(id), first_name: "Old", updated_at: changedAt() - MINUTE };
    clerk.users.delete(id);
    clerk.order(/-updated_at/, { kind: "change", change: () => [older] });
    expect(await complete(t, { mode: "recent" })).toMatchObject({
      status: "completed",
      drift: { orphaned: 0, stale: 0 },
    });
    expect((await rows(t)).find(({ clerkId }) => clerkId === id)?.firstName).toBe("New");
  });

  test("before any full run fails with a sentence", async () => {
    expect((await complete(setting.t, { mode: "recent" })).summary).toMatch(
      "needs a completed full run",
    );
  });
});

describe("a tick", () => {
  test("is full at first, then recent, and full again after a day of recent ones", async () => {
    const { t } = setting;
    signUp(setting, 3);
    const modes: string[] = [];
    for (let i = 0; i < 100; i++) {
      modes.push((await complete(t, { mode: "due" })).mode);
      pass(15 * MINUTE);
    }
    expect(modes.flatMap((mode, tick) => (mode === "full" ? tick : []))).toEqual([0, 96]);
  });

  test("stays full until a full run has completed, which a failed or dry one has not", async () => {
    const { t, clerk } = setting;
    await complete(t, { dryRun: true });
    expect((await complete(t, { mode: "due", dryRun: true })).mode).toBe("full");
    clerk.order(/users/, { kind: "status", status: 401 });
    expect(await complete(t, { mode: "due" })).toMatchObject({ mode: "full", status: "failed" });
    clerk.heal();
    expect(await complete(t, { mode: "due" })).toMatchObject({ mode: "full", status: "completed" });
    expect((await complete(t, { mode: "due" })).mode).toBe("recent");
  });

  test("counts a held run as completed", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t, {});
    clerk.users.clear();
    expect((await complete(t, {})).status).toBe("held");
    expect((await complete(t, { mode: "due" })).mode).toBe("recent");
  });
});

describe("trouble with Clerk", () => {
  const faults = [
    { kind: "status", status: 429, code: "too_many_requests", retryAfter: 20 },
    { kind: "status", status: 500 },
    { kind: "status", status: 429 },
    { kind: "reset" },
    { kind: "hang" },
    { kind: "body", body: "<html>", contentType: "text/html" },
    { kind: "body", body: '"[]"' },
  ] as const;

  async function troubledFor(ms: number, fault: (typeof faults)[number]) {
    const { t, clerk } = setting;
    const ids = signUp(setting, 40);
    await complete(t, { pageSize: 50 });
    const found = await drift(ids);
    let listed = 0;
    let healAt = Infinity;
    clerk.onRequest = ({ query }) => {
      if (query.get("order_by") === "+created_at" && ++listed === 4) {
        healAt = Date.now() + ms;
        clerk.order(/./, fault);
      }
      if (Date.now() >= healAt) clerk.heal();
    };
    const started = clerk.requests.length;
    const report = await complete(t, { pageSize: 5 });
    return { report, found, requests: clerk.requests.length - started };
  }

  test.each(faults)("for ten minutes costs no repair and no duplicate: %o", async (fault) => {
    const { report, found, requests } = await troubledFor(10 * MINUTE, fault);
    expect(report).toMatchObject({ status: "completed", drift: found, scanned: 38 });
    expect(report.requests).toBe(requests);
    // It went on where it was: nothing before was listed again, and nobody was pestered.
    expect(requests).toBeLessThan(120);
    await expectMirror(setting);
  });

  test("a transaction that throws twice and then no more sets nobody aside", async () => {
    const { t } = setting;
    signUp(setting, 1);
    const app = await import("../convex/clerk/app");
    const { newUserFields } = app;
    let throws = 2;
    const defaults = vi.spyOn(app, "newUserFields").mockImplementation((profile) => {
      if (throws-- > 0) throw new Error("conflict");
      return newUserFields(profile);
    });
    expect(await complete(t, {})).toMatchObject({ setAside: 0, repaired: { created: 1 } });
    defaults.mockRestore();
  });

  test("for fifteen minutes and more fails the run with its reason", async () => {
    const { report } = await troubledFor(HOUR, { kind: "status", status: 500 });
    expect(report.status).toBe("failed");
    expect(report.summary).toMatch("500, internal_clerk_error, trace id trace_stand_in");
    expect(report.durationMs).toBeGreaterThanOrEqual(15 * MINUTE);
    expect(report.durationMs).toBeLessThan(18 * MINUTE);
  });

  test("with Retry-After is left alone for so long, and the lease lasts", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    const asked: number[] = [];
    clerk.onRequest = () => {
      asked.push(Date.now());
    };
    clerk.order(/count/, { kind: "status", status: 429, retryAfter: 600 }, 1);
    const first = await t.action(run, {});
    const waitedFrom = asked.at(-1) ?? 0;
    pass(9 * MINUTE);
    expect(await t.action(run, {})).toMatchObject({ runId: first.runId, status: "running" });
    pass(-9 * MINUTE);
    const count = asked.length;
    expect(await complete(t, {})).toMatchObject({ runId: first.runId, status: "completed" });
    expect((asked[count] ?? 0) - waitedFrom).toBeGreaterThanOrEqual(600 * SECOND);
  });

  test("with an absurd Retry-After holds a run up for a quarter of an hour at most", async () => {
    signUp(setting, 3);
    setting.clerk.order(/count/, { kind: "status", status: 429, retryAfter: 1e9 }, 1);
    const report = await complete(setting.t, {});
    expect(report.status).toBe("completed");
    expect(report.durationMs).toBeLessThan(16 * MINUTE);
  });

  test("about the key fails at once and names the variable", async () => {
    const { t, clerk } = setting;
    for (const status of [401, 403]) {
      clerk.heal();
      clerk.order(/users/, { kind: "status", status, code: "authentication_invalid" });
      const before = Date.now();
      const report = await complete(t, {});
      expect(report).toMatchObject({ status: "failed", requests: 2 });
      expect(report.summary).toMatch(`Clerk refused CLERK_SECRET_KEY (${status}`);
      expect(Date.now() - before).toBeLessThan(SECOND);
    }
  });

  test("waits longer the longer it lasts, with jitter", async () => {
    const sleeps: number[] = [];
    vi.mocked(clock.sleep).mockImplementation(async (ms) => {
      await Promise.resolve();
      sleeps.push(ms);
      pass(ms);
    });
    setting.clerk.order(/./, { kind: "reset" });
    await complete(setting.t, {});
    expect(sleeps[0]).toBeGreaterThanOrEqual(500);
    expect(sleeps[0]).toBeLessThanOrEqual(1000);
    expect(Math.max(...sleeps)).toBeLessThanOrEqual(5000);
    expect(setting.clerk.requests.length).toBeLessThan(40);
  });
});

describe("user", () => {
  const { user } = internal.clerk.reconcile;

  test("repairs each kind of drift for one id, and nobody else", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 8);
    await complete(t, {});
    await drift(ids);
    const of = async (index: number, dryRun?: boolean) => {
      const clerkId = ids[index] ?? "";
      return (await t.action(user, { clerkId, dryRun })).outcome;
    };
    const before = JSON.stringify(await rows(t));
    expect([await of(0, true), await of(2, true), await of(4, true)]).toEqual([
      "deleted",
      "updated",
      "created",
    ]);
    expect(JSON.stringify(await rows(t))).toBe(before);
    expect([await of(0), await of(2), await of(4)]).toEqual(["deleted", "updated", "created"]);
    expect([await of(0), await of(2), await of(4)]).toEqual(["absent", "unchanged", "unchanged"]);
    const here = new Map((await rows(t)).map((row) => [row.clerkId, row]));
    expect([
      here.has(ids[0]),
      here.has(ids[1]),
      here.get(ids[3])?.firstName,
      here.has(ids[5]),
    ]).toEqual([false, true, "N3", false]);
    expect(clerk.requests.at(-1)?.path).toBe(`/v1/users/${ids[4]}`);
  });

  test.each([
    [404, "gone_fishing"],
    [410, "resource_not_found"],
    [403, "resource_not_found"],
    [500, "resource_not_found"],
  ])("deletes nobody on %i %s", async (status, code) => {
    const { t, clerk } = setting;
    const [clerkId = ""] = signUp(setting, 2);
    await complete(t, {});
    clerk.order(new RegExp(clerkId), { kind: "status", status, code });
    await expect(t.action(user, { clerkId })).rejects.toThrow(String(status));
    expect((await rows(t)).length).toBe(2);
  });

  test("deletes nobody when the key is another instance's, or none is pinned", async () => {
    const { t, clerk } = setting;
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: "user_x", color: "own" }));
    await expect(t.action(user, { clerkId: "user_x" })).rejects.toThrow(
      "No Clerk instance is pinned",
    );
    await t.run(async (ctx) => await ctx.db.insert("clerkSyncState", { instanceId: "ins_mine" }));
    await expect(t.action(user, { clerkId: "user_x" })).rejects.toThrow(
      "ins_stand_in, but this table mirrors ins_mine",
    );
    clerk.instanceId = "ins_mine";
    expect(await t.action(user, { clerkId: "user_x" })).toMatchObject({ outcome: "deleted" });
  });

  test("writes nothing when the mirror is moved while Clerk is asked", async () => {
    const { t, clerk } = setting;
    const [clerkId = ""] = signUp(setting, 1);
    await complete(t, {});
    clerk.updateUser(clerkId, { first_name: "Of the old instance" }, Date.now());
    const moved = new Promise((resolve) => {
      clerk.onRequest = ({ path }) => {
        if (!path.endsWith(clerkId)) return;
        const to = { instanceId: "ins_new" };
        resolve(t.mutation(internal.clerk.reconcile.pinInstance, to));
      };
    });
    clerk.order(new RegExp(`/${clerkId}`), { kind: "wait", for: moved });
    await expect(t.action(user, { clerkId })).rejects.toThrow("moved to another Clerk instance");
    expect(await rows(t)).toMatchObject([{ firstName: "N0" }]);
  });

  test("refuses what is no user id, without asking", async () => {
    await expect(setting.t.action(user, { clerkId: "../instance" })).rejects.toThrow(
      "must be a Clerk user id",
    );
    expect(setting.clerk.requests).toEqual([]);
  });
});

describe("an event that leaves a doubt", () => {
  async function settleDoubts() {
    await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
  }

  async function known() {
    const { t, clerk } = setting;
    const { user, event } = clerk.createUser({ created_at: LONG_AGO, first_name: "Ada" });
    await post(t, event);
    await complete(t, {});
    clerk.requests.length = 0;
    return user;
  }
  const send = async (data: unknown, type: "user.created" | "user.updated" = "user.updated") => {
    const { clerk, t } = setting;
    await post(t, userEvent(type, data, { instanceId: clerk.instanceId, at: 0 }));
  };

  test("asks Clerk once, however many come, and believes it", async () => {
    const { t, clerk } = setting;
    const user = await known();
    clerk.updateUser(user.id, { first_name: "Augusta" }, user.updated_at);
    for (const first_name of ["B", "C", "D"]) await send({ ...user, first_name });
    expect(await rows(t)).toMatchObject([{ firstName: "Ada" }]);
    await settleDoubts();
    expect(clerk.requests.map(({ path }) => path)).toEqual([
      "/v1/instance",
      `/v1/users/${user.id}`,
    ]);
    expect(await rows(t)).toMatchObject([{ firstName: "Augusta" }]);
    expect(await t.run(async (ctx) => await ctx.db.query("clerkPendingRepairs").take(1))).toEqual(
      [],
    );
  });

  test.each<[string, (user: object) => object]>([
    ["of an unknown shape", (user) => ({ ...user, email_addresses: "none" })],
    ["without a creation time", (user) => ({ ...user, created_at: null })],
    ["from the future", (user) => ({ ...user, first_name: "X", updated_at: Date.now() + HOUR })],
    [
      "older than the last full run",
      (user) => ({ ...user, first_name: "X", updated_at: LONG_AGO + 1 }),
    ],
  ])("%s is settled by Clerk's answer", async (_, change) => {
    const { t, clerk } = setting;
    const user = await known();
    clerk.updateUser(user.id, { first_name: "Right" }, Date.now());
    await send(change(user));
    await settleDoubts();
    expect(await rows(t)).toMatchObject([{ firstName: "Right" }]);
  });

  test("about somebody deleted brings them back only if Clerk knows them", async () => {
    const { t, clerk } = setting;
    const user = await known();
    await post(t, clerk.deleteUser(user.id, Date.now()));
    pass(6 * MINUTE);
    await send({ ...user, updated_at: Date.now() });
    await settleDoubts();
    expect(await rows(t)).toEqual([]);
    clerk.users.set(user.id, user);
    await send({ ...user, updated_at: Date.now() });
    await settleDoubts();
    expect((await rows(t)).length).toBe(1);
  });

  test("whose repair fails leaves it to the next run, and the next event asks again", async () => {
    const { t, clerk } = setting;
    const user = await known();
    clerk.updateUser(user.id, { first_name: "Right" }, user.updated_at);
    clerk.order(/./, { kind: "status", status: 500 });
    await send({ ...user, first_name: "X" });
    await settleDoubts();
    expect(setting.log.at(-1)).toMatchObject({
      level: "error",
      event: "reconcile.failed",
      clerkId: user.id,
    });
    clerk.heal();
    await send({ ...user, first_name: "X" });
    await settleDoubts();
    expect(await rows(t)).toMatchObject([{ firstName: "Right" }]);
  });

  test("asks nothing about a user of another instance", async () => {
    const { t, clerk } = setting;
    const user = await known();
    const foreign = userEvent(
      "user.updated",
      { ...user, email_addresses: 1 },
      { instanceId: "ins_x", at: 0 },
    );
    await post(t, foreign);
    await settleDoubts();
    expect(clerk.requests).toEqual([]);
  });
});

describe("one bad record does not stop the rest", () => {
  test(
    "a poison user, one whose app-side defaults throw, and a duplicate, among 600",
    { timeout: 120_000 },
    async () => {
      const { t, clerk } = setting;
      const ids = signUp(setting, 600);
      await seed(setting, ids.slice(0, 590));
      const app = await import("../convex/clerk/app");
      const { newUserFields } = app;
      const thrower = ids[595];
      const poison = ids[597];
      const defaults = vi.spyOn(app, "newUserFields");
      defaults.mockImplementation(((profile: Profile) => {
        if (profile.clerkId === thrower) throw new Error("SECRET of ada@example.com");
        // The schema refuses this row.
        return profile.clerkId === poison ? { color: 7 } : newUserFields(profile);
      }) as never);
      const twin = { clerkId: ids[3], clerkCreatedAt: LONG_AGO + 3000, color: "SECRET" };
      await t.run(async (ctx) => await ctx.db.insert("users", twin));

      const dry = await complete(t, { dryRun: true });
      const report = await complete(t, {});
      expect(report).toMatchObject({ status: "completed", setAside: 3, repaired: { created: 8 } });
      expect(dry).toMatchObject({ drift: report.drift, setAside: 3, status: "completed" });
      const aside = report.entries.filter(({ action }) => action === "setAside");
      expect(aside.map(({ clerkId }) => clerkId).sort()).toEqual([ids[3], thrower, poison].sort());
      expect(aside.find(({ clerkId }) => clerkId === thrower)?.reason).toMatch("threw Error");
      expect(JSON.stringify([report, setting.log])).not.toMatch("SECRET");

      defaults.mockRestore();
      expect(await complete(t, {})).toMatchObject({ setAside: 1, repaired: { created: 2 } });
      expect(clerk.users.size + 1).toBe((await rows(t)).length);
    },
  );
});

describe("moving to another instance on purpose", () => {
  const { pinInstance } = internal.clerk.reconcile;

  test("makes the next tick full, and holds whom the new one does not know", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t, {});
    clerk.users.clear();
    clerk.instanceId = "ins_new";
    clerk.createUser({ created_at: LONG_AGO, first_name: "Only here" });
    expect(await t.mutation(pinInstance, { instanceId: "ins_new" })).toEqual({
      instanceId: "ins_new",
      before: "ins_stand_in",
    });
    const held = await complete(t, { mode: "due" });
    expect(held).toMatchObject({ mode: "full", status: "held", held: 3, repaired: { created: 1 } });
    await complete(t, { maxDeletions: 3 });
    await expectMirror(setting);
  });

  test("drops the repairs that were waiting for the old one", async () => {
    const { t, clerk } = setting;
    const ids = signUp(setting, 3);
    await complete(t, {});
    const doubtful = { ...clerk.users.get(ids[0] ?? ""), email_addresses: "none" };
    await post(t, userEvent("user.updated", doubtful, { instanceId: clerk.instanceId, at: 0 }));
    clerk.users.clear();
    clerk.instanceId = "ins_new";
    await t.mutation(pinInstance, { instanceId: "ins_new" });
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
    expect((await rows(t)).length).toBe(3);
  });

  test("refuses what is no instance id", async () => {
    await expect(setting.t.mutation(pinInstance, { instanceId: "x" })).rejects.toThrow(
      "must be a Clerk instance id",
    );
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

  test("the newest 100 runs with findings, with their entries, and the newest of each mode", async () => {
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
    const entries = await t.run(async (ctx) => await ctx.db.query("driftEntries").take(1000));
    expect(new Set(entries.map(({ runId }) => runId)).size).toBe(101);
  });
});
