/** The one way by which users are written, call by call. */
import { describe, expect, test, vi } from "vitest";
import { readListed } from "../../convex/clerk/mirror/rows";
import { applyEvidence, applyListed } from "../../convex/clerk/mirror/mirror";
import { DAY, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { readDeliveries } from "../../convex/clerk/memory/deliveries";
import { readSyncState, updateSyncState } from "../../convex/clerk/memory/state";
import type { Profile } from "../../convex/clerk/shared/user";
import { internal, LONG_AGO, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

const person = (clerkCreatedAt = LONG_AGO, name = "Ada"): Profile => ({
  clerkId: "user_ada",
  clerkCreatedAt,
  columns: { name },
});

const newFields = { columns: { color: "teal" } };

async function hear(profile: Profile, type: "user.created" | "user.updated" = "user.created") {
  const change = { kind: "user" as const, ...profile, newFields, version: Date.now() };
  return await setting.t.mutation(internal.clerk.webhook.event.apply, { type, change });
}

async function repairsWaiting(): Promise<string[]> {
  const waiting = await setting.t.run(async (ctx) => await ctx.db.query("clerkDoubts").take(10));
  return waiting.map(({ clerkId }) => clerkId);
}

describe("an event", () => {
  test("of another instance than the pinned one says which", async () => {
    await setting.t.run(async (ctx) => {
      await updateSyncState(ctx, { instanceId: "ins_mine" });
    });
    const change = { kind: "deleted" as const, clerkId: "user_ada" };
    const event = { type: "user.deleted" as const, instanceId: "ins_other", change };
    expect(await setting.t.mutation(internal.clerk.webhook.event.apply, event)).toEqual({
      outcome: "foreign",
      reason: "ins_other is not ins_mine",
    });
  });

  test("that can't be read has Clerk asked, and says why", async () => {
    const change = { kind: "unclear" as const, clerkId: "user_ada", reason: "no updated_at" };
    const event = { type: "user.updated" as const, change };
    expect(await setting.t.mutation(internal.clerk.webhook.event.apply, event)).toEqual({
      outcome: "unclear",
      reason: "no updated_at",
    });
    expect(await repairsWaiting()).toEqual(["user_ada"]);
  });

  test("that can't be judged has Clerk asked; one that can has not", async () => {
    await hear(person());
    expect(await repairsWaiting()).toEqual([]);
    expect(await hear(person(LONG_AGO, "Augusta"))).toEqual({
      outcome: "unclear",
      reason: "another look at the version that was applied",
    });
    expect(await repairsWaiting()).toEqual(["user_ada"]);
    expect(await rows(setting.t)).toMatchObject([{ name: "Ada" }]);
  });

  test("of a deletion says whether there was a row", async () => {
    await hear(person());
    const change = { kind: "deleted" as const, clerkId: "user_ada" };
    const event = { type: "user.deleted" as const, change };
    const apply = internal.clerk.webhook.event.apply;
    expect(await setting.t.mutation(apply, event)).toEqual({ outcome: "deleted" });
    expect(await setting.t.mutation(apply, event)).toEqual({ outcome: "absent" });
  });

  test("that the app refused is tried again five minutes later", async () => {
    const change = { kind: "refused" as const, clerkId: "user_ada", reason: "by a hook" };
    const refused = { type: "user.created" as const, change };
    await setting.t.mutation(internal.clerk.webhook.event.apply, refused);
    expect(await repairsWaiting()).toEqual(["user_ada"]);
  });
});

describe("a new user made known by", () => {
  const missed = async () => {
    vi.setSystemTime(Date.now() + 11 * MINUTE);
    return await setting.t.run(async (ctx) => {
      const deliveries = await readDeliveries(ctx, await readSyncState(ctx));
      return deliveries.flatMap(({ type, missedAt }) => (missedAt ? [type] : []));
    });
  };
  const since = () => Date.now() - 500;
  const beginFullRun = async () => {
    await setting.t.run(async (ctx) => {
      await updateSyncState(ctx, { lastFullRunStartedAt: Date.now() - 1000 });
    });
  };

  test("user.updated tells that user.created was missed", async () => {
    await beginFullRun();
    await hear(person(since()), "user.updated");
    expect(await missed()).toEqual(["user.created"]);
  });

  test("user.created tells of nothing missed", async () => {
    await beginFullRun();
    await hear(person(since()));
    expect(await missed()).toEqual([]);
  });

  test("user.updated tells of nothing missed where the user was known before", async () => {
    const profile = person(since());
    await hear(profile);
    await beginFullRun();
    vi.setSystemTime(Date.now() + 1);
    await hear({ ...profile, columns: { name: "Augusta" } }, "user.updated");
    // The app lost the row.
    await setting.t.run(async (ctx) => {
      for (const { _id } of await ctx.db.query("users").take(1)) await ctx.db.delete("users", _id);
    });
    vi.setSystemTime(Date.now() + 1);
    expect(await hear(profile, "user.updated")).toEqual({ outcome: "created" });
    expect(await missed()).toEqual([]);
  });
});

describe("what a run applies", () => {
  const how = (dryRun: boolean) => ({ askedAt: Date.now(), dryRun });
  const answer = (profile: Profile) => ({
    kind: "profile" as const,
    ...profile,
    newFields,
    version: LONG_AGO,
    leftOut: [],
  });
  const evidence = async (given: Profile | null, dryRun = false) =>
    await setting.t.run(async (ctx) => {
      const outcome = await applyEvidence(ctx, "user_ada", given && answer(given), how(dryRun));
      return [outcome.kind, ...outcome.fields.sort()];
    });

  test("is what Clerk said: created, unchanged, updated, orphaned, gone", async () => {
    const fields = ["clerkCreatedAt", "clerkId", "name"];
    expect(await evidence(null)).toEqual(["gone"]);
    expect(await evidence(person(), true)).toEqual(["created", ...fields]);
    expect(await rows(setting.t)).toEqual([]);
    expect(await evidence(person())).toEqual(["created", ...fields]);
    expect(await evidence(person())).toEqual(["unchanged"]);
    vi.setSystemTime(Date.now() + 1);
    expect(await evidence(person(LONG_AGO, "Augusta"), true)).toEqual(["updated", "name"]);
    expect(await rows(setting.t)).toMatchObject([{ name: "Ada" }]);
    expect(await evidence(person(LONG_AGO, "Augusta"))).toEqual(["updated", "name"]);
    vi.setSystemTime(Date.now() + 1);
    expect(await evidence(null)).toEqual(["orphaned"]);
    expect(await rows(setting.t)).toMatchObject([{ name: "Augusta" }]);
  });

  test("is no answer that is more than five minutes old: Clerk is asked again", async () => {
    const late = { askedAt: Date.now() - 6 * MINUTE, dryRun: false };
    const outcome = await setting.t.run(
      async (ctx) => await applyEvidence(ctx, "user_ada", answer(person()), late),
    );
    expect(outcome).toMatchObject({ kind: "unclear", reason: "Clerk's answer is minutes old" });
    expect(await rows(setting.t)).toEqual([]);
  });

  test("of an equal row, read already or not, reads no version", async () => {
    await hear(person());
    for (const isRead of [true, false]) {
      const [outcome, documents] = await setting.t.run(async (ctx) => {
        const row = isRead ? await ctx.db.query("users").first() : null;
        const user = answer(person());
        const rowsOf = new Map(row ? [["user_ada", [row]]] : []);
        const known = (await readListed(ctx, [user], rowsOf, Infinity)).get("user_ada");
        if (known === undefined) throw new Error("nothing was read");
        const { kind } = await applyListed(ctx, user, known, { seenAt: Date.now(), dryRun: false });
        return [kind, (await ctx.meta.getTransactionMetrics()).documentsRead.used] as const;
      });
      expect([outcome, documents]).toEqual(["unchanged", 1]);
    }
  });
});

describe("tombstones", () => {
  const bury = async (clerkId: string, appliedAt: number) => {
    await setting.t.run(async (ctx) => {
      const tombstone = {
        kind: "tombstone" as const,
        clerkId,
        appliedAt,
        appliedBy: "run" as const,
      };
      await ctx.db.insert("clerkVersions", tombstone);
    });
  };
  const prune = async () => {
    await setting.t.mutation(internal.clerk.memory.retention.pruneTombstones, {});
    await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer());
    const left = await setting.t.run(async (ctx) => await ctx.db.query("clerkVersions").take(2000));
    return left.map(({ clerkId }) => clerkId);
  };

  test("go after 30 days, and once a full run has begun since; live versions stay", async () => {
    const now = Date.now();
    await hear(person());
    await bury("user_old", now - 30 * DAY - SECOND);
    await bury("user_young", now - 30 * DAY + SECOND);
    expect(await prune()).toEqual(["user_ada", "user_old", "user_young"]);
    await setting.t.run(async (ctx) => {
      await updateSyncState(ctx, { lastFullRunStartedAt: now - 40 * DAY });
    });
    expect(await prune()).toEqual(["user_ada", "user_old", "user_young"]);
    await setting.t.run(async (ctx) => {
      await updateSyncState(ctx, { lastFullRunStartedAt: now });
    });
    expect(await prune()).toEqual(["user_ada", "user_young"]);
  });

  test("go however many they are", async () => {
    await setting.t.run(async (ctx) => {
      await updateSyncState(ctx, { lastFullRunStartedAt: Date.now() });
      for (let i = 0; i < 1001; i++) {
        const buried = { clerkId: `user_${i}`, appliedAt: LONG_AGO, appliedBy: "run" as const };
        await ctx.db.insert("clerkVersions", { kind: "tombstone", ...buried });
      }
    });
    expect(await prune()).toEqual([]);
  });
});
