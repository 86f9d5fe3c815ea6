/** `init`: takes the sync into an app. */
import { existsSync } from "node:fs";
import path from "node:path";
import { appFile, fieldsFile } from "./app-files";
import { applyChanges, checkChanges, diffOf, realChanges, type Changes } from "./change";
import { describe, sortColumns, type Columns } from "./columns";
import { editCrons, editHttp, refuseClash, WEBHOOK_PATH } from "./edit-entries";
import { editSchema, lacksOf, newSchema, usersPlace, type Lacks } from "./edit-schema";
import { findIssuer } from "./issuer";
import { findKey, holdsClerkId, type AppKey } from "./key";
import { leftToDo } from "./left";
import { readOwnCode, type OwnCode } from "./own-code";
import { addPackages, installCommand, lackingPackages, refuseDirtyLock } from "./packages";
import { Problem } from "./problem";
import { findProject, svixOf, type Manager, type Project } from "./project";
import { readSchema, type Schema, type Table } from "./schema-facts";
import { Sources, type Source } from "./source";
import type { Terminal } from "./terminal";
import {
  NAME,
  readCopied,
  refuseForeign,
  vendoredFiles,
  version,
  versionFile,
  VERSION_FILE,
} from "./vendored";

export type InitOptions = {
  app: string;
  dryRun?: boolean;
  install?: boolean;
  /** The column that holds Clerk's id, or "none". */
  key?: string;
  /** Where Clerk is to send its events. */
  path?: string;
  manager?: Manager;
};

/** What is to be done, before any of it is. */
export type Plan = {
  project: Project;
  changes: Changes;
  /** Files of the app's own that change, to be applied by hand where that is not safe, and why. */
  doubts: string[];
  packages: string[];
  columns: Columns;
  own: OwnCode;
  key: AppKey | null;
  webhookPath: string;
  /** Where the table is defined: a file and a line. */
  usersAt: string;
  /** Indexes of the app's own on `clerkId` alone. */
  twins: string[];
  isNew: { schema: boolean; users: boolean };
  /** A column by which the app seems to mark rows of users who are gone. */
  softDeletion: string | null;
  /** Other tables that seem to hold Clerk's users. */
  likely: string[];
  /** Whether the person has to say what the issuer is. */
  needsIssuer: boolean;
};

/** @throws Problem for whatever the person has to mend: nothing is changed then */
export async function init(options: InitOptions, terminal: Terminal): Promise<void> {
  const plan = await planInit(options);
  const { project, changes, doubts } = plan;
  const { root } = project;
  if (doubts.length > 0) {
    const entries = new Map(
      [...changes].filter(([file]) => existsSync(file) && isEntry(project, file)),
    );
    throw new Problem(
      `${doubts.join("; ")}: this is for you to apply. Look at the diff, change what it can't know, then run the same command again, which does the rest.`,
      diffOf(entries, root),
    );
  }
  const real = realChanges(changes);
  if (real.size === 0) {
    terminal.say(
      `Nothing to change: ${NAME} ${version()} is in ${relative(root, folderOf(project))}.`,
    );
    return;
  }
  checkChanges(real);
  const packages = options.install === false ? [] : plan.packages;
  if (packages.length > 0) refuseDirtyLock(project);
  terminal.note(`${NAME} ${version()} for ${root}`, describePlan(plan, real, packages));
  if (options.dryRun) {
    terminal.print(diffOf(real, root));
    return;
  }
  terminal.say(`\n${diffOf(new Map([...real].filter(([file]) => isEntry(project, file))), root)}`);
  await terminal.agree("Go ahead?");
  const takeBack = packages.length > 0 ? await addPackages(project, packages) : () => undefined;
  try {
    applyChanges(withInstalled(project, real));
  } catch (error) {
    takeBack();
    throw error;
  }
  terminal.note("Done. Left to you", numbered(leftToDo(plan, options)));
}

/** Which svix there is, is only known when it is there. */
function withInstalled(project: Project, changes: Changes): Changes {
  const found = svixOf(project.functions) ?? project.svix;
  const file = path.join(folderOf(project), "svix.ts");
  const text = vendoredFiles(found).get("svix.ts");
  return changes.has(file) && text !== undefined ? new Map(changes).set(file, text) : changes;
}

