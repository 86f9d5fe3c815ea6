/** Pure: what is known of a user, and what Clerk says → the change to make. */
import { MINUTE, SECOND } from "./clock.js";
import type { Version } from "./runValidators.js";
import type { Profile } from "./validators.js";

/**
 * Clerk's data is "eventually consistent" (https://clerk.com/docs/guides/development/webhooks/overview):
 * what an event just said may be missing from its API for a while. Also the most by which an
 * event's version may lie ahead of our clock.
 */
export const SETTLING_MS = 5 * MINUTE;

/** What is looked at of a row. */
type Row = { clerkId?: string; clerkCreatedAt?: number; _creationTime?: number };

/** The row, and when the row was made; null where there is no row. */
export type Known = {
  row: Row | null;
  version: Version | null;
  /** Whether its row is on its way out: then nobody may come back to it, nor beside it. What is not evidence, its tombstone stops. */
  isErasing?: boolean;
};

/** The change to make to what is known of a user. */
export type Plan =
  | { write: "insert" }
  | { write: "patch"; fields: string[] }
  /** The profile is right, what is known about it is not: write the version only. */
  | { write: "version" }
  | { write: "nothing"; because: "equal" }
  /**
   * Nothing is changed. Where it is unclear, or a listed user is late, Clerk is asked about this very
   * id; a late event is dropped.
   */
  | { write: "nothing"; because: "late" | "unclear"; reason: string };

/** Names of the columns of a profile in which a row differs. Null is nothing, whether the row has it or lacks the column. */
export function differingFields(row: Row, profile: Profile): string[] {
  return Object.keys(profile).filter(
    (name) => !isEqual(valueOf(row, name) ?? null, profile[name] ?? null),
  );
}

/**
 * Whether two values of Clerk's JSON are the same. Convex's `compareValues` would do, but brings
 * 4 kB into every function of the app.
 */
function isEqual(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return a === b || (Number.isNaN(a) && Number.isNaN(b));
  }
  const [keys, others] = [Object.keys(a), Object.keys(b)];
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === others.length &&
    keys.every((key) => key in b && isEqual(valueOf(a, key), valueOf(b, key)))
  );
}

function valueOf(object: object, key: string): unknown {
  const isOwn = Object.prototype.hasOwnProperty.call(object, key);
  return isOwn ? (object as Record<string, unknown>)[key] : undefined;
}

/**
 * An event that carries a user, which may be of any age, and of another version of Clerk's API.
 * @param now ms
 * @param fullRunStartedAt when the newest full run began, ms: what Clerk said before it, that run has
 *   seen, or will not see again
 */
export function planEvent(
  known: Known,
  incoming: { profile: Profile; version: number; missing?: string },
  { now, fullRunStartedAt }: { now: number; fullRunStartedAt: number },
): Plan {
  if (known.version?.kind === "tombstone") {
    const reason = "this id was deleted";
    const because = incoming.version > known.version.appliedAt ? "unclear" : "late";
    return { write: "nothing", because, reason };
  }
  const knownVersion = appliedVersion(known);
  if (incoming.version < knownVersion) {
    return { write: "nothing", because: "late", reason: "older than what was applied" };
  }
  const change = insertOrPatch(known, incoming.profile);
  if (change === null) {
    // A version from the future would keep out whatever comes after it.
    const isNewer = incoming.version > knownVersion && incoming.version <= now + SETTLING_MS;
    return isNewer ? { write: "version" } : { write: "nothing", because: "equal" };
  }
  const reason =
    incoming.missing ?? whyUnclear(incoming.version, knownVersion, now, fullRunStartedAt);
  return reason === null ? change : { write: "nothing", because: "unclear", reason };
}

/** Clerk's `updated_at`, ms, of the newest change that was applied. */
function appliedVersion({ version }: Known): number {
  return version?.kind === "live" ? (version.version ?? -Infinity) : -Infinity;
}

function whyUnclear(version: number, known: number, now: number, fullRunStartedAt: number) {
  if (version === known) return "another look at the version that was applied";
  if (version < fullRunStartedAt) return "older than the newest full run";
  if (version > now + SETTLING_MS) return "from the future";
  return null;
}

