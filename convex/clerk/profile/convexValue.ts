/** What Convex can hold of a value. */

// What Convex holds: https://docs.convex.dev/production/state/limits and its value types.
const MAX_ARRAY_LENGTH = 8192;
const MAX_KEYS = 1024;
const MAX_KEY_LENGTH = 1024;
/** Values nest 16 deep in a stored document, of which the document itself is one. */
const MAX_FIELD_DEPTH = 15;
/** Characters of JSON, up to 3 bytes each: a document holds 1 MiB, the app's fields too. Clerk allows 8 kB metadata. */
export const MAX_FIELD_LENGTH = 128 * 1024;

/** Places that are named at which something of one field is left out. */
const MAX_NAMED = 10;

/** Half a character, which UTF-8 can't hold. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** All, or what is left where keys are taken out, or nothing. */
type Held = { value: unknown; lost: Lost[] } | { reason: string };
/** A key that was taken out: below which others, as far as they can be shown, and why. */
type Lost = { path: string[]; reason: string };

/** What a column can have of a value, null where nothing is left, or too much; and why that is not all of it, or null. */
export function columnOf(given: unknown): { value: unknown; reason: string | null } {
  const held = heldOf(given);
  if ("reason" in held) return { value: null, reason: held.reason };
  const { value, lost } = held;
  const tooLong = whyTooLong(value);
  if (lost.length === 0) return { value: tooLong === null ? value : null, reason: tooLong };
  const isEmptied = isObject(value) && Object.keys(value).length === 0;
  const isUsable = !isEmptied && tooLong === null;
  return { value: isUsable ? value : null, reason: tooLong ?? describeLost(lost) };
}

/**
 * What Convex can hold of a value, so many levels deep (`validateObjectField` of its client, and its limits). Of an
 * object only the keys go that can't be held; a list with an element that can't goes as a whole.
 */
export function heldOf(value: unknown, depthLeft = MAX_FIELD_DEPTH): Held {
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
    // Keys are data: only what looks like a name is shown, and not like a token.
    const path = /^[a-z_]{1,30}$/i.test(key) ? [key] : [];
    if ("reason" in held) lost.push({ path: isKey ? path : [], reason: held.reason });
    else {
      kept[key] = held.value;
      lost.push(...held.lost.map((each) => below(path, each)));
    }
  }
  return { value: kept, lost };
}

/** Whether a column of a table can have this name. */
export function isColumnName(name: string): boolean {
  return /^[a-z]\w*$/i.test(name) && name.length <= MAX_KEY_LENGTH;
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

/** Of whole numbers, Convex holds those of 64 bits. */
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

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // One of another realm, as a test runner's, has another `Object`.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Whether a value is an object, and no list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON of what Convex holds, to see how long it is: also of whole numbers for which JSON has no form. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === "bigint" ? String(each) : each,
  );
}
