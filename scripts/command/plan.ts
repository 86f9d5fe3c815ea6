/** What `init` is to do with an app, before any of it is done. */
import { existsSync } from "node:fs";
import path from "node:path";
import { appFile, fieldsFile, type Issuer } from "./app-files";
import { diffOf, type Changes } from "./change";
import { describe } from "./app-function";
import { sortColumns, type Columns } from "./columns";
import { WEBHOOK_PATH } from "../../convex/clerk/shared/environment";
import { editCrons, editHttp, refuseClash } from "./edit-entries";
import { editSchema, isLacking, lacksOf, newSchema, usersPlace } from "./edit-schema";
import { findIssuer } from "./issuer";
import { findKey, holdsUsers, isNew, type AppKey } from "./key";
import { readOwnCode, type OwnCode } from "./own-code";
import { lackingPackages } from "./packages";
import { Choice, Problem } from "./problem";
import { findProject, posixFrom, type Manager, type Project, type Svix } from "./project";
import { readSchema, refersTo, type Schema, type Table } from "./schema-facts";
import { nameOf, Sources, type Source } from "./source";
import {
  COMMAND,
  NAME,
  readCopied,
  refuseForeign,
  vendoredFiles,
  version,
  versionFile,
  VERSION_FILE,
  type Copied,
} from "./vendored";

export type InitOptions = {
  app: string;
  dryRun?: boolean;
  install?: boolean;
  /** The column that holds Clerk's id, or "none". */
  key?: string;
  /** Where Clerk is to send its events. */
  path?: string;
  /** Whether a table `users` is wanted beside another one that seems to hold them. */
  newTable?: boolean;
  manager?: Manager;
};

export type Plan = {
  project: Project;
  /** What an earlier start has copied; null for the first. */
  copied: Copied | null;
  /** Texts of the app's own files that change, or are made. */
  entries: Changes;
  /** Why these are to be applied by hand; empty where they need not. */
  doubts: string[];
  /** Of the two files that are the app's from then on, those that are not there yet. */
  mine: Changes;
  packages: string[];
  columns: Columns;
  /** The app's own functions, with the lines that they have afterwards. */
  own: OwnCode;
  key: AppKey | null;
  webhookPath: string;
  /** Where the table is defined afterwards: a file and a line. */
  usersAt: string;
  /** Indexes of the app's own on `clerkId` alone. */
  twins: string[];
  isNewTable: boolean;
  /** Whether no column of rows that may be there is known to hold Clerk's id. */
  isUnkeyed: boolean;
  /** Whether `app.ts` says of a removal what a person has decided. */
  isRemovalDecided: boolean;
  /** A column by which the app seems to mark rows of users who are gone. */
  softDeletion: string | null;
  /** Columns of other tables that hold ids of users. */
  referring: string[];
  /** Whether `auth.config.ts` tells the issuer. */
  hasIssuer: boolean;
  /** Whether the person has to say what the issuer is. */
  needsIssuer: boolean;
};