/**
 * A user of a listing.
 * @param seenAt ms, taken before the request was sent
 */
export function planListed(
  known: Known,
  incoming: { profile: Profile; version: number },
  seenAt: number,
): Plan {
  const { version } = known;
  if (version?.kind === "tombstone") {
    return { write: "nothing", because: "late", reason: "listed although deleted" };
  }
  const change = insertOrPatch(known, incoming.profile);
  if (change === null) return { write: "nothing", because: "equal" };
  const isWrittenSince = version?.kind === "live" && version.appliedAt > seenAt;
  if (isWrittenSince || incoming.version < appliedVersion(known)) {
    return { write: "nothing", because: "late", reason: "changed since" };
  }
  return change;
}

/** Nobody is there, as Clerk says: nothing to do. */
export type Gone = { write: "nothing"; because: "gone"; reason?: undefined };
type Verdict = Plan | Gone | { write: "remove" };

/**
 * Clerk's answer about one id: right, whatever the versions say, unless it may not yet show what an
 * event said.
 * @param answer null when Clerk does not know the id
 * @param askedAt ms, taken before the request was sent
 */
export function planEvidence(
  known: Known,
  answer: { profile: Profile; version: number } | null,
  askedAt: number,
): Verdict {
  if (known.isErasing === true) {
    const isGone = answer === null;
    return isGone ? { write: "nothing", because: "gone" } : postponed("its row is being erased");
  }
  if (answer === null) {
    // Of somebody who is here no more an event may just have told.
    const isSettled = known.row === null && known.version?.kind === "tombstone";
    const reason = isSettled ? null : whyTooEarly(known, askedAt);
    if (known.row === null && reason === null) return { write: "nothing", because: "gone" };
    return reason === null ? { write: "remove" } : postponed(reason);
  }
  const { version } = known;
  const change = insertOrPatch(known, answer.profile);
  if (change === null && version?.kind !== "tombstone")
    return { write: "nothing", because: "equal" };
  if (version === null || version.kind === "met") return change ?? { write: "version" };
  if (version.appliedAt > askedAt) return postponed("changed while Clerk was asked");
  const isSettled = version.appliedAt <= askedAt - SETTLING_MS;
  const isOlder = version.appliedBy === "event" && answer.version < appliedVersion(known);
  if (!isSettled && (version.kind === "tombstone" || isOlder)) {
    return postponed("a change of the last five minutes");
  }
  return change ?? { write: "version" };
}

/**
 * Whether Clerk's 404 may be older than what we know: its freshness, which no option overrides.
 * @param askedAt ms, taken before Clerk was asked
 * @returns the reason, or null
 */
export function whyTooEarly({ row, version }: Known, askedAt: number): string | null {
  const settledAt = askedAt - SETTLING_MS;
  const isYoung = (time: number | null = null) => time !== null && time > settledAt;
  // A time of Clerk's can be chosen, and lie far ahead.
  const isYoungAtClerk = (time: number | null = null) =>
    isYoung(time) && (time ?? 0) <= askedAt + SETTLING_MS;
  if (version !== null && version.kind !== "met" && version.appliedAt > askedAt) {
    return "changed while Clerk was asked";
  }
  // What a run wrote, Clerk had said itself; where that was long ago, its answers all show it.
  const wasApplied = version?.kind === "tombstone" || version?.appliedBy === "event";
  const isApplied = wasApplied && version.kind !== "met" && isYoung(version.appliedAt);
  if (isApplied || isYoung(version?.eventAt) || isYoungAtClerk(version?.version)) {
    return "a change of the last five minutes";
  }
  // The app may have put the id on any row as the user signed up, also on one that is mirrored.
  if (row?.clerkId !== undefined && isYoungAtClerk(mintedAt(row.clerkId))) {
    return "its id is younger than five minutes";
  }
  const isOwn = row !== null && row.clerkCreatedAt === undefined;
  if (isOwn && isYoung(row._creationTime)) return "its row is younger than five minutes";
  if (isOwn && isYoung(version?.metAt)) return "its row was first met in the last five minutes";
  return null;
}

