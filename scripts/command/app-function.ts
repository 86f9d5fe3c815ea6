/** A function of the app's own, and places within. */
import type { CallExpression, Node } from "@babel/types";
import { lineOf, textOf, type Source } from "./source";

/** A function at the top of a file, registered with Convex or not. */
export type AppFunction = {
  source: Source;
  node: Node;
  name: string;
  /** `users:create`, as references have it. */
  path: string;
  kind: "public" | "internal" | "http" | "helper";
  /** Names that stand in it, of whatever. */
  names: Set<string>;
};

/** Something in a function. */
export type Spot = { source: Source; node: Node; within: AppFunction | null };
export type Call = Spot & { node: CallExpression };

/** `internal.users.create` as `users:create`; null for anything else. */
export function referenceOf(source: Source, node: Node): string | null {
  if (node.type !== "MemberExpression") return null;
  const [, names = ""] = /^(?:internal|api)\.([\w.]+)$/.exec(textOf(source, node)) ?? [];
  const at = names.lastIndexOf(".");
  return at === -1 ? null : `${names.slice(0, at).replaceAll(".", "/")}:${names.slice(at + 1)}`;
}

/** A place: a file and a line. */
export function describe({ source, node }: Pick<Spot, "source" | "node">): string {
  return `${source.file}:${lineOf(node)}`;
}
