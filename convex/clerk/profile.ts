/** Pure: Clerk's user JSON → what is mirrored of it, or the reason why not. No reason holds a value. */
import type { UserJSON } from "@clerk/backend";
import { ValidationError, validate } from "convex-helpers/validators";
import { readProfileFields } from "./app";
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

/** Half a character, which UTF-8 can't hold. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** The Clerk user id that a JSON object names, or null. Nothing else is ever sent to Clerk as an id. */
export function clerkIdOf(json: unknown): string | null {
  const id = isObject(json) ? json.id : undefined;
  return typeof id === "string" && isClerkId(id) ? id : null;
}

/** Whether a text has the shape of a Clerk user id, `user_…`. */
export function isClerkId(id: string): boolean {
  return /^user_\w+$/.test(id);
}

/** The shape of the id of a Clerk instance, behind which no key can stand. */
export const INSTANCE_ID = /^ins_(?!.*(sk|pk|whsec)_)\w{1,60}$/;

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
    const name = error instanceof Error ? error.name : typeof error;
    return unreadable(
      `readProfileFields of clerk/app.ts threw ${name}: the JSON has another shape`,
    );
  }
  const profile: Record<string, unknown> = { ...identity };
  const leftOut: { field: string; reason: string }[] = [];
  for (const [field, value] of Object.entries(fields)) {
    if (isAbsent(value)) continue;
    const reason = whyNotHeld(value, MAX_FIELD_DEPTH) ?? whyTooLong(value);
    if (reason === null) profile[field] = value;
    else leftOut.push({ field, reason });
  }
  if (JSON.stringify(profile).length > MAX_PROFILE_LENGTH) {
    return unreadable(`over ${MAX_PROFILE_LENGTH} characters of JSON`);
  }
  const mismatch = whyNotAProfile(profile);
  if (mismatch !== null) return unreadable(mismatch);
  return {
    kind: "profile",
    profile: profile as Profile,
    version,
    leftOut,
  };
}

function whyNotAProfile(profile: Record<string, unknown>): string | null {
  try {
    validate(vProfile, profile, { throw: true });
    return recordThatIsAList(profile);
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error;
    // Below the first segment, the path may hold keys that are data; `got` may hold a value.
    const [field = "the profile", ...below] = error.path?.split(/[.[]/) ?? [];
    if (error.expected === "nothing" && below.length === 0) {
      return `${field}: readProfileFields of clerk/app.ts returns it, profileFields does not declare it`;
    }
    const got = below.length === 0 ? nameOfType(profile[field]) : "another type within";
    return `${field}: expected ${error.expected}, got ${got}`;
  }
}

/** `validate` of convex-helpers 0.1.124 takes a list for a record; Convex does not. */
function recordThatIsAList(profile: Record<string, unknown>): string | null {
  const field = Object.entries(vProfile.fields).find(
    ([name, { kind }]) => kind === "record" && Array.isArray(profile[name]),
  );
  return field ? `${field[0]}: expected record, got list` : null;
}

/** Why Convex refuses this value, or null. Its keys are data too, so the reason names none. */
function whyNotHeld(value: unknown, depthLeft: number): string | null {
  if (typeof value === "string")
    return LONE_SURROGATE.test(value) ? "text that is not Unicode" : null;
  if (typeof value !== "object" || value === null) return null;
  if (depthLeft === 0) return `nested more than ${MAX_FIELD_DEPTH} levels deep`;
  if (Array.isArray(value)) {
    if (value.length > MAX_ARRAY_LENGTH)
      return `an array of more than ${MAX_ARRAY_LENGTH} elements`;
    return firstReason(value, depthLeft);
  }
  const keys = Object.keys(value);
  if (keys.length > MAX_KEYS) return `an object of more than ${MAX_KEYS} keys`;
  const badKey = keys.some(
    (key) => !/^[ -~]+$/.test(key) || /^[$_]/.test(key) || key.length > MAX_KEY_LENGTH,
  );
  if (badKey) return "a key that is empty, not ASCII, too long, or begins with $ or _";
  return firstReason(Object.values(value), depthLeft);
}

function firstReason(values: unknown[], depthLeft: number): string | null {
  for (const value of values) {
    const reason = whyNotHeld(value, depthLeft - 1);
    if (reason !== null) return reason;
  }
  return null;
}

function whyTooLong(value: unknown): string | null {
  if (typeof value !== "object" && typeof value !== "string") return null;
  const { length } = JSON.stringify(value);
  return length > MAX_FIELD_LENGTH ? `over ${MAX_FIELD_LENGTH} characters of JSON` : null;
}

function nameOfType(value: unknown): string {
  return Array.isArray(value) ? "list" : typeof value;
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
