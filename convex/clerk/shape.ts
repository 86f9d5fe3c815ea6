/** Pure: whether values are what Convex's validators say, told without a value. */
import type { GenericValidator } from "convex/values";

/** The validators of a record's fields. */
type Fields = Record<string, GenericValidator>;

/**
 * Why a record is not what its validators say, with the field; null where it is. Convex's own message
 * would print the record.
 */
export function mismatchOf(record: Record<string, unknown>, fields: Fields): string | null {
  const extra = Object.keys(record).find((name) => !Object.hasOwn(fields, name));
  if (extra !== undefined) return `${extra}: it is not declared`;
  for (const [name, validator] of Object.entries(fields)) {
    const value = record[name];
    if (isFit(value, validator)) continue;
    const isInner = typeof value === "object" && nameOfType(value) === nameOfKind(validator);
    const got = isInner ? "another type within" : nameOfType(value);
    return `${name}: expected ${nameOfKind(validator)}, got ${got}`;
  }
  return null;
}

function isFit(value: unknown, validator: GenericValidator): boolean {
  if (value === undefined) return validator.isOptional === "optional";
  switch (validator.kind) {
    case "any":
      return true;
    case "null":
      return value === null;
    case "literal":
      return value === validator.value;
    case "float64":
      return typeof value === "number";
    case "int64":
      return typeof value === "bigint";
    case "boolean":
      return typeof value === "boolean";
    case "string":
    case "id":
      return typeof value === "string";
    case "bytes":
      return value instanceof ArrayBuffer;
    case "array":
      return Array.isArray(value) && value.every((each) => isFit(each, validator.element));
    case "union":
      return validator.members.some((member) => isFit(value, member));
    case "object":
      return isRecord(value) && mismatchOf(value, validator.fields) === null;
    case "record":
      return (
        isRecord(value) &&
        Object.entries(value).every(
          ([key, each]) => isFit(key, validator.key) && isFit(each, validator.value),
        )
      );
    default:
      // A kind that came later: Convex itself looks at it.
      return true;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nameOfKind({ kind }: GenericValidator): string {
  return kind === "float64" ? "number" : kind;
}

function nameOfType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return isRecord(value) ? "object" : typeof value;
}

/** JSON of what Convex holds, to see how long it is: of whole numbers, too, that JSON has no form for. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === "bigint" ? String(each) : each,
  );
}
