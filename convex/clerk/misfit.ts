/** Pure: what the app's schema does not take of a row, told without a value. */
import type { Columns, LeftOut } from "./validators.js";

/** How Convex, and convex-test, name a column of a row that is missing, or not in the schema. */
const NAMED =
  /(?:^Validator error: (?:Missing required|Unexpected)|schema: Object (?:is missing the required|contains extra)) field `(\w+)`/;

/**
 * Whether the schema refused to take a row of `users`, and the column that it names. Then nothing was written: Convex
 * looks at the whole row first (get-convex/convex-backend, `transaction.rs`, `enforce`), and the transaction goes on.
 * @returns null for any other error
 */
export function misfitOf(error: unknown): { column: string | null } | null {
  if (!(error instanceof Error)) return null;
  // What comes then is the row itself.
  const [said = ""] = error.message.split(/\n(?:Object|Value): /);
  const isOfSchema = /table "users" because it does not match the schema|^Validator error: /;
  if (!isOfSchema.test(said)) return null;
  const [, field] = NAMED.exec(said) ?? [];
  // Behind what may be a value.
  const paths = said.match(/(?<=\nPath: \.)\w+/g) ?? [];
  return { column: paths[paths.length - 1] ?? field ?? null };
}

/** Why, where the schema does not say which column it is. */
export const UNNAMED = "the schema does not take one of them";

/** Why there is no row. @param column the one that the schema refused, as far as it says so */
export function whyNotInserted(column: string | null, columns: Columns): string {
  return column === null ? UNNAMED : `${column}: ${whyMisfit(columns[column])}`;
}

/** Why the schema does not take a column. */
export function whyMisfit(value: unknown): string {
  if (value === undefined) return "it is required, and neither fields nor newUserFields fills it";
  if (value === null) return "it is required, and got null";
  const kind = Array.isArray(value) ? "array" : typeof value;
  return `the schema does not take this ${kind} there`;
}

/** Columns that were left out, in words. */
export function describeLeftOut(leftOut: LeftOut[]): string {
  return leftOut.map(({ field, reason }) => `${field}: ${reason}`).join("; ");
}
