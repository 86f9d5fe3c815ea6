/** What the world did to the sync: removals that nobody meant, and lists and counts that are not what they should be. */
import { describe, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import { deletedUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { expectMirror, signUp } from "../world/people";
import {
  complete,
  everything,
  internal,
  LONG_AGO,
  pass,
  post,
  rows,
  run,
  useSetting,
} from "../world/setting";

const setting = useSetting({ http: false });
const { pinInstance, report } = internal.clerk.reconcile;

async function ids(): Promise<(string | undefined)[]> {
  return (await rows(setting.t)).map(({ clerkId }) => clerkId);
}

/** Everything that is scheduled happens, in its time. */
async function settle(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
}

/** Starts a run and goes no further than that call. */
async function call(args: Parameters<typeof complete>[1] = {}) {
  return await setting.t.action(run, args);
}

function argumentsOf(next: string | null): Record<string, unknown> {
  return JSON.parse(/'(.*)'$/.exec(next ?? "")?.[1] ?? "{}") as Record<string, unknown>;
}

/** Somebody signs up and in at once; Clerk's API does not show them until they are `shown`. */
async function signInUnseen(row?: { _id: never }) {
  const { t, clerk } = setting;
  const { user } = clerk.createUser({ created_at: Date.now() });
  clerk.users.delete(user.id);
  await t.run(async (ctx) => {
    if (row === undefined) await ctx.db.insert("users", { clerkId: user.id, color: "signed in" });
    else await ctx.db.patch("users", row._id, { clerkId: user.id });
  });
  return { id: user.id, show: () => clerk.users.set(user.id, user) };
}

/** Users are deleted in Clerk, and no event tells of it. */
function loseDeletions(gone: string[]): void {
  for (const id of gone) setting.clerk.users.delete(id);
}

describe("a newcomer whom the app knows before Clerk's API does", () => {
  test("is not removed by the number that a person allows, typed ten minutes later", async () => {
    const all = signUp(setting, 100);
    await complete(setting.t);
    pass(DAY);
    loseDeletions(all.slice(0, 12));
    const first = await signInUnseen();
    const held = await call();
    expect(held).toMatchObject({ status: "held", held: 12, postponed: 1 });
    expect(argumentsOf(held.next)).toEqual({ maxDeletions: 13 });
    first.show();
    pass(10 * MINUTE);
    const second = await signInUnseen();
    const allowed = await call(argumentsOf(held.next));
    expect(allowed).toMatchObject({ status: "completed", repaired: { deleted: 12 } });
    expect(await ids()).toEqual(expect.arrayContaining([first.id, second.id]));
  });

  test("holds up no run, one a day", async () => {
    signUp(setting, 30);
    await complete(setting.t);
    for (let day = 0; day < 5; day += 1) {
      pass(DAY);
      const { id, show } = await signInUnseen();
      expect(await call()).toMatchObject({ status: "completed", postponed: 1 });
      show();
      await settle();
      expect(await ids()).toContain(id);
    }
  });

  test("is not removed either where the app put the id on a guest's old row", async () => {
    const { t, clerk } = setting;
    signUp(setting, 30);
    await t.run(async (ctx) => await ctx.db.insert("users", { color: "a guest" }));
    await complete(t);
    pass(7 * DAY);
    const guest = (await rows(t)).find(({ clerkId }) => clerkId === undefined);
    const { id, show } = await signInUnseen(guest as never);
    expect(await call({ maxDeletions: 9 })).toMatchObject({ status: "completed", postponed: 1 });
    const repair = await t.action(internal.clerk.reconcile.user, { clerkId: id });
    expect(repair).toMatchObject({
      outcome: "unchanged",
      reason: "its row was first met in the last five minutes",
    });
    show();
    await settle();
    expect(await ids()).toContain(id);
    expect(clerk.users.has(id)).toBe(true);
  });
});

test("of a table restored without the sync's own tables, who is deleted later goes without a question", async () => {
  const { t } = setting;
  const all = signUp(setting, 30);
  await complete(t);
  await t.run(async ({ db }) => {
    for (const table of Object.keys(schema.tables)) {
      if (table === "users") continue;
      for (const { _id } of await db.query(table as "clerkRuns").take(1000)) await db.delete(_id);
    }
  });
  expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 30 });
  pass(DAY);
  loseDeletions(all.slice(0, 1));
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 1 } });
  await expectMirror(setting);
});

