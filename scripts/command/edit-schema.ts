/** What `schema.ts` gains: the sync's tables, two columns of `users` and the indexes that it reads by. */
import path from "node:path";
import type { CallExpression, Node, ObjectExpression } from "@babel/types";
import MagicString from "magic-string";
import { Problem } from "./problem";
import type { Project } from "./project";
import type { Schema } from "./schema-facts";
import { addImport } from "./imports";
import {
  bare,
  defaultOf,
  finish,
  importedAs,
  indentAt,
  lineOf,
  nameOf,
  resolved,
  specifierOf,
  styleOf,
  textOf,
  type Place,
  type Source,
  type Sources,
} from "./source";

const INDEXES: Record<string, string[]> = {
  by_clerkId: ["clerkId"],
  by_clerkCreatedAt_and_clerkId: ["clerkCreatedAt", "clerkId"],
};
const COLUMNS: Record<string, string> = { clerkId: "string", clerkCreatedAt: "number" };
/** One of the sync's tables. */
const OWN_TABLE = "clerkRuns";

/** Columns of a table that is made anew. */
const NEW_COLUMNS = [
  ["username", "string()"],
  ["firstName", "string()"],
  ["lastName", "string()"],
  ["name", "string()"],
  ["email", "string()"],
  ["emailVerified", "boolean()"],
  ["phoneNumber", "string()"],
  ["imageUrl", "string()"],
  ["clerkExternalId", "string()"],
  ["publicMetadata", "record(v.string(), v.any())"],
  ["banned", "boolean()"],
  ["locked", "boolean()"],
] as const;

/** What the schema lacks. */
type Lacks = {
  tables: boolean;
  users: boolean;
  columns: string[];
  indexes: [string, string[]][];
};

export function isLacking({ tables, users, columns, indexes }: Lacks): boolean {
  return tables || users || columns.length > 0 || indexes.length > 0;
}

/**
 * @param keyIndex an index that the app's `key` needs
 * @throws Problem where the app has something else by the name of what is lacking
 */
export function lacksOf(schema: Schema, file: string, keyIndex: [string, string[]] | null): Lacks {
  const users = schema.get("users");
  const wanted = [...Object.entries(INDEXES), ...(keyIndex ? [keyIndex] : [])];
  const tables = !schema.has(OWN_TABLE);
  if (!users) return { tables, users: true, columns: [], indexes: [] };
  const { columns } = users;
  if (columns === null) {
    throw new Problem(
      `${file}: users must be a table with columns, defineTable({ … }): it is a union, or anything. Make it an object with optional columns first.`,
    );
  }
  for (const [name, type] of Object.entries(COLUMNS)) {
    const validator = columns.get(name)?.validator;
    if (validator && validator.type !== type) {
      throw new Problem(
        `${file}: users.${name} must be v.${type}() or v.optional(v.${type}()), since the sync keeps ${name === "clerkId" ? "Clerk's id" : "the time of creation"} there: it is ${validator.type}. Give the app's own column another name.`,
      );
    }
  }
  for (const [name, fields] of wanted) {
    const own = users.indexes.get(name);
    if (own && String(own) !== String(fields)) {
      throw new Problem(
        `${file}: the index ${name} of users must be on ${JSON.stringify(fields)}: it is on ${JSON.stringify(own)}. Give the app's own index another name.`,
      );
    }
  }
  return {
    tables,
    users: false,
    columns: Object.keys(COLUMNS).filter((name) => !columns.has(name)),
    indexes: wanted.filter(([name]) => !users.indexes.has(name)),
  };
}

type SchemaEdit = {
  /** Texts of the files that change. */
  files: Map<string, string>;
  /** Why this must be applied by hand; null where it need not. */
  doubt: string | null;
};

/** The whole of a `schema.ts` that is made anew. */
export function newSchema(project: Project): string {
  const extension = project.hasExtensions ? ".js" : "";
  return `import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { clerkTables } from "./clerk/tables${extension}";

export default defineSchema(
  {
    ...clerkTables,
${usersTable("    ", "  ", { quote: '"' }, "v", "defineTable")}
  },
  // The app's other tables have no types yet.
  { strictTableNameTypes: false },
);
`;
}

function usersTable(
  indent: string,
  unit: string,
  { quote }: { quote: string },
  v: string,
  defineTable: string,
): string {
  const columns = [["clerkId", "string()"], ["clerkCreatedAt", "number()"], ...NEW_COLUMNS].map(
    ([name, validator = ""]) =>
      `${indent}${unit}${name}: ${v}.optional(${v}.${validator.replaceAll("v.", `${v}.`)}),`,
  );
  const indexes = Object.entries(INDEXES).map(([name, fields]) =>
    indexText(name, fields, `${indent}${unit}`, quote),
  );
  return `${indent}users: ${defineTable}({\n${columns.join("\n")}\n${indent}})${indexes.join("")},`;
}

function indexText(name: string, fields: string[], indent: string, quote: string): string {
  const list = fields.map((field) => `${quote}${field}${quote}`).join(", ");
  return `\n${indent}.index(${quote}${name}${quote}, [${list}])`;
}