const KSUID = /^user_([0-9A-Za-z]{27})$/;
const BASE_62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const KSUID_EPOCH_S = 1_400_000_000;

/**
 * When an id was made, ms: those of Clerk are KSUIDs (https://github.com/segmentio/ksuid), of which the
 * first 4 of 20 bytes are seconds. That is not documented, so only caution may follow from it.
 * @returns null for an id of another form
 */
export function mintedAt(clerkId: string): number | null {
  const [, digits] = KSUID.exec(clerkId) ?? [];
  if (digits === undefined) return null;
  const value = Array.from(digits).reduce((sum, digit) => {
    return sum * 62n + BigInt(BASE_62.indexOf(digit));
  }, 0n);
  return (Number(value >> 128n) + KSUID_EPOCH_S) * SECOND;
}

/** Whether the app alone has told of a row so far. */
export function isUnmet({ row, version }: Known): boolean {
  const isUnwritten = version === null || version.kind === "met";
  return isUnwritten && row !== null && row.clerkCreatedAt === undefined;
}

/**
 * Whether nobody ever confirmed a user for the mirrored instance: neither a run, nor an event of it.
 * @param instanceId the mirrored instance
 */
export function isStranger(known: Known, instanceId: string | undefined): boolean {
  return isUnmet(known) || isForeign(known.version, instanceId);
}

/** Whether only an event of another instance told of an id. */
export function isForeign(version: Version | null, instanceId: string | undefined): boolean {
  const by = version?.kind === "live" && version.appliedBy === "event" && version.instanceId;
  return typeof by === "string" && by !== instanceId;
}

function postponed(reason: string): Plan {
  return { write: "nothing", because: "unclear", reason };
}

/** What makes a row show a profile, whatever the versions say; null where it does already. */
export function insertOrPatch(known: Known, profile: Profile): Plan | null {
  if (known.row === null) return { write: "insert" };
  const fields = differingFields(known.row, profile);
  return fields.length === 0 ? null : { write: "patch", fields };
}

// So many deletions a run makes without being told to: a share of the mirror, as a table that loses more
// at once is rather the sign of a mistake; of a large one no more than a person can look through; and
// of a small one a few, whatever the share.
const MAX_DELETIONS_SHARE = 0.05;
const MAX_DELETIONS = 500;
const MIN_DELETIONS = 10;

/** Users whom a run, or repairs between two full runs, may remove unasked. @param mirrored rows of the mirror */
export function mostRemovals(mirrored: number): number {
  return Math.floor(
    Math.min(MAX_DELETIONS, Math.max(MIN_DELETIONS, mirrored * MAX_DELETIONS_SHARE)),
  );
}

/**
 * Why a full run must delete none of the orphans that it found, or null. All or nothing: half of a
 * false deletion is no better.
 * @param orphaned users whom Clerk does not know, those too early to judge among them
 * @param mirrored rows of the mirror; `confirmed` of them, from before the run, Clerk knows
 * @param isMoved another instance was pinned, and no full run has completed since
 * @param metNobody that is no surprise: the last completed full run of this instance met nobody either, or only
 *   its events had told of those who are gone
 * @param maxDeletions replaces all other grounds
 */
export function whyHold(run: {
  orphaned: number;
  mirrored: number;
  confirmed: number;
  isMoved: boolean;
  metNobody: boolean;
  maxDeletions?: number;
}): string | null {
  const { orphaned, mirrored, confirmed, isMoved, metNobody, maxDeletions } = run;
  if (maxDeletions !== undefined) {
    return orphaned > maxDeletions
      ? `${orphaned} users are gone from Clerk, and maxDeletions is ${maxDeletions}`
      : null;
  }
  if (isMoved) {
    return `${orphaned} of ${mirrored} mirrored users are unknown to the Clerk instance that was pinned since the last completed full run`;
  }
  if (confirmed === 0 && !metNobody) {
    return `Clerk knows not one of the ${mirrored} mirrored users`;
  }
  const most = mostRemovals(mirrored);
  return orphaned > most
    ? `${orphaned} of ${mirrored} mirrored users are gone from Clerk, more than ${most} at once`
    : null;
}
