/** Generated histories: what may happen to an app, in any order. Steps are data, so that they shrink. */
import fc from "fast-check";
import { MINUTE, SECOND, HOUR, DAY } from "../../convex/clerk/shared/clock";

const who = fc.nat(15);
/** One of a few creation times, so that users share them. */
const created = fc.nat(4);
const kinds = ["status", "slow down", "reset", "hang", "html", "string"] as const;
/** Answers about one id that are neither the user nor `resource_not_found`. */
const refusals = ["forbid one", "gone for good"] as const;
/** Around what the sync measures: settling, a lease, a resumption, a full run's period, tombstones. */
const WAITS = [1, SECOND, MINUTE, 4 * MINUTE, 4 * MINUTE, 6 * MINUTE, HOUR, DAY, 31 * DAY];
/** Lists that look right and are not. */
const falsifiers = ["empty", "short", "reversed", "every second", "nobody by id"] as const;

const inClerk = [
  fc.record({ do: fc.constant("create"), created: fc.option(created), inOneMoment: fc.boolean() }),
  fc.record({ do: fc.constant("update"), who, atEqualVersion: fc.boolean() }),
  /** A change that is its own undoing. */
  fc.record({ do: fc.constant("toggle"), who }),
  fc.record({ do: fc.constant("move"), who, created }),
  fc.record({ do: fc.constant("delete"), who }),
  /** Somebody who was deleted is there again, under the same id. */
  fc.record({ do: fc.constant("come back"), who }),
] as const;

const runOptions = {
  mode: fc.constantFrom("full", "full", "full", "full", "recent", "due"),
  dryRun: fc.constantFrom(false, false, false, false, false, true),
  maxDeletions: fc.constantFrom(undefined, undefined, undefined, undefined, undefined, 0, 1, 9),
  pageSize: fc.integer({ min: 2, max: 4 }),
  /** Whether it comes to its end before anything else happens. */
  inOneGo: fc.boolean(),
} as const;

const step = fc.oneof(
  ...inClerk.map((arbitrary) => ({ weight: 3, arbitrary })),
  /** The next event that was never delivered, or any at all. */
  { weight: 8, arbitrary: fc.record({ do: fc.constant("deliver"), which: fc.option(fc.nat(40)) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("lose"), which: fc.constant("next event") }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("forge"),
      type: fc.constantFrom("user.created", "user.updated", "user.deleted"),
      who,
      aheadMs: fc.constantFrom(0, -DAY, MINUTE, HOUR),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("rotate the secret") }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("write own field"), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("lose row"), who }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("run"), ...runOptions }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("tick") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("repair"), who }) },
  {
    weight: 9,
    arbitrary: fc.record({
      do: fc.constant("proceed"),
      actor: fc.nat(3),
      places: fc.integer({ min: 1, max: 16 }),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("finish"), actor: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("race a deletion"), actor: fc.nat(3) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("overtake"),
      actor: fc.nat(3),
      places: fc.integer({ min: 1, max: 9 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("kill"), actor: fc.nat(3) }) },
  /** Somebody came and went unheard, and is heard of while a run walks. */
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("hear of a ghost"),
      places: fc.integer({ min: 1, max: 24 }),
    }),
  },
  /** Somebody leaves unheard, and a run begins that may find it out. */
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("leave unheard"),
      who,
      places: fc.integer({ min: 1, max: 60 }),
    }),
  },
  /** Somebody leaves, and time goes by until their row is due; they may come back before, or during the run that begins then. */
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("leave for good"),
      who,
      comesBack: fc.constantFrom("never", "never", "before", "meanwhile"),
      places: fc.constantFrom(600, 600, 12, 24, 36),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("cancel") }) },
  /** From now on the app's code refuses somebody, or no longer does. */
  { weight: 1, arbitrary: fc.record({ do: fc.constant("refuse"), who }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("wait"),
      ms: fc.constantFrom(...WAITS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("fault"),
      kind: fc.constantFrom(
        ...kinds,
        ...refusals,
        ...refusals,
        ...falsifiers,
        "nobody by id",
        "nobody by id",
        "repeat",
        "repeat",
      ),
      times: fc.constantFrom(1, 2, 5, Infinity),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("heal") }) },
  /** Clerk's answers show what was so long ago, or what is. */
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("fall behind"),
      byMs: fc.constantFrom(0, SECOND, MINUTE, 2 * MINUTE, 3 * MINUTE),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("catch up") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("use the key of another instance") }) },
  /** The app makes a row for somebody who has just signed up, and whom Clerk's API does not show yet. */
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("sign in unseen"),
      on: fc.constantFrom("a new row", "an old row", "a mirrored row"),
    }),
  },
  /** After a run: a second event of one version comes, its user leaves unheard, and time goes by. */
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("leave in doubt"),
      who,
      places: fc.integer({ min: 1, max: 60 }),
    }),
  },
  /** An event about somebody whom the app's code refuses. */
  { weight: 2, arbitrary: fc.record({ do: fc.constant("refuse a newcomer") }) },
  /** The table of users is restored, the sync's own are not. */
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restore the table alone") }) },
  /** From now on pages hold one user fewer than asked for, or one at all, or again what they should. */
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("shorten pages"),
      to: fc.constantFrom("one fewer", "one", "all"),
    }),
  },
  /** From now on Clerk lets so many requests through in forty seconds, or again all. */
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("limit"), requests: fc.constantFrom(1, 2, 5, null) }),
  },
  /** The app is deployed without its `erase`, or with it again. */
  { weight: 1, arbitrary: fc.record({ do: fc.constant("deploy erase"), isThere: fc.boolean() }) },
  /** Clerk counts whom it had so long ago, or one user whom it does not list. */
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("miscount"),
      by: fc.constantFrom("a user too many", SECOND, MINUTE),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("list an odd entry"), created }) },
  /** The mirror is moved to another instance on purpose, with its key, or back. */
  { weight: 1, arbitrary: fc.record({ do: fc.constant("move to another instance") }) },
  /** A person types what the Report of some held run said. */
  { weight: 2, arbitrary: fc.record({ do: fc.constant("type an older next"), which: fc.nat(3) }) },
);

