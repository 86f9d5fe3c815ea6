/** What `mirror/plan.ts` and the rule of a hold decide, a case each; that it is obeyed: `mirror`. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  columnsOf,
  heardVersionOf,
  insertOrPatch,
  planEvent,
  planEvidence,
  planListed,
  LAG_MS,
  type Known,
} from "../../convex/clerk/mirror/plan";
import { whyHold } from "../../convex/clerk/mirror/gate";
import type { Version } from "../../convex/clerk/memory/model";
import type { Profile } from "../../convex/clerk/shared/user";

const NOW = 1_800_000_000_000;
const profile = (name: string): Profile => ({
  clerkId: "user_1",
  clerkCreatedAt: 1,
  columns: { name },
});
const live = (
  version: number,
  appliedAt = 0,
  appliedBy: Version["appliedBy"] = "run",
): Version => ({
  kind: "live",
  clerkId: "user_1",
  version,
  appliedAt,
  appliedBy,
});
const tombstone = (appliedAt: number, appliedBy: Version["appliedBy"] = "event"): Version => ({
  kind: "tombstone",
  clerkId: "user_1",
  appliedAt,
  appliedBy,
});
const known = (row: string | null, version: Version | null): Known => ({
  row: row === null ? null : columnsOf(profile(row)),
  version,
});
const incoming = (name: string, version: number) => ({ ...profile(name), version });
const patch = { write: "patch", fields: ["name"] };
const nothing = (because: string, reason?: string) => ({
  write: "nothing",
  because,
  ...(reason === undefined ? {} : { reason }),
});

describe("an event", () => {
  const at = { now: NOW, runStartedAt: NOW - 1000 };
  const fresh = NOW - 10;

  test.each([
    ["inserts a user nobody knows", known(null, null), incoming("A", fresh), { write: "insert" }],
    ["patches what differs", known("A", live(fresh - 1)), incoming("B", fresh), patch],
    ["patches a row from before the sync", known("A", null), incoming("B", fresh), patch],
    [
      "raises the version of an equal row",
      known("A", live(5)),
      incoming("A", 6),
      { write: "version" },
    ],
    ["confirms an equal row", known("A", null), incoming("A", 6), { write: "version" }],
    ["that is known does nothing", known("A", live(6)), incoming("A", 6), nothing("equal")],
    [
      "older than what is known is late",
      known("A", live(6)),
      incoming("B", 5),
      nothing("late", "older than what was applied"),
    ],
    [
      "at the known version is unclear",
      known("A", live(fresh)),
      incoming("B", fresh),
      nothing("unclear", "another look at the version that was applied"),
    ],
    [
      "older than the newest run is unclear",
      known("A", null),
      incoming("B", NOW - 1001),
      nothing("unclear", "older than the newest run"),
    ],
    [
      "from the future is unclear",
      known("A", null),
      incoming("B", NOW + LAG_MS + 1),
      nothing("unclear", "from the future"),
    ],
    ["of the next five minutes holds", known("A", null), incoming("B", NOW + LAG_MS), patch],
    [
      "from the future leaves the version of an equal row",
      known("A", live(5)),
      incoming("A", NOW + LAG_MS + 1),
      nothing("equal"),
    ],
    [
      "of the next five minutes raises the version of an equal row",
      known("A", live(5)),
      incoming("A", NOW + LAG_MS),
      { write: "version" },
    ],
    [
      "after its deletion is late",
      known(null, tombstone(fresh)),
      incoming("A", fresh),
      nothing("late", "this id was deleted"),
    ],
    [
      "newer than a tombstone is unclear",
      known(null, tombstone(fresh)),
      incoming("A", fresh + 1),
      nothing("unclear", "this id was deleted"),
    ],
    [
      "restores a row that was lost",
      known(null, live(fresh - 1)),
      incoming("A", fresh),
      { write: "insert" },
    ],
  ])("%s", (_, before, event, plan) => {
    expect(planEvent(before, event, at)).toEqual(plan);
  });
});

describe("a listed user", () => {
  const seenAt = NOW;
  test.each([
    ["is inserted", known(null, null), incoming("A", 5), { write: "insert" }],
    ["is patched at an equal version", known("A", live(5, NOW - 1)), incoming("B", 5), patch],
    [
      "that is equal costs nothing",
      known("A", live(9, NOW + 1)),
      incoming("A", 5),
      nothing("equal"),
    ],
    [
      "older than what is known is late",
      known("A", live(6)),
      incoming("B", 5),
      nothing("late", "changed since"),
    ],
    [
      "written since is late",
      known("A", live(5, NOW + 1)),
      incoming("B", 6),
      nothing("late", "changed since"),
    ],
    ["written just then is patched", known("A", live(5, NOW)), incoming("B", 6), patch],
    [
      "under a tombstone is late",
      known(null, tombstone(0)),
      incoming("A", 5),
      nothing("late", "listed although deleted"),
    ],
  ])("%s", (_, before, user, plan) => {
    expect(planListed(before, user, seenAt)).toEqual(plan);
  });
});

describe("evidence", () => {
  const askedAt = NOW;
  const recent = NOW - LAG_MS + 1;
  test.each([
    ["removes who is gone", known("A", live(5)), null, { write: "remove" }],
    ["of nobody about nobody is gone", known(null, tombstone(0)), null, nothing("gone")],
    ["is right against a newer version", known("A", live(9)), incoming("B", 5), patch],
    ["revives who was deleted", known(null, tombstone(0)), incoming("A", 5), { write: "insert" }],
    [
      "lifts a tombstone off an equal row",
      known("A", tombstone(0)),
      incoming("A", 5),
      { write: "version" },
    ],
    ["that is equal costs nothing", known("A", live(5)), incoming("A", 5), nothing("equal")],
    [
      "overtaken by a change is put off",
      known("A", live(5, NOW + 1)),
      null,
      nothing("unclear", "changed while Clerk was asked"),
    ],
    ["of a user nobody knows inserts", known(null, null), incoming("A", 5), { write: "insert" }],
    [
      "waits for a recent event to settle",
      known("A", live(5, recent, "event")),
      null,
      nothing("unclear", "a change of the last five minutes"),
    ],
    [
      "need not wait for an event of five minutes ago",
      known("A", live(5, recent - 1, "event")),
      null,
      { write: "remove" },
    ],
    [
      "as new as a recent event is right",
      known("A", live(6, recent, "event")),
      incoming("B", 6),
      patch,
    ],
    ["need not wait for a run", known("A", live(5, recent, "run")), null, { write: "remove" }],
    [
      "waits for a recent deletion to settle",
      known(null, tombstone(recent)),
      incoming("A", 5),
      nothing("unclear", "a change of the last five minutes"),
    ],
    [
      "of somebody who changed in Clerk just now waits, whoever wrote it",
      known("A", live(recent, recent, "run")),
      null,
      nothing("unclear", "a change of the last five minutes"),
    ],
    [
      "waits for a deletion by a run to settle",
      known(null, { ...tombstone(recent), appliedBy: "run" as const }),
      incoming("A", 5),
      nothing("unclear", "a change of the last five minutes"),
    ],
    [
      "older than what a recent event said waits",
      known("A", { ...live(3), eventAt: recent, heardVersion: 6 }),
      incoming("B", 5),
      nothing("unclear", "a change of the last five minutes"),
    ],
    [
      "older than that waits, also where it finds nothing to change",
      known("A", { ...live(3), eventAt: recent, heardVersion: 6 }),
      incoming("A", 5),
      nothing("unclear", "a change of the last five minutes"),
    ],
    [
      "older than what an event said before that is right",
      known("A", { ...live(3), eventAt: NOW - LAG_MS, heardVersion: 6 }),
      incoming("B", 5),
      patch,
    ],
    [
      "as new as a recent event is right",
      known("A", { ...live(3), eventAt: recent, heardVersion: 6 }),
      incoming("B", 6),
      patch,
    ],
    [
      "of an equal row raises its version",
      known("A", live(5)),
      incoming("A", 6),
      { write: "version" },
    ],
  ])("%s", (_, before, answer, verdict) => {
    expect(planEvidence(before, answer, askedAt)).toEqual(verdict);
  });
});

test("of the versions that events told of within five minutes the newest counts, but none from the future", () => {
  const heard = (eventAt: number) =>
    known("A", { ...live(3), eventAt: NOW - eventAt, heardVersion: NOW - 10 });
  expect(heardVersionOf(heard(1), NOW - 20, NOW)).toBe(NOW - 10);
  expect(heardVersionOf(heard(1), NOW, NOW)).toBe(NOW);
  expect(heardVersionOf(heard(LAG_MS), NOW - 20, NOW)).toBe(NOW - 20);
  expect(heardVersionOf(heard(1), NOW + LAG_MS + 1, NOW)).toBe(NOW - 10);
  expect(heardVersionOf(known(null, null), 5, NOW)).toBe(5);
});

describe("the difference of metadata", () => {
  type Metadata = Record<string, unknown> | undefined;
  const withMetadata = (publicMetadata: Metadata) => ({
    ...profile("A"),
    columns: { publicMetadata },
  });
  /** Columns in which a row with one differs from a profile with the other. */
  const differing = (one: Metadata, other: Metadata) => {
    const plan = insertOrPatch({ row: columnsOf(withMetadata(one)) }, withMetadata(other));
    return plan?.write === "patch" ? plan.fields : [];
  };

  test("is none between a value and its copy, whatever the order of keys", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (metadata) => {
        const copy = JSON.parse(JSON.stringify(metadata)) as Record<string, unknown>;
        const reversed = Object.fromEntries(Object.entries(copy).reverse());
        expect(differing(metadata, reversed)).toEqual([]);
      }),
    );
  });

  test("is found wherever two values differ in JSON", () => {
    const sorted = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(sorted)
        : typeof value === "object" && value !== null
          ? Object.entries(value)
              .map(([key, of]) => [key, sorted(of)])
              .sort()
          : value;
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 2 }), fc.jsonValue({ maxDepth: 2 }), (a, b) => {
        const isSame =
          JSON.stringify([sorted(a), typeof a, Array.isArray(a)]) ===
          JSON.stringify([sorted(b), typeof b, Array.isArray(b)]);
        const fields = differing({ a }, { a: b });
        expect(fields).toEqual(isSame ? [] : ["publicMetadata"]);
      }),
    );
  });

  test("tells a key that is inherited from one that is there", () => {
    const a = JSON.parse('{"toString": 1}') as unknown;
    expect(differing({ a }, { a: { valueOf: 1 } })).toEqual(["publicMetadata"]);
    expect(differing(undefined, { a: 1 })).toEqual(["publicMetadata"]);
  });
});

