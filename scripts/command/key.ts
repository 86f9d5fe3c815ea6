/** Which column of `users` holds Clerk's id. */
import { Problem } from "./problem";
import type { OwnCode } from "./own-code";
import { takes, type Table } from "./schema-facts";
import { bare, nameOf, propertyOf, textOf, walk, type Node } from "./source";
import { translate } from "./translate";

/** Names under which apps have it. */
const NAMES = [
  "clerkId",
  "clerkID",
  "clerk_id",
  "clerkUserId",
  "clerk_user_id",
  "externalId",
  "external_id",
  "tokenIdentifier",
  "userId",
  "user_id",
  "authId",
  "authUserId",
  "subject",
];

export type AppKey = {
  column: string;
  /** What it holds: Clerk's id, or Convex's tokenIdentifier, issuer and id. */
  holds: "id" | "token";
  /** The index that begins with it, and whether the app has it. */
  index: string;
  isIndexed: boolean;
  /** Whether it is a path into an object. */
  isWithin: boolean;
};

/**
 * @param asked what the person says: a column, or "none"
 * @returns null where no column but `clerkId` holds it
 * @throws Problem where there is more than one that may be it, with the option that chooses
 */
export function findKey(users: Table, own: OwnCode, file: string, asked?: string): AppKey | null {
  if (asked === "none") return null;
  const columns = [...(users.columns ?? [])];
  const within = [...users.indexes].find(([, [first = ""]]) =>
    /(clerk|auth|user|identity).*\.(id|clerkId|userId|subject)$/i.test(first),
  );
  if (asked !== undefined) {
    if (!columns.some(([name]) => name === asked) && within?.[1][0] !== asked) {
      throw new Problem(`--key must be a column of users, or none: ${file} has no ${asked}.`);
    }
    return keyOf(asked, users, evidenceOf(users, own).get(asked) ?? "id");
  }
  const evidence = evidenceOf(users, own);
  const named = columns
    .filter(([name, { validator }]) => NAMES.includes(name) && takes(validator, "string"))
    .map(([name]) => name);
  // Whatever else holds it: each row has this one.
  const isPlain =
    evidence.get("clerkId") === "id" && users.columns?.get("clerkId")?.isOptional === false;
  if (isPlain) return null;
  const candidates = evidence.size > 0 ? [...evidence.keys()] : named;
  if (within && evidence.size === 0 && candidates.every((name) => name === "clerkId")) {
    return keyOf(within[1][0] ?? "", users, "id", within[0]);
  }
  const [only, ...others] = candidates;
  if (only === undefined) return null;
  if (others.length > 0) {
    throw new Problem(
      `one column of users must hold Clerk's id: ${candidates.join(" and ")} may. Say which: --key ${candidates.join("|")}, the one by which the app looks its users up.`,
    );
  }
  const holds = evidence.get(only) ?? (only === "tokenIdentifier" ? "token" : "id");
  return only === "clerkId" && holds === "id" ? null : keyOf(only, users, holds);
}

function keyOf(
  column: string,
  users: Table,
  holds: AppKey["holds"],
  index?: string,
): AppKey | null {
  if (column === "clerkId" && holds === "id") return null;
  const indexed = index ?? [...users.indexes].find(([, [first]]) => first === column)?.[0];
  const isToken = holds === "token" || column === "tokenIdentifier";
  return {
    column,
    holds: isToken ? "token" : "id",
    index: indexed ?? `by_${column}`,
    isIndexed: indexed !== undefined,
    isWithin: column.includes("."),
  };
}

/** Whether a table has a column of a name that says so. */
export function holdsClerkId({ columns }: Table): boolean {
  return [...(columns ?? [])].some(
    ([name]) => /^clerk_?(user)?_?id$/i.test(name) || name === "tokenIdentifier",
  );
}

/** Columns that the app's own code fills with, or looks up by, Clerk's id. */
function evidenceOf(users: Table, own: OwnCode): Map<string, AppKey["holds"]> {
  const evidence = new Map<string, AppKey["holds"]>();
  const note = (
    column: string | null,
    value: Node | null | undefined,
    scope: Parameters<typeof translate>[1],
  ) => {
    const known = column !== null && users.columns?.get(column);
    if (column === null || !known || !value || !takes(known.validator, "string")) return;
    const said = translate(value, scope)?.text;
    if (said === "user.id") evidence.set(column, evidence.get(column) ?? "id");
    if (said === "tokenOf(user.id)") evidence.set(column, "token");
  };
  for (const { row, source, within } of own.inserts) {
    const object = row && bare(row);
    if (object?.type !== "ObjectExpression") continue;
    for (const [name] of users.columns ?? [])
      note(name, propertyOf(object, name), { own, source, within });
  }
  for (const within of own.functions) {
    const { source } = within;
    walk(within.node, (node, parents) => {
      if (node.type !== "CallExpression" || node.callee.type !== "MemberExpression") return;
      if (nameOf(node.callee.property) !== "eq") return;
      const [column, value] = node.arguments;
      // Of another table the same name says nothing.
      const isOfUsers = parents.some(
        (parent) =>
          parent.type === "CallExpression" &&
          /\b(query|table|get)\(\s*["'`]users["'`]/.test(textOf(source, parent)),
      );
      if (isOfUsers && column) note(nameOf(column), value, { own, source, within });
    });
  }
  return evidence;
}
