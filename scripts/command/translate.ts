/**
 * Says in the words of Clerk's user what the app's own code gives a new row: `identity.pictureUrl` is
 * `user.image_url`. What can't be said so gives null, never a guess.
 */
import type { Node } from "@babel/types";
import { referenceOf, type AppFunction } from "./app-function";
import type { OwnCode } from "./own-code";
import { bare, declared, nameOf, propertyOf, textOf, walk, type Source } from "./source";
import { initOf } from "./writes";

/** An expression over `user`, and whether it may be null. */
export type Said = {
  text: string;
  isNullable: boolean;
  /** Whether Clerk's user is in it. */
  isOfUser: boolean;
  /** Whether it takes the first address, which need not be the primary one. */
  takesFirst: boolean;
  /** Whether only what is called as Clerk's events call it says so. */
  isOfEvent: boolean;
};

/** Clerk's claims, as Convex names them: `UserIdentity` of convex/server. */
const IDENTITY: Record<string, [text: string, isNullable: boolean]> = {
  subject: ["user.id", false],
  tokenIdentifier: ["tokenOf(user.id)", false],
  name: ["fullName(user)", true],
  givenName: ["user.first_name", true],
  familyName: ["user.last_name", true],
  nickname: ["user.username", true],
  preferredUsername: ["user.username", true],
  pictureUrl: ["user.image_url", false],
  email: ["primaryEmail(user)", true],
  emailVerified: ["isEmailVerified(user)", true],
  phoneNumber: ["primaryPhone(user)", true],
};

/** Keys of Clerk's user, where an object is called as its events call it. */
const OF_CLERK: Record<string, [text: string, isNullable: boolean]> = {
  first_name: ["user.first_name", true],
  last_name: ["user.last_name", true],
  image_url: ["user.image_url", false],
  profile_image_url: ["user.image_url", false],
  external_id: ["user.external_id", true],
  public_metadata: ["user.public_metadata", false],
  created_at: ["user.created_at", false],
  updated_at: ["user.updated_at", false],
  last_sign_in_at: ["user.last_sign_in_at", true],
  id: ["user.id", false],
  username: ["user.username", true],
  banned: ["user.banned", false],
  locked: ["user.locked", false],
};
const CALLED_CLERKS = /(^|\.)(data|clerkUser|userData|clerkData|attributes)[!?]?$/;
/** Methods of texts that may stand in the app's own expression. */
const METHODS =
  /^(toLowerCase|toUpperCase|trim|trimStart|trimEnd|slice|substring|charAt|split|replace|replaceAll|toString|padStart)$/;
const CALLS = /^(Date\.now|Math\.random|crypto\.randomUUID)$/;

type Scope = {
  own: OwnCode;
  source: Source;
  within: AppFunction | null;
  /** Whether a browser can call it: then only the identity is Clerk's word, whatever else is called so may be typed. */
  isPublic?: boolean;
  /** Whether what its callers pass counts for nothing, since not all of them may be known. */
  isAlone?: boolean;
  /** Whether one caller is enough. */
  isAny?: boolean;
};

const constant = (text: string): Said => ({
  text,
  isNullable: false,
  isOfUser: false,
  takesFirst: false,
  isOfEvent: false,
});
const ofUser = (
  [text, isNullable]: [string, boolean],
  { takesFirst = false, isOfEvent = false } = {},
): Said => ({ text, isNullable, isOfUser: true, takesFirst, isOfEvent });

