/** Pure: Clerk's user JSON → what is mirrored of it, or the reason why not. No reason holds a value. */
import { newUserFields } from "./app.js";
import { DAY, MINUTE, SECOND } from "./clock.js";
import { fields } from "./fields.js";
import { nameOfError, thrownBy } from "./refusal.js";
import type { ClerkUser } from "./types.js";
import type { Columns, LeftOut, NewFields, Profile, Reading } from "./validators.js";

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
const TOO_LONG = `over ${MAX_PROFILE_LENGTH} characters of JSON`;

type Reader = (user: ClerkUser) => unknown;
/** Columns that mirror Clerk, each with its reader. */
export const READERS = Object.entries(fields as Record<string, Reader>);
/** Their names. */
export const COLUMNS = READERS.map(([name]) => name);

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

/** The Clerk user id that a text is, or that stands behind its last "|", as in Convex's `tokenIdentifier`; or null. */
export function clerkIdWithin(text: string): string | null {
  const id = text.slice(text.lastIndexOf("|") + 1);
  return isClerkId(id) ? id : null;
}

/** The shape of the id of a Clerk instance, behind which no key can stand. */
export const INSTANCE_ID = /^ins_(?!.*([sp]k_(test|live)_|whsec_))\w{1,60}$/;

/**
 * Why an event can't be believed for all that the columns read: a key that it lacks, or a reader that throws; null where
 * it can. An event may be of another version of Clerk's API than the list: what it does not say is not "absent".
 * @param readers by name; those of the columns, where they are left out
 */
export function whyLacking(
  json: unknown,
  readers: (readonly [string, Reader])[] = READERS,
): string | null {
  const missing: string[] = [];
  const user = watched(json, "", missing) as ClerkUser;
  const thrown: string[] = [];
  for (const [name, read] of readers) {
    try {
      read(user);
    } catch (error) {
      // A copy can't be made of what is watched, either.
      thrown.push(`${name}: ${whyUnread(error)}`);
    }
  }
  const [key] = missing;
  return key === undefined ? (thrown[0] ?? null) : `it lacks the key ${key}`;
}

/** Its message may quote what it stumbled over. */
function whyUnread(error: unknown): string {
  return `its reader threw ${nameOfError(error)}`;
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
  const { columns, leftOut } = readColumns(json as ClerkUser);
  const profile: Profile = { ...columns, clerkId, clerkCreatedAt };
  const newFields = readNewFields(json as ClerkUser);
  if (jsonOf(profile).length > MAX_PROFILE_LENGTH) return unreadable(TOO_LONG);
  return { kind: "profile", profile, newFields, version, leftOut, ...endOfLockout(user) };
}

/** The columns of `fields.ts`; those that are to be left as they are, are not among them. */
function readColumns(user: ClerkUser): { columns: Columns; leftOut: LeftOut[] } {
  const columns: Columns = {};
  const leftOut: LeftOut[] = [];
  for (const [field, read] of READERS) {
    try {
      const value = read(user);
      if (value === undefined) continue;
      const held = heldOf(value, MAX_FIELD_DEPTH);
      const reason = "reason" in held ? held.reason : whyNotWhole(held);
      if (reason !== null) leftOut.push({ field, reason });
      // What was there before is no longer what Clerk has.
      columns[field] = "reason" in held || !isUsable(held) ? null : held.value;
    } catch (error) {
      leftOut.push({ field, reason: whyUnread(error) });
    }
  }
  return { columns, leftOut };
}

/** What the app has for a new row, or why there can be none, which matters only to who has no row. */
function readNewFields(user: ClerkUser): NewFields {
  const columns: Columns = {};
  try {
    for (const [field, value] of Object.entries(newUserFields(user) as Columns)) {
      // A new row is nobody's who is gone.
      if (value === undefined || field === "deletedAt") continue;
      const held = heldOf(value, MAX_FIELD_DEPTH);
      if ("reason" in held) return { refusal: `newUserFields: ${field}: ${held.reason}` };
      columns[field] = held.value;
    }
  } catch (error) {
    return { refusal: `newUserFields ${thrownBy(error)}` };
  }
  return jsonOf(columns).length > MAX_PROFILE_LENGTH
    ? { refusal: `newUserFields: ${TOO_LONG}` }
    : { columns };
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
/** Whether what is left of a value is something, and not too long. */
function isUsable({ value, lost }: { value: unknown; lost: Lost[] }): boolean {
  const isEmptied = lost.length > 0 && isObject(value) && Object.keys(value).length === 0;
  return !isEmptied && whyTooLong(value) === null;
}

function whyNotWhole({ value, lost }: { value: unknown; lost: Lost[] }): string | null {
  return whyTooLong(value) ?? (lost.length > 0 ? describeLost(lost) : null);
}

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
  if (typeof value !== "object" || value === null) return plain(value);
  if (depthLeft === 0) return { reason: `nested more than ${MAX_FIELD_DEPTH} levels deep` };
  if (Array.isArray(value)) return heldList(value, depthLeft);
  if (!isPlainObject(value)) {
    // Of a promise nobody is to hear that it failed.
    if (value instanceof Promise) value.catch(() => undefined);
    return { reason: "a class instance" };
  }
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
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
  return { value: kept, lost };
}

function below(path: string[], lost: Lost): Lost {
  return { ...lost, path: path.length === 0 ? [] : [...path, ...lost.path] };
}

function heldList(value: unknown[], depthLeft: number): Held {
  if (value.length > MAX_ARRAY_LENGTH) {
    return { reason: `an array of more than ${MAX_ARRAY_LENGTH} elements` };
  }
  const kept: unknown[] = [];
  for (const element of value) {
    const held = heldOf(element, depthLeft - 1);
    if ("reason" in held) return held;
    const [lost] = held.lost;
    if (lost !== undefined) return { reason: lost.reason };
    kept.push(held.value);
  }
  return whole(kept);
}

/** What is neither text nor object: of whole numbers, Convex holds those of 64 bits. */
function plain(value: unknown): Held {
  const isHeld =
    typeof value === "bigint"
      ? BigInt.asIntN(64, value) === value
      : value === null || /^(boolean|number)$/.test(typeof value);
  return isHeld ? whole(value) : { reason: `a ${typeof value} of another kind` };
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

/** JSON of what Convex holds, to see how long it is: of whole numbers, too, that JSON has no form for. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === "bigint" ? String(each) : each,
  );
}

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // One of another realm, as a test runner's, has another `Object`.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function timeOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
}
