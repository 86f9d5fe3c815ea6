/** Which columns of `users` mirror Clerk, by what they are called and what they take; and what the app's own code says of the others. */
import type { Spot } from "./app-function";
import { givenTo, valueIn } from "./given";
import type { AppKey } from "./key";
import type { OwnCode } from "./own-code";
import { takes, type Column, type Table, type Validator } from "./schema-facts";
import { bare, nameOf, type Node } from "./source";
import { beside, translate, unwrapped, type Said } from "./translate";
import { tableOf, type Write } from "./writes";

/** What a column is usually called, and how it is read. */
type Meaning = {
  names: string[];
  type: "string" | "boolean" | "record";
  /** Of `user`; null where Clerk has nothing, but for what Clerk always has. */
  reads: string;
  /** A reader of `readers.ts` that does just that. */
  reader?: string;
  /** What a required column gets where Clerk has nothing; null where Clerk always has something. */
  fallback: string | null;
  /** What clears an optional column of which Clerk always has something. */
  orNothing?: string;
};

const MEANINGS: Meaning[] = [
  {
    names: ["email", "emailaddress", "primaryemail", "primaryemailaddress"],
    type: "string",
    reads: "primaryEmail(user)",
    reader: "primaryEmail",
    fallback: '""',
  },
  {
    names: ["name", "fullname", "displayname"],
    type: "string",
    reads: "fullName(user)",
    reader: "fullName",
    fallback: 'user.username ?? ""',
  },
  { names: ["firstname", "givenname"], type: "string", reads: "user.first_name", fallback: '""' },
  {
    names: ["lastname", "familyname", "surname"],
    type: "string",
    reads: "user.last_name",
    fallback: '""',
  },
  { names: ["username"], type: "string", reads: "user.username", fallback: '""' },
  {
    names: [
      "imageurl",
      "image",
      "avatar",
      "avatarurl",
      "picture",
      "pictureurl",
      "photourl",
      "profileimage",
      "profileimageurl",
      "profilepicture",
      "profilepictureurl",
      "profileurl",
    ],
    type: "string",
    reads: "user.image_url",
    fallback: null,
    orNothing: "user.image_url || null",
  },
  {
    names: ["phone", "phonenumber", "primaryphone", "primaryphonenumber"],
    type: "string",
    reads: "primaryPhone(user)",
    reader: "primaryPhone",
    fallback: '""',
  },
  {
    names: ["emailverified", "isemailverified"],
    type: "boolean",
    reads: "isEmailVerified(user)",
    reader: "isEmailVerified",
    fallback: "false",
  },
  { names: ["clerkexternalid"], type: "string", reads: "user.external_id", fallback: '""' },
  { names: ["banned"], type: "boolean", reads: "user.banned", fallback: null },
  { names: ["locked"], type: "boolean", reads: "user.locked", fallback: null },
  {
    names: ["publicmetadata"],
    type: "record",
    reads: "unlessEmpty(user.public_metadata)",
    fallback: "{}",
  },
];

/** Columns that the sync writes by itself. */
const SYNC_COLUMNS = ["clerkId", "clerkCreatedAt"];

export type Columns = {
  /** For `fields.ts`: the reader's text of each column. */
  fields: Map<string, string>;
  /** Of those the required ones, and what each may hold once its user is gone. */
  required: Map<string, string>;
  /** For `newUserFields`: an expression over `user`; null where the person has to say. */
  own: Map<string, string | null>;
  /** Columns whose meaning is known, left to people, and where they write them. */
  edited: Map<string, Write>;
  /** Columns whose name is known and whose type does not fit: the type that it would need. */
  misfits: Map<string, string>;
  /** Where the app's own code reads a mirrored column otherwise. */
  otherwise: { column: string; at: Spot; text: string; reader: string }[];
  /** Inserts that give what can't be said of Clerk's user. */
  unsaid: { column: string; at: Spot[] }[];
};

/** What says nothing of anybody, as the schema takes it. */
function emptyOf({ type, value }: Validator): string {
  const members = type === "union" ? (value as Validator[]).map((member) => member.type) : [type];
  if (members.includes("null")) return "null";
  const empty = { string: '""', boolean: "false", number: "0" }[members[0] ?? ""];
  return empty ?? "{}";
}

/** @param key the column by which the app knows its users, if it is not `clerkId` */
export function sortColumns(users: Table, own: OwnCode, key: AppKey | null): Columns {
  const result: Columns = {
    fields: new Map(),
    required: new Map(),
    own: new Map(),
    edited: new Map(),
    misfits: new Map(),
    otherwise: [],
    unsaid: [],
  };
  for (const [name, column] of users.columns ?? []) {
    if (SYNC_COLUMNS.includes(name)) continue;
    if (name === key?.column) {
      const reads = key.holds === "token" ? "tokenOf(user.id)" : "user.id";
      if (!column.isOptional) result.own.set(name, reads);
      continue;
    }
    const meaning = meaningOf(name);
    const write = editedBy(name, own);
    const fits = meaning && takesAll(column.validator, meaning.type);
    if (meaning && !fits) result.misfits.set(name, meaning.type);
    if (meaning && fits && write) result.edited.set(name, write);
    if (meaning && fits && !write) {
      const reader = readerText(meaning, column);
      result.fields.set(name, reader);
      if (!column.isOptional) result.required.set(name, emptyOf(column.validator));
      result.otherwise.push(...readOtherwise(name, meaning, reader, own));
    } else sayOwn(result, name, column, own, meaning);
  }
  return result;
}