/** @throws Problem for whatever the person has to mend */
export async function planInit(options: InitOptions): Promise<Plan> {
  const project = findProject(options.app, options.manager);
  const copied = whatIsCopied(project, options.app);
  const vendored = vendoredChanges(project, project.svix);
  const sources = new Sources(new Map(), project.aliases);
  const entry = (name: string) => sourceOf(sources, project.functions, name);
  const schemaSource = entry("schema");
  const schemaFile = schemaSource?.file ?? path.join(project.functions, "schema.ts");
  const schema = schemaSource ? await readSchema(project, schemaFile, vendored) : null;
  const users = schema?.get("users") ?? null;
  const columnNames = users?.columns ? new Set(users.columns.keys()) : null;
  const own = readOwnCode(sources, project.functions, columnNames);
  if (!schema) refuseUntyped(own);
  if (schema && !users && !options.newTable) refuseOtherTable(schema, schemaFile);
  // The second time `app.ts` says it.
  const key = users && !copied ? findKey(users, own, schemaFile, options.key) : null;

  const webhookPath = webhookPathOf(options.path);
  const entries: Changes = new Map();
  const doubts: string[] = [];
  const take = (file: string, edit: { text: string; doubt: string | null } | null) => {
    if (edit) entries.set(file, edit.text);
    if (edit?.doubt) doubts.push(edit.doubt);
  };
  if (!schema) take(schemaFile, { text: newSchema(project), doubt: null });
  const lacks = schema && lacksOf(schema, schemaFile, keyIndexOf(key));
  if (lacks && isLacking(lacks)) {
    const { files, doubt } = editSchema(project, sources, schemaFile, lacks);
    for (const [file, text] of files) take(file, { text, doubt: null });
    if (doubt) doubts.push(doubt);
    if (key?.isWithin) {
      doubts.push(`the app knows its users by ${key.column}, which is inside an object`);
    }
  }
  const [http, crons] = [entry("http"), entry("crons")];
  const routed = editHttp(project, http, webhookPath);
  if (routed) refuseClash(own.routes, webhookPath);
  take(http?.file ?? path.join(project.functions, "http.ts"), routed);
  take(crons?.file ?? path.join(project.functions, "crons.ts"), editCrons(project, crons));

  const overlay = new Map([...vendored, ...textsOf(entries)]);
  const after =
    doubts.length > 0 && users ? users : await evaluated(project, schemaFile, schema, overlay);
  // From here on lines are those that the person will find.
  const written = new Sources(new Map(textsOf(entries)), project.aliases);
  const told = readOwnCode(written, project.functions, columnNames);
  const columns = sortColumns(after, told, key);
  const issuer = findIssuer(sources, project);
  const place = usersPlace(written, schemaFile);
  return {
    project,
    copied,
    entries,
    doubts,
    mine: ownFiles(project, columns, key, issuer),
    packages: lackingPackages(project),
    columns,
    own: told,
    key,
    webhookPath,
    usersAt: place ? describe(place) : schemaFile,
    twins: twinsOf(users),
    isNewTable: users === null,
    isUnkeyed: users !== null && key === null && isNew("clerkId", users, own),
    isRemovalDecided: false,
    softDeletion: [...(users?.columns?.keys() ?? [])].find(isSoftDeletion) ?? null,
    referring: schema ? refersTo(schema, "users") : [],
    hasIssuer: issuer !== null,
    needsIssuer: issuer === null && (key?.holds === "token" || usesToken(columns)),
  };
}

/** @throws Problem where the folder is not ours, or of another version */
function whatIsCopied(project: Project, app: string): Copied | null {
  const folder = folderOf(project);
  const copied = readCopied(folder);
  if (!copied) refuseForeign(folder);
  if (copied && copied.version !== version()) {
    throw new Problem(
      `${folder} has ${NAME} ${copied.version} already, and this is ${version()}: bring it up to date with ${COMMAND} update --app ${app}.`,
    );
  }
  return copied;
}

/** The sync's files, and the one that lists them, written last. */
export function vendoredChanges(project: Project, svix: Svix | null): Map<string, string> {
  const texts = vendoredFiles(svix);
  const folder = folderOf(project);
  const files = [...texts].map(([name, text]): [string, string] => [path.join(folder, name), text]);
  return new Map([...files, [path.join(folder, VERSION_FILE), versionFile(texts)]]);
}

function refuseUntyped({ writes }: OwnCode): void {
  const first = writes.find(({ kind }) => kind === "insert");
  if (!first) return;
  throw new Problem(
    `expected a schema.ts that says what users holds, since the app makes rows there (${describe(first)}): write it first, with the columns that they have.`,
  );
}

/** Where a table of another name holds the app's users, one called `users` beside it is hardly meant. */
function refuseOtherTable(schema: Schema, file: string): void {
  const likely = [...schema]
    .filter(([name, table]) => holdsUsers(name, table))
    .map(([name]) => name);
  if (likely.length === 0) return;
  throw new Choice(
    `${file} has no table users, and ${likely.join(", ")} seems to hold them. The sync needs one of that name: rename yours, or, to have one beside it, say so with --new-table.`,
    "newTable",
    [],
  );
}

function keyIndexOf(key: AppKey | null): [string, string[]] | null {
  return key && !key.isIndexed ? [key.index, [key.column]] : null;
}

