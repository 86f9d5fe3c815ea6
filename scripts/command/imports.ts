/** Imports that a file gains. */
import type MagicString from "magic-string";
import { importedAs, importsOf, nameOf, styleOf, type Source } from "./source";

const added = new WeakMap<MagicString, Map<string, string>>();

/**
 * Imports a name, beside others from there where the file has any.
 * @returns the name that the file has for it
 */
export function addImport(source: Source, text: MagicString, name: string, from: string): string {
  const bare = from.replace(/\.js$/, "").replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(`^${bare}(\\.[jt]s)?$`);
  const known = importedAs(source, name, pattern);
  if (known !== null) return known;
  const names = added.get(text) ?? new Map<string, string>();
  added.set(text, names);
  const before = names.get(name);
  if (before !== undefined) return before;
  const imports = importsOf(source);
  const same = imports.find(
    ({ source: specifier, specifiers, importKind }) =>
      pattern.test(specifier.value) &&
      importKind !== "type" &&
      specifiers.some((each) => each.type === "ImportSpecifier"),
  );
  const isTaken = bound(source).has(name);
  const local = isTaken ? `clerk${name.charAt(0).toUpperCase()}${name.slice(1)}` : name;
  names.set(name, local);
  const words = isTaken ? `${name} as ${local}` : name;
  const last = same?.specifiers.filter((each) => each.type === "ImportSpecifier").at(-1);
  if (last) {
    text.appendLeft(last.end ?? 0, `, ${words}`);
    return local;
  }
  const { quote, semicolon } = styleOf(source);
  const line = `import { ${words} } from ${quote}${from}${quote}${semicolon}`;
  const behind = imports.at(-1);
  if (behind) text.appendLeft(behind.end ?? 0, `\n${line}`);
  else text.prepend(`${line}\n\n`);
  return local;
}

/** Names that a file has at its top. */
function bound(source: Source): Set<string> {
  return new Set([
    ...importsOf(source).flatMap(({ specifiers }) => specifiers.map(({ local }) => local.name)),
    ...source.ast.program.body.flatMap((statement) => {
      const inner = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
      if (inner?.type === "FunctionDeclaration") return inner.id?.name ?? [];
      if (inner?.type !== "VariableDeclaration") return [];
      return inner.declarations.flatMap(({ id }) => nameOf(id) ?? []);
    }),
  ]);
}
