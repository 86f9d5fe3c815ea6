/** Clerk's Frontend API URL, as the app's `auth.config.ts` has it. */
import path from "node:path";
import type { Issuer } from "./app-files";
import type { Project } from "./project";
import { bare, propertyOf, resolved, textOf, walk, type Sources } from "./source";

/** @returns null where it does not say, or names several */
export function findIssuer(sources: Sources, { functions }: Project): Issuer | null {
  const file = ["auth.config.ts", "auth.config.js"]
    .map((name) => path.join(functions, name))
    .find((each) => sources.has(each));
  if (file === undefined) return null;
  const source = sources.get(file);
  const found = new Map<string, Issuer>();
  walk(source.ast.program, (node) => {
    if (node.type !== "ObjectExpression") return;
    const domain = propertyOf(node, "domain") ?? propertyOf(node, "issuer");
    const place = domain && resolved(sources, { source, node: domain });
    if (!place) return;
    const inner = bare(place.node);
    if (inner.type === "StringLiteral") {
      found.set(inner.value, { url: inner.value });
    }
    const [, variable] =
      /^process\.env(?:\.|\[["'])(\w+)(?:["']\])?$/.exec(textOf(place.source, inner)) ?? [];
    if (variable !== undefined) found.set(variable, { variable });
  });
  const [only] = found.values();
  return found.size === 1 ? (only ?? null) : null;
}