describe("deletions are held", () => {
  const orphans = (orphaned: number, mirrored: number) => ({
    orphaned,
    mirrored,
    confirmed: mirrored - orphaned,
    isMoved: false,
    metNobody: false,
  });

  test.each([
    [10, 20, false],
    [11, 20, true],
    [50, 1000, false],
    [51, 1000, true],
    [500, 100_000, false],
    [501, 100_000, true],
    [1, 1, true],
  ])("%i of %i: %s", (orphaned, mirrored, isHeld) => {
    expect(whyHold(orphans(orphaned, mirrored)) !== null).toBe(isHeld);
  });

  test("where none is confirmed, unless the last completed full run met nobody either", () => {
    expect(whyHold(orphans(1, 1))).toMatch("not one of the 1");
    expect(whyHold({ ...orphans(1, 1), metNobody: true })).toBeNull();
  });

  test("for none of whom events have told; nor do these make room for others", () => {
    const some = { ...orphans(290, 300), told: 280 };
    expect(whyHold(some)).toBeNull();
    // Of the 20 who are left ten may go, of 300 it were fifteen.
    expect(whyHold({ ...some, orphaned: 291 })).toMatch("more than 10 at once");
  });

  test("while the mirror is new to the instance that it was moved to", () => {
    expect(whyHold({ ...orphans(1, 100), isMoved: true })).toMatch("was pinned since");
  });

  test("just beyond maxDeletions, whatever else is true", () => {
    const all = { orphaned: 7, mirrored: 7, confirmed: 0, isMoved: true, metNobody: false };
    expect(whyHold({ ...all, maxDeletions: 7 })).toBeNull();
    expect(whyHold({ ...all, maxDeletions: 6 })).toMatch("maxDeletions is 6");
  });
});
