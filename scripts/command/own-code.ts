/**
 * The app's own functions, read off their text, without types: which of them a browser can have run, and what they do
 * with `users`. Where a thing can't be told it counts as what lets the sync write less.
 */
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import type { CallExpression, Node } from "@babel/types";
import type { AppFunction, Call, Spot } from "./app-function";
import { routesOf, type Route } from "./edit-entries";
import { handsOut } from "./hands-out";
import { messageOf } from "./problem";
import { posixFrom } from "./project";
import { bare, defaultOf, nameOf, textOf, walk, type Source, type Sources } from "./source";
import { deletesOf, writesOf, type Delete, type Write } from "./writes";

export type Webhook = {
  source: Source;
  line: number;
  secret: string | null;
  /** Events that it answers besides those of users. */
  others: string[];
};

export type OwnCode = {
  sources: Sources;
  functions: AppFunction[];
  /** Other names under which files import and export what they have. */
  aliases: Map<string, Set<string>>;
  calls: Call[];
  /** What is written to users, or may be. */
  writes: Write[];
  deletes: Delete[];
  webhooks: Webhook[];
  routes: Route[];
  /** Functions that hand out whole rows of users, and whether they say what they return. */
  handsOut: (Spot & { hasReturns: boolean })[];
  /** Where triggers on users are registered, as those of convex-helpers are. */
  triggers: Spot[];
  /** Files that could not be read, each with why. */
  unread: string[];
};

const SKIPPED = /^(_generated|node_modules|clerk)$/;

/**
 * @param functions the folder of functions
 * @param columns those of users; null where there is none
 */