describe("20 users of whom events left doubts, and whose deletions are lost", () => {
  const twice = async (all: string[]) => {
    const { t, clerk } = setting;
    for (const id of all) {
      const at = Date.now();
      await post(t, clerk.updateUser(id, { first_name: "One" }, at));
      await post(t, clerk.updateUser(id, { first_name: "Two" }, at));
    }
  };
  const refused = async (all: string[]) => {
    const { t, clerk } = setting;
    hooks.updated = () => Promise.reject(new Error("refused"));
    for (const id of all) await post(t, clerk.updateUser(id, { first_name: "One" }, Date.now()));
    delete hooks.updated;
  };

  test.each([
    ["two of one version", twice],
    ["refused by the app", refused],
  ])("%s: nobody is removed until a person says so", async (_, leaveDoubts) => {
    const { t } = setting;
    const all = signUp(setting, 60);
    await complete(t);
    pass(HOUR);
    await leaveDoubts(all.slice(0, 20));
    loseDeletions(all.slice(0, 20));
    expect(await call()).toMatchObject({ repaired: { deleted: 0 } });
    await settle();
    expect((await rows(t)).length).toBe(60);
    const doubts = await t.query(report, { mode: "doubts" });
    expect(doubts?.entries.filter(({ action }) => action === "held").length).toBe(20);
    const held = await complete(t, { mode: "full" });
    expect(held).toMatchObject({ status: "held", held: 20 });
    await settle();
    expect((await rows(t)).length).toBe(60);
    await complete(t, argumentsOf(held.next));
    await expectMirror(setting);
  });
});

test("refused events that wait across a move to another instance remove nobody there", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 20);
  hooks.created = () => Promise.reject(new Error("refused"));
  for (const id of all) {
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: id, color: "own" }));
    hooks.updated = hooks.created;
    await post(t, clerk.updateUser(id, { first_name: "New" }, Date.now()));
  }
  delete hooks.created;
  delete hooks.updated;
  pass(6 * MINUTE);
  clerk.users.clear();
  clerk.instanceId = "ins_new";
  clerk.createUser({ created_at: LONG_AGO });
  await t.mutation(pinInstance, { instanceId: "ins_new" });
  expect(await call()).toMatchObject({ status: "held", held: 20 });
  await settle();
  expect((await rows(t)).length).toBe(21);
});

test("who was held stays held though fewer are orphaned by the next run, until a person says so", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 60);
  await complete(t);
  pass(HOUR);
  const gone = all.slice(0, 12).map((id) => [id, clerk.users.get(id)] as const);
  loseDeletions(gone.map(([id]) => id));
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
  for (const [id, user] of gone.slice(0, 5)) if (user) clerk.users.set(id, user);
  pass(DAY);
  // One more is gone, whom no run has held: that one alone may go unasked.
  loseDeletions(all.slice(59));
  const later = await complete(t, { mode: "due" });
  expect(later).toMatchObject({ status: "held", held: 7, repaired: { deleted: 1 } });
  await complete(t, argumentsOf(later.next));
  await expectMirror(setting);
});

test("who is held stays so though a run that is held as well finds them changed", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 60);
  await complete(t);
  pass(HOUR);
  const gone = ids.slice(0, 12).map((id) => [id, clerk.users.get(id)] as const);
  loseDeletions(gone.map(([id]) => id));
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
  for (const [id, user] of gone.slice(0, 6)) {
    if (user) clerk.users.set(id, { ...user, first_name: "Back", updated_at: Date.now() });
  }
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "held", held: 6, repaired: { updated: 6 } });
  loseDeletions(ids.slice(0, 1));
  pass(HOUR);
  expect(await complete(t)).toMatchObject({ status: "held", held: 7, repaired: { deleted: 0 } });
});

test("whom a later run found alive is held no more, and goes without a question when deleted then", async () => {
  const { t, clerk } = setting;
  const all = signUp(setting, 60);
  await complete(t);
  pass(HOUR);
  const gone = all.slice(0, 12).map((id) => [id, clerk.users.get(id)] as const);
  loseDeletions(gone.map(([id]) => id));
  expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
  for (const [id, user] of gone) if (user) clerk.users.set(id, user);
  pass(DAY);
  expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 60 });
  pass(DAY);
  loseDeletions(all.slice(0, 3));
  expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 3 } });
  await expectMirror(setting);
});

