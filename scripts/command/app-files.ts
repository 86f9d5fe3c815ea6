/** The text of the two files that are the app's own from the beginning: `fields.ts` and `app.ts`. */
import type { Columns } from "./columns";
import type { AppKey } from "./key";

const READERS = ["fullName", "isEmailVerified", "primaryEmail", "primaryPhone", "unlessEmpty"];

/** `import { … } from "./shared/readers.js"`, of those that expressions use. */
function readersImport(expressions: (string | null)[]): string {
  const text = plain(expressions);
  const used = READERS.filter((name) => new RegExp(`\\b${name}\\b`).test(text));
  return used.length === 0 ? "" : `import { ${used.join(", ")} } from "./shared/readers.js";\n`;
}

/** Expressions without what stands in quotes; what a template puts in stays. */
function plain(expressions: (string | null)[]): string {
  return expressions.join("\n").replaceAll(/"[^"\n]*"|'[^'\n]*'/g, '""');
}

/** @param notes what to say beside columns that are left to the app, a line each */
export function fieldsFile({ fields }: Columns, notes: string[]): string {
  const lines = [...fields].map(([name, text]) => `  ${keyText(name)}: ${text},`);
  const left = notes.map((note) => `  // ${note}`);
  return `/**
 * Which columns of \`users\` mirror Clerk, and how each is read from Clerk's user: one line a column. null clears an
 * optional column, undefined leaves it as it is, a required one must get a value. \`shared/readers.ts\` has the usual readers.
 */
${readersImport([...fields.values()])}import type { Fields } from "./types.js";

export const fields = {
${[...lines, ...left].map((line) => `${line}\n`).join("")}} satisfies Fields;
`;
}

/** Clerk's Frontend API URL: written out, or the variable that it is read from. */
export type Issuer = { url: string } | { variable: string };

export function appFile(
  { own, fields }: Columns,
  key: AppKey | null,
  issuer: Issuer | null,
): string {
  const isUndecided = [...own.values()].includes(null);
  const lines = [...own].map(([name, text]) => {
    return `  ${keyText(name)}: ${text ?? `undecided(${JSON.stringify(name)})`},`;
  });
  const body = lines.length === 0 ? "{}" : `{\n${lines.join("\n")}\n}`;
  const text = plain([...own.values()]);
  const parameter = /\buser\b/.test(text) ? "user" : "";
  const usesToken = key?.holds === "token" || text.includes("tokenOf(");
  const isVariable = issuer !== null && "variable" in issuer;
  const environment = isVariable ? 'import { environment } from "./shared/environment.js";\n' : "";
  const parts = [
    `/** What else of the sync is this app's: its own columns of a new row, what removal means, its code that runs with a change. */
${environment}${readersImport([...own.values()])}import type { Hooks, IsBanned, Key, NewUserFields, Removal } from "./types.js";`,
    issuerText(issuer),
    usesToken ? tokenText(issuer) : "",
    isUndecided ? UNDECIDED : "",
    `/** The app's own columns of a row that the sync creates. The sync never writes them again. */
export const newUserFields: NewUserFields = (${parameter}) => (${body});`,
    `/** What becomes of the row of a user who is gone from Clerk: "delete", or { mark: { … }, purgeAfterMs: … }. See \`Removal\`. */
export const removal: Removal = "delete";`,
    `/** Whom \`getCurrentUser\` takes for nobody, although they have a row. See \`IsBanned\`. */
export const isBanned: IsBanned = ${isBannedText(fields)};`,
    `/** Another column by which the app knows its rows; null where it is \`clerkId\`. See \`Key\`. */
export const key: Key = ${key === null ? "null" : keyObject(key)};`,
    `/** What the app does with a change, in the transaction that makes it. See \`Hooks\`. */
export const hooks: Hooks = {};`,
  ];
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

function keyObject({ column, index, holds }: AppKey): string {
  const read = holds === "token" ? "tokenOf" : "(clerkId) => clerkId";
  return `{ column: ${JSON.stringify(column)}, index: ${JSON.stringify(index)}, read: ${read} }`;
}

/** Where Convex takes tokens from is known at run time, or only to the person. */
function issuerText(issuer: Issuer | null): string {
  const doc =
    "/** Whose tokens are taken: Clerk's Frontend API URL, as `auth.config.ts` has it. */\n";
  if (issuer === null) return `${doc}export const issuer: string = "";`;
  return "url" in issuer
    ? `${doc}export const issuer = ${JSON.stringify(issuer.url)};`
    : `${doc}export const issuer = () => environment(${JSON.stringify(issuer.variable)});`;
}

function tokenText(issuer: Issuer | null): string {
  const isUrl = issuer !== null && "url" in issuer;
  const missing =
    issuer === null
      ? "clerk/app.ts has to say what the issuer is, as auth.config.ts has it"
      : "variable" in issuer && `${issuer.variable} is not set`;
  const check = `  const url = ${issuer === null ? "issuer" : "issuer()"};
  if (!url) throw new Error(${JSON.stringify(missing)});
  return url + "|" + clerkId;`;
  return `/** Convex's \`tokenIdentifier\` of a Clerk user: the issuer and the id. */
function tokenOf(clerkId: string): string {
${isUrl ? '  return issuer + "|" + clerkId;' : check}
}`;
}

/** By the column that mirrors it, where one does. */
function isBannedText(fields: Columns["fields"]): string {
  const [name] = [...fields].find(([, text]) => text === "(user) => user.banned") ?? [];
  if (name === undefined) return "() => false";
  return name === "banned"
    ? "({ banned }) => banned === true"
    : `(user) => user[${JSON.stringify(name)}] === true`;
}

const UNDECIDED = `/** Until it is said, nobody gets a new row: each run sets them aside, and this sentence says why. */
function undecided(column: string): never {
  throw new Error(\`convex/clerk/app.ts has to say what users.\${column} of a new row is\`);
}`;

function keyText(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}
