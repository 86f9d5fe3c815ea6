import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  partOf,
  comparePositions,
  CROWD,
  crowdOf,
  lookBackOf,
  pageStart,
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
          const batch = partOf(window, settled);
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

const at = (clerkCreatedAt: number, clerkId = "") => ({ clerkCreatedAt, clerkId });
const changed = (clerkId: string, version: number): Reading => ({
  kind: "profile",
  profile: { clerkId, clerkCreatedAt: 1 },
  version,
  leftOut: [],
});
const ids = (users: Reading[] | undefined) => users?.map((each) => positionOf(each).clerkId);

describe("a window", () => {
  const page = [user("user_b", 5), user("user_a", 5), user("user_c", 6), user("user_d", 7)];

  test("of a full page ends before its last creation time, in the order of positions", () => {
    const window = windowOf(page, at(5), 4);
    expect(ids(window?.users)).toEqual(["user_a", "user_b", "user_c"]);
    expect(window?.until).toEqual(at(7));
  });

  test("leaves out whom an earlier one settled, and ends with a short page", () => {
    const window = windowOf(page, at(5, "user_a"), 5);
    expect(ids(window?.users)).toEqual(["user_b", "user_c", "user_d"]);
    expect(window?.until).toBeNull();
    expect(ids(windowOf(page, at(7), 5)?.users)).toEqual(["user_d"]);
  });

  test("of no users at all ends the walk", () => {
    expect(windowOf([], START, 2)).toEqual({ users: [], until: null });
  });

  test("is sent in batches of so many users, which end where the next begins", () => {
    const window = { users: page.slice(1), until: at(9) };
    const first = partOf(window, START, 2);
    expect([ids(first.users), first.until]).toEqual([["user_a", "user_c"], at(6, "user_c")]);
    expect(partOf(window, at(6, "user_c"), 2)).toEqual({ users: page.slice(3), until: at(9) });
    expect(partOf(window, START, 3)).toEqual(window);
  });

  test("is sent in batches of a few megabytes", () => {
    const users = [1, 2, 3].map((time) => user(`user_${time}`, time, 2_000_000));
    expect(ids(partOf({ users, until: null }, START).users)).toEqual(["user_1", "user_2"]);
  });
});

test("a walk asks for its first page unfiltered, then from the creation time that it stands at", () => {
  expect(pageStart(START)).toBeNull();
  expect(pageStart({ clerkCreatedAt: 7, clerkId: "" })).toBe(7);
  expect(pageStart({ clerkCreatedAt: START.clerkCreatedAt, clerkId: "user_1" })).toBe(
    START.clerkCreatedAt,
  );
});

describe("a walk through a crowd", () => {
  const crowd = ["user_a", "user_b", "user_c"].map((id) => user(id, 5));
  const settled = at(5);

  test("goes on at the last user of a full page", () => {
    const step = crowdOf(crowd, settled, CROWD, 3, 10);
    expect(ids(step?.users)).toEqual(["user_a", "user_b", "user_c"]);
    expect(step?.crowd).toEqual({ ...CROWD, offset: 2, seam: "user_c" });
  });

  test("takes the seam once, and nobody of another time or settled before", () => {
    const listing = { ...CROWD, offset: 2, seam: "user_c" };
    const page = [user("user_c", 5), user("user_d", 5), user("user_0", 4), user("user_e", 5)];
    const step = crowdOf(page, settled, listing, 4, 10);
    expect(ids(step?.users)).toEqual(["user_d", "user_e"]);
    expect(step?.crowd).toEqual({ ...listing, offset: 5, seam: "user_e" });
    expect(ids(crowdOf(page, at(5, "user_d"), listing, 4, 10)?.users)).toEqual(["user_e"]);
  });

  test("takes so many of a page, and goes on at the last one taken", () => {
    const step = crowdOf(crowd, settled, { ...CROWD, offset: 7 }, 3, 2);
    expect(ids(step?.users)).toEqual(["user_a", "user_b"]);
    expect(step?.crowd).toEqual({ ...CROWD, offset: 8, seam: "user_b" });
    expect(crowdOf(crowd, settled, CROWD, 3, 3)?.crowd).toMatchObject({ seam: "user_c" });
  });

  test("ends with a short page, or where a later creation time begins", () => {
    expect(crowdOf(crowd, settled, CROWD, 4, 10)?.crowd).toEqual({ kind: "listed", until: null });
    const later = [...crowd, user("user_d", 8), user("user_e", 9)];
    const step = crowdOf(later, settled, CROWD, 5, 10);
    expect(ids(step?.users)).toEqual(["user_a", "user_b", "user_c"]);
    expect(step?.crowd).toEqual({ kind: "listed", until: at(8) });
  });

  test("begins again where the seam does not match, five times", () => {
    const listing = { ...CROWD, offset: 2, seam: "user_x" };
    expect(crowdOf(crowd, settled, listing, 3, 10)).toEqual({
      users: [],
      crowd: { ...CROWD, restarts: 1 },
    });
    expect(crowdOf(crowd, settled, { ...listing, restarts: 4 }, 3, 10)?.crowd).toMatchObject({
      restarts: 5,
    });
    expect(crowdOf(crowd, settled, { ...listing, restarts: 5 }, 3, 10)).toBeNull();
  });
});

