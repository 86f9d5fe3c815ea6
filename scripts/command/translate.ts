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

export type Scope = {
  own: OwnCode;
  source: Source;
  within: AppFunction | null;
  /** Whether only the signed-in person's identity counts: in what a browser can call, anything else may be typed. */
  isStrict?: boolean;
};

const constant = (text: string): Said => ({
  text,
  isNullable: false,
  isOfUser: false,
  takesFirst: false,
});
const ofUser = ([text, isNullable]: [string, boolean], takesFirst = false): Said => ({
  text,
  isNullable,
  isOfUser: true,
  takesFirst,
});

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
      const parts = [inner.left, inner.right].map((each) => filled(say(each)));
      return together(parts, ([left = "", right = ""]) => `${left} ${inner.operator} ${right}`);
    }
    case "UnaryExpression":
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
  };
}

/** Of what may be null, a text. */
export function filled(said: Said | null): Said | null {
  return said?.isNullable ? { ...said, text: `(${said.text} ?? "")`, isNullable: false } : said;
}

function logical(left: Said | null, operator: string, right: Said | null): Said | null {
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
  const { own, source, within, isStrict = false } = scope;
  if (within) {
    const taken = destructured(within, name);
    if (taken) return property(taken.object, taken.property, scope, taken.text);
    const init = initOf(within.node, name);
    if (init) return wrapped(translate(init, scope, depth + 1));
    if (!isStrict) {
      const passed = fromCallers(name, scope, depth);
      if (passed) return passed;
    }
    // Set twice, or given from outside.
    if (within.names.has(name) && isBound(within.node, name)) return null;
  }
  const place = declared(own.sources, source, name);
  if (!place || !/Literal$/.test(place.node.type)) return null;
  return translate(place.node, { ...scope, source: place.source, within: null }, depth + 1);
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
function fromCallers(name: string, { own, within }: Scope, depth: number): Said | null {
  if (!within || within.kind === "public") return null;
  const given =
    within.kind === "helper" ? passedAt(own, within, name) : passedAs(own, within, name);
  const said = given.map(({ node, caller }) => {
    const scope = { own, source: caller.source, within: caller };
    return node && caller !== within ? translate(node, scope, depth + 1) : null;
  });
  const [first] = said;
  return first && said.every((each) => each?.text === first.text) ? wrapped(first) : null;
}

export type Passed = { node: Node | null; caller: AppFunction };

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
    if (called !== target.name || !caller) return [];
    return [{ node: call.arguments[at] ?? null, caller }];
  });
}

type Taken = { object: Node; property: string; text: string };

/** Where a variable is taken out of an object: `const { first_name } = event.data`. */
function destructured({ node, source }: AppFunction, name: string): Taken | null {
  let taken: Taken | null = null;
  const look = (inner: Node) => {
    if (inner.type !== "VariableDeclarator" || inner.id.type !== "ObjectPattern" || !inner.init)
      return;
    for (const each of inner.id.properties) {
      if (each.type !== "ObjectProperty" || nameOf(each.key) === null) continue;
      const local = each.value.type === "AssignmentPattern" ? each.value.left : each.value;
      if (nameOf(local) !== name) continue;
      const key = nameOf(each.key) ?? "";
      const object = bare(inner.init);
      taken = { object, property: key, text: `${textOf(source, object)}.${key}` };
    }
  };
  walk(node, look);
  return taken;
}

function member(
  node: Node & { type: "MemberExpression" | "OptionalMemberExpression" },
  scope: Scope,
  depth: number,
): Said | null {
  const { source, within, isStrict = false } = scope;
  const name = node.computed ? null : nameOf(node.property);
  if (name === null) return null;
  const object = bare(node.object);
  if (textOf(source, object) === "args") return isStrict ? null : fromCallers(name, scope, depth);
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
  if (scope.isStrict) return null;
  if (CALLED_CLERKS.test(textOf(scope.source, object))) {
    const word = own(OF_CLERK);
    if (word) return ofUser(word);
  }
  const list = /(email_addresses|phone_numbers)[!?]?\.?(\[0\]|at\(0\)|find\()/.exec(text);
  if (list && name === (list[1] === "email_addresses" ? "email_address" : "phone_number")) {
    const reader = name === "email_address" ? "primaryEmail" : "primaryPhone";
    return ofUser([`${reader}(user)`, true], list[2] !== "find(");
  }
  return null;
}

/** Whether it is what `ctx.auth.getUserIdentity()` gives, by itself or from a function that is called after it. */
function isIdentity(node: Node, scope: Scope, depth = 0): boolean {
  const inner = bare(node);
  if (inner.type === "LogicalExpression") return isIdentity(inner.left, scope, depth + 1);
  if (inner.type === "CallExpression") {
    return /(^|\.)(getUserIdentity|\w*[iI]dentity\w*)$/.test(textOf(scope.source, inner.callee));
  }
  if (inner.type !== "Identifier" || depth > 3) return false;
  const init = scope.within && initOf(scope.within.node, inner.name);
  if (init) return isIdentity(init, scope, depth + 1);
  const isParameter = scope.within?.kind === "helper";
  return isParameter && /^(user)?identity$/i.test(inner.name);
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
