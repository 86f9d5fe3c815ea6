/** Imports that a file gains. */
import type MagicString from "magic-string";
import { importedAs, importsOf, styleOf, type Source } from "./source";

const added = new WeakMap<MagicString, Set<string>>();

/**
 * Imports a name, beside others from there where the file has any.
 * @returns the name that the file has for it
 */
export function addImport(source: Source, text: MagicString, name: string, from: string): string {
  const bare = from.replace(/\.js$/, "").replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = new RegExp(`^${bare}(\\.[jt]s)?$`);
  const known = importedAs(source, name, pattern);
  if (known !== null) return known;
  const names = added.get(text) ?? new Set();
  added.set(text, names);
  if (names.has(name)) return name;
  names.add(name);
  const imports = importsOf(source);
  const same = imports.find(
    ({ source: specifier, specifiers, importKind }) =>
      pattern.test(specifier.value) &&
      importKind !== "type" &&
      specifiers.some((each) => each.type === "ImportSpecifier"),
  );
  const last = same?.specifiers.filter((each) => each.type === "ImportSpecifier").at(-1);
  if (last) {
    text.appendLeft(last.end ?? 0, `, ${name}`);
    return name;
  }
  const { quote, semicolon } = styleOf(source);
  const line = `import { ${name} } from ${quote}${from}${quote}${semicolon}`;
  const before = imports.at(-1);
  if (before) text.appendLeft(before.end ?? 0, `\n${line}`);
  else text.prepend(`${line}\n\n`);
  return name;
}