export async function planInit(options: InitOptions): Promise<Plan> {
  const project = findProject(options.app, options.manager);
  const folder = folderOf(project);
  const copied = readCopied(folder);
  if (copied && copied.version !== version()) {
    throw new Problem(
      `${folder} has ${NAME} ${copied.version} already, and this is ${version()}: bring it up to date with ${NAME} update --app ${options.app}.`,
    );
  }
  if (!copied) refuseForeign(folder);

  const vendored = new Map(
    [...vendoredFiles(project.svix)].map(([name, text]) => [path.join(folder, name), text]),
  );
  const sources = new Sources();
  const own = readOwnCode(sources, project.functions);
  const entry = (name: string) => sourceOf(sources, project.functions, name);
  const [schemaSource, httpSource, cronsSource] = ["schema", "http", "crons"].map(entry);

  const schemaFile = schemaSource?.file ?? path.join(project.functions, "schema.ts");
  const schema = schemaSource ? await readSchema(project, schemaFile, vendored) : null;
  if (!schema && own.inserts.length > 0) {
    const [first] = own.inserts;
    throw new Problem(
      `expected a schema.ts that says what users holds, since the app has rows there (${first ? describe(first) : ""}): write it first, with the columns that they have.`,
    );
  }
  const users = schema?.get("users");
  // The second time `app.ts` says it.
  const key = users && !copied ? findKey(users, own, schemaFile, options.key) : null;
  const keyIndex: [string, string[]] | null =
    key && !key.isIndexed ? [key.index, [key.column]] : null;
  const lacks = schema ? lacksOf(schema, schemaFile, keyIndex) : null;

  const webhookPath = webhookPathOf(options.path);
  const http = editHttp(project, httpSource ?? null, webhookPath);
  if (http) refuseClash(own.routes, webhookPath);
  const crons = editCrons(project, cronsSource ?? null);
  const edits: Changes = new Map();
  const doubts: string[] = [];
  const place = schema ? usersPlace(sources, schemaFile) : null;
  const usersAt = place ? describe({ ...place, within: null }) : schemaFile;
  if (!schema) edits.set(schemaFile, newSchema(project));
  if (schema && lacks && isLacking(lacks)) {
    const edit = editSchema(project, sources, schemaFile, lacks);
    for (const [file, text] of edit.files) edits.set(file, text);
    if (edit.doubt) doubts.push(edit.doubt);
    if (key?.isWithin)
      doubts.push(`the app knows its users by ${key.column}, which is inside an object`);
  }
  for (const [source, name, edit] of [
    [httpSource, "http.ts", http],
    [cronsSource, "crons.ts", crons],
  ] as const) {
    if (!edit) continue;
    edits.set(source?.file ?? path.join(project.functions, name), edit.text);
    if (edit.doubt) doubts.push(edit.doubt);
  }
  const after = await verify(
    project,
    schemaFile,
    schema,
    new Map([...vendored, ...texts(edits)]),
    doubts,
  );
  const columns = sortColumns(
    after,
    own,
    key && { column: key.column, reads: key.holds === "token" ? "tokenOf(user.id)" : "user.id" },
  );

  const changes: Changes = new Map();
  // What was copied is written anew by `update` alone: a formatter of the app's may have changed it.
  for (const [file, text] of vendored) if (!copied || !existsSync(file)) changes.set(file, text);
  const issuer = findIssuer(sources, project);
  const mine = {
    "fields.ts": fieldsFile(columns, notesOf(columns, project)),
    "app.ts": appFile(columns, key, issuer),
  };
  for (const [name, text] of Object.entries(mine)) {
    const file = path.join(folder, name);
    if (!existsSync(file)) changes.set(file, text);
  }
  for (const [file, text] of edits) changes.set(file, text);
  if (!copied) {
    const files = [...vendored.keys()].map((file) =>
      path.relative(folder, file).split(path.sep).join("/"),
    );
    changes.set(path.join(folder, VERSION_FILE), versionFile(files));
  }
  return {
    project,
    changes,
    doubts,
    packages: lackingPackages(project),
    columns,
    own,
    key,
    webhookPath,
    usersAt,
    twins: [...(users?.indexes ?? [])].flatMap(([name, fields]) =>
      String(fields) === "clerkId" && name !== "by_clerkId" ? [name] : [],
    ),
    softDeletion: [...(users?.columns ?? [])].map(([name]) => name).find(isSoftDeletion) ?? null,
    likely: [...(schema ?? [])].flatMap(([name, table]) => (holdsClerkId(table) ? [name] : [])),
    needsIssuer: issuer === null && mine["app.ts"].includes("tokenOf("),
    isNew: { schema: !schema, users: lacks?.users ?? true },
  };
}

