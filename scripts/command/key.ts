/** Which column of `users` holds Clerk's id. */
import { describe, type Spot } from "./app-function";
import { columnsNamed, valueIn } from "./given";
import { Choice, Problem } from "./problem";
import type { OwnCode } from "./own-code";
import { takes, type Table, type Validator } from "./schema-facts";
import { nameOf, textOf, type Node } from "./source";
import { translate, type Said } from "./translate";

/** Names under which apps have it, in small letters. */
const NAMES = [
  "clerkid",
  "clerkuserid",
  "clerkuid",
  "clerkuser",
  "clerk",
  "externalid",
  "externalauthid",
  "tokenidentifier",
  "userid",
  "uid",
  "authid",
  "authuserid",
  "subject",
];
/** A place within an object that may hold it. */
const WITHIN = /(clerk|auth|user|identity).*\.(id|clerkId|userId|subject)$/i;

export type AppKey = {
  column: string;
  /** What it holds: Clerk's id, or Convex's tokenIdentifier, issuer and id. */
  holds: Holds;
  /** The index that begins with it, and whether the app has it. */
  index: string;
  isIndexed: boolean;
  /** Whether it is a path into an object. */
  isWithin: boolean;
};

type Holds = "id" | "token";
/** What the app's own code shows of a column. */
type Evidence = { holds: Holds; at: Spot; isLookup: boolean };

/**
 * @param asked what the person says: a column, or "none"
 * @returns null where no column but `clerkId` holds it
 * @throws Choice where there is more than one that may be it; Problem where rows are made and none is
 */
export function findKey(users: Table, own: OwnCode, file: string, asked?: string): AppKey | null {
  if (asked === "none") return null;
  const evidence = evidenceOf(users, own);
  if (asked !== undefined) return askedFor(asked, users, own, evidence, file);
  const found = [...new Set(evidence.map(({ column }) => column))];
  const lookedUp = [
    ...new Set(evidence.flatMap(({ column, isLookup }) => (isLookup ? column : []))),
  ];
  // Whatever else holds it: each row has this one.
  const isPlain = users.columns?.get("clerkId")?.isOptional === false && found.includes("clerkId");
  if (isPlain) return keyOf("clerkId", users, evidence);
  const known = lookedUp.length === 1 ? lookedUp : found;
  const named = known.length > 0 ? known : byName(users, own);
  const within = [...users.indexes].find(([, [first = ""]]) => WITHIN.test(first));
  // A column that was just added, by hand, after the diff.
  const candidates =
    named.length > 1 || within ? named.filter((name) => !isNew(name, users, own)) : named;
  if (within && candidates.length === 0) return keyOf(within[1][0] ?? "", users, evidence);
  const [only, ...others] = candidates;
  if (others.length > 0) {
    throw new Choice(
      `one column of users must hold Clerk's id: ${candidates.join(" and ")} may. Say which: --key ${candidates.join("|")}, the one by which the app looks its users up, or --key none.`,
      "key",
      [...candidates, "none"],
    );
  }
  if (only === undefined) refuseNone(own, file);
  return only === undefined ? null : keyOf(only, users, evidence);
}

/** Rows of people who sign in, and no column that says whose they are: each would get a second one. */
function refuseNone({ writes }: OwnCode, file: string): void {
  const insert = writes.find(({ kind }) => kind === "insert");
  if (!insert) return;
  throw new Problem(
    `one column of users must hold Clerk's id, by which rows that are there are told: none of ${file} is seen to, and ${describe(insert)} makes rows. Say which it is: --key COLUMN. Where none does, fill clerkId yourself first, or say --key none if the rows of before are no Clerk users: they count as guests, and their users get new rows.`,
  );
}

/** Whether `clerkId` is not there yet, or is optional and nowhere in the app's own code. */
export function isNew(name: string, { columns }: Table, own: OwnCode): boolean {
  const isMentioned = own.functions.some(({ names }) => names.has(name));
  return name === "clerkId" && columns?.get(name)?.isOptional !== false && !isMentioned;
}

/** By its name alone, where no insert of the app's own says that it is something else. */
function byName(users: Table, own: OwnCode): string[] {
  return [...(users.columns ?? [])]
    .filter(([name, { validator }]) => isNamed(name) && isText(validator))
    .map(([name]) => name)
    .filter((name) => {
      const { said, isMade } = columnsNamed(name, own);
      const isUsed = own.writes.some(({ kind }) => kind === "insert");
      // Of these many things are called so: an app that makes rows has to show it.
      const isUnsure = isUsed && /^(user_?id|uid|subject|clerk)$/i.test(name);
      return !isMade && !isUnsure && !said.some((each) => !/user\.id/.test(each));
    });
}

/** What may be anything is rather an object. */
function isText(validator: Validator): boolean {
  return validator.type !== "any" && takes(validator, "string");
}

function isNamed(column: string): boolean {
  return NAMES.includes(column.replaceAll("_", "").toLowerCase());
}

