/**
 * What the app's own functions do with `users`: who inserts, who patches which columns, who answers Clerk's webhooks,
 * who hands out whole rows. It is read off the text, without types, so where a thing can't be told it counts as what
 * asks more of the person, never as what lets the sync write more.
 */
import { readdirSync } from "node:fs";
import path from "node:path";
import type { CallExpression, Node, ObjectExpression } from "@babel/types";
import { routesOf, type Route } from "./edit-entries";
import { messageOf } from "./problem";
import {
  bare,
  declared,
  importsOf,
  nameOf,
  propertyOf,
  textOf,
  walk,
  type Source,
  type Sources,
} from "./source";

/** A function at the top of a file, registered with Convex or not. */
export type AppFunction = {
  source: Source;
  node: Node;
  name: string;
  /** `users:create`, as references have it. */
  path: string;
  kind: "public" | "internal" | "http" | "helper";
  /** `query`, `internalMutation` …; empty for a helper. */
  builder: string;
};

/** Something in a function. */
export type Spot = { source: Source; node: Node; within: AppFunction | null };

export type Insert = Spot & {
  row: Node | null;
  /** Other tables of which the same function makes rows. */
  beside: string[];
};
export type Patch = Spot & {
  /** Columns that it may write, each with its value; null is one that comes from an argument. */
  columns: Map<string, Node | null>;
  /** Whether it may write others, too, which can't be told. */
  isOpen: boolean;
  isPublic: boolean;
};
export type Webhook = {
  source: Source;
  line: number;
  secret: string | null;
  isOfOrganizations: boolean;
};

export type OwnCode = {
  sources: Sources;
  functions: AppFunction[];
  inserts: Insert[];
  patches: Patch[];
  webhooks: Webhook[];
  routes: Route[];
  /** Public functions that hand out whole rows of users. */
  handsOut: Spot[];
  /** Where triggers on users are registered, as those of convex-helpers are. */
  triggers: Spot[];
  /** Files that could not be read, each with why. */
  unread: string[];
};

const SKIPPED = /^(_generated|node_modules|clerk)$/;

/** @param functions the folder of functions */
export function readOwnCode(sources: Sources, functions: string): OwnCode {
  const files: Source[] = [];
  const unread: string[] = [];
  for (const file of filesOf(functions)) {
    try {
      files.push(sources.get(file));
    } catch (error) {
      unread.push(messageOf(error));
    }
  }
  const all = files.flatMap((source) => functionsOf(source, functions));
  const calls = new Map(all.map((each) => [each, calledBy(sources, each, all)]));
  const exposed = closure(
    all.filter(({ kind }) => kind === "public"),
    (each) => calls.get(each) ?? [],
  );
  const callersOf = (called: AppFunction | null) => {
    const callers = (of: AppFunction) => all.filter((each) => calls.get(each)?.includes(of));
    return called ? closure([called], callers) : new Set<AppFunction>();
  };
  const spots = files.flatMap((source) => callsOf(source, all));
  const patches = spots.flatMap((spot) => {
    const isPublic = spot.within === null || exposed.has(spot.within);
    return patchOf(sources, spot, isPublic, callersOf(spot.within));
  });
  return {
    sources,
    functions: all,
    inserts: spots.flatMap((spot) => insertOf(spot, spots)),
    patches,
    webhooks: files.flatMap(webhookOf),
    routes: files.flatMap((source) => routesOf(sources, source)),
    handsOut: all.flatMap((each) => handsOut(sources, each)),
    triggers: spots.filter(
      (spot) => methodOf(spot) === "register" && stringOf(spot.node.arguments[0]) === "users",
    ),
    unread,
  };
}

/** The app's files of functions: not tests, not the sync. */
function filesOf(functions: string): string[] {
  return readdirSync(functions, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.[jt]sx?$/.test(name) && !/\.(d|test|spec)\.[jt]sx?$/.test(name))
    .filter((name) => {
      const [top = ""] = name.split(path.sep);
      return !SKIPPED.test(top) && !name.split(path.sep).includes("node_modules");
    })
    .sort()
    .map((name) => path.join(functions, name));
}

