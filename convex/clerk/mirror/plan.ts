/**
 * What is known of a user, and what Clerk says → the change to make. Three sources are trusted differently: an _event_
 * may be of any age, so versions decide, and where they can't, Clerk is asked; a _listed_ user is as of `seenAt`, and
 * what was written since wins; _evidence_ is right whatever the versions say, but for what it may not show yet.
 */
import type { SyncState, Version } from "../memory/memory.js";
import { MINUTE, SECOND } from "../shared/clock.js";
import type { Columns, Profile } from "../shared/user.js";

/**
 * Clerk's data is "eventually consistent" (https://clerk.com/docs/guides/development/webhooks/overview): its API may
 * lack for a while what it just said, counted or listed. Also how far an event's version may lie ahead of our clock.
 */
export const LAG_MS = 5 * MINUTE;

type Row = { clerkId?: string; clerkCreatedAt?: number; _creationTime?: number };

/** What is known of an id; null where there is no row, or nothing else. */
export type Known = {
  row: Row | null;
  version: Version | null;
  /** Its row is on its way out: nobody may come back to it, nor beside it. All but evidence its tombstone stops. */
  isErasing?: boolean;
};

export type Plan =
  | { write: "insert" }
  | { write: "patch"; fields: string[] }
  /** The profile is right, what is known about it is not: write the version only. */
  | { write: "version" }
  | { write: "nothing"; because: "equal" }
  /** If unclear, or if a listed user is late, Clerk is asked about this very id; a late event is dropped. */
  | { write: "nothing"; because: "late" | "unclear"; reason: string };

/** All columns of a row that a profile is for. */
export function columnsOf({ clerkId, clerkCreatedAt, columns }: Profile): Columns {
  return { ...columns, clerkId, clerkCreatedAt };
}

/** What makes a row show a profile, whatever the versions say; null where it does already. */
export function insertOrPatch(
  { row }: Pick<Known, "row">,
  profile: Profile,
): Extract<Plan, { write: "insert" | "patch" }> | null {
  if (row === null) return { write: "insert" };
  const columns = columnsOf(profile);
  // Null is nothing, like a missing column.
  const fields = Object.keys(columns).filter(
    (name) => !isEqual(valueOf(row, name) ?? null, columns[name] ?? null),
  );
  return fields.length === 0 ? null : { write: "patch", fields };
}

/** For Clerk's JSON. Convex's `compareValues` would do, but brings 4 kB into every function of the app. */
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
 * What to do about an event that carries a user, which may be of any age, and of another version of Clerk's API. Times
 * are ms. What Clerk said before `runStartedAt`, the newest run may have seen, and what came after it, too.
 */
export function planEvent(
  known: Known,
  incoming: Profile & { version: number; missing?: string },
  { now, runStartedAt }: { now: number; runStartedAt: number },
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
  const change = insertOrPatch(known, incoming);
  if (change === null) {
    return isNewer(incoming.version, known, now)
      ? { write: "version" }
      : { write: "nothing", because: "equal" };
  }
  const reason = incoming.missing ?? whyUnclear(incoming.version, knownVersion, now, runStartedAt);
  return reason === null ? change : { write: "nothing", because: "unclear", reason };
}

/** Whether a version is to be written down though the row is right: one from the future would keep out all after it. */
function isNewer(version: number, known: Known, now: number): boolean {
  return version > appliedVersion(known) && version <= now + LAG_MS;
}

/** Clerk's `updated_at`, ms, of the newest change that was applied. */
function appliedVersion({ version }: Known): number {
  return version?.kind === "live" ? (version.version ?? -Infinity) : -Infinity;
}

/** Of what events of the last five minutes said the newest version, with one that comes at `now` (ms); see `planEvidence`. */
export function heardVersionOf(
  { version }: Known,
  incoming: number,
  now: number,
): number | undefined {
  const isRecent = (version?.eventAt ?? -Infinity) > now - LAG_MS;
  const before = isRecent ? version?.heardVersion : undefined;
  return incoming > now + LAG_MS ? before : Math.max(before ?? -Infinity, incoming);
}

