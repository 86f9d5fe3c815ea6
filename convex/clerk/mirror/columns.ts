/** Writes columns of a row of `users`, as far as the app's schema takes them. */
import { ConvexError, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import type { Id } from "../../_generated/dataModel.js";
import { internalMutation, type MutationCtx } from "../../_generated/server.js";
import { hooks } from "../app.js";
import { saidBefore, thrownBy } from "../shared/log.js";
import { orUndone, undo } from "../shared/undo.js";
import { type Columns, type LeftOut, type Profile, vColumns } from "../shared/user.js";

/** The row, or, where the schema does not take the columns, the one that it names. */
type Tried = { written: Id<"users"> } | { column: string | null };

/** Whether the app's own code sees how a row is created or updated, and may refuse it. */
export function isWatched(): boolean {
  return [hooks.created, hooks.updated, hooks.database].some((hook) => hook !== undefined);
}

/** The database through which rows of users are written: that of `hooks.database`, or Convex's own. */
export function databaseOf(ctx: MutationCtx): MutationCtx["db"] {
  return hooks.database?.(ctx) ?? ctx.db;
}

/**
 * Inserts a row, null for nothing; if `isHearsay`, as a whole or not at all. `own` are the app's own columns.
 * @returns its id, and what the schema does not take of it; with `refusal`, why there can be no row
 * @throws ConvexError with a `refusal` where the write throws for any other reason
 */
export async function insertRow(
  ctx: MutationCtx,
  own: Columns,
  { clerkId, clerkCreatedAt, columns }: Profile,
  isHearsay: boolean,
): Promise<{ id: Id<"users">; leftOut: LeftOut[] } | { refusal: string }> {
  const bare = { ...own, clerkId, clerkCreatedAt };
  const all = { ...bare, ...columns };
  const whole = await write(ctx, null, all);
  if ("written" in whole) return { id: whole.written, leftOut: [] };
  if (isHearsay) return { refusal: describeLeftOut([leftOutOf(whole.column, all)]) };
  // One column after the other, beginning with those that the schema asks for.
  const asked: Columns = {};
  for (let last: string | null = null; ;) {
    const some = await write(ctx, null, { ...bare, ...asked });
    if ("written" in some) {
      const others = Object.entries(columns).filter(([name]) => !(name in asked));
      const rest = Object.fromEntries(others);
      return { id: some.written, leftOut: await patchRow(ctx, some.written, rest) };
    }
    const { column } = some;
    if (column === null || column in asked || !(column in columns)) {
      return { refusal: describeLeftOut([leftOutOf(column ?? last, all)]) };
    }
    asked[column] = columns[column];
    last = column;
  }
}

/**
 * Writes columns to a row, null for nothing; if `isHearsay`, as a whole or not at all. @throws like `insertRow`
 * @returns those that the schema does not take
 */
export async function patchRow(
  ctx: MutationCtx,
  id: Id<"users">,
  columns: Columns,
  isHearsay = false,
): Promise<LeftOut[]> {
  const whole = await write(ctx, id, columns);
  if ("written" in whole) return [];
  if (isHearsay) return [leftOutOf(whole.column, columns)];
  const leftOut: LeftOut[] = [];
  for (const [name, value] of Object.entries(columns)) {
    const one = await write(ctx, id, { [name]: value });
    if (!("written" in one)) leftOut.push(leftOutOf(name, columns));
  }
  return leftOut;
}

/** A column is absent where it may be, and null where it must be there and may be null. */
async function write(ctx: MutationCtx, id: Id<"users"> | null, columns: Columns): Promise<Tried> {
  const nulls = Object.keys(columns).filter((name) => columns[name] === null);
  let named: string | null = null;
  for (let asNull: string[] = []; ;) {
    const tried = await tryOnce(ctx, { id, columns, asNull });
    if ("written" in tried) return tried;
    const { column } = tried;
    named = column ?? named;
    const left = nulls.filter((name) => !asNull.includes(name));
    // Of a union of objects, the schema names no column.
    const more = column === null ? left : left.filter((name) => name === column);
    if (more.length === 0) return { column: named };
    asNull = [...asNull, ...more];
  }
}

/** `id`: null for a new row; `asNull`: which of the columns without a value are null, not absent. */
type Change = { id: Id<"users"> | null; columns: Columns; asNull: string[] };

/** Where the app's own code sees the write, it may throw when that is done: then all of it is undone. */
async function tryOnce(ctx: MutationCtx, change: Change): Promise<Tried> {
  if (hooks.database === undefined) return await tryHere(ctx, change);
  return await orUndone(ctx.runMutation(internal.clerk.mirror.columns.tryApart, change));
}

/** The same as a transaction within another. @throws ConvexError with a misfit, see `undo`, or with a `refusal` */
export const tryApart = internalMutation({
  args: { id: v.nullable(v.id("users")), columns: vColumns, asNull: v.array(v.string()) },
  handler: async (ctx, change): Promise<Tried> => {
    const tried = await tryHere(ctx, change);
    return "written" in tried ? tried : undo(tried);
  },
});

async function tryHere(ctx: MutationCtx, { id, columns, asNull }: Change): Promise<Tried> {
  const given = Object.entries(columns).map(([name, value]) => {
    return [name, value === null && !asNull.includes(name) ? undefined : value];
  });
  const row = Object.fromEntries(given) as never;
  try {
    const database = databaseOf(ctx);
    if (id === null) return { written: await database.insert("users", row) };
    await database.patch("users", id, row);
    return { written: id };
  } catch (error) {
    const misfit = misfitOf(error);
    if (misfit === null) throw refused("the write", error);
    return misfit;
  }
}

/** How Convex, and convex-test, name a column of a row that is missing, or not in the schema. */
const NAMED =
  /(?:^Validator error: (?:Missing required|Unexpected)|schema: Object (?:is missing the required|contains extra)) field `(\w+)`/;

/**
 * The column by which the schema refused a row of `users`, if named; null for any other error. The transaction goes on,
 * without the row: Convex looks at all of it first (get-convex/convex-backend, `transaction.rs`, `enforce`).
 */
export function misfitOf(error: unknown): { column: string | null } | null {
  if (!(error instanceof Error)) return null;
  const said = saidBefore(error.message);
  const isOfSchema = /table "users" because it does not match the schema|^Validator error: /;
  if (!isOfSchema.test(said)) return null;
  const [, field] = NAMED.exec(said) ?? [];
  // Behind what may be a value.
  const paths = said.match(/(?<=\nPath: \.)\w+/g) ?? [];
  return { column: paths[paths.length - 1] ?? field ?? null };
}

function leftOutOf(column: string | null, columns: Columns): LeftOut {
  return column === null
    ? { field: "its columns", reason: "the schema does not take one of them" }
    : { field: column, reason: whyMisfit(columns[column]) };
}

function whyMisfit(value: unknown): string {
  if (value === undefined) return "it is required, and neither fields nor newUserFields fills it";
  if (value === null) return "it is required, and got null";
  const kind = Array.isArray(value) ? "array" : typeof value;
  return `the schema does not take this ${kind} there`;
}

/** Columns that were left out, and why, in words. */
export function describeLeftOut(leftOut: LeftOut[]): string {
  return leftOut.map(({ field, reason }) => `${field}: ${reason}`).join("; ");
}

/** Acts, and returns the result. @throws ConvexError whose `refusal`, as `refusalOf` reads it, says that `who` threw */
export async function orRefuse<Result>(
  who: string,
  act: () => Result | Promise<Result>,
): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    throw refused(who, error);
  }
}

/** No value is in it. */
function refused(who: string, error: unknown): ConvexError<{ refusal: string }> {
  return new ConvexError({ refusal: `${who} ${thrownBy(error)}` });
}
