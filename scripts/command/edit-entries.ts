/** What `http.ts` and `crons.ts` gain: the sync's routes, and its schedule. */
import path from "node:path";
import type { CallExpression, ExportDefaultDeclaration, Node, Statement } from "@babel/types";
import MagicString from "magic-string";
import { HEALTH_PATH, WEBHOOK_PATH } from "../../convex/clerk/shared/environment";
import { addImport } from "./imports";
import { Problem } from "./problem";
import type { Project } from "./project";
import {
  bare,
  finish,
  importedAs,
  lineOf,
  nameOf,
  propertyOf,
  resolved,
  specifierOf,
  styleOf,
  textOf,
  walk,
  type Place,
  type Source,
  type Sources,
} from "./source";

/** A file's text as it is to be, and why it must be applied by hand; null where nothing is to change. */
type EntryEdit = { text: string; doubt: string | null } | null;

/**
 * @param source `http.ts`; null where the app has none
 * @param webhookPath where Clerk sends its events
 */
export function editHttp(project: Project, source: Source | null, webhookPath: string): EntryEdit {
  const extension = project.hasExtensions ? ".js" : "";
  const options = (quote: string) =>
    webhookPath === WEBHOOK_PATH ? "" : `, { path: ${quote}${webhookPath}${quote} }`;
  if (source === null) {
    return {
      text: `import { httpRouter } from "convex/server";
import { addClerkRoutes } from "./clerk/routes${extension}";

const http = httpRouter();

addClerkRoutes(http${options('"')});

export default http;
`,
      doubt: null,
    };
  }
  const mounted = importedAs(source, "addClerkRoutes", /clerk\/routes(\.[jt]s)?$/);
  if (mounted !== null && calls(source, mounted)) return null;
  const text = new MagicString(source.text);
  const { quote, semicolon } = styleOf(source);
  const target = path.join(project.functions, "clerk/routes");
  const specifier = specifierOf(source.file, target, project.hasExtensions);
  const add = addImport(source, text, "addClerkRoutes", specifier);
  const doubt = beforeDefault(source, text, "http", "httpRouter", (name) => {
    return `${add}(${name}${options(quote)})${semicolon}`;
  });
  return { text: finish(source, text.toString()), doubt };
}

/** @param source `crons.ts`; null where the app has none */
export function editCrons(project: Project, source: Source | null): EntryEdit {
  const extension = project.hasExtensions ? ".js" : "";
  const schedule = (crons: string, internal: string, quote: string) =>
    `${crons}.interval(${quote}reconcile users with Clerk${quote}, { minutes: 15 }, ${internal}.clerk.reconcile.run, {
  mode: ${quote}due${quote},
})`;
  const note = "// It also fires at once on the first deploy: that run is the backfill.";
  if (source === null) {
    return {
      text: `import { cronJobs } from "convex/server";
import { internal } from "./_generated/api${extension}";

const crons = cronJobs();

${note}
${schedule("crons", "internal", '"')};

export default crons;
`,
      doubt: null,
    };
  }
  if (/\bclerk\s*\.\s*reconcile\s*\.\s*run\b/.test(source.text)) return null;
  const text = new MagicString(source.text);
  const { quote, semicolon } = styleOf(source);
  const generated = path.join(project.functions, "_generated/api");
  const internal =
    importedAs(source, "internal", /(^|\/)_generated\/api(\.js)?$/) ??
    addImport(source, text, "internal", specifierOf(source.file, generated, project.hasExtensions));
  const doubt = beforeDefault(source, text, "crons", "cronJobs", (name) => {
    return `${note}\n${schedule(name, internal, quote)}${semicolon}`;
  });
  return { text: finish(source, text.toString()), doubt };
}

function calls(source: Source, name: string): boolean {
  let isCalled = false;
  walk(source.ast.program, (node) => {
    if (node.type === "CallExpression" && nameOf(node.callee) === name) isCalled = true;
  });
  return isCalled;
}

/**
 * Adds lines before what a file exports by default, which has a name then.
 * @param name what it is called, where it has none
 * @param maker the function of `convex/server` that makes it
 * @returns why it is not sure that this is right; null where it is
 */