export function translate(node: Node, scope: Scope, depth = 0): Said | null {
  if (depth > 20) return null;
  if (node.type === "ParenthesizedExpression") {
    const said = translate(node.expression, scope, depth + 1);
    return said && / /.test(said.text) ? { ...said, text: `(${said.text})` } : said;
  }
  const inner = outer(node);
  if (inner.type === "ParenthesizedExpression") return translate(inner, scope, depth + 1);
  const say = (each: Node) => translate(each, scope, depth + 1);
  switch (inner.type) {
    case "StringLiteral":
    case "NumericLiteral":
    case "BooleanLiteral":
    case "BigIntLiteral":
      return constant(textOf(scope.source, inner));
    case "NullLiteral":
      return { ...constant("null"), isNullable: true };
    case "Identifier":
      return inner.name === "undefined" ? null : variable(inner.name, scope, depth);
    case "MemberExpression":
    case "OptionalMemberExpression":
      return member(inner, scope, depth);
    case "LogicalExpression":
      return logical(say(inner.left), inner.operator, say(inner.right));
    case "ConditionalExpression": {
      const parts = [say(inner.test), say(inner.consequent), say(inner.alternate)];
      return together(
        parts,
        ([test = "", then = "", other = ""]) => `${test} ? ${then} : ${other}`,
        {
          isNullable: Boolean(parts[1]?.isNullable) || Boolean(parts[2]?.isNullable),
        },
      );
    }
    case "BinaryExpression": {
      const isCompared = /^[!=]==?$/.test(inner.operator);
      const parts = [inner.left, inner.right].map((each) =>
        isCompared ? say(each) : filled(say(each)),
      );
      return together(parts, ([left = "", right = ""]) => `${left} ${inner.operator} ${right}`);
    }
    case "UnaryExpression":
      if (inner.operator === "typeof" || inner.operator === "void") return null;
      return together([say(inner.argument)], ([text = ""]) => `${inner.operator}${text}`);
    case "TemplateLiteral":
      return template(
        inner,
        inner.expressions.map((each) => filled(say(each as Node))),
      );
    case "ArrayExpression": {
      const parts = inner.elements.map((each) =>
        each === null || each.type === "SpreadElement" ? null : certain(say(each)),
      );
      return together(parts, (texts) => `[${texts.join(", ")}]`);
    }
    case "ObjectExpression": {
      const names = inner.properties.map((each) =>
        each.type === "ObjectProperty" ? nameOf(each.key) : null,
      );
      if (names.includes(null)) return null;
      const parts = inner.properties.map((each) =>
        each.type === "ObjectProperty" ? certain(say(each.value)) : null,
      );
      const text = (texts: string[]) =>
        texts.map((each, at) => `${JSON.stringify(names[at])}: ${each}`).join(", ");
      return together(parts, (texts) => (texts.length === 0 ? "{}" : `{ ${text(texts)} }`));
    }
    case "NewExpression":
      return nameOf(inner.callee) === "Date" && inner.arguments.length === 0
        ? constant("new Date()")
        : null;
    case "CallExpression":
    case "OptionalCallExpression":
      return call(inner, scope, depth);
    default:
      return null;
  }
}

/** What TypeScript alone sees, and waiting, taken off; parentheses stay. */
function outer(node: Node): Node {
  const isPlain = /^(TS(As|Satisfies|NonNull)Expression|TSTypeAssertion|AwaitExpression)$/.test(
    node.type,
  );
  if (!isPlain) return node;
  return outer(
    node.type === "AwaitExpression" ? node.argument : (node as { expression: Node }).expression,
  );
}

/** A part of an object or a list: what may be nothing there can't be told. */
function certain(said: Said | null): Said | null {
  return said?.isNullable && said.text !== "null" ? null : said;
}

/** Parts put together; null where one of them is. */
function together(
  parts: (Said | null)[],
  text: (texts: string[]) => string,
  { isNullable = false }: { isNullable?: boolean } = {},
): Said | null {
  const said = parts.filter((part) => part !== null);
  if (said.length < parts.length) return null;
  return {
    text: text(said.map((part) => part.text)),
    isNullable,
    isOfUser: said.some(({ isOfUser }) => isOfUser),
    takesFirst: said.some(({ takesFirst }) => takesFirst),
    isOfEvent: said.some(({ isOfEvent }) => isOfEvent),
  };
}

