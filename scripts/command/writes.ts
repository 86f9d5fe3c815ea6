/** What the app's own functions write to `users`, or may write: where a table can't be told to be another one, it may be that. */
import type { Node } from "@babel/types";
import type { AppFunction, Call, Spot } from "./app-function";
import { bare, declared, nameOf, propertyOf, textOf, walk, type Sources } from "./source";

export type Write = Spot & {
  kind: "insert" | "patch";
  /** Columns that it names, each with its value; null is one that comes from who knows where. */
  columns: Map<string, Node | null>;
  /** Whether it may write others, too, which can't be told. */
  isOpen: boolean;
  /** Whether a browser can have it run. */
  isPublic: boolean;
  /** What is inserted, or patched. */
  row: Node | null;
  /** Of an insert, other tables of which the same function makes rows. */
  beside: string[];
};

export type Delete = Spot & { beside: string[] };

export function writesOf(
  sources: Sources,
  calls: Call[],
  columns: Set<string> | null,
  isExposed: (spot: Spot) => boolean,
): Write[] {
  return calls.flatMap((call): Write[] => {
    const found = insertOf(call) ?? madeFor(call) ?? patchOf(sources, call);
    if (!found || found.isElsewhere) return [];
    const keys = keysOf(sources, found.values, call);
    const isOther = columns !== null && [...keys.columns.keys()].some((name) => !columns.has(name));
    // A column that users does not have: it is another table's row.
    if (found.kind === "patch" && isOther && !found.isSure) return [];
    const { kind, values: row } = found;
    const beside = kind === "insert" ? tablesBeside(calls, call, "users") : [];
    return [{ ...spotOf(call), kind, row, beside, isPublic: isExposed(call), ...keys }];
  });
}

function spotOf({ source, node, within }: Call): Spot {
  return { source, node, within };
}

type Found = {
  kind: Write["kind"];
  values: Node | null;
  /** Whether the table is another one, or surely users. */
  isElsewhere: boolean;
  isSure: boolean;
};

function methodOf({ node }: Call): string | null {
  const { callee } = node;
  const isMember = callee.type === "MemberExpression" || callee.type === "OptionalMemberExpression";
  return isMember ? nameOf(callee.property) : nameOf(callee);
}

function objectOf({ source, node }: Call): string {
  return "object" in node.callee ? textOf(source, node.callee.object) : "";
}

function stringOf(node: Node | undefined): string | null {
  return node?.type === "StringLiteral" ? node.value : null;
}