function beforeDefault(
  source: Source,
  text: MagicString,
  name: string,
  maker: string,
  lines: (name: string) => string,
): string | null {
  const { semicolon } = styleOf(source);
  const statement = source.ast.program.body.find(isDefaultExport);
  if (!statement) {
    throw new Problem(
      `${source.file} must export by default what ${maker}() gives: it has no default export.`,
    );
  }
  const start = startOf(source, statement);
  const named = nameOfDefault(statement);
  if (named !== null) {
    text.appendLeft(start, `${lines(named)}\n\n`);
    const made = topLevel(source, named);
    return made && isMadeBy(source, made, maker)
      ? null
      : `${named} is not made by ${maker}() in ${source.file}`;
  }
  const { declaration } = statement as ExportDefaultDeclaration;
  const made = textOf(source, declaration);
  const end = statement.end ?? 0;
  text.overwrite(
    statement.start ?? 0,
    end,
    `const ${name} = ${made}${semicolon}\n\n${lines(name)}\n\nexport default ${name}${semicolon}`,
  );
  return isMadeBy(source, declaration, maker)
    ? null
    : `what ${source.file} exports is not made by ${maker}()`;
}

function isDefaultExport(statement: Statement): boolean {
  if (statement.type === "ExportDefaultDeclaration") return true;
  if (statement.type !== "ExportNamedDeclaration" || statement.source) return false;
  return statement.specifiers.some(
    (each) => each.type === "ExportSpecifier" && nameOf(each.exported) === "default",
  );
}

/** The name under which a file has what it exports by default; null where it has none. */
function nameOfDefault(statement: Statement): string | null {
  if (statement.type === "ExportDefaultDeclaration") {
    return statement.declaration.type === "Identifier" ? statement.declaration.name : null;
  }
  const specifiers = statement.type === "ExportNamedDeclaration" ? statement.specifiers : [];
  for (const each of specifiers) {
    if (each.type === "ExportSpecifier" && nameOf(each.exported) === "default")
      return each.local.name;
  }
  return null;
}

/** Where a statement begins with the comments before it, but for one behind the statement before. */
function startOf({ text }: Source, statement: Statement): number {
  const own = statement.leadingComments?.find(({ start }) => {
    return /^[ \t]*$/.test(text.slice(text.lastIndexOf("\n", (start ?? 0) - 1) + 1, start ?? 0));
  });
  return own?.start ?? statement.start ?? 0;
}

function topLevel({ ast }: Source, name: string): Node | null {
  for (const statement of ast.program.body) {
    if (statement.type !== "VariableDeclaration") continue;
    for (const { id, init } of statement.declarations) if (nameOf(id) === name) return init ?? null;
  }
  return null;
}

function isMadeBy(source: Source, node: Node, maker: string): boolean {
  const inner = bare(node);
  const name = importedAs(source, maker, /^convex\/server$/);
  return inner.type === "CallExpression" && name !== null && nameOf(inner.callee) === name;
}

/** A route of the app's own. */
export type Route = {
  path: string;
  isPrefix: boolean;
  source: Source;
  call: CallExpression;
  handler: Node | null;
};

/** The routes that an app mounts, wherever. */
export function routesOf(sources: Sources, source: Source): Route[] {
  const routes: Route[] = [];
  walk(source.ast.program, (node) => {
    if (node.type !== "CallExpression" || node.callee.type !== "MemberExpression") return;
    if (nameOf(node.callee.property) !== "route") return;
    const [options] = node.arguments;
    if (options?.type !== "ObjectExpression") return;
    const exact = propertyOf(options, "path");
    const where = exact ?? propertyOf(options, "pathPrefix");
    const text = where && stringOf(sources, { source, node: where });
    if (text === null) return;
    routes.push({
      path: text,
      isPrefix: exact === null,
      source,
      call: node,
      handler: propertyOf(options, "handler"),
    });
  });
  return routes;
}

function stringOf(sources: Sources, place: Place): string | null {
  const node = resolved(sources, place)?.node;
  if (node?.type === "StringLiteral") return node.value;
  if (node?.type === "TemplateLiteral" && node.expressions.length === 0)
    return node.quasis[0]?.value.cooked ?? null;
  return null;
}

/** @throws Problem where a route of the app's own is in the way */
export function refuseClash(routes: Route[], webhookPath: string): void {
  const clash = routes.find(
    ({ path: own, isPrefix }) => !isPrefix && [webhookPath, HEALTH_PATH].includes(own),
  );
  if (!clash) return;
  const at = `${clash.source.file}:${lineOf(clash.call)}`;
  const advice =
    clash.path === HEALTH_PATH
      ? "Give it another path first."
      : `Remove it, if it does what the sync does now, or give the sync's webhook another path: --path /clerk-users (addClerkRoutes(http, { path: "/clerk-users" })).`;
  throw new Problem(
    `${clash.path} must be free for the sync: the app has a handler there, ${at}. ${advice}`,
  );
}
