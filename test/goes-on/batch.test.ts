import { describe, expect, test } from "vitest";
import { Batch } from "../../convex/clerk/run/call";
import type { Reading } from "../../convex/clerk/shared/user";

const REASON = "the hook threw";

function usersOf(count: number): Reading[] {
  return Array.from({ length: count }, (_, i) => ({
    kind: "profile",
    clerkId: `user_${i}`,
    clerkCreatedAt: i,
    version: i,
    columns: {},
    leftOut: [],
  }));
}

/** A transaction about these users throws. @returns the wait before the next, ms */
function fail(batch: Batch, users: Reading[]) {
  batch.clear();
  batch.takeUsers(users);
  return batch.shrink(REASON);
}

describe("a transaction that throws", () => {
  test("is tried once more at once, then halved again and again down to one user", () => {
    const batch = new Batch();
    const limits = Array.from({ length: 4 }, () => {
      expect(fail(batch, usersOf(Math.min(7, batch.limit)))).toBe(0);
      return batch.limit;
    });
    expect(limits).toEqual([Infinity, 3, 3, 1]);
  });

  test("is tried four times when it is about one user, each time after twice as long", () => {
    const batch = new Batch();
    const waits = Array.from({ length: 4 }, () => fail(batch, usersOf(1)));
    expect(waits).toEqual([1000, 2000, 4000, 0]);
  });

  test("gets its one user set aside with the reason, and no other", () => {
    const batch = new Batch();
    const [user, other] = usersOf(2);
    if (user === undefined || other === undefined) throw new Error("two users were made");
    for (let i = 0; i < 4; i += 1) fail(batch, [user]);
    expect(batch.takeUsers([other])).toEqual([other]);
    expect(batch.takeUsers([user, other])).toEqual([user, other]);
    expect(batch.takeUsers([user])).toEqual([
      { kind: "unreadable", clerkId: "user_0", clerkCreatedAt: 0, version: 0, reason: REASON },
    ]);
  });

  test("is beyond help where it throws without its one user, too", () => {
    const batch = new Batch();
    for (let i = 0; i < 4; i += 1) fail(batch, usersOf(1));
    expect(fail(batch, usersOf(1))).toBeNull();
  });

  test("is beyond help where it is about nobody, or Clerk was still being asked", () => {
    const batch = new Batch();
    expect(fail(batch, [])).toBeNull();
    batch.takeUsers(usersOf(3));
    batch.clear();
    expect(batch.shrink(REASON)).toBeNull();
  });
});

test("a transaction that is made forgets what threw, and lets the next one take twice as many", () => {
  const batch = new Batch();
  fail(batch, usersOf(8));
  fail(batch, usersOf(8));
  expect(batch.limit).toBe(4);
  batch.succeed();
  expect(batch.limit).toBe(8);
  for (let i = 0; i < 4; i += 1) fail(batch, usersOf(1));
  batch.succeed();
  expect(batch.takeUsers(usersOf(1))).toEqual(usersOf(1));
  expect(fail(batch, usersOf(1))).toBe(1000);
});

test("what a call has found out the next one knows, also where others have come beside the one at fault", () => {
  const before = new Batch();
  for (let i = 0; i < 3; i += 1) fail(before, usersOf(1));
  const after = new Batch(before.saved);
  expect(fail(after, usersOf(1))).toBe(0);
  const last = new Batch(after.saved);
  // They are not alone any more: they are halved, until one is.
  last.clear();
  last.takeUsers(usersOf(4));
  expect([last.shrink(REASON, true), last.limit]).toEqual([0, 2]);
  expect(last.takeUsers(usersOf(1))).toMatchObject([{ kind: "unreadable", reason: REASON }]);
});
