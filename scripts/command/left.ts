/** What is left to the person once the sync is in the app, each with its place. */
import path from "node:path";
import { describe } from "./columns";
import type { InitOptions, Plan } from "./init";
import type { Webhook } from "./own-code";
import { installCommand } from "./packages";
import type { Project } from "./project";

/** So many places are named. */
const MAX_NAMED = 12;

export function leftToDo(plan: Plan, { install = true }: InitOptions): string[] {
  const { project, packages, own } = plan;
  return [
    ...(install || packages.length === 0
      ? []
      : [`Install ${packages.join(", ")}: ${installCommand(project, packages)}`]),
    ...issuerSteps(plan),
    ...undecidedSteps(plan),
    ...columnSteps(plan),
    project.isStatic
      ? "Run npx convex dev first, before anything type-checks: convex.json makes codegen static, and only a push tells it of the new functions."
      : "Run npx convex dev (or npx convex codegen), which tells the compiler of the new functions.",
    `Add ${at(project, path.join(project.functions, "clerk"))} to what your formatter ignores; compilers and ESLint leave it alone by its first lines.`,
    ...indexSteps(plan),
    ...webhookSteps(plan, own.webhooks),
    secretStep(plan, own.webhooks),
    ...insertSteps(plan),
    ...besideSteps(plan),
    ...removalSteps(plan),
    ...twinSteps(plan),
    ...exposureSteps(plan),
    ...fillSteps(plan),
    "See what the first run would do, then run it, each with --prod for production: npx convex run clerk/reconcile:run '{\"dryRun\":true}', npx convex run clerk/reconcile:run. The deploy's first tick runs by itself: it deletes nobody whom it has not met, and holds what looks wrong. Then npx convex run clerk/doctor:check.",
  ];
}

function at({ root }: Project, where: string): string {
  return path.relative(root, where).split(path.sep).join("/");
}

function undecidedSteps({ columns, project }: Plan): string[] {
  const { functions } = project;
  const app = at(project, path.join(functions, "clerk/app.ts"));
  return columns.unsaid.map(({ column, at: places }) => {
    const isRequired = columns.own.get(column) === null;
    const where = places.map((place) => at(project, describe(place))).join(", ");
    return isRequired
      ? `Say in ${app} what users.${column} of a new row is: ${where === "" ? "nothing in your code gives it" : `what ${where} gives can't be said of Clerk's user`}. Until then runs set newcomers aside.`
      : `Look at users.${column}: ${where} gives it to some new rows, and those that the sync makes begin without it. If they need it, say it in newUserFields, or in hooks.created, in ${app}.`;
  });
}

function columnSteps({ columns, project }: Plan): string[] {
  const fields = at(project, path.join(project.functions, "clerk/fields.ts"));
  return [
    ...[...columns.edited].map(
      ([column, patch]) =>
        `users.${column} stays yours: ${at(project, describe(patch))} lets people edit it. To mirror it instead, add it to ${fields}.`,
    ),
    ...[...columns.misfits].map(
      ([column, type]) =>
        `users.${column} stays yours: it takes no ${type}. To mirror it, add a reader to ${fields}.`,
    ),
    ...columns.otherwise.map(
      ({ column, at: place, text }) =>
        `users.${column} is read otherwise in ${at(project, describe(place))} (${text}): where that is what you want, write it in ${fields}, else remove it there.`,
    ),
  ];
}

function indexSteps({ isNew, usersAt, project, twins }: Plan): string[] {
  if (isNew.users) return [];
  return [
    ...twins.map(
      (name) =>
        `The index ${name} of users (${at(project, usersAt)}) is the same as by_clerkId: use that one in your code, and drop yours.`,
    ),
    `If users has more than 100,000 rows, stage its new indexes first (${at(project, usersAt)}): .index("by_clerkId", { fields: ["clerkId"], staged: true }), deploy, wait until they are built, then take staged out.`,
  ];
}

function webhookSteps({ project, webhookPath }: Plan, webhooks: Webhook[]): string[] {
  return webhooks.map(({ source, line, isOfOrganizations }) => {
    const where = at(project, `${source.file}:${line}`);
    return isOfOrganizations
      ? `Keep the webhook in ${where} for organizations, and take user.created, user.updated and user.deleted out of it and out of its endpoint in Clerk: ${webhookPath} is a second endpoint, with a secret of its own.`
      : `Remove the webhook in ${where}, and its endpoint in Clerk: the sync's is at ${webhookPath}.`;
  });
}

