/** Rows that are marked as removed and go for good once their time is over, and what the app erases before a row goes. */
import { defineTable } from "convex/server";
import { v } from "convex/values";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Id } from "../../convex/_generated/dataModel";
import type { MutationCtx } from "../../convex/_generated/server";
import * as app from "../../convex/clerk/app";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import type { Hooks, User } from "../../convex/clerk/types";
import schema from "../../convex/schema";
import { deletedUser, userEvent, type UserEvent } from "../../scripts/stand-in/clerk-json";
import { signUp } from "../world/people";
import {
  api,
  complete,
  convexWith,
  internal,
  LONG_AGO,
  pass,
  post,
  rows,
  useSetting,
} from "../world/setting";

const AFTER_MS = 10 * DAY;
const ID = "user_ada";

const setting = useSetting({ http: false });

/** What the app keeps about users: rows of its own that lead to theirs. */
const notes = defineTable({ owner: v.id("users") }).index("by_owner", ["owner"]);
/** The types of this project know of no such table. */
type Notes = {
  insert: (table: "notes", note: { owner: Id<"users"> }) => Promise<string>;
  delete: (table: "notes", id: string) => Promise<void>;
  query: (table: "notes") => {
    withIndex: (
      name: "by_owner",
      range: (q: { eq: (field: "owner", id: Id<"users">) => unknown }) => unknown,
    ) => { take: (count: number) => Promise<{ _id: string; owner: Id<"users"> }[]> };
    take: (count: number) => Promise<{ _id: string; owner: Id<"users"> }[]>;
  };
};
const notesIn = ({ db }: Pick<MutationCtx, "db">) => db as unknown as Notes;

/** Notes that one call of `erase` takes. */
const PART = 500;
/** Whose notes were erased, a call each. */
const erasedFrom: Id<"users">[] = [];

const erase = async (ctx: MutationCtx, { _id }: Pick<User, "_id">) => {
  erasedFrom.push(_id);
  const some = await notesIn(ctx)
    .query("notes")
    .withIndex("by_owner", (q) => q.eq("owner", _id))
    .take(PART);
  for (const note of some) await notesIn(ctx).delete("notes", note._id);
  return some.length === PART ? ("more" as const) : undefined;
};

async function write(owner: Id<"users">, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 5000) {
    await setting.t.run(async (ctx) => {
      for (let i = 0; i < Math.min(5000, left); i += 1)
        await notesIn(ctx).insert("notes", { owner });
    });
  }
}

/** How many notes there are, by owner. */
async function owned(): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const all = await setting.t.run(async (ctx) => await notesIn(ctx).query("notes").take(30_000));
  for (const { owner } of all) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return counts;
}

async function notesOf(owner: Id<"users">): Promise<number> {
  return await setting.t.run(
    async (ctx) =>
      (
        await notesIn(ctx)
          .query("notes")
          .withIndex("by_owner", (q) => q.eq("owner", owner))
          .take(30_000)
      ).length,
  );
}

function wants(purgeAfterMs: number | null, hooks: Hooks = {}): void {
  vi.spyOn(app, "removal", "get" as never).mockReturnValue({ mark: {}, purgeAfterMs });
  vi.spyOn(app, "hooks", "get" as never).mockReturnValue(hooks);
}

/** The app deletes the rows of who is gone, after what hangs on them. */
function deletes(hooks: Hooks): void {
  vi.spyOn(app, "removal", "get" as never).mockReturnValue("delete");
  vi.spyOn(app, "hooks", "get" as never).mockReturnValue(hooks);
}

async function settle(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
}

async function rowOf(clerkId: string): Promise<User | undefined> {
  return (await rows(setting.t)).find((row) => row.clerkId === clerkId);
}

/** Ada among 20 others, mirrored long ago. */
async function mirrored(): Promise<User> {
  const { t, clerk } = setting;
  signUp(setting, 20);
  clerk.createUser({ id: ID, created_at: LONG_AGO + 100_000, first_name: "Ada" });
  await complete(t);
  pass(HOUR);
  const row = await rowOf(ID);
  if (row === undefined) throw new Error("no row of Ada's");
  return row;
}

async function leave(): Promise<UserEvent> {
  const event = setting.clerk.deleteUser(ID, Date.now());
  await post(setting.t, event);
  return event;
}

/** Clerk has Ada again, as after a restored backup. */
function comeBack(): void {
  setting.clerk.createUser({ id: ID, created_at: LONG_AGO + 100_000, first_name: "Ada" });
}

const status = async () => await setting.t.query(internal.clerk.reconcile.status, {});