/** Of what may be null, a text. */
function filled(said: Said | null): Said | null {
  return said?.isNullable ? { ...said, text: `(${said.text} ?? "")`, isNullable: false } : said;
}

function logical(left: Said | null, operator: string, right: Said | null): Said | null {
  // Nothing in the place of nothing.
  if (operator === "??" && right?.text === "null") return left;
  return together(
    [left, right],
    ([one = "", other = ""]) => `${beside(operator, one)} ${operator} ${beside(operator, other)}`,
    { isNullable: Boolean(right?.isNullable) || (operator === "&&" && Boolean(left?.isNullable)) },
  );
}

/** An expression as it may stand beside an operator: in parentheses, where it has others. */
export function beside(operator: string, text: string): string {
  return / [?:&|<>=*/%+-]+ /.test(text.replaceAll(` ${operator} `, "")) ? `(${text})` : text;
}

function template(node: Node & { type: "TemplateLiteral" }, parts: (Said | null)[]): Said | null {
  const texts = node.quasis.map(({ value }) => value.raw);
  return together(
    parts,
    (inner) =>
      `\`${texts.map((text, at) => text + (at < inner.length ? `\${${unwrapped(inner[at] ?? "")}}` : "")).join("")}\``,
  );
}

/** Without parentheses around all of it. */
export function unwrapped(text: string): string {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "(") depth += 1;
    if (text[at] === ")") depth -= 1;
    if (depth === 0) return at > 0 && at === text.length - 1 ? text.slice(1, -1) : text;
  }
  return text;
}

function variable(name: string, scope: Scope, depth: number): Said | null {
  const { own, source, within } = scope;
  if (within) {
    const taken = destructured(within, name);
    if (taken) return property(taken.object, taken.property, scope, taken.text);
    const init = initOf(within.node, name);
    if (init) return wrapped(translate(init, scope, depth + 1));
    const passed = fromCallers(name, scope, depth);
    if (passed) return passed;
    // Set twice, or given from outside.
    if (within.names.has(name) && isBound(within.node, name)) return null;
  }
  const place = declared(own.sources, source, name);
  if (!place) return null;
  return wrapped(
    translate(place.node, { ...scope, source: place.source, within: null }, depth + 1),
  );
}

/** Whether a function has a variable, or a parameter, of that name. */
function isBound(node: Node, name: string): boolean {
  let isFound = false;
  walk(node, (inner) => {
    const patterns =
      "params" in inner && Array.isArray(inner.params) ? (inner.params as Node[]) : [];
    if (inner.type === "VariableDeclarator") patterns.push(inner.id);
    for (const pattern of patterns) {
      walk(pattern, (each) => {
        isFound ||= each.type === "Identifier" && each.name === name;
      });
    }
  });
  return isFound;
}