function secretStep({ webhookPath }: Plan, webhooks: Webhook[]): string {
  const isTaken = webhooks.some(
    ({ secret, isOfOrganizations }) => isOfOrganizations && secret === "CLERK_WEBHOOK_SECRET",
  );
  const name = isTaken ? "CLERK_WEBHOOK_SIGNING_SECRET" : "CLERK_WEBHOOK_SECRET";
  const why = isTaken ? " (CLERK_WEBHOOK_SECRET is your other webhook's)" : "";
  return `Add an endpoint https://<your deployment>.convex.site${webhookPath} in Clerk (user.created, user.updated, user.deleted), then set npx convex env set CLERK_SECRET_KEY sk_… and npx convex env set ${name} whsec_…${why}.`;
}

function insertSteps({ own, key, project }: Plan): string[] {
  const inserts = own.inserts.filter(({ within }) => within?.kind !== "http");
  if (inserts.length === 0) return [];
  const places = inserts.map((each) => at(project, describe(each)));
  const column = key?.column ?? "clerkId";
  return [
    `Look at what makes rows of users itself: ${named(places)}. It may go on where it looks the user up by ${column} first and gives the new row that; else take it out, or the user gets a second row.`,
  ];
}

/** What an app's own code does beside the row: it no longer does it where the sync is first. */
function besideSteps({ own, project }: Plan): string[] {
  const app = at(project, path.join(project.functions, "clerk/app.ts"));
  return [
    ...own.inserts
      .filter(({ beside }) => beside.length > 0)
      .map(
        (each) =>
          `${at(project, describe(each))} also makes rows of ${each.beside.join(", ")} for a new user: those whose row the sync makes go without, unless hooks.created in ${app} makes them.`,
      ),
    ...own.triggers.map(
      (each) =>
        `Triggers on users (${at(project, describe(each))}) see the sync's writes once hooks in ${app} has database: (ctx) => triggers.wrapDB(ctx).db.`,
    ),
  ];
}

function removalSteps({ project, softDeletion }: Plan): string[] {
  const app = at(project, path.join(project.functions, "clerk/app.ts"));
  return softDeletion === null
    ? []
    : [
        `users.${softDeletion} looks as if you kept rows of users who are gone: the sync deletes them, unless removal in ${app} is { mark: { … } }.`,
      ];
}

/** Other tables that hold Clerk's users, too. */
function twinSteps({ isNew, likely }: Plan): string[] {
  if (!isNew.users || likely.length === 0) return [];
  return [
    `The sync keeps a table users of its own beside ${likely.join(", ")}, which hold Clerk's users, too: the sync leaves them as they are.`,
  ];
}

/** Where Convex takes tokens from, which the app's key needs. */
function issuerSteps({ project, needsIssuer }: Plan): string[] {
  const app = at(project, path.join(project.functions, "clerk/app.ts"));
  return needsIssuer
    ? [
        `Say in ${app} what the issuer is, Clerk's Frontend API URL, as it stands before the "|" of your tokenIdentifiers: auth.config.ts does not tell, or tells several. Until then runs set everybody aside.`,
      ]
    : [];
}

function exposureSteps({ own, project }: Plan): string[] {
  if (own.handsOut.length === 0) return [];
  const places = own.handsOut.map((each) => at(project, describe(each)));
  return [
    `Look at public functions that hand out whole rows of users, which now hold clerkId and clerkCreatedAt, too: ${named(places)}. Return only what the page shows.`,
  ];
}

function fillSteps({ key, isNew }: Plan): string[] {
  if (isNew.users || key === null) return [];
  const args = key.column === "clerkId" ? "" : ` '{"column":"${key.column}"}'`;
  return [
    `After the first deploy fill clerkId, also for those who are gone from Clerk (with dryRun to look first): npx convex run clerk/adopt:fill${args}. Meanwhile rows are found by ${key.column}, so nobody gets a second one.`,
  ];
}

function named(places: string[]): string {
  const more = places.length - MAX_NAMED;
  return more > 0 ? `${places.slice(0, MAX_NAMED).join(", ")} and ${more} more` : places.join(", ");
}