function functionsOf(source: Source, functions: string): AppFunction[] {
  const module = path
    .relative(functions, source.file)
    .split(path.sep)
    .join("/")
    .replace(/\.[jt]sx?$/, "");
  const found: AppFunction[] = [];
  const add = (name: string, node: Node) => {
    const builder = builderOf(source, node);
    found.push({ source, node, name, path: `${module}:${name}`, builder, kind: kindOf(builder) });
  };
  for (const statement of source.ast.program.body) {
    const isExport = /^Export(Named|Default)Declaration$/.test(statement.type);
    const declaration = isExport && "declaration" in statement ? statement.declaration : statement;
    if (declaration?.type === "FunctionDeclaration")
      add(declaration.id?.name ?? "default", declaration);
    else if (declaration?.type === "VariableDeclaration") {
      for (const { id, init } of declaration.declarations) {
        const name = nameOf(id);
        if (name !== null && init) add(name, init);
      }
    } else if (statement.type === "ExportDefaultDeclaration") add("default", statement.declaration);
  }
  return found;
}

function builderOf(source: Source, node: Node): string {
  const inner = bare(node);
  return inner.type === "CallExpression" ? textOf(source, inner.callee) : "";
}

function kindOf(builder: string): AppFunction["kind"] {
  if (/httpaction$/i.test(builder)) return "http";
  if (!/(query|mutation|action)$/i.test(builder)) return "helper";
  return /internal/i.test(builder) ? "internal" : "public";
}

/** Functions, and those that they lead to: what a browser can have run, or what may run this. */
function closure(
  from: AppFunction[],
  next: (each: AppFunction) => AppFunction[],
): Set<AppFunction> {
  const all = new Set(from);
  for (const each of all) for (const other of next(each)) all.add(other);
  return all;
}

function calledBy(
  sources: Sources,
  { source, node }: AppFunction,
  all: AppFunction[],
): AppFunction[] {
  const called: AppFunction[] = [];
  walk(node, (inner) => {
    if (inner.type === "Identifier") {
      const place = declared(sources, source, inner.name);
      const match = place && all.find((each) => each.node === place.node);
      if (match && match.kind === "helper") called.push(match);
    }
    const reference = referenceOf(source, inner);
    const match = reference && all.find((each) => each.path === reference);
    if (match) called.push(match);
  });
  return called;
}

/** `internal.users.create` as `users:create`; null for anything else. */
export function referenceOf(source: Source, node: Node): string | null {
  if (node.type !== "MemberExpression") return null;
  const [, names = ""] = /^(?:internal|api)\.([\w.]+)$/.exec(textOf(source, node)) ?? [];
  const at = names.lastIndexOf(".");
  return at === -1 ? null : `${names.slice(0, at).replaceAll(".", "/")}:${names.slice(at + 1)}`;
}

type CallSpot = Spot & { node: CallExpression };

function callsOf(source: Source, all: AppFunction[]): CallSpot[] {
  const own = all.filter((each) => each.source === source);
  const calls: CallSpot[] = [];
  walk(source.ast.program, (node, parents) => {
    if (node.type !== "CallExpression" && node.type !== "OptionalCallExpression") return;
    const within = own.find((each) => [...parents, node].includes(each.node)) ?? null;
    calls.push({ source, node: node as CallExpression, within });
  });
  return calls;
}

function methodOf({ node }: CallSpot): string | null {
  return node.callee.type === "MemberExpression" || node.callee.type === "OptionalMemberExpression"
    ? nameOf(node.callee.property)
    : null;
}

function insertOf(spot: CallSpot, all: CallSpot[]): Insert[] {
  const inserted = insertedInto(spot);
  if (inserted?.table !== "users") return [];
  const { within } = spot;
  const others = within === null ? [] : all.filter((other) => other.within === within);
  const tables = others.flatMap((other) => insertedInto(other)?.table ?? []);
  return [
    { ...spot, row: inserted.row, beside: [...new Set(tables)].filter((name) => name !== "users") },
  ];
}