beforeEach(() => {
  setting.t = convexWith(schema.tables.users, { notes });
  erasedFrom.length = 0;
});
afterEach(() => {
  expect(setting.log.filter(({ event }) => event === "webhook.failed")).toEqual([]);
});

type Happening = { kind: number; who: number; delivery: "at once" | "lost" | "late" | "twice" };

const happenings = fc.array(
  fc.record({
    kind: fc.nat(9),
    who: fc.nat(1000),
    delivery: fc.constantFrom("at once", "lost", "late", "twice"),
  }),
  { maxLength: 3 },
);

/** `SEEDS=1,2,3` lives through others, which takes 20 s each. */
const SEEDS = (process.env.SEEDS ?? "6").split(",").map(Number);

describe("over 40 days of lost, late and repeated events", () => {
  const DAYS = 40;
  const TICK_MS = 6 * HOUR;
  /** From the first of these days on deletions are held, until the other one. */
  const HELD = [14, 19] as const;
  /** Somebody leaves on this day of whom the app has 20,000 notes when their time is over. */
  const WHALE_LEAVES = 3;
  const WHALES_NOTES = 20_000;

  test.each(SEEDS)(
    "nothing is purged early, nothing twice, and all of it at last: seed %s",
    { tags: ["slow"], timeout: 120_000 },
    async (seed) => {
      const { t, clerk, log } = setting;
      wants(AFTER_MS, { erase });
      const ids = signUp(setting, 40);
      const [whale = ""] = ids;
      await complete(t);
      const firstRows = new Set<string>();
      for (const { _id } of await rows(t)) {
        firstRows.add(_id);
        await write(_id, 3);
      }
      const started = Date.now();
      const late: { at: number; event: UserEvent }[] = [];
      const markedAt = new Map<string, number>();
      const purged = new Map<string, number>();
      const cameBack = { before: 0, after: 0 };
      let before = new Map<string, User>();
      let held = 0;

      /** What the rows tell, whoever wrote them. */
      const look = async () => {
        const now = new Map((await rows(t)).map((row) => [row._id as string, row]));
        const owners = await owned();
        // Nobody's notes go while their row stays: `erase` was called then, and the row must follow.
        for (const id of now.keys()) {
          if (firstRows.has(id)) expect(owners.get(id)).toBeGreaterThanOrEqual(3);
        }
        for (const [id, row] of before) {
          if (now.has(id)) continue;
          const since = row.deletedAt ?? Infinity;
          expect(Date.now() - since, `marked at ${since}`).toBeGreaterThanOrEqual(AFTER_MS);
          expect(clerk.users.has(row.clerkId ?? ""), "a live user's row is purged").toBe(false);
          expect(owners.get(id)).toBeUndefined();
          purged.set(id, (purged.get(id) ?? 0) + 1);
        }
        for (const [id, { deletedAt }] of now) {
          const isBack = deletedAt === undefined && markedAt.has(id);
          if (isBack) cameBack.before += 1;
          if (deletedAt === undefined) markedAt.delete(id);
          else {
            expect(markedAt.get(id) ?? deletedAt, "a mark is not renewed").toBe(deletedAt);
            markedAt.set(id, deletedAt);
          }
        }
        before = now;
      };
      const send = async (event: UserEvent, delivery: Happening["delivery"]) => {
        if (delivery === "late") late.push({ at: Date.now() + 2 * DAY, event });
        if (delivery === "at once" || delivery === "twice") await post(t, event);
        if (delivery === "twice") late.push({ at: Date.now() + 12 * DAY, event });
      };
      /** A person types what a held run says. */
      const allow = async (next: string | null) => {
        const args = JSON.parse(/'(.*)'/.exec(next ?? "")?.[1] ?? "") as { maxDeletions: number };
        await complete(t, args);
      };
      const happen = async ({ kind, who, delivery }: Happening) => {
        pass(MINUTE);
        const here = [...clerk.users.keys()].filter((id) => id !== whale);
        const gone = ids.filter((id) => !clerk.users.has(id) && id !== whale);
        if (kind <= 2) {
          const id = here[who % here.length];
          if (id !== undefined) await send(clerk.deleteUser(id, Date.now()), delivery);
        } else if (kind <= 4) {
          const id = gone[who % gone.length];
          if (id === undefined) return;
          const known = before.get(
            [...before.values()].find((row) => row.clerkId === id)?._id ?? "",
          );
          if (known === undefined) cameBack.after += 1;
          const { event } = clerk.createUser({
            id,
            created_at: LONG_AGO + who,
            first_name: "Back",
          });
          await send(event, delivery);
        } else if (kind <= 6) {
          const id = here[who % here.length];
          if (id === undefined) return;
          const change = { first_name: `N${Date.now()}` };
          await send(clerk.updateUser(id, change, Date.now()), delivery);
        }
      };

      const ticks = fc.sample(happenings, { seed, numRuns: (DAYS * DAY) / TICK_MS });
      for (const [tick, some] of ticks.entries()) {
        const day = (tick * TICK_MS) / DAY;
        pass(Math.max(0, started + tick * TICK_MS - Date.now()));
        if (day === WHALE_LEAVES + 10.25) {
          const row = await rowOf(whale);
          if (row !== undefined) await write(row._id, WHALES_NOTES);
        }
        await complete(t, { mode: "due" });
        await look();
        for (const happening of some) await happen(happening);
        for (const { at, event } of late.splice(0)) {
          if (at <= Date.now()) await post(t, event);
          else late.push({ at, event });
        }
        await settle();
        await look();
        if (day === WHALE_LEAVES) {
          await post(t, clerk.deleteUser(whale, Date.now()));
        }
        if (day === HELD[0]) {
          const here = [...clerk.users.keys()];
          for (const id of here.slice(0, 14)) clerk.deleteUser(id, Date.now());
        }
        const { lastFullRun } = await status();
        if (lastFullRun?.status === "held") {
          held += 1;
          expect(lastFullRun.purged).toBe(0);
          if (day >= HELD[1]) await allow(lastFullRun.next);
        }
      }
      expect(held).toBeGreaterThan(10);
      expect(cameBack.before).toBeGreaterThan(2);
      expect(cameBack.after).toBeGreaterThan(0);

      // Quiet days: what was marked goes.
      for (let day = 0; day < 13; day += 1) {
        pass(DAY);
        await complete(t, { mode: "due" });
        await look();
        const { lastFullRun } = await status();
        if (lastFullRun?.status === "held") await allow(lastFullRun.next);
      }
      const left = await rows(t);
      expect(left.filter(({ deletedAt }) => deletedAt !== undefined)).toEqual([]);
      expect(left.map(({ clerkId }) => clerkId).sort()).toEqual([...clerk.users.keys()].sort());
      expect(await status()).toMatchObject({
        verdict: expect.any(String) as string,
        waiting: 0,
        erasing: 0,
      });
      expect([...purged.values()].every((times) => times === 1)).toBe(true);
      expect(purged.size).toBeGreaterThan(20);
      expect(erasedFrom.length).toBeGreaterThanOrEqual(purged.size + WHALES_NOTES / PART);
      const told = log.filter(({ action }) => action === "purged");
      expect(told.length).toBe(purged.size);
      const runs = await t.run(async ({ db }) => await db.query("clerkErasures").take(10));
      expect(runs).toEqual([]);
    },
  );
});