describe("a look back", () => {
  const begun = { since: 10, offset: 0, seam: null, restarts: 0 };
  const page = [changed("user_c", 13), changed("user_b", 12), changed("user_a", 10)];

  test("goes on at the last user of a full page", () => {
    const step = lookBackOf(page, begun, 3);
    expect(ids(step?.users)).toEqual(["user_c", "user_b", "user_a"]);
    expect(step?.next).toEqual({ offset: 2, seam: "user_a", restarts: 0 });
  });

  test("goes on behind the seam, wherever newer changes have pushed it", () => {
    const step = lookBackOf(page, { ...begun, offset: 2, seam: "user_c", restarts: 3 }, 3);
    expect(ids(step?.users)).toEqual(["user_b", "user_a"]);
    expect(step?.next).toEqual({ offset: 4, seam: "user_a", restarts: 3 });
  });

  test("ends with a short page, or where older changes begin", () => {
    expect(lookBackOf(page, begun, 4)).toEqual({ users: page, next: null });
    const step = lookBackOf(page, { ...begun, since: 11 }, 3);
    expect(ids(step?.users)).toEqual(["user_c", "user_b"]);
    expect(step?.next).toBeNull();
  });

  test("takes who can't be read with every page", () => {
    const unread = [changed("user_c", 13), user("user_b", 1), changed("user_a", 10)];
    const step = lookBackOf(unread, begun, 3);
    expect(ids(step?.users)).toEqual(["user_c", "user_b", "user_a"]);
    expect(step?.next).not.toBeNull();
  });

  test("begins again where the seam is not among the page, five times", () => {
    const lost = { ...begun, offset: 2, seam: "user_x" };
    expect(lookBackOf(page, lost, 3)).toEqual({
      users: [],
      next: { offset: 0, seam: null, restarts: 1 },
    });
    expect(lookBackOf(page, { ...lost, restarts: 4 }, 3)?.next).toMatchObject({ restarts: 5 });
    expect(lookBackOf(page, { ...lost, restarts: 5 }, 3)).toBeNull();
  });
});

test("positions are ordered by creation time, then by id", () => {
  const ordered = [at(1, "user_b"), at(2, "user_a"), at(2, "user_b")];
  for (const [i, one] of ordered.entries()) {
    for (const [j, other] of ordered.entries()) {
      expect(Math.sign(comparePositions(one, other))).toBe(Math.sign(i - j));
    }
  }
  expect(START).toEqual(at(Number.MIN_SAFE_INTEGER));
});

describe("a page", () => {
  const asked = { limit: 2, orderBy: "+created_at" as const };
  const json = (id: string, created_at: number) => ({ id, created_at, updated_at: created_at });

  test("in the order asked for is read, equal times included", () => {
    expect(readPage([json("user_b", 1), json("user_a", 1)], asked).length).toBe(2);
  });

  test("by newest change is read in that order, whoever can't be read aside", () => {
    const by = { limit: 3, orderBy: "-updated_at" as const };
    const banned = { image_url: 5, email_addresses: [], phone_numbers: [] };
    const person = (id: string, updated_at: number, more: object = {}) => ({
      id,
      created_at: 1,
      updated_at,
      email_addresses: [],
      phone_numbers: [],
      ...more,
    });
    const listed = [person("user_a", 9), person("user_b", 1, banned), person("user_c", 8)];
    expect(readPage(listed, by).map(({ kind }) => kind)).toEqual([
      "profile",
      "unreadable",
      "profile",
    ]);
    expect(() => readPage([...listed].reverse(), by)).toThrow("not in the order asked for");
    expect(readPage([...listed].reverse(), { limit: 3, orderBy: null })).toHaveLength(3);
  });

  test.each<[string, unknown, string]>([
    ["out of order", [json("user_a", 2), json("user_b", 1)], "not in the order asked for"],
    ["too long", [json("user_a", 1), json("user_b", 2), json("user_c", 3)], "at most 2 were asked"],
    ["that is an object", { data: [] }, "not a list but an object"],
    ["that is null", null, "not a list but null"],
    ["that is text", "<html>", "not a list but a string"],
    ["with an entry that is no user", [null], "without a user id"],
  ])("%s is refused", (_, page, sentence) => {
    expect(() => readPage(page, asked)).toThrow(sentence);
  });
});
