/** Users of the stand-in, and what the table should show of them. */
import { expect, vi } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import { columnsOf } from "../../convex/clerk/mirror/plan";
import { readUser } from "../../convex/clerk/profile/profile";
import { complete, LONG_AGO, rows, type Setting } from "./setting";

/** Users sign up a second apart, long ago. @returns their ids */
export function signUp({ clerk }: Setting, count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, i) => {
    const created_at = LONG_AGO + (from + i) * 1000;
    return clerk.createUser({ created_at, first_name: `N${from + i}` }).user.id;
  });
}

/** So many users sign up, and a run mirrors them. @returns their ids */
export async function backfill(setting: Setting, count: number): Promise<string[]> {
  const ids = signUp(setting, count);
  expect((await complete(setting.t, { pageSize: 50 })).status).toBe("completed");
  return ids;
}

/** Types a Report's `next` as a person would. @returns the Report of that run */
export async function typeNext({ t }: Setting, next: string | null) {
  if (next === null) throw new Error("nothing to type");
  const [, args] = /^npx convex run clerk\/reconcile:run(?: '(.*)')?$/.exec(next) ?? [];
  return await complete(t, JSON.parse(args ?? "{}") as { maxDeletions?: number });
}

type Shown = { id: string; first_name: string | null; created_at: number };

/** The table shows exactly the users of Clerk: by the tests' own reading of its JSON. */
export async function expectMirror({ t, clerk }: Setting): Promise<void> {
  const byId = (a: Shown, b: Shown) => (a.id < b.id ? -1 : 1);
  const people = [...clerk.users.values()].map(({ id, first_name, created_at }) => ({
    id,
    first_name,
    created_at,
  }));
  const mirrored = (await rows(t)).map(({ clerkId = "", firstName, clerkCreatedAt = 0 }) => ({
    id: clerkId,
    first_name: firstName ?? null,
    created_at: clerkCreatedAt,
  }));
  expect(mirrored.sort(byId)).toEqual(people.sort(byId));
}

/** Rows as an earlier run would have left them. */
export async function seed({ t, clerk }: Setting, ids: string[]): Promise<void> {
  const instanceId = clerk.instanceId;
  await t.run(async (ctx) => await ctx.db.insert("clerkSyncState", { instanceId }));
  for (let from = 0; from < ids.length; from += 2000) {
    await t.run(async (ctx) => {
      for (const id of ids.slice(from, from + 2000)) {
        const user = clerk.users.get(id);
        if (user === undefined) continue;
        const reading = readUser(user);
        if (reading.kind !== "profile") throw new Error(`${id} can't be read`);
        const { version } = reading;
        const columns = Object.entries(columnsOf(reading));
        const row = Object.fromEntries(columns.filter(([, each]) => each !== null));
        await ctx.db.insert("users", { ...row, color: "own" });
        const applied = { clerkId: id, appliedAt: LONG_AGO, appliedBy: "run" as const };
        await ctx.db.insert("clerkVersions", { kind: "live", version, ...applied });
      }
    });
  }
}

/** Deletes rows of the mirror behind the sync's back. */
export async function loseRows({ t }: Setting, ids: string[]): Promise<void> {
  await t.run(async (ctx) => {
    for (const id of ids) {
      const row = await ctx.db
        .query("users")
        .withIndex("by_clerkId", (q) => q.eq("clerkId", id))
        .unique();
      if (row) await ctx.db.delete("users", row._id);
    }
  });
}

/** Drift of all three kinds: 2 users deleted, 2 renamed, 2 missing. */
export async function drift(setting: Setting, ids: string[]) {
  const { clerk } = setting;
  for (const id of ids.slice(0, 2)) clerk.deleteUser(id, LONG_AGO + DAY);
  for (const id of ids.slice(2, 4)) clerk.updateUser(id, { first_name: "New" }, LONG_AGO + DAY);
  await loseRows(setting, ids.slice(4, 6));
  return { missing: 2, stale: 2, orphaned: 2 };
}

/** Does something once, as a run's look-back begins. */
export function atLookBack({ clerk }: Setting, act: () => void): void {
  let isDone = false;
  clerk.onRequest = ({ query }) => {
    if (query.get("order_by") !== "-updated_at" || isDone) return;
    isDone = true;
    act();
  };
}

/** Does something once, before the `nth` request whose address fits is sent. */
export function beforeRequest(address: RegExp, act: () => Promise<unknown>, nth = 1): void {
  const send = globalThis.fetch;
  let count = 0;
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    if (address.test(new Request(...args).url) && ++count === nth) await act();
    return await send(...args);
  });
}
