import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  before,
  comparePositions,
  crowdAfter,
  crowdIn,
  crowdOf,
  START,
} from "../../convex/clerk/run/places";
import { readPage } from "../../convex/clerk/api/pages";
import { keyOf, type Reading } from "../../convex/clerk/shared/user";
import {
  lookBackOf,
  lookBackTo,
  pageStart,
  partOf,
  usersBetween,
  windowOf,
  youngIn,
  type Looked,
} from "../../convex/clerk/run/sweep";
import type { Crowd, Position } from "../../convex/clerk/memory/model";

const CREATED = "+created_at";
const CHANGED = "-updated_at";

function user(clerkId: string, clerkCreatedAt: number, size = 0): Reading {
  const columns = { text: "x".repeat(size) };
  return { kind: "profile", clerkId, clerkCreatedAt, version: 0, columns, leftOut: [] };
}
const changed = (clerkId: string, version: number): Reading => ({
  kind: "profile",
  clerkId,
  clerkCreatedAt: 1,
  version,
  columns: {},
  leftOut: [],
});
const at = (key: number, clerkId = ""): Position => ({ key, clerkId });
const ids = (users: Reading[] | undefined) => users?.map(({ clerkId }) => clerkId);

describe("a window", () => {
  const page = [user("user_b", 5), user("user_a", 5), user("user_c", 6), user("user_d", 7)];

  test("ends before the last creation time of its page, however short that is, in order", () => {
    const window = windowOf(page, before(5), CREATED);
    expect(ids(window?.users)).toEqual(["user_a", "user_b", "user_c"]);
    expect(window?.until).toEqual(at(7));
  });

  test("leaves out whom an earlier one settled", () => {
    expect(ids(windowOf(page, at(5, "user_a"), CREATED)?.users)).toEqual(["user_b", "user_c"]);
  });

  test("is none where nobody is beyond what is settled", () => {
    expect(windowOf(page, before(7), CREATED)).toBeNull();
    expect(windowOf([], START, CREATED)).toBeNull();
    expect(ids(usersBetween(page, before(7), null, CREATED))).toEqual(["user_d"]);
  });

  test("is sent in batches of so many users, which end where the next begins", () => {
    const window = { users: page.slice(1), until: at(9) };
    const first = partOf(window, START, 2, CREATED);
    expect([ids(first.users), first.until]).toEqual([["user_a", "user_c"], at(6, "user_c")]);
    expect(partOf(window, at(6, "user_c"), 2, CREATED)).toEqual({
      users: page.slice(3),
      until: at(9),
    });
    expect(partOf(window, START, 3, CREATED)).toEqual(window);
  });

  test("is sent in batches of a few megabytes, each user once", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 3_000_000 }), { maxLength: 8 });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const window = { users: lengths.map((size, i) => user(`user_${i}`, i, size)), until: null };
        const batched: Reading[] = [];
        let settled: Position | null = START;
        while (settled !== null) {
          const { users, until } = partOf(window, settled, Infinity, CREATED);
          expect(users.length > 0 || window.users.length === 0).toBe(true);
          expect(users.length === 1 || JSON.stringify(users).length < 4_300_000).toBe(true);
          batched.push(...users);
          settled = until;
        }
        expect(batched).toEqual(window.users);
      }),
      { numRuns: 30 },
    );
  });
});

describe("a walk asks for", () => {
  const young = youngIn(100, 200);

  test("its first page unfiltered, then from the creation time that it stands at", () => {
    expect(pageStart(START, young)).toBeNull();
    expect(pageStart(before(7), young)).toBe(7);
    expect(pageStart(before(100), young)).toBe(100);
  });

  test("nobody who came since the run began, but for whom the future has", () => {
    expect(pageStart(before(101), young)).toBe(young.until + 1);
    expect(pageStart(before(young.until + 1), young)).toBe(young.until + 1);
  });

  test("on, where a page was full of creation times that lay ahead when they were chosen", () => {
    expect(pageStart(before(110), young)).toBe(110);
  });
});