/** The table of `ctx.db.insert("users", { … })`, and of Ents' `ctx.table("users").insert({ … })`. */
function insertedInto(call: Call): { table: string; row: Node | null } | null {
  if (methodOf(call) !== "insert" && methodOf(call) !== "insertMany") return null;
  const [first, second] = call.node.arguments;
  const table = stringOf(first);
  if (table !== null) return { table, row: second ?? null };
  const [, ent] = /table\(\s*["'`](\w+)["'`]\s*\)$/.exec(objectOf(call)) ?? [];
  return ent === undefined ? null : { table: ent, row: first ?? null };
}

function insertOf(call: Call): Found | null {
  const inserted = insertedInto(call);
  if (!inserted) return null;
  const isElsewhere = inserted.table !== "users";
  return { kind: "insert", values: inserted.row, isElsewhere, isSure: true };
}

/** `crud(schema, "users", query, mutation)`: functions that write whatever they are given. */
function madeFor({ node }: Call): Found | null {
  const isMade =
    node.arguments.some((each) => stringOf(each) === "users") &&
    node.arguments.some((each) => /mutation$/i.test(nameOf(each) ?? ""));
  return isMade ? { kind: "patch", values: null, isElsewhere: false, isSure: true } : null;
}

function patchOf(sources: Sources, call: Call): Found | null {
  const method = methodOf(call);
  // Text has a method of that name, too.
  const isText =
    method === "replace" &&
    call.node.arguments.some((each) => /Literal$/.test(each.type) && each.type !== "StringLiteral");
  if ((method !== "patch" && method !== "replace") || isText) return null;
  const given = call.node.arguments;
  const [table] = given;
  const named = given.length === 3 ? stringOf(table) : null;
  const target =
    given.length >= 2
      ? given.at(-2)
      : "object" in call.node.callee
        ? call.node.callee.object
        : null;
  const known = named ?? (target ? tableOf(sources, target, call) : null);
  return {
    kind: "patch",
    values: given.at(-1) ?? null,
    isElsewhere: known !== null && known !== "users",
    isSure: known === "users",
  };
}

/** The table that an id, or a document, is surely of; null where that can't be told. */
export function tableOf(sources: Sources, node: Node, spot: Spot, depth = 0): string | null {
  const { source, within } = spot;
  const inner = bare(node);
  if (depth > 6) return null;
  if (inner.type === "MemberExpression" || inner.type === "OptionalMemberExpression") {
    const name = nameOf(inner.property);
    if (name === "_id") return tableOf(sources, inner.object, spot, depth + 1);
    const isArgs = textOf(source, inner.object) === "args";
    return isArgs && name !== null ? tableOfArgument(sources, within, name) : null;
  }
  if (inner.type === "Identifier") {
    const init = within && initOf(within.node, inner.name);
    if (init) return tableOf(sources, init, spot, depth + 1);
    return tableOfArgument(sources, within, inner.name);
  }
  if (inner.type !== "CallExpression") return null;
  const text = textOf(source, inner);
  // A chain from one table to the end: not over an edge, nor out of another query's result.
  const [, queried] = /^[\w.]*\b(?:query|table)\(\s*["'`](\w+)["'`]\s*\)/.exec(text) ?? [];
  if (queried !== undefined) return /\.edge\w*\(/.test(text) ? null : queried;
  const [, named] = /^[\w.]*\b(?:get|insert)\(\s*["'`](\w+)["'`]/.exec(text) ?? [];
  if (named !== undefined) return named;
  const [id] = inner.arguments;
  return /(^|\.)get$/.test(textOf(source, inner.callee)) && id
    ? tableOf(sources, id, spot, depth + 1)
    : null;
}

/** What a variable of a function is: of one that is set once, or goes through a list. */
export function initOf(node: Node, name: string): Node | null {
  const found: (Node | null)[] = [];
  walk(node, (inner, parents) => {
    if (inner.type === "VariableDeclarator" && nameOf(inner.id) === name) {
      const loop = parents.at(-2);
      found.push(loop?.type === "ForOfStatement" ? loop.right : (inner.init ?? null));
    }
    const isSet = inner.type === "AssignmentExpression" && nameOf(inner.left) === name;
    if (isSet) found.push(null);
  });
  return found.length === 1 ? (found[0] ?? null) : null;
}

function tableOfArgument(
  sources: Sources,
  within: AppFunction | null,
  name: string,
): string | null {
  const validator = within && argumentsOf(sources, within)?.get(name);
  if (!within || !validator) return null;
  return /^v\.id\(\s*["'`](\w+)["'`]\s*\)$/.exec(textOf(within.source, validator))?.[1] ?? null;
}

/** The validators of a registered function's arguments; null where they can't be told. */
export function argumentsOf(
  sources: Sources,
  { node, source }: AppFunction,
): Map<string, Node> | null {
  const call = bare(node);
  const [options] = call.type === "CallExpression" ? call.arguments : [];
  const given = options?.type === "ObjectExpression" ? propertyOf(options, "args") : null;
  const place =
    given &&
    (given.type === "Identifier" ? declared(sources, source, given.name) : { node: given, source });
  if (place?.node.type !== "ObjectExpression" || place.source !== source) return null;
  const names = new Map<string, Node>();
  for (const each of place.node.properties) {
    const name = each.type === "ObjectProperty" ? nameOf(each.key) : null;
    if (name === null || each.type !== "ObjectProperty") return null;
    names.set(name, each.value);
  }
  return names;
}

type Keys = Pick<Write, "columns" | "isOpen">;

/** Columns that an object may hold: those that it names, and, where it passes on what it is given, all of that. */
function keysOf(sources: Sources, values: Node | null, spot: Spot): Keys {
  const { source, within } = spot;
  const keys: Keys = { columns: new Map(), isOpen: values === null };
  const named = (names: Iterable<string> | null) => {
    if (names === null) keys.isOpen = true;
    for (const name of names ?? []) keys.columns.set(name, null);
  };
  const look = (node: Node, depth: number): void => {
    const inner = bare(node);
    if (depth > 6) {
      keys.isOpen = true;
      return;
    }
    switch (inner.type) {
      case "ObjectExpression":
        for (const each of inner.properties) {
          if (each.type === "SpreadElement") look(each.argument, depth + 1);
          else {
            const name = each.computed ? null : nameOf(each.key);
            if (name === null) keys.isOpen = true;
            else keys.columns.set(name, each.type === "ObjectProperty" ? each.value : null);
          }
        }
        return;
      case "ConditionalExpression":
        look(inner.consequent, depth + 1);
        look(inner.alternate, depth + 1);
        return;
      case "LogicalExpression":
        // cond && { … } gives its right side, or nothing.
        if (inner.operator !== "&&") look(inner.left, depth + 1);
        look(inner.right, depth + 1);
        return;
      case "NullLiteral":
        return;
      case "Identifier":
        lookUp(inner.name, depth);
        return;
      case "MemberExpression": {
        const name = nameOf(inner.property);
        const isArgs = textOf(source, inner.object) === "args";
        const validator =
          isArgs && name !== null && within ? argumentsOf(sources, within)?.get(name) : null;
        named(validator && within ? keysWithin(validator) : null);
        return;
      }
      default:
        keys.isOpen = true;
    }
  };
  const lookUp = (name: string, depth: number): void => {
    if (name === "undefined" || !within) {
      keys.isOpen ||= name !== "undefined";
      return;
    }
    const assigned = assignedTo(within.node, name);
    const init = initOf(within.node, name);
    if (assigned === null) keys.isOpen = true;
    for (const each of assigned ?? []) keys.columns.set(each, null);
    if (init && bare(init).type === "ObjectExpression") look(init, depth + 1);
    // A row that is spread into itself changes nothing.
    else if (init && tableOf(sources, init, spot) === "users") return;
    else if (init) look(init, depth + 1);
    else named(keysOfParameter(sources, within, name));
  };
  if (values !== null) look(values, 0);
  return keys;
}

/** Names that a function's own parameter may have: by its validators, or by its written type. */
function keysOfParameter(
  sources: Sources,
  within: AppFunction,
  name: string,
): Iterable<string> | null {
  const typed: string[][] = [];
  const given: Node[] = [];
  walk(within.node, (inner, parents) => {
    if (inner.type === "Identifier" && inner.name === name) {
      const annotation =
        inner.typeAnnotation?.type === "TSTypeAnnotation"
          ? inner.typeAnnotation.typeAnnotation
          : null;
      if (annotation?.type === "TSTypeLiteral") {
        typed.push(
          annotation.members.flatMap((each) => ("key" in each ? (nameOf(each.key) ?? []) : [])),
        );
      }
      const owner = parents.at(-1);
      const [, second] =
        owner && "params" in owner && Array.isArray(owner.params) ? (owner.params as Node[]) : [];
      if (second === inner) given.push(inner);
    }
    // ({ id, ...rest })
    if (inner.type === "RestElement" && nameOf(inner.argument) === name) given.push(inner);
  });
  const isArguments = given.length > 0 && within.kind !== "helper";
  return typed[0] ?? (isArguments ? (argumentsOf(sources, within)?.keys() ?? null) : null);
}

/** The names in `v.object({ … })`, as far as they are written out; null where they are not. */
function keysWithin(validator: Node): string[] | null {
  const inner = bare(validator);
  if (inner.type !== "CallExpression") return null;
  const [first] = inner.arguments;
  if (first?.type === "CallExpression") return keysWithin(first);
  if (first?.type !== "ObjectExpression") return null;
  const names = first.properties.map((each) =>
    each.type === "ObjectProperty" ? nameOf(each.key) : null,
  );
  return names.includes(null) ? null : names.flatMap((name) => name ?? []);
}

/** Properties that a function sets on a variable; null where they are computed, or set as a whole. */
function assignedTo(node: Node, variable: string): string[] | null {
  const names: (string | null)[] = [];
  walk(node, (inner) => {
    if (inner.type === "AssignmentExpression" && inner.left.type === "MemberExpression") {
      const { object, property, computed } = inner.left;
      if (nameOf(object) === variable) names.push(computed ? null : nameOf(property));
    }
    const isMerged =
      inner.type === "CallExpression" &&
      inner.callee.type === "MemberExpression" &&
      nameOf(inner.callee.property) === "assign" &&
      inner.arguments.some((each) => nameOf(each) === variable);
    if (isMerged) names.push(null);
  });
  return names.includes(null) ? null : names.flatMap((name) => name ?? []);
}

/** Other tables of which the function of a call makes rows. */
function tablesBeside(calls: Call[], { within }: Call, than: string): string[] {
  const others = within === null ? [] : calls.filter((other) => other.within === within);
  const tables = others.flatMap((other) => insertedInto(other)?.table ?? []);
  return [...new Set(tables)].filter((name) => name !== than);
}

/** Where rows of users are deleted, and those of which other tables beside them. */
export function deletesOf(sources: Sources, calls: Call[]): Delete[] {
  const deleted = calls.flatMap((call) => {
    if (methodOf(call) !== "delete") return [];
    const given = call.node.arguments;
    const [first] = given;
    const target = given.at(-1) ?? ("object" in call.node.callee ? call.node.callee.object : null);
    const named = given.length === 2 ? stringOf(first) : null;
    const table = named ?? (target ? tableOf(sources, target, call) : null);
    return [
      {
        call,
        table: table ?? (target && /user/i.test(textOf(call.source, target)) ? "users" : null),
      },
    ];
  });
  return deleted.flatMap(({ call, table }): Delete[] => {
    if (table !== "users") return [];
    const { within } = call;
    const others = deleted.filter((other) => within !== null && other.call.within === within);
    const tables = others.map((other) => other.table ?? "other rows");
    return [{ ...spotOf(call), beside: [...new Set(tables)].filter((name) => name !== "users") }];
  });
}
