/** What a report counts and lists, where a run meets the same user twice or only in part. */
import { describe, expect, test, vi } from "vitest";
import { MINUTE } from "../../convex/clerk/shared/clock";
import { deletedUser, userEvent, type ClerkUserJSON } from "../../scripts/stand-in/clerk-json";
import { atLookBack, expectMirror, seed, signUp } from "../world/people";
import { complete, internal, LONG_AGO, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const DAY = 1440 * MINUTE;
const unholdable = { $ref: 1 };

function argumentsOf(next: string | null): Record<string, unknown> {
  return JSON.parse(/'(.*)'$/.exec(next ?? "")?.[1] ?? "{}") as Record<string, unknown>;
}

test("recent sign-ins don't hide that the list was cut short", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 40);
  for (const id of ids.slice(20, 30)) clerk.updateUser(id, { locale: "en" }, Date.now());
  const cut = (json: unknown) => (json as ClerkUserJSON[]).slice(0, -8);
  clerk.order(/order_by=%2Bcreated_at/, { kind: "change", change: cut });
  const report = await complete(t, {});
  expect(report).toMatchObject({ status: "completed", unlisted: 8, drift: { orphaned: 0 } });
  expect(report.summary).toMatch(
    "Clerk counts 40 users from before the run, and 8 of them it does not list.",
  );
});

test("a user who is mirrored in part counts as drift and as set aside, each once", async () => {
  const { t, clerk } = setting;
  signUp(setting, 3);
  await complete(t, {});
  atLookBack(setting, () => {
    const behind = { created_at: LONG_AGO + 1, updated_at: Date.now(), first_name: "\ud800" };
    clerk.createUser({ ...behind, public_metadata: unholdable });
  });
  const report = await complete(t, {});
  expect(report).toMatchObject({
    drift: { missing: 1 },
    repaired: { created: 1 },
    setAside: 1,
  });
  expect(report.entries).toMatchObject([
    { action: "created" },
    { action: "setAside", fields: ["firstName", "name", "publicMetadata"] },
  ]);
});

test("a user set aside in part whose name changes during the run is listed as updated", async () => {
  const { t, clerk } = setting;
  const { user } = clerk.createUser({ created_at: LONG_AGO, public_metadata: unholdable });
  await complete(t, {});
  atLookBack(setting, () => {
    clerk.updateUser(user.id, { first_name: "New" }, Date.now());
  });
  const report = await complete(t, {});
  expect(report).toMatchObject({ drift: { stale: 1 }, repaired: { updated: 1 }, setAside: 1 });
  expect(report.entries.map(({ action }) => action).sort()).toEqual(["setAside", "updated"]);
});

test("next keeps what the run was told about deletions", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 30);
  await complete(t, {});
  for (const id of ids.slice(0, 12)) clerk.deleteUser(id, Date.now());
  const dry = await complete(t, { dryRun: true, maxDeletions: 12 });
  expect(dry.status).toBe("completed");
  expect(argumentsOf(dry.next)).toEqual({ maxDeletions: 12 });
  clerk.order(/count/, { kind: "status", status: 401 });
  const failed = await complete(t, { dryRun: true, maxDeletions: 0 });
  expect(argumentsOf(failed.next)).toEqual({ dryRun: true, maxDeletions: 0 });
});

test("a listed user who has no row does not confirm the others", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 6);
  await complete(t, {});
  const { user: ghost } = clerk.createUser({ created_at: LONG_AGO + DAY });
  for (const id of ids) clerk.users.delete(id);
  const at = { instanceId: clerk.instanceId, at: 0 };
  await post(t, userEvent("user.deleted", deletedUser(ghost.id), at));
  const newcomer = clerk.createUser({ created_at: LONG_AGO + 2 * DAY });
  expect(await complete(t, {})).toMatchObject({ status: "held", held: 6 });
  expect((await rows(t)).map(({ clerkId }) => clerkId)).toContain(newcomer.user.id);
});

describe("of several rows with one id the oldest is mirrored, and the others are reported", () => {
  test.each([
    ["the oldest has no creation time", [undefined, LONG_AGO]],
    ["the newer has no creation time", [LONG_AGO, undefined]],
    ["their creation times differ", [LONG_AGO + 5000, LONG_AGO]],
  ])("%s", async (_, times) => {
    const { t } = setting;
    const [id = ""] = signUp(setting, 3);
    await t.run(async (ctx) => {
      for (const [index, clerkCreatedAt] of times.entries()) {
        await ctx.db.insert("users", { clerkId: id, color: `row ${index}`, clerkCreatedAt });
      }
    });
    const report = await complete(t, {});
    expect(report).toMatchObject({ drift: { missing: 2, stale: 1 }, setAside: 1 });
    const mine = (await rows(t)).filter(({ clerkId }) => clerkId === id);
    expect(mine).toMatchObject([{ color: "row 0", firstName: "N0" }, { color: "row 1" }]);
    expect(mine[1]).not.toHaveProperty("firstName");
    expect(await complete(t, {})).toMatchObject({ drift: { stale: 0 }, setAside: 1 });
  });

  test("a deletion removes them all", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 2);
    await complete(t, {});
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: id, color: "second" }));
    await post(t, clerk.deleteUser(id, Date.now()));
    await expectMirror(setting);
  });
});