export const histories = fc.record({
  /** Users of Clerk whom the app had before the sync, those gone from Clerk, and those never heard of. */
  before: fc.record({
    known: fc.nat(4),
    gone: fc.constantFrom(0, 0, 0, 1, 2),
    unknown: fc.nat(4),
  }),
  /** What the app wants of the row of somebody who is gone, and how long after it goes for good. */
  removal: fc.constantFrom("delete", "mark"),
  purgeAfterMs: fc.constantFrom(null, MINUTE, HOUR, HOUR, DAY, 31 * DAY),
  /** Whether the app erases a user's messages before the row goes, one at a time. */
  erases: fc.constantFrom(true, false, false),
  /** Whether the app knows its rows by a token that holds Clerk's id, and makes such rows. */
  isKeyed: fc.boolean(),
  /** What of the app's own code throws for somebody whom it refuses. */
  refusesBy: fc.constantFrom("newUserFields", "a hook"),
  /** Whether a first run was made in peace. */
  isSynced: fc.boolean(),
  createdAtAfterIsInclusive: fc.boolean(),
  /** Whether users who share a time come in another order with each page. */
  shufflesTies: fc.constantFrom(true, true, true, false),
  /** A development instance is asked for one page at a time. */
  environment: fc.constantFrom("production", "production", "production", "development"),
  /** How long each answer takes, ms. */
  answerMs: fc.constantFrom(10, 10, 10, 10, 10, 10, 10, 10, 9 * SECOND, 15 * SECOND),
  /** Clerk's clock against ours. */
  skewMs: fc.constantFrom(0, 0, -30 * SECOND, 30 * SECOND),
  /** The clock of actions against the database's. */
  actionsAheadMs: fc.constantFrom(0, 0, 0, -3 * SECOND, 3 * SECOND),
  steps: fc.array(step, { minLength: 1, maxLength: 60, size: "max" }),
});

type ValueOf<Arbitrary> = Arbitrary extends fc.Arbitrary<infer Value> ? Value : never;
export type History = ValueOf<typeof histories>;

/** What `clerk/app.ts` says in the history that is lived through. */
export const appChoice = {
  removal: "delete" as History["removal"],
  purgeAfterMs: null as History["purgeAfterMs"],
  erases: false,
  isKeyed: false,
  refusesBy: "newUserFields" as History["refusesBy"],
  /** Ids for which it throws. */
  refused: new Set<string>(),
};

/** What the app's rows have as `clerkId` until the sync takes them over. */
export function tokenOf(clerkId: string): string {
  return `https://issuer.example|${clerkId}`;
}