export function readOwnCode(
  sources: Sources,
  functions: string,
  columns: Set<string> | null,
): OwnCode {
  const { files, unread } = readFiles(sources, functions);
  const all = files.flatMap((source) => functionsOf(source, functions));
  const aliases = aliasesOf(sources, files);
  for (const { names } of all) addAliases(names, aliases);
  const exposed = exposedAmong(all);
  const calls = files.flatMap((source) => callsOf(source, all));
  const isExposed = ({ within }: Spot) => within === null || exposed.has(within);
  return {
    sources,
    functions: all,
    aliases,
    calls,
    writes: writesOf(sources, calls, columns, isExposed),
    deletes: deletesOf(sources, calls),
    webhooks: files.flatMap(webhookOf),
    routes: files.flatMap((source) => routesOf(sources, source)),
    handsOut: all.flatMap((each) => handsOut(sources, each)),
    triggers: calls.filter(({ node, source }) =>
      /\.register\(\s*["'`]users["'`]/.test(textOf(source, node)),
    ),
    unread,
  };
}

/** The app's files of functions, and those that they import: not tests, not the sync. */
function readFiles(sources: Sources, functions: string): { files: Source[]; unread: string[] } {
  const files = new Map<string, Source>();
  const unread: string[] = [];
  const queue = readdirSync(functions, { recursive: true, encoding: "utf8" })
    .filter((name) => isSource(name) && !SKIPPED.test(name.split(path.sep)[0] ?? ""))
    .filter((name) => !isOfComponent(functions, name))
    .sort()
    .map((name) => path.join(functions, name));
  for (const file of queue) {
    if (files.has(file) || unread.some((each) => each.startsWith(file))) continue;
    try {
      files.set(file, sources.get(file));
    } catch (error) {
      unread.push(messageOf(error));
      continue;
    }
    for (const from of importedBy(sources.get(file))) {
      const target = sources.resolve(file, from);
      const [top = ""] = path.relative(functions, target ?? functions).split(path.sep);
      if (target && isSource(target) && !SKIPPED.test(top)) queue.push(target);
    }
  }
  return { files: [...files.values()], unread };
}

/** A component has tables of its own, whatever they are called. */
function isOfComponent(functions: string, name: string): boolean {
  const folder = path.dirname(name);
  if (folder === ".") return false;
  const isOne = existsSync(path.join(functions, folder, "convex.config.ts"));
  return isOne || isOfComponent(functions, folder);
}

function isSource(name: string): boolean {
  return (
    /\.[jt]sx?$/.test(name) &&
    !/\.(d|test|spec)\.[jt]sx?$/.test(name) &&
    !name.split(path.sep).includes("node_modules")
  );
}

function importedBy({ ast }: Source): string[] {
  return ast.program.body.flatMap((statement) =>
    "source" in statement && statement.source ? statement.source.value : [],
  );
}

function functionsOf(source: Source, functions: string): AppFunction[] {
  const module = posixFrom(functions, source.file).replace(/\.[jt]sx?$/, "");
  const found: AppFunction[] = [];
  const add = (name: string, node: Node, isExported: boolean) => {
    const kind = kindOf(source, node, isExported);
    found.push({ source, node, name, path: `${module}:${name}`, kind, names: namesIn(node) });
  };
  for (const statement of source.ast.program.body) {
    const isExported = /^Export(Named|Default)Declaration$/.test(statement.type);
    const declaration =
      isExported && "declaration" in statement ? statement.declaration : statement;
    if (declaration?.type === "FunctionDeclaration") {
      add(declaration.id?.name ?? "default", declaration, isExported);
    } else if (declaration?.type === "ClassDeclaration") {
      add(declaration.id?.name ?? "default", declaration, isExported);
    } else if (declaration?.type === "VariableDeclaration") {
      for (const { id, init } of declaration.declarations) {
        if (init)
          add(nameOf(id) ?? [...namesIn(id)].join(","), init, isExported || isLater(source, id));
      }
    } else if (statement.type === "ExportDefaultDeclaration") {
      add("default", statement.declaration, true);
    } else if (statement.type === "ExpressionStatement" && hasFunction(statement)) {
      // http.route({ …, handler: httpAction(…) })
      const kind = isOfClerk(textOf(source, statement)) ? "http" : "public";
      const names = namesIn(statement);
      found.push({ source, node: statement.expression, name: "", path: "", kind, names });
    }
  }
  return found;
}

function hasFunction(node: Node): boolean {
  let isFound = false;
  walk(node, (inner) => {
    isFound ||= inner.type === "ArrowFunctionExpression" || inner.type === "FunctionExpression";
  });
  return isFound;
}

/** Whether a name is exported by a statement of its own. */
function isLater({ ast }: Source, id: Node): boolean {
  return ast.program.body.some(
    (statement) =>
      statement.type === "ExportNamedDeclaration" &&
      statement.specifiers.some(
        (each) => each.type === "ExportSpecifier" && each.local.name === nameOf(id),
      ),
  );
}

/** Whatever is exported and made by a call may be public, by what builder ever, unless it says that it is internal. */
function kindOf(source: Source, node: Node, isExported: boolean): AppFunction["kind"] {
  const inner = bare(node);
  if (inner.type !== "CallExpression") return "helper";
  const builder = spineOf(inner.callee);
  if (/httpaction$/i.test(builder)) {
    const isOnly = source.text.split(/\bhttpAction\(/).length === 2 && isWebhook(source);
    return isOnly || isOfClerk(textOf(source, node)) ? "http" : "public";
  }
  if (/internal/i.test(builder)) return "internal";
  // customMutation(mutation, …) makes a builder.
  const makes = /^custom(Query|Mutation|Action)$/.test(builder) && inner.arguments.length > 1;
  const isNone = /^(define\w*|v\.\w+|z\..*|cronJobs|httpRouter|Object\.\w+)$/.test(builder);
  return isExported && !makes && !isNone ? "public" : "helper";
}

/** The names of a chain of calls, without what they are called with. */
function spineOf(node: Node): string {
  const inner = bare(node);
  if (inner.type === "CallExpression") return spineOf(inner.callee);
  if (inner.type !== "MemberExpression") return nameOf(inner) ?? "";
  return `${spineOf(inner.object)}.${nameOf(inner.property) ?? ""}`;
}

/** Every name in a node, whatever it stands for, and those in references that are written as text. */
function namesIn(node: Node): Set<string> {
  const names = new Set<string>();
  walk(node, (inner) => {
    if (inner.type === "Identifier") names.add(inner.name);
    const isReference = inner.type === "StringLiteral" && /^[\w/]+:\w+$/.test(inner.value);
    if (isReference) for (const name of inner.value.split(/[/:]/)) names.add(name);
  });
  return names;
}

/** `import { rename as other }`, `export { rename as other }`, `import other`: what else stands for which name. */
function aliasesOf(sources: Sources, files: Source[]): Map<string, Set<string>> {
  const aliases = new Map<string, Set<string>>();
  const note = (alias: string, name: string | null) => {
    if (name === null || name === alias) return;
    aliases.set(alias, (aliases.get(alias) ?? new Set()).add(name));
  };
  for (const { ast, file } of files) {
    for (const statement of ast.program.body) {
      if (statement.type !== "ImportDeclaration" && statement.type !== "ExportNamedDeclaration")
        continue;
      for (const each of statement.specifiers) {
        if (each.type === "ImportSpecifier") note(each.local.name, nameOf(each.imported));
        if (each.type === "ExportSpecifier") note(nameOf(each.exported) ?? "", each.local.name);
        if (each.type !== "ImportDefaultSpecifier") continue;
        const target = sources.resolve(file, statement.source?.value ?? "");
        const made =
          target && isSource(target) ? defaultOf(sources, sources.get(target))?.node : null;
        note(each.local.name, made && "id" in made && made.id ? nameOf(made.id) : "default");
      }
    }
  }
  return aliases;
}

function addAliases(names: Set<string>, aliases: Map<string, Set<string>>): void {
  for (const name of names) for (const other of aliases.get(name) ?? []) names.add(other);
}

/** Functions that a browser can have run: the public ones, and those whose names stand in one that it can. */
function exposedAmong(all: AppFunction[]): Set<AppFunction> {
  const exposed = new Set(all.filter(({ kind }) => kind === "public"));
  const others = all.filter(({ kind }) => kind === "helper" || kind === "internal");
  for (const { names } of exposed) {
    for (const each of others) {
      const module = each.path.split(":")[0]?.split("/").at(-1) ?? "";
      const isNamed = each.name.split(",").some((name) => names.has(name));
      if (isNamed && (each.kind === "helper" || names.has(module))) exposed.add(each);
    }
  }
  return exposed;
}

function callsOf(source: Source, all: AppFunction[]): Call[] {
  const own = all.filter((each) => each.source === source);
  const calls: Call[] = [];
  walk(source.ast.program, (node, parents) => {
    if (node.type !== "CallExpression" && node.type !== "OptionalCallExpression") return;
    const within = own.find((each) => each.node === node || parents.includes(each.node)) ?? null;
    calls.push({ source, node: node as CallExpression, within });
  });
  return calls;
}

const EVENT = /["'`]user\.(created|updated|deleted)["'`]/;

/** Whether a text answers Clerk, by what it verifies or by the events that it names. */
function isOfClerk(text: string): boolean {
  return EVENT.test(text) || /\bverifyWebhook\(/.test(text);
}

/** Whether a file does: a list of such names alone verifies nothing. */
function isWebhook({ text }: Source): boolean {
  return isOfClerk(text) && /\bsvix\b|\bWebhook\b|verifyWebhook|httpAction|svix-/.test(text);
}

function webhookOf(source: Source): Webhook[] {
  if (!isWebhook(source)) return [];
  const { text } = source;
  const at = EVENT.exec(text)?.index ?? text.search(/\bverifyWebhook\(/);
  const events = [...text.matchAll(/(?:case|===?)\s*["'`](\w+\.[\w.]+)["'`]/g)].map(
    ([, name = ""]) => name,
  );
  return [
    {
      source,
      line: text.slice(0, at).split("\n").length,
      secret: /\b[A-Z_]*(?:WEBHOOK|SVIX)[A-Z_]*\b/.exec(text)?.[0] ?? null,
      others: [...new Set(events)].filter(
        (name) => !/^user\.(created|updated|deleted)$/.test(name),
      ),
    },
  ];
}