describe("a row that is marked as removed", () => {
  test.each([[null], [Infinity]])("stays for ever where purgeAfterMs is %s", async (afterMs) => {
    wants(afterMs);
    await mirrored();
    await leave();
    pass(1000 * DAY);
    expect(await complete(setting.t)).toMatchObject({ purged: 0, status: "completed" });
    expect(await rowOf(ID)).toMatchObject({ deletedAt: expect.any(Number) as number });
  });

  test("goes in the first full run once its time is over, and the Report, status and the log say so", async () => {
    const { t, log } = setting;
    wants(AFTER_MS, { erase });
    const { _id } = await mirrored();
    await write(_id, 3);
    await leave();
    pass(AFTER_MS - MINUTE);
    expect(await complete(t)).toMatchObject({ purged: 0, waiting: 1 });
    expect(await status()).toMatchObject({ waiting: 1, erasing: 0 });
    expect(await complete(t, { dryRun: true })).toMatchObject({ purged: 0 });
    pass(MINUTE);
    expect(await complete(t, { dryRun: true })).toMatchObject({
      purged: 1,
      summary: "Dry run. 20 users compared: would purge 1.",
      entries: [{ clerkId: ID, kind: "marked", action: "none" }],
    });
    expect(await rowOf(ID)).toBeDefined();
    log.length = 0;
    expect(await complete(t)).toMatchObject({
      purged: 1,
      waiting: 0,
      repaired: { deleted: 0 },
      drift: { orphaned: 0 },
      summary: "20 users compared: purged 1.",
      entries: [{ clerkId: ID, kind: "marked", action: "purged" }],
    });
    expect(log).toContainEqual(
      expect.objectContaining({ event: "reconcile.drift", clerkId: ID, action: "purged" }),
    );
    expect(await rowOf(ID)).toBeUndefined();
    expect(await notesOf(_id)).toBe(0);
    expect(await status()).toMatchObject({ verdict: "healthy", waiting: 0 });
    expect(await complete(t)).toMatchObject({ purged: 0, summary: /^In sync/ as never });
  });

  test("costs no request until it is due, and then one, and one for a hundred", async () => {
    const { t, clerk } = setting;
    wants(AFTER_MS);
    await mirrored();
    pass(HOUR);
    const quiet = (await complete(t)).requests;
    await leave();
    pass(HOUR);
    expect((await complete(t)).requests).toBe(quiet);
    pass(AFTER_MS);
    expect((await complete(t)).requests).toBe(quiet + 2);
    expect(clerk.requests.length).toBeGreaterThan(0);
  });

  test("goes by no recent run, no person's repair and no doubt", async () => {
    const { t } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    pass(2 * AFTER_MS);
    await complete(t, { mode: "recent" });
    expect(await t.action(internal.clerk.reconcile.user, { clerkId: ID })).toMatchObject({
      outcome: "absent",
    });
    await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: ID });
    await settle();
    expect(await rowOf(ID)).toBeDefined();
  });

  test("is not kept longer by events that come again", async () => {
    const { t } = setting;
    wants(AFTER_MS);
    await mirrored();
    const event = await leave();
    pass(AFTER_MS - HOUR);
    await post(t, event);
    pass(HOUR);
    expect(await complete(t)).toMatchObject({ purged: 1 });
  });

  test("stays a little where an event has just named its id: Clerk's 404 may be older", async () => {
    const { t } = setting;
    wants(AFTER_MS);
    await mirrored();
    const event = await leave();
    pass(AFTER_MS);
    await post(t, event);
    expect(await complete(t)).toMatchObject({ purged: 0, waiting: 1 });
    pass(5 * MINUTE);
    expect(await complete(t)).toMatchObject({ purged: 1, waiting: 0 });
  });

  test("stays a little, also where it was marked so long ago that tombstones are gone", async () => {
    const { t, clerk } = setting;
    wants(60 * DAY);
    await mirrored();
    const late = clerk.updateUser(ID, { first_name: "Late" }, Date.now());
    await leave();
    pass(60 * DAY);
    await post(t, late);
    // Its end prunes what is old.
    expect(await complete(t)).toMatchObject({ purged: 0, waiting: 1 });
    expect(await complete(t)).toMatchObject({ purged: 0, waiting: 1 });
    pass(5 * MINUTE);
    expect(await complete(t)).toMatchObject({ purged: 1 });
  });

  test.each(["reconcile:user", "a run after its time"])(
    "gets everything back where its user comes back before: by %s",
    async (by) => {
      const { t } = setting;
      wants(AFTER_MS, { erase });
      const { _id } = await mirrored();
      await write(_id, 3);
      await t.run(async ({ db }) => {
        await db.patch("users", _id, { color: "chosen" });
      });
      await leave();
      pass(AFTER_MS - HOUR);
      comeBack();
      if (by === "reconcile:user") {
        expect(await t.action(internal.clerk.reconcile.user, { clerkId: ID })).toMatchObject({
          outcome: "created",
        });
      } else {
        pass(2 * HOUR);
        expect(await complete(t)).toMatchObject({ purged: 0, repaired: { created: 1 } });
      }
      expect(await rowOf(ID)).toMatchObject({ _id, color: "chosen", firstName: "Ada" });
      expect(await rowOf(ID)).not.toHaveProperty("deletedAt");
      expect(await notesOf(_id)).toBe(3);
      // Its time begins anew with another mark.
      pass(HOUR);
      await leave();
      pass(AFTER_MS - HOUR);
      expect(await complete(t)).toMatchObject({ purged: 0, waiting: 1 });
    },
  );

  test("is not purged where Clerk knows its user again right before", async () => {
    const { t, clerk } = setting;
    wants(AFTER_MS);
    const { _id } = await mirrored();
    await leave();
    pass(AFTER_MS + HOUR);
    // The listings do not show them yet, the request about the very id does.
    const user = { id: ID, created_at: LONG_AGO + 100_000, first_name: "Ada" };
    clerk.onRequest = () => {
      const last = clerk.requests.at(-1)?.path ?? "";
      if (last.endsWith(ID) && !clerk.users.has(ID)) clerk.createUser(user);
    };
    expect(await complete(t)).toMatchObject({ purged: 0, repaired: { created: 1 } });
    expect(await rowOf(ID)).toMatchObject({ _id, firstName: "Ada" });
  });

  test("is not purged where an event names it while Clerk is asked", async () => {
    const { t } = setting;
    wants(AFTER_MS);
    await mirrored();
    const event = await leave();
    pass(AFTER_MS + HOUR);
    const ask = fetch;
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      const answer = await ask(...args);
      if (new Request(...args).url.endsWith(`/users/${ID}`)) await post(t, event);
      return answer;
    });
    expect(await complete(t)).toMatchObject({ purged: 0, waiting: 1 });
    vi.stubGlobal("fetch", ask);
    pass(5 * MINUTE);
    expect(await complete(t)).toMatchObject({ purged: 1 });
  });

  test("stays in a run that is held, and goes with the one that is allowed", async () => {
    const { t, clerk } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    pass(AFTER_MS);
    for (const id of [...clerk.users.keys()].slice(0, 15)) clerk.deleteUser(id, Date.now());
    pass(HOUR);
    expect(await complete(t)).toMatchObject({ status: "held", held: 15, purged: 0, waiting: 1 });
    expect(await complete(t, { maxDeletions: 15 })).toMatchObject({
      repaired: { deleted: 15 },
      purged: 0,
    });
    expect(await complete(t)).toMatchObject({ purged: 1 });
  });

  test("stays in a run that holds but one whom nobody ever saw in Clerk", async () => {
    const { t } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    await t.run(async ({ db }) => {
      await db.insert("users", { clerkId: "user_stranger", color: "own" });
    });
    await complete(t);
    pass(AFTER_MS);
    expect(await complete(t)).toMatchObject({ status: "held", held: 1, purged: 0, waiting: 1 });
    expect(await complete(t, { maxDeletions: 2 })).toMatchObject({
      status: "completed",
      purged: 1,
    });
  });

  test.each([
    [0, 0],
    [1, 1],
    [5, 2],
  ])("maxDeletions %s purges %s of two", async (maxDeletions, purged) => {
    const { t, clerk } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    const [other = ""] = clerk.users.keys();
    await post(t, clerk.deleteUser(other, Date.now()));
    pass(AFTER_MS);
    expect(await complete(t, { maxDeletions })).toMatchObject({ purged, waiting: 2 - purged });
  });

  test("that has kept its creation time, of who is back, waits no more", async () => {
    const { t } = setting;
    wants(AFTER_MS);
    const { _id, clerkCreatedAt } = await mirrored();
    await leave();
    await t.run(async ({ db }) => {
      await db.patch("users", _id, { clerkCreatedAt });
    });
    pass(HOUR);
    comeBack();
    expect(await complete(t)).toMatchObject({ repaired: { created: 1 }, waiting: 0 });
  });

  test("is logged by name, however many go", async () => {
    const { t, clerk, log } = setting;
    wants(AFTER_MS);
    const ids = signUp(setting, 180);
    await complete(t);
    for (const id of ids.slice(0, 170)) await post(t, clerk.deleteUser(id, Date.now()));
    pass(AFTER_MS);
    log.length = 0;
    expect(await complete(t)).toMatchObject({ purged: 170 });
    const named = log
      .filter(({ action }) => action === "purged")
      .flatMap(({ clerkId, clerkIds }) => clerkIds ?? clerkId);
    expect(named.sort()).toEqual(ids.slice(0, 170).sort());
  });

  test("is told by a dry run as the run makes it, beside a deletion and under a limit", async () => {
    const { t, clerk } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    const [other = ""] = clerk.users.keys();
    pass(AFTER_MS);
    clerk.deleteUser(other, Date.now());
    pass(HOUR);
    const dry = await complete(t, { dryRun: true, maxDeletions: 1 });
    expect(dry).toMatchObject({ purged: 0, drift: { orphaned: 1 } });
    expect(await complete(t, { maxDeletions: 1 })).toMatchObject({
      purged: 0,
      repaired: { deleted: 1 },
    });
  });

  test("is set aside where the app's own code does not let it go, in a dry run, too", async () => {
    const { t } = setting;
    await mirrored();
    wants(AFTER_MS);
    await leave();
    pass(AFTER_MS);
    const refuses = async (): Promise<never> => await Promise.reject(new Error("no"));
    wants(AFTER_MS, { database: ({ db }) => ({ ...db, delete: refuses }) as typeof db });
    for (const dryRun of [true, false]) {
      expect(await complete(t, { dryRun })).toMatchObject({ purged: 0, setAside: 1 });
    }
  });

  test.each([0, LONG_AGO, -1])(
    "by the app itself, at %s, is never purged, not even where Clerk knows nobody",
    async (deletedAt) => {
      const { t, clerk } = setting;
      wants(AFTER_MS);
      signUp(setting, 5);
      await complete(t);
      await t.run(async ({ db }) => {
        for (const row of await db.query("users").take(100)) {
          await db.patch("users", row._id, { deletedAt });
        }
        for (let i = 0; i < 20; i += 1) {
          await db.insert("users", { clerkId: `user_old${i}`, color: "x", deletedAt });
        }
      });
      clerk.users.clear();
      pass(AFTER_MS);
      expect(await complete(t)).toMatchObject({ purged: 0, waiting: 0 });
      expect((await rows(t)).length).toBe(25);
    },
  );

  test("by the app right before Clerk's event is cleared, told, and counts from then", async () => {
    const { t } = setting;
    const removed = vi.fn(async () => {
      await Promise.resolve();
    });
    wants(AFTER_MS, { removed });
    const { _id } = await mirrored();
    await t.run(async ({ db }) => {
      await db.patch("users", _id, { deletedAt: 1 });
    });
    await leave();
    expect(removed).toHaveBeenCalledTimes(1);
    const row = await rowOf(ID);
    expect(row).toEqual({
      _id,
      _creationTime: expect.any(Number) as number,
      clerkId: ID,
      color: expect.any(String) as string,
      deletedAt: expect.any(Number) as number,
    });
    expect(Math.abs((row?.deletedAt ?? 0) - Date.now())).toBeLessThan(SECOND);
  });

  test("beside another one of the same id is counted, too", async () => {
    const { t } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    await t.run(async ({ db }) => {
      await db.insert("users", { clerkId: ID, color: "second", deletedAt: Date.now() });
    });
    pass(AFTER_MS);
    expect(await complete(t)).toMatchObject({ purged: 2, waiting: 0 });
  });

  test("stays until a full run has completed after a move to another instance", async () => {
    const { t, clerk } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    pass(AFTER_MS);
    clerk.instanceId = "ins_moved";
    await t.mutation(internal.clerk.reconcile.pinInstance, { instanceId: "ins_moved" });
    expect(await complete(t)).toMatchObject({ status: "completed", purged: 0, waiting: 1 });
    expect(await complete(t)).toMatchObject({ purged: 1 });
  });

  test("is set aside where Clerk does not answer about its id, and goes once it does", async () => {
    const { t, clerk } = setting;
    wants(AFTER_MS);
    await mirrored();
    await leave();
    pass(AFTER_MS);
    clerk.order(/users\/user_ada/, { kind: "status", status: 403 }, Infinity);
    const found = await complete(t);
    expect(found).toMatchObject({ setAside: 1, purged: 0 });
    expect(found.entries).toMatchObject([{ clerkId: ID, kind: "marked", action: "setAside" }]);
    clerk.heal();
    expect(await complete(t)).toMatchObject({ setAside: 0, purged: 1 });
  });
});