function whyUnclear(version: number, known: number, now: number, runStartedAt: number) {
  if (version === known) return "another look at the version that was applied";
  if (version < runStartedAt) return "older than the newest run";
  if (version > now + LAG_MS) return "from the future";
  return null;
}

/** What to do about a user of a listing, asked for after `seenAt` (ms). */
export function planListed(
  known: Known,
  incoming: Profile & { version: number },
  seenAt: number,
): Plan {
  const { version } = known;
  if (version?.kind === "tombstone") {
    return { write: "nothing", because: "late", reason: "listed although deleted" };
  }
  const change = insertOrPatch(known, incoming);
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
 * What to do about Clerk's answer about one id, null where it does not know it, asked for after `askedAt` (ms): it is
 * right, whatever the versions say, unless it may not yet show what an event said.
 */
export function planEvidence(
  known: Known,
  answer: (Profile & { version: number }) | null,
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
  const { eventAt = -Infinity, heardVersion = -Infinity } = version ?? {};
  if (answer.version < heardVersion && eventAt > askedAt - LAG_MS) {
    return postponed("a change of the last five minutes");
  }
  const change = insertOrPatch(known, answer);
  if (change === null && version?.kind !== "tombstone") {
    // Written down, it ends the word of an event that they are gone, if it can't be older than that.
    const { deletedEventAt = Infinity, appliedAt = Infinity } = version ?? {};
    const isBack = deletedEventAt >= appliedAt && deletedEventAt <= askedAt - LAG_MS;
    return isBack || isNewer(answer.version, known, askedAt)
      ? { write: "version" }
      : { write: "nothing", because: "equal" };
  }
  if (version === null || version.kind === "met") return change ?? { write: "version" };
  if (version.appliedAt > askedAt) return postponed("changed while Clerk was asked");
  if (version.kind === "tombstone" && version.appliedAt > askedAt - LAG_MS) {
    return postponed("a change of the last five minutes");
  }
  return change ?? { write: "version" };
}

/** Why Clerk's 404, asked for after `askedAt` (ms), may be older than what we know; or null. No option overrides it. */
export function whyTooEarly({ row, version }: Known, askedAt: number): string | null {
  const settledAt = askedAt - LAG_MS;
  const isYoung = (time: number | null = null) => time !== null && time > settledAt;
  // A time of Clerk's can be chosen, and lie far ahead.
  const isYoungAtClerk = (time: number | null = null) =>
    isYoung(time) && (time ?? 0) <= askedAt + LAG_MS;
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
 * Ms, or null for an id of another form: Clerk's are KSUIDs (https://github.com/segmentio/ksuid), of which the first 4
 * of 20 bytes are seconds. That is not documented, so only caution may follow from it.
 */
function mintedAt(clerkId: string): number | null {
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

/** Whether nobody ever confirmed a user for the mirrored instance: neither a run, nor an event of it. */
export function isStranger(known: Known, instanceId: string | undefined): boolean {
  return isUnmet(known) || isForeign(known.version, instanceId);
}

/**
 * Whether the newest event of the mirrored instance says that somebody is gone, since the last full run that completed
 * began: where a row stands all the same and Clerk answers 404, no person has to be asked first. Of an older word a run
 * has seen what became of it, and what a run removed may have been a mistake.
 */
export function isToldGone(
  version: Version | null,
  { instanceId, completedFullRun }: Pick<SyncState, "instanceId" | "completedFullRun">,
): boolean {
  if (version === null || instanceId === undefined || completedFullRun === undefined) return false;
  const { kind, appliedAt, eventAt, deletedEventAt = -Infinity, eventInstanceId } = version;
  const isNewest = deletedEventAt === eventAt && eventInstanceId === instanceId;
  const isApplied = kind === "live" && appliedAt >= deletedEventAt;
  return isNewest && !isApplied && deletedEventAt >= completedFullRun.startedAt;
}

/** Whether only an event of another instance than this one told of an id. */
export function isForeign(version: Version | null, instanceId: string | undefined): boolean {
  const by = version?.kind === "live" && version.appliedBy === "event" && version.instanceId;
  return typeof by === "string" && by !== instanceId;
}

function postponed(reason: string): Plan {
  return { write: "nothing", because: "unclear", reason };
}
