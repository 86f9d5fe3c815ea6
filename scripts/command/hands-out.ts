/** Where functions of the app's own give whole rows of users to whoever calls them. */
import type { Node } from "@babel/types";
import type { AppFunction, Spot } from "./app-function";
import {
  bare,
  declared,
  nameOf,
  propertyOf,
  textOf,
  walk,
  type Source,
  type Sources,
} from "./source";
import { tableOf } from "./writes";

/** @returns the first place of a registered function */
export function handsOut(
  sources: Sources,
  within: AppFunction,
): (Spot & { hasReturns: boolean })[] {
  const { source, node, kind } = within;
  const call = bare(node);
  const [options] = call.type === "CallExpression" ? call.arguments : [];
  const returns = options?.type === "ObjectExpression" ? propertyOf(options, "returns") : null;
  const hasReturns = returns !== null && textOf(source, returns) !== "v.any()";
  if (kind === "helper" || (kind !== "public" && !hasReturns)) return [];
  if (returns !== null && namesClerkId(sources, { source, node: returns })) return [];
  const rows = new Set<string>();
  walk(node, (inner) => {
    if (inner.type !== "VariableDeclarator" || !inner.init) return;
    const name = nameOf(inner.id);
    if (name !== null && isRow(sources, inner.init, within)) rows.add(name);
  });
  const found: Node[] = [];
  walk(node, (inner) => {
    const given = returnedBy(inner);
    if (given && (isRow(sources, given, within) || passesOn(given, rows))) found.push(inner);
  });
  return found.slice(0, 1).map((each) => ({ source, node: each, within, hasReturns }));
}

/** Whether what a function says that it returns has the sync's columns: then its author knows. */
function namesClerkId(sources: Sources, { source, node }: Pick<Spot, "source" | "node">): boolean {
  let isFound = /\bclerkCreatedAt\b/.test(textOf(source, node));
  walk(node, (inner) => {
    const place = inner.type === "Identifier" ? declared(sources, source, inner.name) : null;
    isFound ||= place !== null && /\bclerkCreatedAt\b/.test(textOf(place.source, place.node));
  });
  return isFound;
}

/** Methods that read rows, and those that give what they are called on, or some of it. */
const READS = /^(collect|first|unique|firstX|uniqueX|take|paginate|get)$/;
const KEEPS = /^(filter|slice|sort|toSorted|reverse|toReversed|concat|flat|at|find)$/;

/** What a function that is given to a call returns, in any of its places. */
function returnsOf(node: Node | undefined): Node[] {
  const found: Node[] = [];
  if (node) {
    walk(node, (inner) => {
      const given = returnedBy(inner);
      if (given) found.push(given);
    });
  }
  return found;
}

/** The name of a function's first parameter; an empty one where it is taken apart. */
function parameterOf(node: Node): string {
  const [parameter] = node.type === "ArrowFunctionExpression" ? node.params : [];
  return (parameter && nameOf(parameter)) ?? "";
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
  const callee = inner.callee.type === "MemberExpression" ? inner.callee : null;
  const method = (callee && nameOf(callee.property)) ?? "";
  if (callee && KEEPS.test(method)) return isRow(sources, callee.object, within);
  if (callee && method === "map") {
    const [each] = inner.arguments;
    const names = each && isRow(sources, callee.object, within) ? [parameterOf(each)] : [];
    return returnsOf(each).some(
      (given) => isRow(sources, given, within) || passesOn(given, new Set(names)),
    );
  }
  if (/^Promise\.all\(/.test(text)) {
    return inner.arguments.some((each) => isRow(sources, each, within));
  }
  const reads = /\b(query|get|table)\(\s*["'`]users["'`]/.test(text);
  if (reads && READS.test(method)) return true;
  const isInsert = /\binsert\w*\(/.test(text);
  if (!isInsert && tableOf(sources, inner, { source, node, within }) === "users") return true;
  const name = nameOf(inner.callee);
  return (
    name !== null &&
    /user|viewer|account|^me$/i.test(name) &&
    isOfHelper(sources, name, within.source)
  );
}

/** Whether a helper reads users, by itself or by another one. */
function isOfHelper(sources: Sources, name: string, source: Source, depth = 0): boolean {
  const helper = declared(sources, source, name);
  if (!helper || depth > 3) return false;
  if (/["'`]users["'`]/.test(textOf(helper.source, helper.node))) return true;
  let isFound = false;
  walk(helper.node, (inner) => {
    const called = inner.type === "CallExpression" ? nameOf(inner.callee) : null;
    isFound ||=
      called !== null &&
      /user|viewer|account|^me$/i.test(called) &&
      isOfHelper(sources, called, helper.source, depth + 1);
  });
  return isFound;
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
      case "ParenthesizedExpression":
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
