/** What is left to the person once the sync is in the app, each with its place, in the order in which it is done. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, type Spot } from "./app-function";
import type { Webhook } from "./own-code";
import { installCommand } from "./packages";
import type { InitOptions, Plan } from "./plan";
import { posixFrom, type Project } from "./project";
import { COMMAND } from "./vendored";
import { WEBHOOK_PATH } from "../../convex/clerk/shared/environment";

/** So many places are named. */
const MAX_NAMED = 12;

/** What is left; where the sync is in the app already, what of that its files do not show as done. */
export function leftToDo(planned: Plan, { install = true }: InitOptions): string[] {
  const plan = planned.copied === null ? planned : asWritten(planned);
  const { project, packages, own } = plan;
  const folder = at(project, path.join(project.functions, "clerk"));
  return [
    ...(install || packages.length === 0
      ? []
      : [`Install ${packages.join(", ")}:${typed(installCommand(project, packages))}`]),
    ...undecidedSteps(plan),
    ...columnSteps(plan),
    ...removalSteps(plan),
    ...besideSteps(plan),
    ...insertSteps(plan),
    ...webhookSteps(plan, own.webhooks),
    ...exposureSteps(plan),
    ...indexSteps(plan),
    project.isStatic
      ? "Run npx convex dev before anything type-checks: convex.json makes codegen static, and only a push tells it of the new functions."
      : "Run npx convex dev (or, where a deployment is configured, npx convex codegen), which tells the compiler of the new functions.",
    `Add ${folder} to what your formatter ignores. Compilers and ESLint leave it alone by its first lines: what your tsc says is about your own files, fields.ts and app.ts.`,
    "Deploy. Until CLERK_SECRET_KEY is set, the schedule says so in a line and does nothing; from then on it runs by itself.",
    ...fillSteps(plan),
    `Set the key, see what the first run would do, and run it (for production each with --prod behind set or run). It holds what looks wrong, and deletes nobody whom it has not met in Clerk.${typed(
      "npx convex env set CLERK_SECRET_KEY   # asks for it",
      `npx convex run clerk/reconcile:run '{"dryRun":true}'`,
      "npx convex run clerk/reconcile:run",
    )}`,
    secretStep(plan, own.webhooks),
    `Ask whether all is set up:${typed("npx convex run clerk/doctor:check")}`,
    ...accountSteps(plan),
  ];
}

