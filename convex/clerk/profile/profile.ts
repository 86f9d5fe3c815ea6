/** Clerk's user JSON → what is mirrored of it, or the reason why not. No reason holds a value. */
import { newUserFields } from "../app.js";
import { fields } from "../fields.js";
import { DAY, MINUTE, SECOND } from "../shared/clock.js";
import { nameOfError, thrownBy } from "../shared/log.js";
import {
  type Columns,
  isClerkId,
  type LeftOut,
  type NewFields,
  type Profile,
  type Reading,
} from "../shared/user.js";
import type { ClerkUser } from "../types.js";
import {
  columnOf,
  heldOf,
  isColumnName,
  isObject,
  jsonOf,
  MAX_FIELD_LENGTH,
} from "./convexValue.js";

export { jsonOf } from "./convexValue.js";

const MAX_PROFILE_LENGTH = 2 * MAX_FIELD_LENGTH;
const TOO_LONG = `over ${MAX_PROFILE_LENGTH} characters of JSON`;

type Reader = (user: ClerkUser) => unknown;
export const READERS = Object.entries(fields as Record<string, Reader>);
export const COLUMNS = READERS.map(([name]) => name);

/** A lockout that lasts longer is asked about again after so long. */
const MAX_LOCKOUT_MS = 7 * DAY;

/** The Clerk user id that a JSON object names, or null: nothing of another form is ever sent to Clerk as an id. */
export function clerkIdOf(json: unknown): string | null {
  const id = isObject(json) ? json.id : undefined;
  return typeof id === "string" && isClerkId(id) ? id : null;
}

/**
 * Why an event can't be believed for all that is read of it: a key that it lacks, or a reader that throws; or null. It
 * may be of another version of Clerk's API than the list: what it does not say is not "absent".
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

/** Reads each entry of a list as `readUser` does. */
export function readUsers(json: unknown[]): ReturnType<typeof readUser>[] {
  return json.map((each) => readUser(each));
}

/** Reads a user of Clerk's list, or the `data` of a `user.created` or `user.updated` event: the profile, or why not. */
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
  const profile: Profile = { clerkId, clerkCreatedAt, columns };
  const newFields = readNewFields(json as ClerkUser);
  if (jsonOf(columns).length > MAX_PROFILE_LENGTH) return unreadable(TOO_LONG);
  return { kind: "profile", ...profile, version, newFields, leftOut, ...endOfLockout(user) };
}

function readColumns(user: ClerkUser): { columns: Columns; leftOut: LeftOut[] } {
  const columns: Columns = {};
  const leftOut: LeftOut[] = [];
  for (const [field, read] of READERS) {
    try {
      const given = read(user);
      if (given === undefined) continue;
      const { value, reason } = columnOf(given);
      if (reason !== null) leftOut.push({ field, reason });
      // What the row has is not what Clerk has.
      columns[field] = value;
    } catch (error) {
      leftOut.push({ field, reason: whyUnread(error) });
    }
  }
  return { columns, leftOut };
}

/** Why there can be no new row matters only to who has none. */
function readNewFields(user: ClerkUser): NewFields {
  const columns: Columns = {};
  try {
    for (const [field, value] of Object.entries(newUserFields(user) as Columns)) {
      // A new row is nobody's who is gone.
      if (value === undefined || field === "deletedAt") continue;
      // What it spreads may hold what a user has written.
      if (!isColumnName(field)) return { refusal: "newUserFields: a name that no column has" };
      const held = heldOf(value);
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

function timeOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
}
