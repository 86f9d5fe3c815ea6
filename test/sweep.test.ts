import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  batchOf,
  comparePositions,
  positionOf,
  readPage,
  START,
  windowOf,
  type Window,
} from "../convex/clerk/sweep";
import type { Position, Reading } from "../convex/clerk/validators";

function user(clerkId: string, clerkCreatedAt: number, size = 0): Reading {
  return { kind: "unreadable", clerkId, clerkCreatedAt, reason: "x".repeat(size) };
}

const distinctTimes = fc
  .uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 40 })
  .map((times) => times.map((time) => user(`user_${time}`, time)));

describe("a walk over pages", () => {
  // Clerk's list as the walk asks for it, its filter inclusive or exclusive.
  const pageOf = (all: Reading[], settled: Position, limit: number, inclusive: boolean) =>
    all
      .filter((each) => {
        const time = positionOf(each).clerkCreatedAt;
        const from = settled.clerkCreatedAt - 1;
        return comparePositions(settled, START) === 0 || (inclusive ? time >= from : time > from);
      })
      .sort((a, b) => positionOf(a).clerkCreatedAt - positionOf(b).clerkCreatedAt)
      .slice(0, limit);

  test("settles every user exactly once, in consecutive windows", () => {
    fc.assert(
      fc.property(
        distinctTimes,
        fc.integer({ min: 3, max: 9 }),
        fc.boolean(),
        (all, limit, inclusive) => {
          const seen: string[] = [];
          let settled: Position | null = START;
          while (settled !== null) {
            const window: Window | null = windowOf(
              pageOf(all, settled, limit, inclusive),
              settled,
              limit,
            );
            if (window === null) throw new Error("no progress");
            seen.push(...window.users.map((each) => positionOf(each).clerkId));
            settled = window.until;
          }
          expect(seen.length).toBe(all.length);
          expect(new Set(seen).size).toBe(all.length);
        },
      ),
    );
  });

  test("says so when a page holds nothing but users of one settled time", () => {
    const page = [user("user_a", 5), user("user_b", 5)];
    expect(windowOf(page, { clerkCreatedAt: 5, clerkId: "" }, 2)).toBeNull();
    expect(windowOf(page, { clerkCreatedAt: 5, clerkId: "" }, 3)).toMatchObject({ until: null });
  });
});

describe("batches of a window", () => {
  test("hold each user once, each within the limit where one user alone is", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 3_000_000 }), { maxLength: 8 });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const window = { users: lengths.map((size, i) => user(`user_${i}`, i, size)), until: null };
        const batched: Reading[] = [];
        let settled: Position | null = START;
        while (settled !== null) {
          const batch = batchOf(window, settled);
          expect(batch.users.length > 0 || window.users.length === 0).toBe(true);
          expect(batch.users.length === 1 || JSON.stringify(batch.users).length < 4_300_000).toBe(
            true,
          );
          batched.push(...batch.users);
          settled = batch.until;
        }
        expect(batched).toEqual(window.users);
      }),
      { numRuns: 30 },
    );
  });
});

describe("a page", () => {
  const asked = { limit: 2, orderBy: "+created_at" as const };
  const json = (id: string, created_at: number) => ({ id, created_at, updated_at: created_at });

  test("in the order asked for is read, equal times included", () => {
    expect(readPage([json("user_b", 1), json("user_a", 1)], asked).length).toBe(2);
  });

  test.each<[string, unknown, string]>([
    ["out of order", [json("user_a", 2), json("user_b", 1)], "not in the order asked for"],
    ["too long", [json("user_a", 1), json("user_b", 2), json("user_c", 3)], "at most 2 were asked"],
    ["that is an object", { data: [] }, "not a list but an object"],
    ["with an entry that is no user", [null], "without a user id"],
  ])("%s is refused", (_, page, sentence) => {
    expect(() => readPage(page, asked)).toThrow(sentence);
  });
});
