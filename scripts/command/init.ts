/** `init`: takes the sync into an app. */
import { existsSync } from "node:fs";
import { checkChanges, diffOf, realChanges, type Changes } from "./change";
import { leftToDo } from "./left";
import { installCommand, refuseDirtyLock, withPackages } from "./packages";
import { folderOf, planInit, vendoredChanges, type InitOptions, type Plan } from "./plan";
import { Choice, Problem } from "./problem";
import { posixFrom, svixOf } from "./project";
import type { Terminal } from "./terminal";
import { COMMAND, NAME, version } from "./vendored";

/** @throws Problem for whatever the person has to mend: nothing is changed then */
export async function init(options: InitOptions, terminal: Terminal): Promise<void> {
  const plan = await planOrAsk(options, terminal);
  const { project } = plan;
  const { top } = project;
  if (plan.doubts.length > 0) {
    const entries = new Map([...plan.entries].filter(([file]) => existsSync(file)));
    throw new Problem(
      `${plan.doubts.join("; ")}: this is for you to apply. Look at the diff, change what it can't know, then run the same command again, which does the rest.`,
      diffOf(entries, top),
    );
  }
  const changes = realChanges(allChanges(plan));
  const steps = leftToDo(plan, options).map((step, at) => `${at + 1}. ${step}`);
  if (changes.size === 0) {
    terminal.say(
      `Nothing to change: ${NAME} ${version()} is in ${posixFrom(top, folderOf(project))}.`,
    );
    terminal.note("Left to you, as far as it is not done", steps);
    return;
  }
  checkChanges(changes);
  const packages = options.install === false ? [] : plan.packages;
  if (packages.length > 0) refuseDirtyLock(project);
  terminal.note(`${NAME} ${version()} for ${project.root}`, describePlan(plan, changes, packages));
  if (options.dryRun) {
    terminal.print(diffOf(changes, top));
    terminal.note("What would be left to you", steps);
    return;
  }
  terminal.say(diffOf(new Map([...plan.entries, ...plan.mine]), top));
  await terminal.agree("Go ahead?");
  await withPackages(project, packages, () => realChanges(allChanges(plan)));
  terminal.note("Done. Left to you", steps);
}

/** Where there are several candidates, a person at a terminal says which. */
async function planOrAsk(options: InitOptions, terminal: Terminal): Promise<Plan> {
  try {
    return await planInit(options);
  } catch (error) {
    if (!(error instanceof Choice)) throw error;
    return await planOrAsk({ ...options, ...(await terminal.choose(error)) }, terminal);
  }
}

/** All of it, what is the app's own first: which svix there is, is only known once it is there. */
function allChanges({ project, copied, entries, mine }: Plan): Changes {
  const vendored = vendoredChanges(project, svixOf(project.functions) ?? project.svix);
  // What was copied is written anew by `update` alone: a formatter of the app's may have changed it.
  const lacking = [...vendored].filter(([file]) => !copied || !existsSync(file));
  return new Map([...entries, ...mine, ...lacking]);
}

function describePlan(plan: Plan, changes: Changes, packages: string[]): string[] {
  const { project, columns, key, usersAt, isNewTable, entries, mine, own, copied } = plan;
  const { top } = project;
  const folder = folderOf(project);
  const count = [...changes.keys()].filter((file) => !entries.has(file) && !mine.has(file)).length;
  const edited = [...entries.keys()]
    .filter((file) => changes.has(file))
    .map((file) => `${posixFrom(top, file)}${existsSync(file) ? "" : " (new)"}`);
  const holds = key?.holds === "token" ? "issuer|id" : "Clerk's id";
  const users = isNewTable
    ? "users: a new table"
    : `users: ${posixFrom(top, usersAt)}, known by ${key ? `${key.column} (${holds})` : "clerkId"}`;
  const mirrored = [...columns.fields].map(([name, text]) => `  ${name}: ${text}`);
  return [
    `functions: ${posixFrom(top, project.functions)}/, convex ${project.convex.version}, ${project.manager}`,
    ...(copied ? [] : [users]),
    ...(count > 0 ? [`copies ${count} files to ${posixFrom(top, folder)}/`] : []),
    ...(copied && count > 0 ? [`  (those that lack; ${COMMAND} update writes all anew)`] : []),
    ...(edited.length > 0 ? [`edits ${edited.join(", ")}`] : []),
    ...(packages.length > 0
      ? [`adds ${packages.join(", ")}: ${installCommand(project, packages)}`]
      : []),
    ...(copied
      ? []
      : [
          mirrored.length > 0 ? "fields.ts mirrors" : "fields.ts mirrors no column yet",
          ...mirrored,
        ]),
    ...own.unread.map((each) => `could not be read, and was left out of account: ${each}`),
  ];
}