describe("a move to another instance holds everyone whom that does not know", () => {
  const move = async () => {
    const { t, clerk } = setting;
    clerk.users.clear();
    clerk.instanceId = "ins_new";
    clerk.createUser({ id: "user_new", created_at: LONG_AGO });
    await t.mutation(pinInstance, { instanceId: "ins_new" });
  };

  test("also where it was too early to judge them in the first run there", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 3);
    await complete(t);
    pass(HOUR);
    for (const id of all) clerk.updateUser(id, { first_name: "Lately" }, Date.now());
    pass(MINUTE);
    await complete(t);
    await move();
    expect(await call()).toMatchObject({ status: "completed", postponed: 3 });
    await settle();
    pass(DAY);
    expect(await complete(t, { mode: "due" })).toMatchObject({ status: "held", held: 3 });
    expect((await rows(t)).length).toBe(4);
  });

  test("also where Clerk did not answer about them in the first run there", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t);
    pass(HOUR);
    await move();
    clerk.order(/user_id=/, { kind: "status", status: 403 });
    expect(await complete(t)).toMatchObject({ status: "completed", setAside: 3 });
    clerk.heal();
    pass(DAY);
    expect(await complete(t, { mode: "due" })).toMatchObject({ status: "held", held: 3 });
    expect((await rows(t)).length).toBe(4);
  });
});

test("whom a limit holds, no run of the schedule deletes, and the next one by hand does", async () => {
  const { t } = setting;
  const all = signUp(setting, 20);
  await complete(t);
  pass(HOUR);
  loseDeletions(all.slice(0, 8));
  expect(await complete(t, { maxDeletions: 5 })).toMatchObject({ status: "held", held: 8 });
  pass(DAY);
  expect(await complete(t, { mode: "due" })).toMatchObject({ status: "held", held: 8 });
  expect(await complete(t, { maxDeletions: 8 })).toMatchObject({ repaired: { deleted: 8 } });
});

test(
  "who is held stays so for months, though their row had no version",
  { tags: ["slow"] },
  async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 100);
    await complete(t);
    await t.run(async ({ db }) => {
      for (const { _id } of await db.query("clerkVersions").take(200)) {
        await db.delete("clerkVersions", _id);
      }
    });
    pass(DAY);
    loseDeletions(all.slice(0, 12));
    for (let day = 0; day < 40; day += 1) {
      expect(await complete(t)).toMatchObject({ status: "held", held: 12 });
      pass(DAY);
    }
    const { instanceId } = clerk;
    for (const id of all.slice(0, 3)) {
      await post(t, userEvent("user.deleted", deletedUser(id), { instanceId, at: Date.now() }));
    }
    pass(DAY);
    expect(await complete(t)).toMatchObject({ status: "held", held: 9, repaired: { deleted: 0 } });
  },
);