/** @throws Problem where there are several `users`, or no place to begin with */
export function editSchema(
  project: Project,
  sources: Sources,
  file: string,
  lacks: Lacks,
): SchemaEdit {
  const source = sources.get(file);
  const { place, doubt: schemaDoubt } = schemaObject(sources, source);
  const edits = new Edits();
  const object = place.node as ObjectExpression;
  const { users, doubt: usersDoubt } = findUsers(sources, place, lacks.users);
  if (lacks.tables) addTables(project, edits, place, schemaDoubt === ENTS);
  if (lacks.users) addUsers(edits, place, object);
  const tableDoubt = !lacks.users && users ? addToUsers(sources, edits, users, lacks) : null;
  return {
    files: edits.texts(),
    doubt: schemaDoubt ?? usersDoubt ?? tableDoubt,
  };
}

const ENTS = "the tables are Convex Ents";

/** Positions are those of the text as it was, in however many files. */
class Edits {
  readonly #texts = new Map<string, { source: Source; text: MagicString }>();

  of(source: Source): MagicString {
    const known = this.#texts.get(source.file);
    if (known) return known.text;
    const text = new MagicString(source.text);
    this.#texts.set(source.file, { source, text });
    return text;
  }

  texts(): Map<string, string> {
    const changed = [...this.#texts].filter(([, { text }]) => text.hasChanged());
    return new Map(
      changed.map(([file, { source, text }]) => [file, finish(source, text.toString())]),
    );
  }
}

/** Where `users` is defined; null where that can't be told. */
export function usersPlace(sources: Sources, file: string): Place | null {
  try {
    return findUsers(sources, schemaObject(sources, sources.get(file)).place, false).users;
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

/** The object that `defineSchema` is called with. */
function schemaObject(sources: Sources, source: Source): { place: Place; doubt: string | null } {
  const by = defaultOf(sources, source);
  const call = by?.node;
  if (by && call?.type === "CallExpression") {
    const callee = nameOf(call.callee) ?? textOf(by.source, call.callee);
    const isUsual = callee === importedAs(by.source, "defineSchema", /^convex\/server$/);
    const doubt = isUsual ? null : /ent/i.test(callee) ? ENTS : `the schema is made by ${callee}`;
    for (const argument of call.arguments) {
      const place = resolved(sources, { source: by.source, node: argument });
      if (place?.node.type === "ObjectExpression") return { place, doubt };
    }
  }
  throw new Problem(
    `${source.file} must export defineSchema({ … }) by default, or something like it that is called with an object: add ...clerkTables (from "./clerk/tables") to the tables, and to users clerkId, clerkCreatedAt and two indexes, as clerk/tables.ts shows them, by hand; then run this again.`,
  );
}

/** Where `users` is defined, among an object's own properties or those that it spreads. */
function findUsers(
  sources: Sources,
  place: Place,
  isLacking: boolean,
): { users: Place | null; doubt: string | null } {
  const found: Place[] = [];
  const unknown: string[] = [];
  const look = ({ source, node }: Place, depth: number) => {
    for (const each of (node as ObjectExpression).properties) {
      if (each.type === "ObjectProperty" && nameOf(each.key) === "users") {
        found.push({ source, node: each });
      } else if (each.type === "SpreadElement") {
        const inner = resolved(sources, { source, node: each.argument });
        if (inner?.node.type === "ObjectExpression" && depth < 5) look(inner, depth + 1);
        else unknown.push(textOf(source, each));
      }
    }
  };
  look(place, 0);
  const [users, second] = found;
  if (users && second) {
    const places = found.map(({ source, node }) => `${source.file}:${lineOf(node)}`).join(" and ");
    throw new Problem(
      `expected one table users: there are two, at ${places}. Remove one of them first.`,
    );
  }
  if (users || isLacking) return { users: users ?? null, doubt: null };
  return {
    users: null,
    doubt: `users comes from ${unknown.join(", ") || "elsewhere"}, which is not the app's own source`,
  };
}

function addTables(project: Project, edits: Edits, { source, node }: Place, isEnts: boolean): void {
  const text = edits.of(source);
  const target = path.join(project.functions, "clerk/tables");
  const specifier = specifierOf(source.file, target, project.hasExtensions);
  const tables = addImport(source, text, "clerkTables", specifier);
  const wrap = isEnts ? addImport(source, text, "defineEntsFromTables", "convex-ents") : null;
  const spread = wrap === null ? `...${tables}` : `...${wrap}(${tables})`;
  addProperties(source, text, node as ObjectExpression, [spread]);
}

function addUsers(edits: Edits, { source }: Place, object: ObjectExpression): void {
  const text = edits.of(source);
  const style = styleOf(source);
  const [v, defineTable] = [valuesOf(source, text), serverOf(source, text, "defineTable")];
  const indent = memberIndent(source, object, style.unit);
  const table = usersTable(indent, style.unit, style, v, defineTable);
  addProperties(source, text, object, [table.trim().replace(/,$/, "")]);
}

/** @returns why it is not sure that this is right; null where it is */
function addToUsers(sources: Sources, edits: Edits, users: Place, lacks: Lacks): string | null {
  if (lacks.columns.length === 0 && lacks.indexes.length === 0) return null;
  const value = users.node.type === "ObjectProperty" ? users.node.value : users.node;
  const table = resolved(sources, { source: users.source, node: value });
  if (!table) return "the table users is not made in the app's own source";
  const { source } = table;
  const base = baseCall(table.node);
  if (base === null) return "the table users is made by a function";
  const callee = nameOf(base.callee) ?? textOf(source, base.callee);
  const text = edits.of(source);
  const style = styleOf(source);
  const isUsual = callee === importedAs(source, "defineTable", /^convex\/server$/);
  const columns = Object.entries(COLUMNS)
    .filter(([name]) => lacks.columns.includes(name))
    .map(
      ([name, type]) =>
        `${name}: ${valuesOf(source, text)}.optional(${valuesOf(source, text)}.${type}())`,
    );
  const isPlaced = addColumns(sources, { source, node: base.arguments[0] ?? base }, text, columns);
  const indent = indexIndent(source, table.node, base, style.unit);
  const indexes = lacks.indexes.map(([name, fields]) =>
    indexText(name, fields, indent, style.quote),
  );
  // What follows on the same line goes to one of its own.
  const isFollowed = indexes.length > 0 && source.text.startsWith(".", base.end ?? 0);
  text.appendLeft(base.end ?? 0, indexes.join("") + (isFollowed ? `\n${indent}` : ""));
  if (!isPlaced) return "the columns of users are not written out in the app's own source";
  if (isUsual) return null;
  return /ent/i.test(callee) ? ENTS : `the table users is made by a function, ${callee}`;
}

/** The call at the beginning of a chain: of `defineTable(…).index(…)` the first. */
function baseCall(node: Node): CallExpression | null {
  const inner = bare(node);
  if (inner.type !== "CallExpression") return null;
  const { callee } = inner;
  if (callee.type !== "MemberExpression") return inner;
  const object = bare(callee.object);
  return object.type === "CallExpression" ? baseCall(object) : null;
}

/** Adds columns to what a table is made of. @returns whether there was a place for them */
function addColumns(sources: Sources, at: Place, text: MagicString, columns: string[]): boolean {
  if (columns.length === 0) return true;
  const inner = bare(at.node);
  if (inner.type === "ObjectExpression") {
    addProperties(at.source, text, inner, columns);
    return true;
  }
  // v.object({ … }), written out.
  const [argument] = inner.type === "CallExpression" ? inner.arguments : [];
  if (
    inner.type === "CallExpression" &&
    argument?.type === "ObjectExpression" &&
    /\.object$/.test(textOf(at.source, inner.callee))
  ) {
    addProperties(at.source, text, argument, columns);
    return true;
  }
  // Others may use the same columns: they are left as they are.
  const known = resolved(sources, { source: at.source, node: inner });
  if (inner.type !== "Identifier" || !known) return false;
  const isObject = known.node.type === "ObjectExpression";
  const isValidator =
    known.node.type === "CallExpression" &&
    /\.object$/.test(textOf(known.source, known.node.callee));
  if (!isObject && !isValidator) return false;
  const spread = isObject ? inner.name : `${inner.name}.fields`;
  text.overwrite(inner.start ?? 0, inner.end ?? 0, `{ ...${spread}, ${columns.join(", ")} }`);
  return true;
}

/** Adds properties at the beginning of an object, as its others are written. */
function addProperties(
  source: Source,
  text: MagicString,
  object: ObjectExpression,
  lines: string[],
): void {
  const start = (object.start ?? 0) + 1;
  const [first] = object.properties;
  const { unit } = styleOf(source);
  const outer = indentAt(source.text, object.start ?? 0);
  if (first && lineOf(first) === lineOf(object)) {
    text.appendLeft(start, ` ${lines.map((line) => `${line},`).join(" ")}`);
    return;
  }
  const indent = memberIndent(source, object, unit);
  const added = lines.map((line) => `\n${indent}${line},`).join("");
  text.appendLeft(start, first ? added : `${added}\n${outer}`);
}

function memberIndent(source: Source, object: ObjectExpression, unit: string): string {
  const [first] = object.properties;
  if (first && lineOf(first) !== lineOf(object)) return indentAt(source.text, first.start ?? 0);
  return indentAt(source.text, object.start ?? 0) + unit;
}

/** As the first index of the chain stands, if on a line of its own. */
function indexIndent(source: Source, table: Node, base: CallExpression, unit: string): string {
  const rest = source.text.slice(base.end ?? 0, table.end ?? 0);
  const [, indent] = /^\s*\n([ \t]*)\./.exec(rest) ?? [];
  return indent ?? indentAt(source.text, base.start ?? 0) + unit;
}

function valuesOf(source: Source, text: MagicString): string {
  return (
    importedAs(source, "v", /^convex\/values$/) ?? addImport(source, text, "v", "convex/values")
  );
}

function serverOf(source: Source, text: MagicString, name: string): string {
  return (
    importedAs(source, name, /^convex\/server$/) ?? addImport(source, text, name, "convex/server")
  );
}
