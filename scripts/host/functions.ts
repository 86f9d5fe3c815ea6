/** The app's modules and functions, by name, as convex-test wants them. */
import { readdirSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { TestConvex } from "convex-test";
import { makeFunctionReference } from "convex/server";
import type schema from "../../convex/schema";

export type Modules = Record<string, () => Promise<unknown>>;
type FunctionKind = "query" | "mutation" | "action";

const CONVEX = path.join(import.meta.dirname, "../../convex");
const FLAGS: [string, FunctionKind][] = [
  ["isQuery", "query"],
  ["isMutation", "mutation"],
  ["isAction", "action"],
];

/** The modules as `import.meta.glob` would give them, which only bundlers know. */
export function findModules(): Modules {
  const files = readdirSync(CONVEX, { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    files
      .filter((file) => /\.[jt]s$/.test(file) && !file.endsWith(".d.ts"))
      .map((file) => {
        const url = pathToFileURL(path.join(CONVEX, file)).href;
        return [`../convex/${file}`, async () => (await import(url)) as unknown];
      }),
  );
}

/** What Convex knows of a registered function. @param name such as `clerk/reconcile:run` */
export async function findFunction(
  modules: Modules,
  name: string,
): Promise<{ kind: FunctionKind; isPublic: boolean } | null> {
  const [file = "", exported = "default"] = name.split(":");
  const module = (await modules[`../convex/${file}.ts`]?.()) as Record<string, unknown> | undefined;
  const found = module?.[exported];
  if (typeof found !== "function") return null;
  const kind = FLAGS.find(([flag]) => flag in found)?.[1];
  return kind === undefined ? null : { kind, isPublic: "isPublic" in found };
}

/** Calls a function of any kind. */
export async function callFunction(
  t: Pick<TestConvex<typeof schema>, FunctionKind>,
  kind: FunctionKind,
  name: string,
  args: Record<string, unknown>,
): Promise<unknown> {
  switch (kind) {
    case "query":
      return (await t.query(makeFunctionReference<"query">(name), args)) as unknown;
    case "mutation":
      return (await t.mutation(makeFunctionReference<"mutation">(name), args)) as unknown;
    case "action":
      return (await t.action(makeFunctionReference<"action">(name), args)) as unknown;
  }
}
