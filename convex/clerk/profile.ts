/** Pure: Clerk's user JSON → what is mirrored of it, or the reason why not. No reason holds a value. */
import type { UserJSON } from "@clerk/backend";
import { readProfileFields } from "./app";
import { DAY, MINUTE, SECOND } from "./clock";
import { nameOfError } from "./refusal";
import { jsonOf, mismatchOf } from "./shape";
import { vProfile, type Profile, type Reading } from "./validators";

// What Convex holds: https://docs.convex.dev/production/state/limits and its value types.
const MAX_ARRAY_LENGTH = 8192;
const MAX_KEYS = 1024;
const MAX_KEY_LENGTH = 1024;
/** Values nest 16 deep in a stored document, of which the document itself is one. */
const MAX_FIELD_DEPTH = 15;
/**
 * Characters of JSON, up to 3 bytes each. A document holds 1 MiB, which the app's own fields share;
 * Clerk allows 8 kB of metadata.
 */
const MAX_FIELD_LENGTH = 128 * 1024;
const MAX_PROFILE_LENGTH = 2 * MAX_FIELD_LENGTH;

/** So many places are named at which something of one field is left out. */
const MAX_NAMED = 10;

/** A lockout that lasts longer is found to have ended by a full run. */
const MAX_LOCKOUT_MS = 7 * DAY;

/** Half a character, which UTF-8 can't hold. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** The Clerk user id that a JSON object names, or null. Nothing else is ever sent to Clerk as an id. */
export function clerkIdOf(json: unknown): string | null {
  const id = isObject(json) ? json.id : undefined;
  return typeof id === "string" && isClerkId(id) ? id : null;
}

/** Whether a text has the shape of a Clerk user id, `user_…`. */
export function isClerkId(id: string): boolean {
  return /^user_\w{1,64}$/.test(id);
}

/** The shape of the id of a Clerk instance, behind which no key can stand. */
export const INSTANCE_ID = /^ins_(?!.*([sp]k_(test|live)_|whsec_))\w{1,60}$/;

/**
 * A key that the app's columns read and that this JSON lacks; null where it lacks none. An event may be of
 * another version of Clerk's API than the list: what it does not say is not "absent".
 */
export function keyMissing(json: unknown): string | null {
  const missing: string[] = [];
  try {
    readProfileFields(watched(json, "", missing) as UserJSON);
  } catch {
    // Of what throws on the JSON itself `readUser` tells; a copy can't be made of what is watched.
    missing.push("(unknown)");
  }
  return missing[0] ?? null;
}

/** The same JSON, which writes down each key that is asked for and not there. Metadata's keys are data. */
function watched(json: unknown, path: string, missing: string[]): unknown {
  if (typeof json !== "object" || json === null) return json;
  const look = (target: object, key: string | symbol) => {
    const isName = typeof key === "string" && key !== "toJSON" && !Array.isArray(target);
    if (isName && !(key in target)) missing.push(path + key);
  };
  return new Proxy(json, {
    get(target, key) {
      look(target, key);
      const value: unknown = Reflect.get(target, key);
      if (typeof key !== "string" || /_metadata$/.test(key)) return value;
      return watched(value, Array.isArray(target) ? path : `${path}${key}.`, missing);
    },
    has(target, key) {
      look(target, key);
      return Reflect.has(target, key);
    },
    getOwnPropertyDescriptor(target, key) {
      look(target, key);
      return Reflect.getOwnPropertyDescriptor(target, key);
    },
  });
}

/** A user who can't be read, with what can: null stands for what is not there, or can't be right. */
export type Unread = {
  kind: "unreadable";
  clerkId: string | null;
  /** Clerk's `created_at` and `updated_at`, ms. */
  clerkCreatedAt: number | null;
  version: number | null;
  reason: string;
};

/** Reads a user of Clerk's list, or the `data` of a `user.created` or `user.updated` event. */
export function readUser(json: unknown): Extract<Reading, { kind: "profile" }> | Unread {
  const user = isObject(json) ? json : {};
  const clerkId = clerkIdOf(json);
  const [clerkCreatedAt, version] = [timeOf(user.created_at), timeOf(user.updated_at)];
  const unreadable = (reason: string): Unread => ({
    kind: "unreadable",
    clerkId,
    clerkCreatedAt,
    version,
    reason,
  });
  if (clerkId === null) return unreadable("id: expected a Clerk user id");
  if (clerkCreatedAt === null) return unreadable("created_at: expected a time in ms");
  if (version === null) return unreadable("updated_at: expected a time in ms");
  const identity = { clerkId, clerkCreatedAt };
  let fields: Record<string, unknown>;
  try {
    fields = readProfileFields(json as UserJSON);
  } catch (error) {
    // Its message may quote what it stumbled over.
    return unreadable(
      `readProfileFields of clerk/app.ts threw ${nameOfError(error)}: the JSON has another shape`,
    );
  }
  const profile: Record<string, unknown> = { ...identity };
  const leftOut: { field: string; reason: string }[] = [];
  for (const [field, value] of Object.entries(fields)) {
    if (isAbsent(value)) continue;
    const held = heldOf(value, MAX_FIELD_DEPTH);
    const reason = "reason" in held ? held.reason : whyTooLong(held.value);
    if (reason !== null) leftOut.push({ field, reason });
    else if ("value" in held) {
      if (!isAbsent(held.value)) profile[field] = held.value;
      if (held.lost.length > 0) leftOut.push({ field, reason: describeLost(held.lost) });
    }
  }
  if (jsonOf(profile).length > MAX_PROFILE_LENGTH) {
    return unreadable(`over ${MAX_PROFILE_LENGTH} characters of JSON`);
  }
  const mismatch = mismatchOf(profile, vProfile.fields);
  if (mismatch !== null) return unreadable(mismatch);
  return {
    kind: "profile",
    profile: profile as Profile,
    version,
    leftOut,
    ...endOfLockout(user),
  };
}