/** The same with what an earlier start has decided, as it stands in the app's files by now. */
function asWritten(plan: Plan): Plan {
  const { project, columns, key } = plan;
  const texts = readdirSync(project.functions)
    .filter((name) => /\.[jt]s$/.test(name))
    .map((name) => readFileSync(path.join(project.functions, name), "utf8"));
  const [, webhookPath = WEBHOOK_PATH] =
    /addClerkRoutes\(\w+, \{ path: ["']([^"']+)/.exec(texts.join("\n")) ?? [];
  const app = readFileSync(path.join(project.functions, "clerk/app.ts"), "utf8");
  const [, column] = /^export const key\b[^;]*?column: ["']([^"']+)/m.exec(app) ?? [];
  const known = { holds: "id", index: "", isIndexed: true, isWithin: false } as const;
  const unsaid = [...app.matchAll(/undecided\("([^"]+)"\)/g)].map(([, name = ""]) => {
    return { column: name, at: [] };
  });
  const fields = readFileSync(path.join(project.functions, "clerk/fields.ts"), "utf8");
  const otherwise = columns.otherwise.filter((each) =>
    fields.includes(`${each.column}: ${each.reader}`),
  );
  const told = { edited: new Map(), misfits: new Map(), otherwise, unsaid };
  return {
    ...plan,
    isRemovalDecided: !/^export const removal\b[^=]*=\s*["']delete["']/m.test(app),
    webhookPath,
    key: column === undefined ? key : { column, ...known },
    needsIssuer: false,
    columns: { ...columns, ...told },
  };
}

/** Commands, each on a line of its own, to be copied. */
function typed(...commands: string[]): string {
  return commands.map((command) => `\n       ${command}`).join("");
}

function at({ top }: Project, where: string): string {
  return posixFrom(top, where);
}

function appFileOf(project: Project): string {
  return at(project, path.join(project.functions, "clerk/app.ts"));
}

/** Places, each once, and of many the first. */
function named(project: Project, spots: Pick<Spot, "source" | "node">[]): string {
  const places = [...new Set(spots.map((each) => at(project, describe(each))))];
  const more = places.length - MAX_NAMED;
  return more > 0 ? `${places.slice(0, MAX_NAMED).join(", ")} and ${more} more` : places.join(", ");
}

function undecidedSteps({ columns, project, needsIssuer }: Plan): string[] {
  const app = appFileOf(project);
  const issuer = needsIssuer
    ? [
        `Say in ${app} what the issuer is, Clerk's Frontend API URL, as it stands before the "|" of your tokenIdentifiers: auth.config.ts does not tell, or tells several. Until then runs set everybody aside.`,
      ]
    : [];
  const steps = columns.unsaid.map(({ column, at: spots }) => {
    const where = named(project, spots);
    const why =
      where === ""
        ? "nothing in your code gives it"
        : `what ${where} gives can't be said of Clerk's user`;
    return columns.own.get(column) === null
      ? `Say in ${app} what users.${column} of a new row is: ${why}. Until then runs set newcomers aside.`
      : `Look at users.${column}: ${where} gives it to some new rows, and those that the sync makes begin without it. If they need it, say it in newUserFields, or in hooks.created, in ${app}.`;
  });
  return [...issuer, ...steps];
}

function columnSteps({ columns, project }: Plan): string[] {
  const fields = at(project, path.join(project.functions, "clerk/fields.ts"));
  return [
    ...[...columns.edited].map(
      ([column, write]) =>
        `users.${column} stays yours: ${named(project, [write])} lets people write it, or may. To mirror it instead, add it to ${fields}.`,
    ),
    ...[...columns.misfits].map(
      ([column, type]) =>
        `users.${column} stays yours: it takes no ${type}. To mirror it, add a reader to ${fields}.`,
    ),
    ...columns.otherwise.map(
      ({ column, at: spot, text, reader }) =>
        `users.${column} is ${text} in ${named(project, [spot])}, and ${reader} in ${fields}, which the first run writes into every row: where yours matters, make the reader say the same, or take it out; let only one of them write the column.`,
    ),
  ];
}

/** What becomes of a row whose user is gone. */
function removalSteps({ project, softDeletion, referring, own, isRemovalDecided }: Plan): string[] {
  const app = appFileOf(project);
  const refer =
    referring.length > 0 ? ` Ids of users in ${referring.join(", ")} lead nowhere then.` : "";
  const soft = softDeletion === null ? "" : ` You have users.${softDeletion}.`;
  const decide =
    refer + soft === "" || isRemovalDecided
      ? []
      : [
          `Decide what becomes of a row whose user is gone from Clerk: removal in ${app} is "delete".${refer}${soft} { mark: { … } } keeps the row, and clears what it mirrors.`,
        ];
  const cleans = own.deletes.filter(({ beside }) => beside.length > 0);
  return [
    ...decide,
    ...cleans.map(
      (each) =>
        `${named(project, [each])} deletes a user's row and rows of ${each.beside.join(", ")}: what the sync removes leaves those behind, unless hooks.erase in ${app} does it.`,
    ),
  ];
}

/** What an app's own code does beside the row: it no longer does it where the sync is first. */
function besideSteps({ own, project }: Plan): string[] {
  const app = appFileOf(project);
  const inserts = own.writes.filter(({ beside }) => beside.length > 0);
  return [
    ...inserts.map(
      (each) =>
        `${named(project, [each])} also makes rows of ${each.beside.join(", ")} for a new user: those whose row the sync makes go without, unless hooks.created in ${app} makes them.`,
    ),
    ...own.triggers.map(
      (each) =>
        `Triggers on users (${named(project, [each])}) see the sync's writes once hooks in ${app} has database: (ctx) => triggers.wrapDB(ctx).db.`,
    ),
  ];
}

function insertSteps({ own, key, project }: Plan): string[] {
  const inserts = own.writes.filter(
    ({ kind, within }) => kind === "insert" && within?.kind !== "http",
  );
  if (inserts.length === 0) return [];
  return [
    `Look at what makes rows of users itself: ${named(project, inserts)}. It may go on where it looks the user up by ${key?.column ?? "clerkId"} first and gives the new row that; else take it out, or the user gets a second row.`,
  ];
}

function webhookSteps({ project, webhookPath }: Plan, webhooks: Webhook[]): string[] {
  return webhooks.map(({ source, line, others }) => {
    const where = at(project, `${source.file}:${line}`);
    const kept = others.length > 4 ? "its other events" : others.join(", ");
    return others.length > 0
      ? `Keep the webhook in ${where} for ${kept}, and take user.created, user.updated and user.deleted out of it and out of its endpoint in Clerk: ${webhookPath} is a second endpoint, with a secret of its own.`
      : `Remove the webhook in ${where}, and its endpoint in Clerk, once the sync has one: at ${webhookPath}.`;
  });
}

function exposureSteps({ own, project }: Plan): string[] {
  const said = own.handsOut.filter(({ hasReturns }) => hasReturns);
  const open = own.handsOut.filter(
    ({ hasReturns, within }) => !hasReturns && within?.kind === "public",
  );
  return [
    ...(said.length > 0
      ? [
          `Add clerkId and clerkCreatedAt to what these functions say that they return, or return less: a row of users has them now, and Convex refuses what returns does not name: ${named(project, said)}.`,
        ]
      : []),
    ...(open.length > 0
      ? [
          `Look at public functions that hand out whole rows of users, which now hold clerkId and clerkCreatedAt, too: ${named(project, open)}. Return only what the page shows.`,
        ]
      : []),
  ];
}

function indexSteps({ isNewTable, usersAt, project, twins }: Plan): string[] {
  if (isNewTable) return [];
  const where = at(project, usersAt);
  return [
    ...twins.map(
      (name) =>
        `The index ${name} of users (${where}) is the same as by_clerkId: use that one in your code, and drop yours.`,
    ),
    `If users has more than 100,000 rows, stage its new indexes first (${where}): .index("by_clerkId", { fields: ["clerkId"], staged: true }), deploy, wait until they are built, then take staged out.`,
  ];
}

function fillSteps({ key, isNewTable, isUnkeyed, usersAt, project }: Plan): string[] {
  if (isUnkeyed) {
    return [
      `Rows of users that are there already have no clerkId, and no column (${at(project, usersAt)}) tells whose they are: to the sync they are guests, and if they are not, each of their users gets a second row. Where you know them by something else, their e-mail address for instance, fill clerkId in yourself before the first run ("A table that knows its users by e-mail" in scripts/command/README.md). Where there are none, or only guests, leave it.`,
    ];
  }
  if (isNewTable || key === null) return [];
  const args = (others: object) => `'${JSON.stringify({ column: key.column, ...others })}'`;
  return [
    `Fill clerkId, also for those who are gone from Clerk. Meanwhile rows are found by ${key.column}, so nobody gets a second one.${typed(
      `npx convex run clerk/adopt:fill ${args({ dryRun: true })}`,
      `npx convex run clerk/adopt:fill ${args({})}`,
    )}`,
  ];
}

/** What an app may want beside the table; nothing of it is there until it asks. */
function accountSteps({
  project,
  hasIssuer,
  columns,
  referring,
  isRemovalDecided,
}: Plan): string[] {
  const [account, app] = ["account.ts", "clerk/app.ts"].map((name) =>
    at(project, path.join(project.functions, name)),
  );
  const issuer = hasIssuer ? "" : ` Say in ${app} what the issuer is first.`;
  const isBanned = [...columns.fields.values()].includes("(user) => user.banned")
    ? `isBanned in ${app} shuts out whom Clerk has banned.`
    : `To shut out whom Clerk has banned, mirror it (banned: (user) => user.banned in fields.ts, and the column in your schema), and say isBanned = ({ banned }) => banned === true in ${app}.`;
  const hanging = referring.length > 0 ? ` (${referring.join(", ")})` : "";
  return [
    `If you like: who is signed in, and a row at sign-up even where a webhook gets lost.${issuer} In your functions getCurrentUser(ctx) and getCurrentUserOrThrow(ctx) of ./clerk/users give the row. ${isBanned} For the page, in ${account} (or where you like):${typed(
      `import { mutation, query } from "./_generated/server";`,
      `import { currentUserQuery, ensureSyncedMutation } from "./clerk/users";`,
      `export const current = query(currentUserQuery(({ _id }) => ({ _id }))); // what the page gets of the row`,
      "export const ensureSynced = mutation(ensureSyncedMutation());",
    )}\n     and, where your pages are, the React hook, which this command prints (${COMMAND} hook): loading, signed out, syncing, ready, or removed or banned:${typed(
      "const current = useCurrentUser(api.account.current, api.account.ensureSynced);",
    )}`,
    ...(isRemovalDecided
      ? []
      : [
          `If you like: deletions that one can take back for 30 days, and what hangs on a row${hanging} gone with it, in parts, before the row goes. In ${app}, with deletedAt: v.optional(v.number()) in your schema:${typed(
            `export const removal: Removal = { mark: ${markOf(columns)}, purgeAfterMs: 30 * 24 * 60 * 60 * 1000 };`,
            "export const hooks: Hooks = { erase: async (ctx, user) => {",
            "  let count = 0; // delete up to 500 documents of this user, and count them",
            '  return count === 500 ? "more" : undefined; // "more" has it called again',
            "} };",
          )}`,
        ]),
  ];
}

/** A marked row keeps what the schema requires. */
function markOf({ required }: Plan["columns"]): string {
  const kept = Array.from(required, ([name, empty]) => `${name}: ${empty}`);
  return kept.length === 0 ? "{}" : `{ ${kept.join(", ")} }`;
}

function secretStep({ webhookPath }: Plan, webhooks: Webhook[]): string {
  const isTaken = webhooks.some(({ secret }) => secret === "CLERK_WEBHOOK_SECRET");
  const name = isTaken ? "CLERK_WEBHOOK_SIGNING_SECRET" : "CLERK_WEBHOOK_SECRET";
  const why = isTaken ? " (CLERK_WEBHOOK_SECRET is your other webhook's)" : "";
  return `Have an endpoint https://<your deployment>.convex.site${webhookPath} in Clerk, with user.created, user.updated and user.deleted, and set its signing secret${why}:${typed(`npx convex env set ${name}   # asks for it`)}`;
}