describe("the worker who judges what events left open", () => {
  const doubtful = async (id: string) => {
    const { t, clerk } = setting;
    const data = { ...clerk.users.get(id), id, email_addresses: "none" };
    const { instanceId } = clerk;
    await post(t, userEvent("user.updated", data, { instanceId, at: Date.now() }));
  };

  test(
    "asks about 400 ids at once in as many requests as there are hundreds",
    { tags: ["slow"] },
    async () => {
      const { t, clerk } = setting;
      const all = signUp(setting, 20);
      await complete(t);
      pass(HOUR);
      const others = Array.from({ length: 380 }, (_, i) => `user_nobody${i}`);
      for (const id of [...all, ...others]) await doubtful(id);
      const asked = clerk.requests.length;
      await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 60);
      // Nobody knows the others, but events have named them in the last minutes: those are asked about again.
      expect(clerk.requests.length - asked).toBeLessThanOrEqual(12);
    },
  );

  test("asks at most twice a second where they come one by one", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 50);
    await complete(t);
    pass(HOUR);
    const asked = clerk.requests.length;
    for (const id of all) {
      await doubtful(id);
      vi.advanceTimersByTime(60);
      await t.finishInProgressScheduledFunctions();
    }
    await settle();
    expect(clerk.requests.length - asked).toBeLessThanOrEqual(12);
  });

  test("is one alone, and leaves the lease to runs, however old its Report is", async () => {
    const { t, clerk } = setting;
    const [first = "", second = ""] = signUp(setting, 5);
    await complete(t);
    pass(HOUR);
    await t.action(internal.clerk.reconcile.user, { clerkId: first });
    pass(DAY - MINUTE);
    const change = { kind: "refused" as const, clerkId: second, reason: "by a hook" };
    const refused = { type: "user.updated" as const, instanceId: clerk.instanceId, change };
    await t.mutation(internal.clerk.webhook.event.apply, refused);
    pass(2 * MINUTE);
    await t.action(internal.clerk.reconcile.user, { clerkId: first });
    await doubtful(second);
    const running = await t.run(async ({ db }) => await db.query("clerkRuns").take(50));
    expect(running.filter(({ state }) => state.kind === "running").length).toBe(1);
    const full = { mode: "full" as const, dryRun: false, pageSize: 500 };
    expect((await t.mutation(internal.clerk.run.lifecycle.begin, full)).kind).toBe("begun");
    expect((await t.mutation(internal.clerk.run.lifecycle.begin, full)).kind).toBe("busy");
  });

  test("ends though a user whom Clerk no longer knows was changed there in a year", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 30);
    await complete(t);
    clerk.updateUser(id, { first_name: "Ahead" }, Date.now() + 365 * DAY);
    await complete(t);
    pass(HOUR);
    loseDeletions([id]);
    pass(DAY);
    expect(await complete(t)).toMatchObject({ status: "completed", repaired: { deleted: 1 } });
  });

  test("forgets nobody where Clerk's answers hold ten users at most", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t);
    pass(HOUR);
    const late = signUp(setting, 15, 100);
    clerk.limitFallsBackTo = 10;
    for (const id of late) await doubtful(id);
    await settle();
    await expectMirror(setting);
  });

  test("asks again about a newcomer whom Clerk does not show yet", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t);
    pass(HOUR);
    const [id = ""] = signUp(setting, 1, 50);
    const shown = new Map(clerk.users);
    clerk.users.delete(id);
    await doubtful(id);
    vi.advanceTimersToNextTimer();
    await t.finishInProgressScheduledFunctions();
    for (const [each, user] of shown) clerk.users.set(each, user);
    await settle();
    await expectMirror(setting);
  });
});

test("a person's dry repair writes nothing, not even that it was tried", async () => {
  const { t, clerk } = setting;
  const [id = ""] = signUp(setting, 3);
  await complete(t);
  pass(HOUR);
  clerk.users.delete(id);
  const before = await everything(t);
  const tried = await t.action(internal.clerk.reconcile.user, { clerkId: id, dryRun: true });
  expect(tried).toEqual({ clerkId: id, outcome: "deleted" });
  expect(await everything(t)).toBe(before);
});

test(
  "old runs with many entries go one by one, so that any run can end",
  { tags: ["slow"] },
  async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 3);
    await complete(t);
    const repaired = { created: 0, updated: 0, deleted: 1 };
    for (let i = 0; i < 117; i += 1) {
      await t.run(async ({ db }) => {
        const first = await db.query("clerkRuns").first();
        if (first === null) throw new Error("no run");
        const { mode, dryRun, pageSize, isScheduled, startedAt, state, counts } = first;
        const options = { mode, dryRun, pageSize, isScheduled, startedAt, state };
        const run = { ...options, counts: { ...counts, repaired }, hasFindings: true };
        const runId = await db.insert("clerkRuns", run);
        for (let k = 0; k < (i < 17 ? 1000 : 0); k += 1) {
          const entry = { kind: "stale" as const, fields: [], action: "updated" as const };
          await db.insert("clerkDriftEntries", { runId, clerkId: `user_${k}`, ...entry });
        }
      });
    }
    pass(31 * DAY);
    clerk.updateUser(id, { first_name: "New" }, Date.now() - MINUTE);
    expect((await call({ mode: "due" })).status).toBe("completed");
  },
);