function askedFor(
  asked: string,
  users: Table,
  own: OwnCode,
  evidence: (Evidence & { column: string })[],
  file: string,
): AppKey | null {
  const column = users.columns?.get(asked);
  const isPath = [...users.indexes.values()].some(
    ([first]) => first === asked && asked.includes("."),
  );
  if (!isPath && (!column || !takes(column.validator, "string"))) {
    throw new Problem(
      `--key must be a column of users that holds text, or none: ${file} has ${column ? `${column.validator.type} in ${asked}` : `no ${asked}`}.`,
    );
  }
  const other = columnsNamed(asked, own).said.find((said) => !/user\.id/.test(said));
  if (other !== undefined && !evidence.some((each) => each.column === asked)) {
    throw new Problem(
      `--key must be the column that holds Clerk's id: the app's own code gives ${asked} ${other}.`,
    );
  }
  return keyOf(asked, users, evidence);
}

function keyOf(
  column: string,
  users: Table,
  evidence: (Evidence & { column: string })[],
): AppKey | null {
  const shown = evidence.filter((each) => each.column === column);
  const tokens = shown.filter(({ holds }) => holds === "token");
  if (tokens.length > 0 && tokens.length < shown.length) {
    throw new Problem(
      `users.${column} must hold one thing: ${shown.map(({ at, holds }) => `${describe(at)} has ${holds === "id" ? "Clerk's id" : "the tokenIdentifier"}`).join(", ")}. Make it one first.`,
    );
  }
  const isToken =
    shown.length > 0 ? tokens.length > 0 : /tokenidentifier/i.test(column.replaceAll("_", ""));
  if (column === "clerkId") {
    const [first] = tokens;
    if (!first) return null;
    throw new Problem(
      `users.clerkId must hold Clerk's id, user_…: ${describe(first.at)} has the tokenIdentifier in it, and would find nobody once the sync has written the id there. Use identity.subject in your code, or rename your column, for instance to tokenIdentifier; then run this again.`,
    );
  }
  const indexed = [...users.indexes].find(([, [first]]) => first === column)?.[0];
  if (indexed !== undefined && users.staged.has(indexed)) {
    throw new Problem(
      `the index ${indexed} of users must be ready, since rows are found by it: it is staged. Take staged out once it is built.`,
    );
  }
  return {
    column,
    holds: isToken ? "token" : "id",
    index: indexed ?? `by_${column}`,
    isIndexed: indexed !== undefined,
    isWithin: column.includes("."),
  };
}

/** Whether a table of another name seems to hold an app's users, by what it and a column are called. */
export function holdsUsers(name: string, { columns }: Table): boolean {
  const isCalled = /user|people|person|profile|account|member/i.test(name);
  return isCalled && [...(columns?.keys() ?? [])].some(isNamed);
}

/** Columns that the app's own code fills with, or looks up by, Clerk's id. */
function evidenceOf(users: Table, own: OwnCode): (Evidence & { column: string })[] {
  const evidence: (Evidence & { column: string })[] = [];
  const note = (column: string, said: Said | null, at: Spot, isLookup: boolean) => {
    const known = users.columns?.get(column);
    // What an event names need not be its user: a lookup by that shows nothing.
    if (!known || !said || !takes(known.validator, "string") || (isLookup && said.isOfEvent))
      return;
    const holds =
      said.text === "user.id" ? "id" : said.text === "tokenOf(user.id)" ? "token" : null;
    if (holds) evidence.push({ column, holds, at, isLookup });
  };
  for (const write of own.writes.filter(({ kind }) => kind === "insert")) {
    for (const [column] of users.columns ?? []) {
      for (const { said, at } of valueIn(write, column, own)) note(column, said, at, false);
    }
  }
  for (const { node, source, within } of own.calls) {
    // Of another table the same name says nothing.
    if (!/\b(query|table)\(\s*["'`]users["'`]/.test(textOf(source, node.callee))) continue;
    for (const [column, value] of comparedIn(node)) {
      const said = translate(value, { own, source, within, isAny: true });
      note(column, said, { source, within, node: value }, true);
    }
  }
  return evidence;
}

/** What `q.eq(column, value)` compares in the arguments of a call, and Ents' `get(column, value)`. */
function comparedIn(node: Node & { type: "CallExpression" }): [string, Node][] {
  const found: [string, Node][] = [];
  const note = ([column, value]: Node[]) => {
    if (column?.type === "StringLiteral" && value) found.push([column.value, value]);
  };
  const look = (inner: Node): void => {
    if (inner.type === "ArrowFunctionExpression") look(inner.body);
    if (inner.type === "BlockStatement") inner.body.forEach(look);
    if (inner.type === "ReturnStatement" && inner.argument) look(inner.argument);
    if (inner.type !== "CallExpression" || inner.callee.type !== "MemberExpression") return;
    look(inner.callee.object);
    if (nameOf(inner.callee.property) === "eq") note(inner.arguments);
  };
  note(node.arguments);
  node.arguments.forEach(look);
  return found;
}