/** When a lockout ends, Clerk says so by no event, and changes no `updated_at` (`lockout_expires_in_seconds`). */
function endOfLockout({ locked, lockout_expires_in_seconds: seconds }: Record<string, unknown>) {
  const isToEnd = locked === true && typeof seconds === "number" && seconds >= 0;
  if (!isToEnd) return {};
  // Seconds are cut off, and Clerk's API may lag.
  return { endsInMs: Math.min(Math.max(seconds * SECOND, MINUTE), MAX_LOCKOUT_MS) };
}

/** What Convex can hold of a value: all, or what is left where keys are taken out of it, or nothing. */
type Held = { value: unknown; lost: Lost[] } | { reason: string };
/** A key that was taken out: below which others, as far as they can be shown, and why. */
type Lost = { path: string[]; reason: string };

/**
 * What Convex can hold of a value (`validateObjectField` of its client, and its limits). Of an object only
 * the keys go that can't be held; a list with an element that can't goes as a whole.
 */
function heldOf(value: unknown, depthLeft: number): Held {
  if (typeof value === "string") {
    return LONE_SURROGATE.test(value) ? { reason: "text that is not Unicode" } : whole(value);
  }
  if (typeof value !== "object" || value === null) return whole(value);
  if (depthLeft === 0) return { reason: `nested more than ${MAX_FIELD_DEPTH} levels deep` };
  if (Array.isArray(value)) return heldList(value, depthLeft);
  const entries = Object.entries(value);
  if (entries.length > MAX_KEYS) return { reason: `an object of more than ${MAX_KEYS} keys` };
  const lost: Lost[] = [];
  const kept: Record<string, unknown> = {};
  for (const [key, inner] of entries) {
    const isKey = /^(?!\$|__proto__$)[ -~]*$/.test(key) && key.length <= MAX_KEY_LENGTH;
    const held = isKey ? heldOf(inner, depthLeft - 1) : { reason: "a key that Convex can't hold" };
    // Keys are data: only what looks like a name is shown.
    const path = /^[a-z_]\w{0,39}$/i.test(key) ? [key] : [];
    if ("reason" in held) lost.push({ path: isKey ? path : [], reason: held.reason });
    else {
      kept[key] = held.value;
      lost.push(...held.lost.map((each) => below(path, each)));
    }
  }
  return { value: lost.length === 0 ? value : kept, lost };
}

function below(path: string[], lost: Lost): Lost {
  return { ...lost, path: path.length === 0 ? [] : [...path, ...lost.path] };
}

function heldList(value: unknown[], depthLeft: number): Held {
  if (value.length > MAX_ARRAY_LENGTH) {
    return { reason: `an array of more than ${MAX_ARRAY_LENGTH} elements` };
  }
  for (const element of value) {
    const held = heldOf(element, depthLeft - 1);
    if ("reason" in held) return held;
    const [lost] = held.lost;
    if (lost !== undefined) return { reason: lost.reason };
  }
  return whole(value);
}

function whole(value: unknown): Held {
  return { value, lost: [] };
}

/** Which keys are left out, in words: by the path to them, those that are alike counted. */
function describeLost(lost: Lost[]): string {
  const counts = new Map<string, number>();
  for (const { path, reason } of lost) {
    const where = path.length === 0 ? reason : `${path.join(".")}: ${reason}`;
    counts.set(where, (counts.get(where) ?? 0) + 1);
  }
  return Array.from(counts, ([where, count]) => (count > 1 ? `${where} (${count} of them)` : where))
    .slice(0, MAX_NAMED)
    .join("; ");
}

function whyTooLong(value: unknown): string | null {
  if (typeof value !== "object" && typeof value !== "string") return null;
  const { length } = jsonOf(value);
  return length > MAX_FIELD_LENGTH ? `over ${MAX_FIELD_LENGTH} characters of JSON` : null;
}

function isAbsent(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  return isObject(value) && Object.keys(value).length === 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function timeOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
}