/** Of `ctx.db.insert("users", { … })`, and of Ents' `ctx.table("users").insert({ … })`. */
function insertedInto(spot: CallSpot): { table: string; row: Node | null } | null {
  if (methodOf(spot) !== "insert") return null;
  const [first, second] = spot.node.arguments;
  const table = stringOf(first);
  if (table !== null) return { table, row: second ?? null };
  const [, ent] = /table\(\s*["'`](\w+)["'`]\s*\)$/.exec(calleeObject(spot)) ?? [];
  return ent === undefined ? null : { table: ent, row: first ?? null };
}

function stringOf(node: Node | undefined): string | null {
  return node?.type === "StringLiteral" ? node.value : null;
}

function calleeObject({ source, node }: CallSpot): string {
  const { callee } = node;
  return callee.type === "MemberExpression" || callee.type === "OptionalMemberExpression"
    ? textOf(source, callee.object)
    : "";
}

function patchOf(
  sources: Sources,
  spot: CallSpot,
  isPublic: boolean,
  callers: Set<AppFunction>,
): Patch[] {
  const method = methodOf(spot);
  if (method !== "patch" && method !== "replace") return [];
  const { source, node, within } = spot;
  const given = node.arguments;
  const target = given.length >= 2 ? given.at(-2) : (node.callee as { object?: Node }).object;
  const values = given.at(-1);
  const [table] = given;
  const isNamed = given.length === 3 && table?.type === "StringLiteral";
  const named = isNamed ? table.value : target && tableOf(sources, target, spot);
  if (!values || (named !== "users" && named !== null)) return [];
  return [{ source, node, within, isPublic, ...columnsOf(sources, values, spot, callers) }];
}

/** The table that an id, or a document, is of; null where that can't be told. */
function tableOf(sources: Sources, node: Node, spot: Spot, depth = 0): string | null {
  const { source, within } = spot;
  const inner = bare(node);
  const text = textOf(source, inner);
  const [, table] = /\b(?:query|get|table|insert)\(\s*["'`](\w+)["'`]/.exec(text) ?? [];
  if (table !== undefined) return table;
  if (depth > 5) return null;
  if (inner.type === "MemberExpression" || inner.type === "OptionalMemberExpression") {
    const name = nameOf(inner.property);
    const [object, isArgs] = [bare(inner.object), textOf(source, inner.object) === "args"];
    if (isArgs && name !== null) return tableOfArgument(within, name) ?? byName(name);
    if (name === "_id") return tableOf(sources, object, spot, depth + 1);
    return byName(name ?? "");
  }
  if (inner.type === "Identifier") {
    const init = within && initOf(within.node, inner.name);
    if (init) return tableOf(sources, init, spot, depth + 1) ?? byName(inner.name);
    return tableOfArgument(within, inner.name) ?? byName(inner.name);
  }
  if (inner.type === "CallExpression") {
    const [id] = inner.arguments;
    if (/\.get$/.test(textOf(source, inner.callee)) && id)
      return tableOf(sources, id, spot, depth + 1);
    return byName(textOf(source, inner.callee));
  }
  return null;
}

/** What a variable of a function begins with. */
export function initOf(node: Node, name: string): Node | null {
  let found: Node | null = null;
  walk(node, (inner) => {
    if (inner.type === "VariableDeclarator" && nameOf(inner.id) === name)
      found = inner.init ?? found;
  });
  return found;
}

function tableOfArgument(within: AppFunction | null, name: string): string | null {
  const validator = within && argumentsOf(within)?.get(name);
  if (!within || !validator) return null;
  return /\bid\(\s*["'`](\w+)["'`]/.exec(textOf(within.source, validator))?.[1] ?? null;
}

/** A user's, by what it is called. */
function byName(name: string): string | null {
  return /user|viewer|profile|account|member|\bme$|^me\b/i.test(name) ? "users" : null;
}

/** The validators of a registered function's arguments; null where there are none. */
export function argumentsOf({ node }: AppFunction): Map<string, Node> | null {
  const call = bare(node);
  const [options] = call.type === "CallExpression" ? call.arguments : [];
  const declaredArgs = options?.type === "ObjectExpression" ? propertyOf(options, "args") : null;
  if (declaredArgs?.type !== "ObjectExpression") return null;
  return new Map(
    declaredArgs.properties.flatMap((each): [string, Node][] => {
      const name = each.type === "ObjectProperty" ? nameOf(each.key) : null;
      return name !== null && each.type === "ObjectProperty" ? [[name, each.value]] : [];
    }),
  );
}

/** Columns that a patch may write: those that it names, and, where it passes on what it is given, all of that. */
function columnsOf(
  sources: Sources,
  values: Node,
  spot: Spot,
  callers: Set<AppFunction>,
): Pick<Patch, "columns" | "isOpen"> {
  const { within } = spot;
  const columns = new Map<string, Node | null>();
  let isOpen = false;
  const look = (node: Node, depth: number) => {
    const inner = bare(node);
    switch (inner.type) {
      case "ObjectExpression":
        for (const each of inner.properties) {
          if (each.type === "SpreadElement") look(each.argument, depth + 1);
          else {
            const name = nameOf(each.key);
            if (name === null) isOpen = true;
            else columns.set(name, each.type === "ObjectProperty" ? each.value : null);
          }
        }
        return;
      case "ConditionalExpression":
        look(inner.consequent, depth + 1);
        look(inner.alternate, depth + 1);
        return;
      case "LogicalExpression":
        look(inner.right, depth + 1);
        return;
      case "NullLiteral":
        return;
      default:
    }
    const init = within && inner.type === "Identifier" ? initOf(within.node, inner.name) : null;
    if (within && inner.type === "Identifier") {
      for (const name of assignedTo(within.node, inner.name)) columns.set(name, null);
    }
    if (init && bare(init).type === "ObjectExpression" && depth < 5) {
      look(init, depth + 1);
      return;
    }
    // A row that is spread into itself changes nothing.
    if (init && tableOf(sources, init, spot) === "users") return;
    const names = [...callers].flatMap((each) => [...argumentNames(each), ...namesPassed(each)]);
    if (names.length === 0) isOpen = true;
    for (const name of names) columns.set(name, null);
  };
  look(values, 0);
  return { columns, isOpen };
}

/** Names that a function's parameters are declared with, and those of the objects that it passes on. */
function namesPassed({ node }: AppFunction): string[] {
  const names: string[] = [];
  const registration = bare(node);
  walk(node, (inner, parents) => {
    const name = "key" in inner && isNode(inner.key) ? nameOf(inner.key) : null;
    if (name === null) return;
    const call = parents.at(-2);
    const isPassed = call?.type === "CallExpression" && call !== registration;
    if (inner.type === "TSPropertySignature" || (inner.type === "ObjectProperty" && isPassed)) {
      names.push(name);
    }
  });
  return names;
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value;
}

/** The keys of a function's arguments, those within objects too. */
function argumentNames(within: AppFunction): string[] {
  const names: string[] = [];
  for (const [name, validator] of argumentsOf(within) ?? []) {
    names.push(name);
    walk(validator, (inner) => {
      const inside = inner.type === "ObjectProperty" ? nameOf(inner.key) : null;
      if (inside !== null) names.push(inside);
    });
  }
  return names;
}

/** Properties that a function sets on a variable: `updates.name = …`. */
function assignedTo(node: Node, variable: string): string[] {
  const names: string[] = [];
  walk(node, (inner) => {
    if (inner.type !== "AssignmentExpression" || inner.left.type !== "MemberExpression") return;
    const name = nameOf(inner.left.property);
    if (nameOf(inner.left.object) === variable && name !== null) names.push(name);
  });
  return names;
}

function webhookOf(source: Source): Webhook[] {
  const { text } = source;
  const verifies = importsOf(source).find(
    ({ source: from, specifiers }) =>
      /^svix/.test(from.value) || specifiers.some(({ local }) => local.name === "verifyWebhook"),
  );
  const event = /["'`]user\.(created|updated|deleted)["'`]/.exec(text);
  if (!verifies && !event) return [];
  const at = event?.index ?? verifies?.start ?? 0;
  return [
    {
      source,
      line: text.slice(0, at).split("\n").length,
      secret: /\benv\.(\w*(?:WEBHOOK|SVIX)\w*)/.exec(text)?.[1] ?? null,
      isOfOrganizations: /["'`]organization\w*\.\w/.test(text),
    },
  ];
}

/** Where a public function gives a whole row of users to whoever calls it. */
function handsOut(sources: Sources, within: AppFunction): Spot[] {
  if (within.kind !== "public") return [];
  const { source, node } = within;
  const rows = new Set<string>();
  walk(node, (inner) => {
    if (inner.type !== "VariableDeclarator" || !inner.init) return;
    const name = nameOf(inner.id);
    if (name !== null && isRow(sources, inner.init, within)) rows.add(name);
  });
  const found: Spot[] = [];
  walk(node, (inner) => {
    const given = returnedBy(inner);
    if (!given || found.length > 0) return;
    const isWhole = isRow(sources, given, within) || passesOn(given, rows);
    if (isWhole) found.push({ source, node: inner, within });
  });
  return found;
}

function returnedBy(node: Node): Node | null {
  if (node.type === "ReturnStatement") return node.argument ?? null;
  const isShort = node.type === "ArrowFunctionExpression" && node.body.type !== "BlockStatement";
  return isShort ? node.body : null;
}

/** Whether an expression reads rows of users as they are. */
function isRow(sources: Sources, node: Node, within: AppFunction): boolean {
  const { source } = within;
  const inner = bare(node);
  if (inner.type !== "CallExpression") return false;
  const text = textOf(source, inner);
  const reads = /\b(query|get|table)\(\s*["'`]users["'`]/.test(text);
  if (reads && /\.(collect|first|unique|firstX|uniqueX|take|paginate|get)\([^]*\)$/.test(text))
    return true;
  if (/\.get$/.test(textOf(source, inner.callee))) {
    return tableOf(sources, inner, { source, node, within }) === "users";
  }
  const name = nameOf(inner.callee);
  const helper =
    name !== null && /user|viewer/i.test(name) ? declared(sources, source, name) : null;
  return helper !== null && /["'`]users["'`]/.test(textOf(helper.source, helper.node));
}

/** Whether a value holds one of these variables as a whole. */
function passesOn(node: Node, names: Set<string>): boolean {
  let isFound = false;
  walk(node, (inner, parents) => {
    if (inner.type !== "Identifier" || !names.has(inner.name)) return;
    const parent = parents.at(-1);
    switch (parent?.type) {
      case undefined:
      case "SpreadElement":
      case "ArrayExpression":
      case "TSAsExpression":
      case "TSNonNullExpression":
      case "AwaitExpression":
        isFound = true;
        return;
      case "ObjectProperty":
        isFound ||= parent.value === inner;
        return;
      case "ConditionalExpression":
        isFound ||= parent.test !== inner;
        return;
      case "LogicalExpression":
        isFound ||= parent.right === inner || parent.operator !== "&&";
        return;
      default:
    }
  });
  return isFound;
}

/** The object that a call passes as the arguments of another function: `ctx.runMutation(internal.users.create, { … })`. */
export function passedTo(
  own: OwnCode,
  target: AppFunction,
): { object: ObjectExpression; within: AppFunction }[] {
  const found: { object: ObjectExpression; within: AppFunction }[] = [];
  for (const each of own.functions) {
    walk(each.node, (node) => {
      if (node.type !== "CallExpression") return;
      const [first, second] = node.arguments;
      if (!first || second?.type !== "ObjectExpression") return;
      if (referenceOf(each.source, first) === target.path)
        found.push({ object: second, within: each });
    });
  }
  return found;
}