describe("erase", () => {
  async function eraseOnePart(): Promise<void> {
    vi.advanceTimersByTime(1);
    await setting.t.finishInProgressScheduledFunctions();
  }

  test.each(["an event", "a run"])(
    "takes 1,200 notes before the row that is deleted by %s, which opens nothing meanwhile",
    async (by) => {
      const { t, clerk } = setting;
      const removed: string[] = [];
      deletes({
        erase,
        removed: async (_, { clerkId = "" }) => {
          await Promise.resolve();
          removed.push(clerkId);
        },
      });
      const { _id } = await mirrored();
      await write(_id, 1200);
      const ada = t.withIdentity({ subject: ID });
      expect(await ada.query(api.account.current, {})).toMatchObject({ status: "ready" });
      if (by === "an event") await leave();
      else {
        clerk.deleteUser(ID, Date.now());
        pass(HOUR);
        expect(await t.action(internal.clerk.reconcile.run, {})).toMatchObject({
          repaired: { deleted: 1 },
        });
      }
      expect(await rowOf(ID)).toBeDefined();
      expect(removed).toEqual([]);
      expect(await ada.query(api.account.current, {})).toEqual({ status: "removed" });
      expect(await status()).toMatchObject({ erasing: 1 });
      // Neither another event nor another run begins it again, or takes them for an orphan.
      await post(
        t,
        userEvent("user.deleted", deletedUser(ID), { instanceId: clerk.instanceId, at: 1 }),
      );
      expect(await status()).toMatchObject({ erasing: 1 });
      pass(HOUR);
      expect(await t.action(internal.clerk.reconcile.run, {})).toMatchObject({
        status: "completed",
        drift: { orphaned: 0 },
        held: 0,
        postponed: 0,
      });
      await settle();
      expect(await rowOf(ID)).toBeUndefined();
      expect(removed).toEqual([ID]);
      expect(erasedFrom).toEqual([_id, _id, _id]);
      expect(await notesOf(_id)).toBe(0);
      expect(await status()).toMatchObject({ verdict: "healthy", erasing: 0 });
    },
  );

  test("that has begun is finished, and who comes back meanwhile gets a new row afterwards", async () => {
    const { t } = setting;
    wants(AFTER_MS, { erase });
    const { _id } = await mirrored();
    await write(_id, 1200);
    await leave();
    pass(AFTER_MS);
    expect(await t.action(internal.clerk.reconcile.run, {})).toMatchObject({ purged: 1 });
    await eraseOnePart();
    comeBack();
    pass(HOUR);
    expect(await t.action(internal.clerk.reconcile.user, { clerkId: ID })).toMatchObject({
      outcome: "unchanged",
      reason: "its row is being erased",
    });
    expect(await t.action(internal.clerk.reconcile.run, {})).toMatchObject({
      status: "completed",
      postponed: 1,
      repaired: { created: 0, updated: 0 },
    });
    expect(await rowOf(ID)).toMatchObject({ _id });
    await settle();
    const row = await rowOf(ID);
    expect(row).toMatchObject({ firstName: "Ada" });
    expect(row?._id).not.toBe(_id);
    expect(await notesOf(_id)).toBe(0);
  });

  test("that throws keeps its row alone, is told, and is tried again by each tick", async () => {
    const { t, clerk, log } = setting;
    let isBroken = true;
    deletes({
      erase: async (ctx, user) => {
        if (isBroken && user.clerkId === ID)
          throw new TypeError(`secret of ${user.firstName ?? ""}`);
        return (await erase(ctx, user)) ?? undefined;
      },
    });
    const { _id } = await mirrored();
    await write(_id, 3);
    await leave();
    const [other = ""] = clerk.users.keys();
    await post(t, clerk.deleteUser(other, Date.now()));
    await settle();
    expect(await rowOf(other)).toBeUndefined();
    expect(await rowOf(ID)).toMatchObject({ _id });
    const { verdict, reasons, isUp } = await status();
    expect({ verdict, isUp }).toEqual({ verdict: "attention", isUp: false });
    expect(reasons.join()).toMatch(/^1 row is of users who are gone.*hooks.erase threw TypeError/);
    const [line] = log.filter(({ event }) => event === "erase.failed");
    expect(line).toMatchObject({ level: "error", clerkId: ID });
    expect(JSON.stringify(log) + reasons.join()).not.toMatch("secret of");
    expect(await t.withIdentity({ subject: ID }).query(api.account.current, {})).toEqual({
      status: "removed",
    });
    isBroken = false;
    pass(15 * MINUTE);
    await complete(t, { mode: "due" });
    expect(await rowOf(ID)).toBeUndefined();
    expect(await notesOf(_id)).toBe(0);
    expect(await status()).toMatchObject({ verdict: "healthy", erasing: 0 });
  });

  test("whose app gave the hook up does not take the row of who has come back", async () => {
    const { t } = setting;
    deletes({ erase: async (): Promise<never> => await Promise.reject(new Error("broken")) });
    const { _id } = await mirrored();
    await leave();
    await settle();
    deletes({});
    comeBack();
    pass(HOUR);
    await t.action(internal.clerk.reconcile.user, { clerkId: ID });
    pass(HOUR);
    await complete(t, { mode: "due" });
    expect(await rowOf(ID)).toMatchObject({ _id, firstName: "Ada" });
    expect(await status()).toMatchObject({ erasing: 0 });
  });

  test("that takes more than a transaction may is told by the next tick", async () => {
    const { t } = setting;
    deletes({
      erase: async (ctx) => {
        for (let i = 0; i < 5000; i += 1) await notesIn(ctx).query("notes").take(1);
      },
    });
    await mirrored();
    await leave();
    await settle();
    for (let i = 0; i < 2; i += 1) {
      pass(15 * MINUTE);
      await complete(t, { mode: "due" }).catch(() => undefined);
    }
    const { verdict, reasons } = await status();
    expect([verdict, reasons.join()]).toEqual([
      "attention",
      expect.stringMatching(/hooks\.erase of convex\/clerk\/app\.ts does not get to its end/),
    ]);
    expect(setting.log.filter(({ event }) => event === "erase.failed").length).toBeGreaterThan(0);
  });

  test("whose user is back before a run sees it makes a new row within seconds of its end", async () => {
    deletes({ erase });
    const { _id } = await mirrored();
    await write(_id, 700);
    await leave();
    pass(HOUR);
    comeBack();
    const since = Date.now();
    await settle();
    expect(Date.now() - since).toBeLessThan(10_000);
    const row = await rowOf(ID);
    expect(row).toMatchObject({ firstName: "Ada" });
    expect(row?._id).not.toBe(_id);
  });

  test("is seen by a run: whose row is on its way out is not in sync, however right it looks", async () => {
    const { t } = setting;
    deletes({ erase });
    const { _id } = await mirrored();
    await write(_id, 700);
    await leave();
    await eraseOnePart();
    pass(HOUR);
    comeBack();
    expect(await t.action(internal.clerk.reconcile.run, {})).toMatchObject({
      status: "completed",
      unchanged: 20,
      postponed: 1,
    });
  });

  test("that wants more and took the row is refused, and the rest is not lost", async () => {
    let takesRow = true;
    deletes({
      erase: async (ctx, user) => {
        if (takesRow) await ctx.db.delete("users", user._id);
        return takesRow ? "more" : await erase(ctx, user);
      },
    });
    const { _id } = await mirrored();
    await write(_id, 3);
    await leave();
    await settle();
    expect(await rowOf(ID)).toMatchObject({ _id });
    expect((await status()).reasons.join()).toMatch('said "more", and had deleted the row');
    takesRow = false;
    pass(15 * MINUTE);
    await complete(setting.t, { mode: "due" });
    expect([await rowOf(ID), await notesOf(_id)]).toEqual([undefined, 0]);
  });

  test("of a purge is not told as a removal, also where the app marks no more meanwhile", async () => {
    const { t } = setting;
    const removed = vi.fn(async () => {
      await Promise.resolve();
    });
    wants(AFTER_MS, { erase, removed });
    const { _id } = await mirrored();
    await write(_id, 700);
    await leave();
    pass(AFTER_MS);
    expect(await t.action(internal.clerk.reconcile.run, {})).toMatchObject({
      purged: 1,
      waiting: 0,
    });
    expect(await t.action(internal.clerk.reconcile.run, {})).toMatchObject({
      purged: 0,
      waiting: 0,
    });
    deletes({ erase, removed });
    await settle();
    expect(await rowOf(ID)).toBeUndefined();
    expect(removed).toHaveBeenCalledTimes(1);
  });

  test("that never ends is told, and costs a call a minute from the thousandth on", async () => {
    deletes({ erase: async () => await Promise.resolve("more" as const) });
    await mirrored();
    await leave();
    const since = Date.now();
    for (let i = 0; i < 1010; i += 1) {
      vi.advanceTimersToNextTimer();
      await setting.t.finishInProgressScheduledFunctions();
    }
    expect(Date.now() - since).toBeGreaterThan(5 * MINUTE);
    const { verdict, reasons } = await status();
    expect([verdict, reasons.join()]).toEqual([
      "attention",
      expect.stringMatching(/does not get to its end: it has said "more" 10\d\d times/),
    ]);
    deletes({});
    await settle();
    expect(await rowOf(ID)).toBeUndefined();
  });

  test("whose call was killed goes on with the next tick, once", async () => {
    const { t } = setting;
    deletes({ erase });
    const { _id } = await mirrored();
    await write(_id, 700);
    await leave();
    // A deploy, or a restart of the backend: what was scheduled is gone.
    await t.run(async ({ db, scheduler }) => {
      for (const job of await db.system.query("_scheduled_functions").take(100)) {
        if (job.state.kind === "pending") await scheduler.cancel(job._id);
      }
    });
    await settle();
    expect(await rowOf(ID)).toBeDefined();
    pass(15 * MINUTE);
    await complete(t, { mode: "due" });
    expect(await rowOf(ID)).toBeUndefined();
    expect(erasedFrom).toEqual([_id, _id]);
  });

  test("may take the row along, and an app that no longer has the hook loses the row alone", async () => {
    const { t, clerk } = setting;
    deletes({
      erase: async ({ db }, { _id }) => {
        await db.delete("users", _id);
      },
    });
    await mirrored();
    await leave();
    await settle();
    expect(await rowOf(ID)).toBeUndefined();
    const [other = ""] = clerk.users.keys();
    deletes({ erase });
    await post(t, clerk.deleteUser(other, Date.now()));
    deletes({});
    await settle();
    expect(await rowOf(other)).toBeUndefined();
    expect(await status()).toMatchObject({ verdict: "healthy", erasing: 0 });
  });
});