test("an event from the future with an equal look does not keep out what comes after it", async () => {
  const { t, clerk } = setting;
  const { user } = clerk.createUser({ created_at: LONG_AGO, first_name: "A" });
  await complete(t, {});
  const send = async (change: Partial<ClerkUserJSON>) => {
    const at = { instanceId: clerk.instanceId, at: 0 };
    await post(t, userEvent("user.updated", { ...user, ...change }, at));
  };
  await send({ updated_at: Date.now() + 10 * 365 * DAY });
  await send({ first_name: "B", updated_at: Date.now() + 1000 });
  expect(await rows(t)).toMatchObject([{ firstName: "B" }]);
});

test("an event between evidence and deletion puts the deletion off", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 60);
  await complete(t, {});
  const last = clerk.users.get(ids[25] ?? "");
  for (const id of ids.slice(0, 26)) clerk.users.delete(id);
  let posted: Promise<unknown> | undefined;
  clerk.onRequest = ({ path }) => {
    if (posted || !path.endsWith(ids[0] ?? "")) return;
    const data = { ...last, first_name: "Back", updated_at: Date.now() };
    posted = post(t, userEvent("user.updated", data, { instanceId: clerk.instanceId, at: 0 }));
  };
  const report = await t.action(internal.clerk.reconcile.run, { maxDeletions: 30 });
  await posted;
  expect(report).toMatchObject({
    repaired: { deleted: 25 },
    postponed: 1,
    drift: { orphaned: 25 },
  });
  expect((await rows(t)).map(({ clerkId }) => clerkId)).toContain(ids[25]);
});

test("a user who is listed although deleted is asked about, and comes back", async () => {
  const { t, clerk } = setting;
  const [id = ""] = signUp(setting, 3);
  await complete(t, {});
  await post(
    t,
    userEvent("user.deleted", deletedUser(id), { instanceId: clerk.instanceId, at: 0 }),
  );
  vi.setSystemTime(Date.now() + 6 * MINUTE);
  expect(await complete(t, {})).toMatchObject({ drift: { missing: 1 }, repaired: { created: 1 } });
  await expectMirror(setting);
});

test("a user changed just before the run began by a clock that is behind is looked back at", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 10);
  await complete(t, {});
  let listed = 0;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "+created_at" || ++listed !== 3) return;
    clerk.updateUser(ids[0] ?? "", { first_name: "Meanwhile" }, Date.now() - 50_000);
  };
  expect(await complete(t, { pageSize: 3 })).toMatchObject({ repaired: { updated: 1 } });
});

test("many or large rows of one window are settled in steps, each far below the limits", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 60);
  await seed(setting, ids);
  await t.run(async (ctx) => {
    for (const row of await ctx.db.query("users").take(60)) {
      await ctx.db.patch("users", row._id, { color: "x".repeat(100_000), firstName: "Stale" });
    }
  });
  for (const id of ids.slice(0, 3)) clerk.users.delete(id);
  const report = await complete(t, {});
  expect(report).toMatchObject({
    status: "completed",
    drift: { stale: 57, orphaned: 3 },
    scanned: 57,
  });
  await expectMirror(setting);

  // One step by hand: 6 MB of rows are not read at once.
  const begun = await t.mutation(internal.clerk.run.lifecycle.begin, {
    mode: "full",
    dryRun: false,
    pageSize: 500,
  });
  const at = (step: number) => ({ runId: begun.run._id, step, requests: 0 });
  await t.mutation(internal.clerk.run.begin.settle, {
    at: at(0),
    instanceId: clerk.instanceId,
    clerkUsers: 57,
  });
  const args = { at: at(1), users: [], until: null, seenAt: Date.now() };
  const first = await t.mutation(internal.clerk.run.walk.settle, args);
  const state = first?.run.state;
  const phase = state?.kind === "running" ? state.phase : null;
  expect(phase?.kind === "walk" && phase.settled.clerkId).toMatch(/^user_/);
});
