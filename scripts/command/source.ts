/** Source text of the app: what stands in it, where, and how it is written, so that what is added looks alike. */
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { parse } from "@babel/parser";
import type { Expression, File, ImportDeclaration, Node, ObjectExpression } from "@babel/types";
import { messageOf, Problem } from "./problem";
import { posixFrom } from "./project";

export type { Node };

/** Text with line feeds alone: `finish` gives a file back what it had. */
export type Source = {
  file: string;
  text: string;
  ast: File;
  hasReturns: boolean;
  hasMark: boolean;
};

/** @throws Problem with the line of what can't be read as TypeScript */
export function parseSource(file: string, text: string): Source {
  const hasMark = text.startsWith("\uFEFF");
  const plain = text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");
  try {
    const ast = parseText(file, plain);
    return { file, text: plain, ast, hasReturns: text.includes("\r\n"), hasMark };
  } catch (error) {
    const { loc } = error as { loc?: { line: number } };
    throw new Problem(`${file}${loc ? `:${loc.line}` : ""} can't be read: ${messageOf(error)}`);
  }
}

/** The text of a file that was edited, with the line ends and the mark that it had. */
export function finish({ hasReturns, hasMark }: Source, text: string): string {
  return (hasMark ? "\uFEFF" : "") + (hasReturns ? text.replaceAll("\n", "\r\n") : text);
}

function parseText(file: string, text: string): File {
  const jsx = /\.[jt]sx$/.test(file) ? (["jsx"] as const) : [];
  return parse(text, {
    sourceType: "module",
    plugins: ["typescript", "decorators", ...jsx],
    // What stands in parentheses is said so again.
    createParenthesizedExpressions: true,
  });
}

/** The files of an app, each read once. What changes is not yet written says `overlay`. */
export class Sources {
  readonly #read = new Map<string, Source | null>();

  /** @param aliases what imports may begin with, and the folders that these beginnings stand for */
  constructor(
    readonly overlay = new Map<string, string>(),
    readonly aliases: [string, string][] = [],
  ) {}

  /** @throws Problem where it can't be read as TypeScript */
  get(file: string): Source {
    const known = this.#read.get(file);
    if (known) return known;
    const source = parseSource(file, this.overlay.get(file) ?? readFileSync(file, "utf8"));
    this.#read.set(file, source);
    return source;
  }

  /** The file that an import means; null where it is none of the app's. */
  resolve(from: string, specifier: string): string | null {
    const targets = specifier.startsWith(".")
      ? [path.resolve(path.dirname(from), specifier)]
      : this.aliases.flatMap(([prefix, to]) =>
          specifier.startsWith(prefix) ? path.join(to, specifier.slice(prefix.length)) : [],
        );
    const candidates = targets.flatMap((target) => {
      const plain = target.replace(/\.js$/, "");
      const inFolder = ["ts", "tsx", "js"].map((ending) => path.join(plain, `index.${ending}`));
      return [target, `${plain}.ts`, `${plain}.tsx`, `${plain}.js`, ...inFolder];
    });
    return candidates.find((each) => this.has(each)) ?? null;
  }

  has(file: string): boolean {
    return this.overlay.has(file) || (existsSync(file) && statSync(file).isFile());
  }
}

