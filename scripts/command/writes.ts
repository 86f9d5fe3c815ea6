/** What the app's own functions write to `users`, or may write: where a table can't be told to be another one, it may be that. */
import type { Node } from "@babel/types";
import type { AppFunction, Call, Spot } from "./app-function";
import { bare, declared, nameOf, propertyOf, textOf, walk, type Sources } from "./source";

export type Write = Spot & {
  kind: "insert" | "patch";
  /** Columns that it names, each with its values; null is one that comes from who knows where. */
  columns: Map<string, (Node | null)[]>;
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
    const found = insertOf(sources, call) ?? madeFor(call) ?? patchOf(sources, call);
    if (!found || found.isElsewhere) return [];
    const keys = keysOf(sources, found.values, call);
    const isOther = columns !== null && [...keys.columns.keys()].some((name) => !columns.has(name));
    // A column that users does not have: it is another table's row.
    if (found.kind === "patch" && isOther && !found.isSure) return [];
    const { kind, values: row } = found;
    const beside = kind === "insert" ? tablesBeside(sources, calls, call) : [];
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

function methodOf({ node, within }: Call): string | null {
  const { callee } = node;
  const isMember = callee.type === "MemberExpression" || callee.type === "OptionalMemberExpression";
  if (isMember) return nameOf(callee.property);
  const name = nameOf(callee);
  return name !== null && within ? (takenAs(within.node, name) ?? name) : name;
}

/** Of `const { patch: update } = ctx.db` what `update` is. */
function takenAs(node: Node, name: string): string | null {
  let found: string | null = null;
  walk(node, (inner) => {
    if (inner.type !== "ObjectProperty" || nameOf(inner.value) !== name) return;
    const method = nameOf(inner.key);
    if (method !== null && /^(patch|replace|insert|delete)$/.test(method)) found = method;
  });
  return found;
}

function objectOf({ source, node }: Call): string {
  return "object" in node.callee ? textOf(source, node.callee.object) : "";
}

function stringOf(node: Node | undefined): string | null {
  return node?.type === "StringLiteral" ? node.value : null;
}

/** A text, or what a name at the top of the file has as one. */
function textIn(sources: Sources, node: Node | undefined, { source }: Spot): string | null {
  const place = node?.type === "Identifier" ? declared(sources, source, node.name)?.node : node;
  return place ? stringOf(bare(place)) : null;
}

/** The table of `ctx.db.insert("users", { … })`, and of Ents' `ctx.table("users").insert({ … })`. */
function insertedInto(sources: Sources, call: Call): { table: string; row: Node | null } | null {
  if (methodOf(call) !== "insert" && methodOf(call) !== "insertMany") return null;
  const [first, second] = call.node.arguments;
  const table = textIn(sources, first, call);
  if (table !== null) return { table, row: second ?? null };
  const [, ent] = /table\(\s*["'`](\w+)["'`]\s*\)$/.exec(objectOf(call)) ?? [];
  return ent === undefined ? null : { table: ent, row: first ?? null };
}

function insertOf(sources: Sources, call: Call): Found | null {
  const inserted = insertedInto(sources, call);
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
  // Text has a method of that name, too, which takes no row.
  const last = call.node.arguments.at(-1);
  const isText =
    last !== undefined &&
    /^(StringLiteral|TemplateLiteral|ArrowFunction|FunctionExpr)/.test(last.type);
  if ((method !== "patch" && method !== "replace") || isText) return null;
  const given = call.node.arguments;
  const [table] = given;
  const named = given.length === 3 ? textIn(sources, table, call) : null;
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
    const init = within && (initOf(within.node, inner.name) ?? listOf(within.node, inner.name));
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
  if (/(^|\.)get$/.test(textOf(source, inner.callee)) && id) {
    return tableOf(sources, id, spot, depth + 1);
  }
  return tableOfHelper(sources, inner.callee, spot);
}

/** The table that the written type of what a helper gives names. */
function tableOfHelper(sources: Sources, callee: Node, { source }: Spot): string | null {
  const name = nameOf(callee);
  const helper = name === null ? null : declared(sources, source, name);
  const made = helper && bare(helper.node);
  const type = made && "returnType" in made ? made.returnType : null;
  const text = helper && type ? textOf(helper.source, type) : "";
  return (
    /^:\s*Promise<\s*(?:Doc|Id)<\s*["'](\w+)["']\s*>\s*(?:\|\s*null\s*)?>$/.exec(text)?.[1] ?? null
  );
}

/** The list through which a function goes with a variable: `rows.map((row) => …)`. */
function listOf(node: Node, name: string): Node | null {
  const found: Node[] = [];
  walk(node, (inner) => {
    if (inner.type !== "CallExpression" || inner.callee.type !== "MemberExpression") return;
    const [each] = inner.arguments;
    const goes = /^(map|forEach|filter|flatMap|find)$/.test(nameOf(inner.callee.property) ?? "");
    const isIt =
      each?.type === "ArrowFunctionExpression" && each.params.some((one) => nameOf(one) === name);
    if (goes && isIt) found.push(inner.callee.object);
  });
  return found.length === 1 ? (found[0] ?? null) : null;
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
    const isTaken =
      inner.type === "VariableDeclarator" &&
      /Pattern$/.test(inner.id.type) &&
      binds(inner.id, name);
    if (isSet || isTaken) found.push(null);
  });
  return found.length === 1 ? (found[0] ?? null) : null;
}

/** Whether a pattern gives a variable a value. */
function binds(pattern: Node, name: string): boolean {
  let isFound = false;
  walk(pattern, (inner, parents) => {
    const isKey =
      parents.at(-1)?.type === "ObjectProperty" && (parents.at(-1) as { key?: Node }).key === inner;
    isFound ||= !isKey && inner.type === "Identifier" && inner.name === name;
  });
  return isFound;
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
  const note = (name: string, value: Node | null) => {
    keys.columns.set(name, [...(keys.columns.get(name) ?? []), value]);
  };
  const named = (names: Iterable<string> | null) => {
    if (names === null) keys.isOpen = true;
    for (const name of names ?? []) note(name, null);
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
            else note(name, each.type === "ObjectProperty" ? each.value : null);
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
    for (const [each, value] of assigned ?? []) note(each, value);
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

/** Properties that a function sets on a variable, with their values; null where they are computed, or set as a whole. */
function assignedTo(node: Node, variable: string): [string, Node][] | null {
  const set: ([string, Node] | null)[] = [];
  walk(node, (inner) => {
    if (inner.type === "AssignmentExpression" && inner.left.type === "MemberExpression") {
      const { object, property, computed } = inner.left;
      const name = computed ? null : nameOf(property);
      if (nameOf(object) === variable) set.push(name === null ? null : [name, inner.right]);
    }
    const isMerged =
      inner.type === "CallExpression" &&
      inner.callee.type === "MemberExpression" &&
      nameOf(inner.callee.property) === "assign" &&
      inner.arguments.some((each) => nameOf(each) === variable);
    if (isMerged) set.push(null);
  });
  return set.includes(null) ? null : set.flatMap((each) => (each ? [each] : []));
}

/** Other tables of which the function of a call makes rows. */
function tablesBeside(sources: Sources, calls: Call[], { within }: Call): string[] {
  const others = within === null ? [] : calls.filter((other) => other.within === within);
  const tables = others.flatMap((other) => insertedInto(sources, other)?.table ?? []);
  return [...new Set(tables)].filter((name) => name !== "users");
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