describe("one id about which Clerk's answer never comes", () => {
  test.each([
    { kind: "hang" },
    { kind: "reset" },
    { kind: "body", body: "<html>", contentType: "text/html" },
    { kind: "status", status: 500 },
  ] as const)("(%o) is set aside after ten minutes, and the others go", async (fault) => {
    const { t, clerk } = setting;
    const all = signUp(setting, 30);
    await complete(t);
    pass(HOUR);
    loseDeletions(all.slice(0, 2));
    clerk.order(new RegExp(`/v1/users/${all[0]}`), fault);
    const full = await complete(t);
    expect(full).toMatchObject({ status: "completed", setAside: 1, repaired: { deleted: 1 } });
  });
});

describe("an id about which Clerk answers neither the user nor resource_not_found", () => {
  test.each([410, 403, 422])("but %i is set aside, and others go", async (code) => {
    const { t, clerk } = setting;
    const all = signUp(setting, 60);
    await complete(t);
    pass(HOUR);
    loseDeletions(all.slice(0, 9));
    clerk.order(new RegExp(`/v1/users/${all[4]}$`), { kind: "status", status: code, code: "no" });
    const full = await complete(t);
    expect(full).toMatchObject({ status: "completed", setAside: 1, repaired: { deleted: 8 } });
    const entry = full.entries.find(({ action }) => action === "setAside");
    expect(entry).toMatchObject({ clerkId: all[4], kind: "orphaned" });
    expect(entry?.reason).toMatch(String(code));
    expect(entry?.reason).not.toMatch("CLERK_SECRET_KEY");
  });

  test("because of one id among a hundred, leaves the other ninety-nine judged", async () => {
    const { t, clerk } = setting;
    const all = signUp(setting, 300);
    await complete(t);
    pass(HOUR);
    loseDeletions(all.slice(0, 8));
    const refused = { kind: "status", status: 422, code: "form_param_value_invalid" } as const;
    clerk.order(new RegExp(`user_id=${all[3]}`), refused);
    const full = await complete(t);
    expect(full).toMatchObject({ status: "completed", setAside: 1, repaired: { deleted: 7 } });
  });
});

describe("requests that Clerk wants to come slower", () => {
  /** @param refuses whether the n-th request is refused, n from 0 on */
  function limit(refuses: (n: number) => boolean, retryAfter: number): void {
    let asked = -1;
    const { clerk } = setting;
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      asked += 1;
      pass(10);
      if (!refuses(asked)) return await clerk.fetch(...args);
      const headers = { "retry-after": String(retryAfter) };
      return new Response("{}", { status: 429, headers });
    });
  }

  test.each<[string, (n: number) => boolean, number]>([
    ["7 of 10, by 5 s", (n) => n % 10 < 7, 5],
    ["7 of 10, by 60 s", (n) => n % 10 < 7, 60],
    ["every second one, by 1 s", (n) => n % 2 === 1, 1],
    ["every second one, by two minutes", (n) => n % 2 === 1, 120],
  ])("%s: the run gets to its end, however long it takes", async (_, refuses, retryAfter) => {
    const { t } = setting;
    const all = signUp(setting, 60);
    await complete(t);
    pass(HOUR);
    loseDeletions(all.slice(0, 3));
    limit(refuses, retryAfter);
    const full = await complete(t, { pageSize: 10 });
    expect(full).toMatchObject({ status: "completed", repaired: { deleted: 3 } });
    await expectMirror(setting);
  });

  test("wait within a call for half a minute, and say so where it takes longer", async () => {
    signUp(setting, 3);
    limit((n) => n === 1, 20);
    const before = Date.now();
    expect(await call()).toMatchObject({ status: "completed" });
    expect(Date.now() - before).toBeGreaterThanOrEqual(20 * SECOND);
    limit((n) => n === 1, 90);
    const waiting = await call();
    expect(waiting.status).toBe("running");
    expect(waiting.summary).toMatch("It waits: Clerk answered GET /users/count with 429");
    await settle();
  });

  test("do not make a key that was changed meanwhile ask another instance unnoticed", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t);
    limit((n) => n === 1, 40);
    expect((await call()).status).toBe("running");
    clerk.secretKey = "sk_test_other";
    clerk.instanceId = "ins_other";
    clerk.users.clear();
    clerk.createUser({ id: "user_other", created_at: LONG_AGO });
    vi.stubEnv("CLERK_SECRET_KEY", clerk.secretKey);
    await settle();
    expect(await ids()).not.toContain("user_other");
    expect((await t.query(report, {}))?.summary).toMatch("instance ins_other");
  });
});