/** Calls `visit` for each node, with those that hold it, the nearest last. */
export function walk(
  node: Node,
  visit: (node: Node, parents: Node[]) => void,
  parents: Node[] = [],
): void {
  visit(node, parents);
  const inner = [...parents, node];
  for (const [name, value] of Object.entries(node)) {
    if (/^(loc|leadingComments|trailingComments|innerComments|extra|tokens|errors)$/.test(name))
      continue;
    for (const child of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (isNode(child)) walk(child, visit, inner);
    }
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

export function textOf({ text }: Source, node: Node): string {
  return text.slice(node.start ?? 0, node.end ?? 0);
}

export function lineOf(node: Node): number {
  return node.loc?.start.line ?? 1;
}

/** What TypeScript alone sees of an expression, taken off. */
export function bare(node: Expression | Node): Node {
  switch (node.type) {
    case "TSAsExpression":
    case "TSSatisfiesExpression":
    case "TSNonNullExpression":
    case "TSTypeAssertion":
    case "ParenthesizedExpression":
      return bare(node.expression);
    case "AwaitExpression":
      return bare(node.argument);
    default:
      return node;
  }
}

export function importsOf({ ast }: Source): ImportDeclaration[] {
  return ast.program.body.filter((statement) => statement.type === "ImportDeclaration");
}

/** The name under which a file has what it imports from a package; null where it does not import it. */
export function importedAs(source: Source, name: string, from: RegExp): string | null {
  for (const { source: specifier, specifiers } of importsOf(source)) {
    if (!from.test(specifier.value)) continue;
    for (const each of specifiers) {
      if (each.type === "ImportSpecifier" && nameOf(each.imported) === name) return each.local.name;
    }
  }
  return null;
}

/** The name of a key or an identifier; null where it is computed. */
export function nameOf(node: Node): string | null {
  if (node.type === "Identifier") return node.name;
  return node.type === "StringLiteral" ? node.value : null;
}

/** A value of an object's own property. */
export function propertyOf(object: ObjectExpression, name: string): Node | null {
  for (const each of object.properties) {
    if (each.type === "ObjectProperty" && !each.computed && nameOf(each.key) === name)
      return each.value;
    if (each.type === "ObjectMethod" && nameOf(each.key) === name) return each;
  }
  return null;
}

export type Place = { source: Source; node: Node };

/** What a name at the top of a file stands for, followed through relative imports; null where that can't be told. */
export function declared(sources: Sources, source: Source, name: string): Place | null {
  for (const statement of source.ast.program.body) {
    const declaration =
      statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    if (declaration?.type === "FunctionDeclaration" && declaration.id?.name === name) {
      return { source, node: declaration };
    }
    if (declaration?.type === "VariableDeclaration") {
      for (const { id, init } of declaration.declarations) {
        if (id.type === "Identifier" && id.name === name && init) return { source, node: init };
      }
    }
    const from = "source" in statement ? statement.source?.value : undefined;
    const file = typeof from === "string" ? sources.resolve(source.file, from) : null;
    if (file === null) continue;
    if (statement.type === "ExportAllDeclaration") {
      const found = declared(sources, sources.get(file), name);
      if (found) return found;
    }
    if (!("specifiers" in statement)) continue;
    for (const each of statement.specifiers ?? []) {
      if (each.type === "ImportSpecifier" && each.local.name === name) {
        return exported(sources, sources.get(file), nameOf(each.imported) ?? name);
      }
      if (each.type === "ImportDefaultSpecifier" && each.local.name === name) {
        return defaultOf(sources, sources.get(file));
      }
      if (each.type === "ExportSpecifier" && nameOf(each.exported) === name) {
        return exported(sources, sources.get(file), each.local.name);
      }
    }
  }
  return null;
}

function exported(sources: Sources, source: Source, name: string): Place | null {
  return name === "default" ? defaultOf(sources, source) : declared(sources, source, name);
}

/** What a file exports by default. */
export function defaultOf(sources: Sources, source: Source): Place | null {
  for (const statement of source.ast.program.body) {
    if (statement.type === "ExportDefaultDeclaration") {
      return resolved(sources, { source, node: statement.declaration });
    }
    if (statement.type !== "ExportNamedDeclaration") continue;
    const given = statement.specifiers.find(
      (each) => each.type === "ExportSpecifier" && nameOf(each.exported) === "default",
    );
    if (given?.type === "ExportSpecifier")
      return declared(sources, source, statement.source ? "default" : given.local.name);
  }
  return null;
}

/** A place, or, where a name stands there, what it stands for. */
export function resolved(sources: Sources, { source, node }: Place): Place | null {
  const inner = bare(node);
  return inner.type === "Identifier"
    ? declared(sources, source, inner.name)
    : { source, node: inner };
}

/** How a file is written. */
type Style = { quote: string; semicolon: string; unit: string };

export function styleOf({ text }: { text: string }): Style {
  const count = (pattern: RegExp) => [...text.matchAll(pattern)].length;
  const [, unit = "  "] = /^([ \t]+)\S/m.exec(text.replace(/^\s*\*.*$/gm, "")) ?? [];
  return {
    quote: count(/from '/g) > count(/from "/g) ? "'" : '"',
    semicolon: count(/from ["'][^"']+["']$/gm) > count(/from ["'][^"']+["'];/g) ? "" : ";",
    unit,
  };
}

/** The blanks that a position's line begins with. */
export function indentAt(text: string, position: number): string {
  const start = text.lastIndexOf("\n", position - 1) + 1;
  return /^[ \t]*/.exec(text.slice(start))?.[0] ?? "";
}

/** How a file imports another one. */
export function specifierOf(from: string, to: string, hasExtensions: boolean): string {
  const relative = posixFrom(path.dirname(from), to);
  const named = relative.startsWith(".") ? relative : `./${relative}`;
  return hasExtensions ? `${named}.js` : named;
}