describe("a crowd", () => {
  /** Lists a crowd to its end. @returns how many were met, and in how many pages */
  function list(
    page: (offset: number) => Reading[],
    crowd: Crowd,
    most = Infinity,
  ): { met: Set<string>; pages: number; end: number | null } {
    const met = new Set<string>();
    let at = crowd;
    for (let pages = 1; pages < 10_000; pages += 1) {
      const { users, page: shown } = crowdIn(page(at.offset), at, most, CREATED);
      const known = met.size;
      for (const each of users) met.add(each.clerkId);
      const after = crowdAfter(at, shown, met.size - known);
      if (after.isListed) return { met, pages, end: after.end };
      at = after.crowd;
    }
    throw new Error("it does not end");
  }
  const members = Array.from({ length: 36 }, (_, i) => user(`user_${i}`, 5));
  const others = [user("user_x", 4), ...members, user("user_y", 6), user("user_z", 7)];

  test("in one order takes each page once, and says where the others begin", () => {
    const page = (offset: number) => others.slice(offset, offset + 10);
    expect(list(page, crowdOf(5))).toMatchObject({ pages: 5, end: 37 });
    expect(list(page, crowdOf(5)).met.size).toBe(36);
    expect(list(page, crowdOf(5), 3).met.size).toBe(36);
  });

  test("that ends the list is listed with a page that brings nobody new", () => {
    const page = (offset: number) => others.slice(0, -2).slice(offset, offset + 10);
    expect(list(page, crowdOf(5))).toMatchObject({ pages: 5, end: null });
  });

  test("whose order is another one with each page is met whole", () => {
    const seeds = fc.integer();
    fc.assert(
      fc.property(seeds, fc.integer({ min: 3, max: 12 }), (seed, size) => {
        let state = seed;
        const random = () => (state = (state * 1_103_515_245 + 12_345) & 0x7fffffff) / 0x7fffffff;
        const page = (offset: number) => {
          const shuffled = members.map((each) => [random(), each] as const);
          shuffled.sort(([a], [b]) => a - b);
          const all = [others[0] ?? user("", 0), ...shuffled.map(([, each]) => each)];
          return [...all, ...others.slice(-2)].slice(offset, offset + size);
        };
        expect(list(page, crowdOf(5)).met.size).toBe(36);
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    ["before it", "user_x", 35],
    ["of it", "user_2", 35],
  ])("loses nobody where somebody %s is deleted between two pages", (_where, id, least) => {
    let asked = 0;
    const page = (offset: number) => {
      asked += 1;
      const listed = asked < 2 ? others : others.filter((each) => each.clerkId !== id);
      return listed.slice(offset, offset + 10);
    };
    const { met } = list(page, crowdOf(5));
    expect(met.has("user_9")).toBe(true);
    expect(met.size).toBeGreaterThanOrEqual(least);
  });

  test.each([1, 2, 3])(
    "by pages of one loses nobody where the one before it is deleted before page %i",
    (before) => {
      let asked = 0;
      const few = [user("user_x", 4), ...members.slice(0, 3), user("user_y", 6)];
      const page = (offset: number) => {
        asked += 1;
        return (asked < before + 1 ? few : few.slice(1)).slice(offset, offset + 1);
      };
      expect([...list(page, crowdOf(5)).met].sort()).toEqual(["user_0", "user_1", "user_2"]);
    },
  );

  test("of which a page always lacks one ends all the same", () => {
    const page = (offset: number) =>
      others.slice(offset, offset + 10).filter((each) => each.clerkId !== "user_7");
    expect(list(page, crowdOf(5)).met.size).toBe(35);
  });

  test("takes in those behind it who can't be read, up to the next one who can", () => {
    const odd = ["user_p", "user_q"].map((clerkId): Reading => {
      return { kind: "unreadable", clerkId, clerkCreatedAt: 9, version: 0, reason: "no time" };
    });
    const all = [...members.slice(0, 3), ...odd, user("user_z", 9)];
    const { met, end } = list((offset) => all.slice(offset, offset + 4), crowdOf(5));
    expect([...met]).toEqual(ids(all.slice(0, 5)));
    expect(end).toBe(5);
  });

  test("whose page is the same wherever it is asked for ends all the same", () => {
    expect(list(() => members.slice(0, 4), crowdOf(5)).met.size).toBe(4);
  });

  test("that begins further in front than it seemed is begun anew from there", () => {
    const page = (offset: number) => others.slice(offset, offset + 10);
    expect(list(page, crowdOf(5, 20)).met.size).toBe(36);
  });
});

describe("a look back", () => {
  /** Looks back to the end over a list that may change before each page. */
  function look(pages: (offset: number) => Reading[], since: number) {
    let at = lookBackTo(since, 0);
    const met: string[] = [];
    for (let count = 1; count < 1000; count += 1) {
      const looked: Looked = lookBackOf(pages(at.offset), at, { pageSize: 7, most: 1000 });
      met.push(...looked.users.map(({ clerkId }) => clerkId));
      if (looked.next === null || looked.next.crowd) return { met, looked, count };
      at = { ...at, settled: looked.until, ...looked.next };
    }
    throw new Error("it does not end");
  }
  const listed = Array.from({ length: 30 }, (_, i) => changed(`user_${i}`, 100 - i));

  test("meets each user changed since once, and nobody else", () => {
    const page = (offset: number) => listed.slice(offset, offset + 7);
    expect(look(page, 81).met).toEqual(ids(listed.slice(0, 20)));
  });

  test("of everyone ends with a page that brings nobody new, not with a short one", () => {
    const page = (offset: number) => listed.slice(offset, offset + (offset === 5 ? 3 : 7));
    expect(look(page, 0).met).toEqual(ids(listed));
  });

  test("leaves nobody out where others in front of them are deleted", () => {
    let left = listed;
    let asked = 0;
    const page = (offset: number) => {
      asked += 1;
      if (asked === 3) left = left.filter((_, i) => i < 2 || i > 5);
      return left.slice(offset, offset + 7);
    };
    const { met } = look(page, 81);
    expect(new Set(met)).toEqual(new Set(ids(listed.slice(0, 20))));
    expect(met.length).toBe(20);
  });

  test("goes past those who change meanwhile", () => {
    let all = listed;
    let asked = 0;
    const page = (offset: number) => {
      asked += 1;
      const more = [1, 2, 3, 4].map((i) => changed(`user_new${asked}_${i}`, 1000 * asked + i));
      if (asked % 3 === 0) all = [...more.reverse(), ...all];
      return all.slice(offset, offset + 7);
    };
    expect(look(page, 81).met).toEqual(ids(listed.slice(0, 20)));
  });

  test("takes those who share a time of change, and are more than a page, for a crowd", () => {
    const ties = [changed("user_a", 9), ...[1, 2, 3, 4].map((i) => changed(`user_t${i}`, 8))];
    const { met, looked } = look((offset) => ties.slice(offset, offset + 3), 0);
    expect(met).toEqual(["user_a"]);
    expect(looked.next).toMatchObject({ crowd: { key: -8, start: 0, offset: 0 } });
  });
});

test("positions are ordered by key, then by id", () => {
  const ordered = [at(1, "user_b"), at(2, "user_a"), at(2, "user_b")];
  for (const [i, one] of ordered.entries()) {
    for (const [j, other] of ordered.entries()) {
      expect(Math.sign(comparePositions(one, other))).toBe(Math.sign(i - j));
    }
  }
  expect(START).toEqual(at(Number.MIN_SAFE_INTEGER));
});

describe("a page", () => {
  const asked = { limit: 3, order: CREATED } as const;
  const json = (id: unknown, created_at: unknown, updated_at: unknown = 1) => ({
    id,
    created_at,
    updated_at,
    email_addresses: [],
    phone_numbers: [],
  });

  test("in the order asked for is read, equal times included", () => {
    expect(readPage([json("user_b", 1), json("user_a", 1)], asked).length).toBe(2);
  });

  test("by newest change is read in that order, whoever can't be read aside", () => {
    const by = { limit: 3, order: CHANGED } as const;
    const odd = json("user_b", null, 1);
    const listed = [json("user_a", 1, 9), odd, json("user_c", 1, 8)];
    expect(readPage(listed, by).map((each) => [each.kind, keyOf(each, CHANGED)])).toEqual([
      ["profile", -9],
      ["unreadable", -9],
      ["profile", -8],
    ]);
    expect(() => readPage(listed.toReversed(), by)).toThrow("not in the order asked for");
    expect(readPage(listed.toReversed(), { limit: 3, order: null })).toHaveLength(3);
  });

  const NAME = /^entry [0-9a-f]{8}( \+1)?$/;
  test.each<[string, unknown[], [string | null, number][]]>([
    [
      "without a time",
      [json("user_a", 5), json("user_b", null), json("user_c", 7)],
      [["user_b", 5]],
    ],
    [
      "with a text for it",
      [json("user_a", 5), json("user_b", "6"), json("user_c", 7)],
      [["user_b", 5]],
    ],
    [
      "with a fraction",
      [json("user_a", 5), json("user_b", 6.5), json("user_c", 7)],
      [["user_b", 5]],
    ],
    ["first of all", [json("user_b", null), json("user_c", 7)], [["user_b", 7]]],
    ["with another id", [json("user_a", 5), json("user_import-7", 6)], [[null, 6]]],
    [
      "that is none",
      [json("user_a", 5), null, 7],
      [
        [null, 5],
        [null, 5],
      ],
    ],
  ])("with an entry %s has the entry by its place", (_, listed, places) => {
    const odd = readPage(listed, asked).filter(({ kind }) => kind === "unreadable");
    expect(odd.map((each) => keyOf(each, CREATED))).toEqual(places.map(([, key]) => key));
    places.forEach(([id], index) => {
      const name = odd.map(({ clerkId }) => clerkId)[index];
      if (id === null) expect(name).toMatch(NAME);
      else expect(name).toBe(id);
    });
  });

  test("has a first entry without a time where it was asked for, if it begins the list", () => {
    const page = [json("user_a", null), json("user_b", 7)];
    const keys = (how: object) =>
      readPage(page, { ...asked, from: 5, ...how }).map((each) => keyOf(each, CREATED));
    expect(keys({ isBegin: true })).toEqual([5, 7]);
    expect(keys({ isBegin: false })).toEqual([7, 7]);
  });

  test("names an entry without a usable id alike on each page, and by the one before it", () => {
    const odd = json("user_import-7", 6);
    const [one, other] = [json("user_a", 5), json("user_b", 5)].map((before) => {
      return readPage([before, odd], asked)[1];
    });
    expect(one && one.clerkId).toBe(other && other.clerkId);
    expect(one?.kind === "unreadable" && one.reason).toMatch("the entry after user_a");
    expect(JSON.stringify(one)).not.toMatch("import-7");
    const twins = readPage([null, null], asked).map(({ clerkId }) => clerkId);
    expect(new Set(twins).size).toBe(2);
  });

  test.each<[string, unknown, string]>([
    ["out of order", [json("user_a", 2), json("user_b", 1)], "not in the order asked for"],
    ["too long", [1, 2, 3, 4].map((i) => json(`user_${i}`, i)), "at most 3 were asked"],
    ["that is an object", { data: [] }, "not a list but an object"],
    ["that is null", null, "not a list but null"],
    ["that is text", "<html>", "not a list but a string"],
  ])("%s is refused", (_, page, sentence) => {
    expect(() => readPage(page, asked)).toThrow(sentence);
  });

  test("from before the time asked for is refused, as an answer to another question", () => {
    const page = [json("user_a", 4), json("user_b", 9)];
    expect(readPage(page, { ...asked, from: 5 }).length).toBe(2);
    expect(() => readPage(page, { ...asked, from: 6 })).toThrow("before the time asked for");
  });
});