/** A file of functions, or the one that it hands on. */
function sourceOf(sources: Sources, functions: string, name: string): Source | null {
  const files = ["ts", "js"].map((ending) => path.join(functions, `${name}.${ending}`));
  const file = files.find((each) => sources.has(each));
  return file === undefined ? null : handedOn(sources, sources.get(file));
}

/** Of `export { default } from "./router"` the router. */
function handedOn(sources: Sources, source: Source): Source {
  for (const statement of source.ast.program.body) {
    if (statement.type !== "ExportNamedDeclaration" || !statement.source) continue;
    const isDefault = statement.specifiers.some(
      (each) =>
        each.type === "ExportSpecifier" &&
        nameOf(each.exported) === "default" &&
        nameOf(each.local) === "default",
    );
    const file = isDefault ? sources.resolve(source.file, statement.source.value) : null;
    if (file !== null) return handedOn(sources, sources.get(file));
  }
  return source;
}

function textsOf(changes: Changes): [string, string][] {
  return [...changes].flatMap(([file, text]): [string, string][] =>
    text === null ? [] : [[file, text]],
  );
}

function webhookPathOf(asked: string | undefined): string {
  if (asked === undefined) return WEBHOOK_PATH;
  if (!/^\/[\w/.-]+$/.test(asked)) {
    throw new Problem(
      `--path must be a path that begins with "/", such as /clerk-users: it is ${JSON.stringify(asked)}.`,
    );
  }
  return asked;
}

/**
 * Evaluates the schema as it is to be.
 * @returns its `users`
 * @throws Problem where it is not the one before with what was lacking, and nothing else: an edit went wrong
 */
async function evaluated(
  project: Project,
  file: string,
  before: Schema | null,
  overlay: Map<string, string>,
): Promise<Table> {
  const after = await readSchema(project, file, overlay);
  const [users, known] = [after.get("users"), before?.get("users")];
  const isKept =
    [...(before ?? [])].every(
      ([name, { text }]) => name === "users" || after.get(name)?.text === text,
    ) &&
    [...(known?.columns ?? [])].every(
      ([name, column]) => JSON.stringify(users?.columns?.get(name)) === JSON.stringify(column),
    ) &&
    [...(known?.indexes ?? [])].every(
      ([name, fields]) => String(users?.indexes.get(name)) === String(fields),
    );
  if (users && isKept && !isLacking(lacksOf(after, file, null))) return users;
  throw new Problem(
    `${file} could not be changed as it has to be: with the lines added, its tables are not the same ones. Add them by hand, as clerk/tables.ts shows them, and run this again.`,
    diffOf(new Map([...overlay].filter(([each]) => existsSync(each))), project.top),
  );
}

export function folderOf({ functions }: Project): string {
  return path.join(functions, "clerk");
}

/** Of `fields.ts` and `app.ts` what is not there yet. */
function ownFiles(
  project: Project,
  columns: Columns,
  key: AppKey | null,
  issuer: Issuer | null,
): Changes {
  const texts: [string, string][] = [
    ["fields.ts", fieldsFile(columns, notesOf(columns, project))],
    ["app.ts", appFile(columns, key, issuer)],
  ];
  const files = texts.map(([name, text]): [string, string] => [
    path.join(folderOf(project), name),
    text,
  ]);
  return new Map(files.filter(([file]) => !existsSync(file)));
}

/** What `fields.ts` says of columns that it leaves alone. */
function notesOf({ edited, misfits }: Columns, { top }: Project): string[] {
  return [
    ...[...edited].map(([name, write]) => {
      return `${name} is people's to edit: ${posixFrom(top, describe(write))}`;
    }),
    ...[...misfits].map(([name, type]) => `${name} takes no ${type}, which Clerk has for it`),
  ];
}

function usesToken({ own }: Columns): boolean {
  return [...own.values()].some((text) => text?.includes("tokenOf("));
}

function twinsOf(users: Table | null): string[] {
  return [...(users?.indexes ?? [])].flatMap(([name, fields]) =>
    String(fields) === "clerkId" && name !== "by_clerkId" ? [name] : [],
  );
}

function isSoftDeletion(column: string): boolean {
  return /^(is)?_?(deleted|deletion|archived)/i.test(column);
}