function meaningOf(name: string): Meaning | null {
  const plain = name.replaceAll("_", "").toLowerCase();
  return MEANINGS.find(({ names }) => names.includes(plain)) ?? null;
}

/** Whether every value of a type may stand there: an id is a text of one kind only. */
function takesAll(validator: Validator, type: Meaning["type"]): boolean {
  if (type !== "record") return takes(validator, type);
  return (
    validator.type === "any" || (validator.type === "record" && takes(valuesOf(validator), "any"))
  );
}

function valuesOf(validator: Validator): Validator {
  const { values } = validator as unknown as { values?: { fieldType?: Validator } };
  return values?.fieldType ?? { type: "never" };
}

function readerText(meaning: Meaning, { isOptional, validator }: Column): string {
  const { reads, reader, fallback, orNothing } = meaning;
  const mayBeNothing = isOptional || takes(validator, "null");
  if (mayBeNothing) return reader ?? `(user) => ${orNothing ?? reads}`;
  if (reads.startsWith("unlessEmpty")) return "(user) => user.public_metadata";
  return fallback === null ? `(user) => ${reads}` : `(user) => ${reads} ?? ${fallback}`;
}

/** The first place where a browser can have a column written with anything but what Clerk says at sign-in; null where there is none. */
function editedBy(name: string, own: OwnCode): Write | null {
  const edits = (write: Write) => {
    const values = write.columns.get(name);
    if (!write.isPublic) return false;
    return values
      ? values.some((value) => !value || !isHarmless(value, name, write, own))
      : write.isOpen;
  };
  return own.writes.find(edits) ?? null;
}

/** Whether a value is nothing that a person typed: of the identity, a text of the app's own, or what the row had. */
function isHarmless(value: Node, name: string, write: Write, own: OwnCode): boolean {
  const { source, within } = write;
  const inner = bare(value);
  if (inner.type === "LogicalExpression") {
    return [inner.left, inner.right].every((each) => isHarmless(each, name, write, own));
  }
  if (inner.type === "ConditionalExpression") {
    return [inner.consequent, inner.alternate].every((each) => isHarmless(each, name, write, own));
  }
  if (inner.type === "MemberExpression" || inner.type === "OptionalMemberExpression") {
    const isSame = nameOf(inner.property) === name && !inner.computed;
    if (isSame && tableOf(own.sources, inner.object, write) === "users") return true;
  }
  if (inner.type === "Identifier" && inner.name === "undefined") return true;
  return translate(value, { own, source, within, isPublic: true, isAlone: true }) !== null;
}

/** Where a column of Clerk's is read in another way than ours. */
function readOtherwise(
  column: string,
  meaning: Meaning,
  reader: string,
  own: OwnCode,
): Columns["otherwise"] {
  const plain = (text: string) => text.replaceAll(/[()]/g, "");
  const seen = new Set<string>();
  const given = givenTo(column, own).filter(({ text }) => !seen.has(text) && seen.add(text));
  return given.flatMap(({ at, said, text }) => {
    const isOurs = said && !said.takesFirst && plain(reader).includes(plain(said.text));
    const rest = plain(said?.text ?? "").replace(plain(meaning.reads), "");
    const isAlike = said && !said.takesFirst && /^( \?\? ("")?)?$/.test(rest);
    if (!said || isOurs || isAlike) return [];
    return [{ column, at, text: text.replaceAll(/\s+/g, " "), reader }];
  });
}

function sayOwn(
  result: Columns,
  name: string,
  column: Column,
  own: OwnCode,
  meaning: Meaning | null,
): void {
  const inserts = own.writes.filter(({ kind }) => kind === "insert");
  const given = inserts.flatMap((insert) => valueIn(insert, name, own));
  const texts = new Set(given.map(({ said }) => (said ? fitted(said, column) : null)));
  const [only] = texts;
  const isSaid = texts.size === 1 && typeof only === "string";
  const isEvery = given.length >= inserts.length;
  if (isSaid && (isEvery || !column.isOptional)) {
    // What is nothing need not be said.
    if (!(column.isOptional && only === "null")) result.own.set(name, only);
    return;
  }
  const starts =
    meaning && takesAll(column.validator, meaning.type) ? startOf(meaning, column) : null;
  if (!column.isOptional) result.own.set(name, given.length === 0 ? starts : null);
  if (column.isOptional && given.every(({ text }) => text === "undefined" || text === "…")) return;
  if (!column.isOptional && given.length === 0 && starts !== null) return;
  result.unsaid.push({ column: name, at: given.map(({ at }) => at) });
}

/** What Clerk says, once, for a new row: of a column that people edit from then on. */
function startOf({ reads, fallback }: Meaning, { validator }: Column): string {
  return takes(validator, "null") || fallback === null ? reads : `${reads} ?? ${fallback}`;
}

/** An expression that a column takes; null where it may be null and the column takes none. */
function fitted(said: Said, { validator, isOptional }: Column): string | null {
  const text = unwrapped(said.text);
  const or = (fallback: string) => `${beside("??", text)} ?? ${fallback}`;
  if (!said.isNullable || takes(validator, "null")) return text;
  if (text === "null") return isOptional ? text : null;
  if (isOptional) return or("undefined");
  if (takes(validator, "boolean")) return or("false");
  return takes(validator, "string") ? or('""') : null;
}