function wrapped(said: Said | null): Said | null {
  return said &&
    / /.test(said.text) &&
    !/^[`"'[{]/.test(said.text) &&
    unwrapped(said.text) === said.text
    ? { ...said, text: `(${said.text})` }
    : said;
}

/** What an argument of an internal function, or of a helper, is where others call it, if they agree. */
function fromCallers(name: string, scope: Scope, depth: number): Said | null {
  const { own, within, isAny = false } = scope;
  if (!within || within.kind === "public" || scope.isAlone) return null;
  const known = callersOf(own);
  const key = `${within.source.file} ${within.name} ${name} ${String(isAny)}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  // Whoever asks in a circle learns nothing.
  known.set(key, null);
  const given =
    within.kind === "helper" ? passedAt(own, within, name) : passedAs(own, within, name);
  const said = given.map(({ node, caller }) => {
    const there = {
      ...scope,
      source: caller.source,
      within: caller,
      isPublic: caller.kind === "public",
    };
    return node ? translate(node, there, depth + 1) : null;
  });
  const [first] = isAny ? said.filter((each) => each !== null) : said;
  const isAgreed = isAny || said.every((each) => each?.text === first?.text);
  const found = first && isAgreed ? wrapped(first) : null;
  known.set(key, found);
  return found;
}

const callers = new WeakMap<OwnCode, Map<string, Said | null>>();

function callersOf(own: OwnCode): Map<string, Said | null> {
  const known = callers.get(own) ?? new Map<string, Said | null>();
  callers.set(own, known);
  return known;
}

type Passed = { node: Node | null; caller: AppFunction };

/** What calls of an internal function pass as an argument: `ctx.runMutation(internal.users.create, { … })`. */
export function passedAs(own: OwnCode, target: AppFunction, name: string): Passed[] {
  return own.calls.flatMap(({ node, source, within: caller }): Passed[] => {
    const [reference, values] = node.arguments;
    if (!reference || !caller || referenceOf(source, reference) !== target.path) return [];
    const object = values?.type === "ObjectExpression" ? values : null;
    return [{ node: object && propertyOf(object, name), caller }];
  });
}

/** What calls of a helper pass in the place of a parameter. */
function passedAt(own: OwnCode, target: AppFunction, name: string): Passed[] {
  const { node } = target;
  const inner = bare(node);
  const params = "params" in inner && Array.isArray(inner.params) ? (inner.params as Node[]) : [];
  const at = params.findIndex((each) => nameOf(each) === name);
  if (at === -1) return [];
  return own.calls.flatMap(({ node: call, within: caller }): Passed[] => {
    const called =
      nameOf(call.callee) ?? ("property" in call.callee ? nameOf(call.callee.property) : null);
    const isIt =
      called === target.name || (called !== null && own.aliases.get(called)?.has(target.name));
    if (!isIt || !caller) return [];
    return [{ node: call.arguments[at] ?? null, caller }];
  });
}

type Taken = { object: Node; property: string; text: string };

/** Where a variable is taken out of an object, and nothing else gives it a value: `const { first_name } = event.data`. */
function destructured({ node, source }: AppFunction, name: string): Taken | null {
  const taken: (Taken | null)[] = [];
  walk(node, (inner) => {
    if (inner.type === "AssignmentExpression" && nameOf(inner.left) === name) taken.push(null);
    if (inner.type !== "VariableDeclarator") return;
    if (nameOf(inner.id) === name) taken.push(null);
    if (inner.id.type !== "ObjectPattern" || !inner.init) return;
    for (const each of inner.id.properties) {
      if (each.type !== "ObjectProperty" || nameOf(each.key) === null) continue;
      const hasDefault = each.value.type === "AssignmentPattern";
      const local = each.value.type === "AssignmentPattern" ? each.value.left : each.value;
      if (nameOf(local) !== name) continue;
      const key = nameOf(each.key) ?? "";
      const object = bare(inner.init);
      taken.push(
        hasDefault ? null : { object, property: key, text: `${textOf(source, object)}.${key}` },
      );
    }
  });
  return taken.length === 1 ? (taken[0] ?? null) : null;
}

function member(
  node: Node & { type: "MemberExpression" | "OptionalMemberExpression" },
  scope: Scope,
  depth: number,
): Said | null {
  const { source, within } = scope;
  const name = node.computed ? null : nameOf(node.property);
  if (name === null) return null;
  const object = bare(node.object);
  if (textOf(source, object) === "args") return fromCallers(name, scope, depth);
  const init = within && object.type === "Identifier" ? initOf(within.node, object.name) : null;
  return (
    property(object, name, scope, textOf(source, node)) ??
    (init ? property(bare(init), name, scope, `${textOf(source, bare(init))}.${name}`) : null)
  );
}

/** @param text the whole of it, for addresses in a list */
function property(object: Node, name: string, scope: Scope, text: string): Said | null {
  const own = (words: Record<string, [string, boolean]>) =>
    Object.hasOwn(words, name) ? words[name] : undefined;
  if (isIdentity(object, scope)) {
    const word = own(IDENTITY);
    return word ? ofUser(word) : null;
  }
  if (scope.isPublic) return null;
  if (CALLED_CLERKS.test(textOf(scope.source, object))) {
    const word = own(OF_CLERK);
    if (word) return ofUser(word, { isOfEvent: true });
  }
  const list = /(email_addresses|phone_numbers)[!?]?\.?(\[0\]|at\(0\)|find\()/.exec(text);
  if (list && name === (list[1] === "email_addresses" ? "email_address" : "phone_number")) {
    const reader = name === "email_address" ? "primaryEmail" : "primaryPhone";
    return ofUser([`${reader}(user)`, true], { takesFirst: list[2] !== "find(", isOfEvent: true });
  }
  return null;
}

/** Whether it is what `ctx.auth.getUserIdentity()` gives, by itself, from a function that asks for it, or by all who call. */
function isIdentity(node: Node, scope: Scope, depth = 0): boolean {
  const inner = bare(node);
  if (depth > 4) return false;
  if (inner.type === "LogicalExpression") return isIdentity(inner.left, scope, depth + 1);
  if (inner.type === "CallExpression") {
    const callee = textOf(scope.source, inner.callee);
    const [first] = inner.arguments;
    // requireIdentity(ctx): of anything else than the context it makes who knows what.
    const isOfContext = !first || (inner.arguments.length === 1 && nameOf(first) === "ctx");
    return isOfContext && /(^|\.)\w*[iI]dentity\w*$/.test(callee);
  }
  if (inner.type !== "Identifier" || !scope.within) return false;
  const { own, within } = scope;
  const init = initOf(within.node, inner.name);
  if (init) return isIdentity(init, scope, depth + 1);
  if (within.kind !== "helper") return false;
  const given = passedAt(own, within, inner.name);
  return (
    given.length > 0 &&
    given.every(({ node: each, caller }) => {
      return (
        each !== null &&
        isIdentity(each, { ...scope, source: caller.source, within: caller }, depth + 1)
      );
    })
  );
}

function call(
  node: Node & { type: "CallExpression" | "OptionalCallExpression" },
  scope: Scope,
  depth: number,
): Said | null {
  const text = textOf(scope.source, node.callee);
  if (CALLS.test(text) && node.arguments.length === 0) return constant(`${text}()`);
  if (/^(String|Number|Boolean)$/.test(text)) return null;
  const { callee } = node;
  if (callee.type === "Identifier") return ofHelper(callee.name, scope, depth);
  if (callee.type !== "MemberExpression" && callee.type !== "OptionalMemberExpression") return null;
  const method = nameOf(callee.property) ?? "";
  const object = filled(translate(callee.object, scope, depth + 1));
  if (/^(toISOString|getTime)$/.test(method)) {
    return object?.text === "new Date()" ? constant(`new Date().${method}()`) : null;
  }
  if (!METHODS.test(method)) return null;
  const given = node.arguments.map((each) => translate(each, scope, depth + 1));
  return together(
    [object, ...given],
    ([of = "", ...rest]) => `${of}.${method}(${rest.join(", ")})`,
  );
}

/** What a helper gives that is one expression: `const displayName = (identity) => identity.name ?? "…"`. */
function ofHelper(name: string, scope: Scope, depth: number): Said | null {
  const place = declared(scope.own.sources, scope.source, name);
  const within = place && scope.own.functions.find((each) => each.node === place.node);
  if (!within) return null;
  const made = bare(within.node);
  const body = "body" in made && !Array.isArray(made.body) ? made.body : null;
  const [only, ...others] = body?.type === "BlockStatement" ? body.body : [];
  const returned = only?.type === "ReturnStatement" && others.length === 0 ? only.argument : null;
  const given = body && body.type !== "BlockStatement" ? (body as Node) : returned;
  return given
    ? wrapped(translate(given, { ...scope, source: within.source, within }, depth + 1))
    : null;
}