function isSoftDeletion(column: string): boolean {
  return /^(is)?_?(deleted|deletion|archived)/i.test(column);
}

function texts(changes: Changes): [string, string][] {
  return [...changes].flatMap(([file, text]): [string, string][] =>
    text === null ? [] : [[file, text]],
  );
}

function sourceOf(sources: Sources, functions: string, name: string): Source | null {
  const file = ["ts", "js"]
    .map((ending) => path.join(functions, `${name}.${ending}`))
    .find((each) => sources.has(each));
  return file === undefined ? null : sources.get(file);
}

function isLacking({ tables, users, columns, indexes }: Lacks): boolean {
  return tables || users || columns.length > 0 || indexes.length > 0;
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
async function verify(
  project: Project,
  file: string,
  before: Schema | null,
  overlay: Map<string, string>,
  doubts: string[],
): Promise<Table> {
  const known = before?.get("users");
  if (doubts.length > 0 && known) return known;
  const after = await readSchema(project, file, overlay);
  const users = after.get("users");
  const own = (schema: Schema) =>
    [...schema]
      .filter(([name]) => name !== "users" && !name.startsWith("clerk"))
      .map(([name, { text }]) => `${name} ${text}`);
  const kept = before === null || String(own(before).sort()) === String(own(after).sort());
  const columnsKept = [...(known?.columns ?? [])].every(
    ([name, column]) => JSON.stringify(users?.columns?.get(name)) === JSON.stringify(column),
  );
  const indexesKept = [...(known?.indexes ?? [])].every(
    ([name, fields]) => String(users?.indexes.get(name)) === String(fields),
  );
  const lacks = users && lacksOf(after, file, null);
  if (!users || !kept || !columnsKept || !indexesKept || (lacks && isLacking(lacks))) {
    throw new Problem(
      `${file} could not be changed as it has to be: with the lines added, its tables are not the same ones. Add them by hand, as clerk/tables.ts shows them, and run this again.`,
      diffOf(new Map([...overlay].filter(([each]) => existsSync(each))), project.root),
    );
  }
  return users;
}

function folderOf({ functions }: Project): string {
  return path.join(functions, "clerk");
}

function isEntry(project: Project, file: string): boolean {
  return !file.startsWith(folderOf(project) + path.sep);
}

function relative(root: string, file: string): string {
  return path.relative(root, file).split(path.sep).join("/");
}

/** What `fields.ts` says of columns that it leaves alone. */
function notesOf({ edited, misfits }: Columns, { root }: Project): string[] {
  return [
    ...[...edited].map(
      ([name, patch]) => `${name} is people's to edit: ${relative(root, describe(patch))}`,
    ),
    ...[...misfits].map(([name, type]) => `${name} takes no ${type}, which Clerk has for it`),
  ];
}

function describePlan(
  { project, columns, key, usersAt, isNew, own }: Plan,
  changes: Changes,
  packages: string[],
): string[] {
  const { root } = project;
  const folder = folderOf(project);
  const inFolder = [...changes].filter(([file]) => !isEntry(project, file)).length;
  const entries = [...changes.keys()].filter((file) => isEntry(project, file));
  const edited = entries.map(
    (file) => `${relative(root, file)}${existsSync(file) ? "" : " (new)"}`,
  );
  const mirrored = [...columns.fields].map(([name, text]) => `  ${name}: ${text}`);
  return [
    `functions: ${relative(root, project.functions)}/, convex ${project.convex.version}, ${project.manager}`,
    isNew.users
      ? "users: a new table"
      : `users: ${relative(root, usersAt)}, known by ${key ? `${key.column} (${key.holds === "token" ? "issuer|id" : "Clerk's id"})` : "clerkId"}`,
    `copies ${inFolder} files to ${relative(root, folder)}/`,
    ...(edited.length > 0 ? [`edits ${edited.join(", ")}`] : []),
    ...(packages.length > 0
      ? [`adds ${packages.join(", ")}: ${installCommand(project, packages)}`]
      : []),
    mirrored.length > 0 ? "fields.ts mirrors" : "fields.ts mirrors no column yet",
    ...mirrored,
    ...own.unread.map((each) => `could not be read, and was left out of account: ${each}`),
  ];
}

function numbered(steps: string[]): string[] {
  return steps.map((step, at) => `${at + 1}. ${step}`);
}
