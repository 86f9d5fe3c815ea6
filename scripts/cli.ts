#!/usr/bin/env node
/** The command: `npx tsx scripts/cli.ts …` here, `clerk-convex-sync …` where the package is installed. */
import { parseArgs } from "node:util";
import { init } from "./command/init";
import { messageOf, Problem } from "./command/problem";
import { MANAGERS, type Manager } from "./command/project";
import { terminal } from "./command/terminal";
import { update } from "./command/update";
import { COMMAND, NAME, reactHook, version } from "./command/vendored";

const HELP = `${NAME} ${version()}: keeps the users table of a Convex app a mirror of its Clerk users.

${COMMAND} init --app DIR [--yes] [--dry-run] [--no-install] [--key COLUMN] [--path PATH]
  takes the sync into an app: copies it to <functions>/clerk, and adds the few lines that it needs
${COMMAND} update --app DIR [--yes] [--dry-run] [--no-install]
  writes the copied files anew; fields.ts and app.ts stay as they are
${COMMAND} hook
  prints the React hook useCurrentUser, a file for your pages, not for your functions

  --app DIR               the app's folder, the one with its package.json
  --yes                   do it without asking
  --dry-run               print the unified diff of every file, change nothing
  --no-install            add no package
  --package-manager NAME  ${MANAGERS.join(", ")}; the app's own by default
  --key COLUMN            the column of users that holds Clerk's id, or none
  --path PATH             where Clerk sends its events; /clerk-users-webhook by default
  --new-table             make a table users beside another one that seems to hold them
  --help, --version
`;

/** @returns the exit code */
async function main(args: string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.diff !== "") process.stdout.write(error.diff);
    console.error(`Nothing was changed: ${error.message}`);
    return 1;
  }
}

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parse(args);
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (values.version) {
    console.log(version());
    return 0;
  }
  const [command, ...others] = positionals;
  if (command === "hook" && others.length === 0) {
    const [option] = Object.keys(values);
    if (option !== undefined) throw new Problem(`hook takes no option: --${option} is of init.`);
    process.stdout.write(reactHook());
    return 0;
  }
  if ((command !== "init" && command !== "update") || others.length > 0) {
    throw new Problem(
      `expected init, update or hook: ${positionals.length === 0 ? "there is none" : `it is ${positionals.join(" ")}`}. ${COMMAND} --help shows them.`,
    );
  }
  if (values.app === undefined)
    throw new Problem("--app must say which folder the app is in, for instance --app .");
  if (command === "update" && (values.key ?? values.path) !== undefined) {
    throw new Problem("--key and --path are of init: update changes no file of the app's own.");
  }
  const options = {
    app: values.app,
    dryRun: values["dry-run"] ?? false,
    install: !values["no-install"],
    manager: managerOf(values["package-manager"]),
  };
  const at = terminal({ isAgreed: values.yes ?? false, isQuiet: options.dryRun });
  const { key, path } = values;
  if (command === "init") await init({ ...options, key, path, newTable: values["new-table"] }, at);
  else await update(options, at);
  return 0;
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        app: { type: "string" },
        yes: { type: "boolean", short: "y" },
        "dry-run": { type: "boolean" },
        "no-install": { type: "boolean" },
        "package-manager": { type: "string" },
        key: { type: "string" },
        path: { type: "string" },
        "new-table": { type: "boolean" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean" },
      },
    });
  } catch (error) {
    const [sentence = ""] = messageOf(error).split(". ");
    throw new Problem(`${sentence}. ${COMMAND} --help shows what there is.`);
  }
}

function managerOf(name: string | undefined): Manager | undefined {
  const manager = MANAGERS.find((each) => each === name);
  if (name !== undefined && !manager) {
    throw new Problem(`--package-manager must be one of ${MANAGERS.join(", ")}: it is ${name}.`);
  }
  return manager;
}

process.exitCode = await main(process.argv.slice(2));
