/**
 * Stands in for the Convex CLI: it records how it was called in the file `$CLI_RECORD`, one JSON
 * object a line, and prints what the CLI of convex 1.48 prints (node_modules/convex/src/cli), with
 * the functions on convex-test instead of a backend. `$CLI_FAULT` names what goes wrong.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

const NAME = "anonymous-agent";
const [command = "", ...args] = process.argv.slice(2);
const fault = process.env.CLI_FAULT;

const record = {
  args: process.argv.slice(2),
  folder: process.cwd(),
  pid: process.pid,
  variables: Object.keys(process.env).filter((name) => name.startsWith("CONVEX_")),
};
appendFileSync(process.env.CLI_RECORD ?? "", `${JSON.stringify(record)}\n`);

/** What `dev` does for the other commands: the backend's part. */
type Asked =
  | { what: "set"; name: string; value: string }
  | { what: "run"; name: string; args: Record<string, unknown> }
  | { what: "table"; name: string };

async function ask(asked: Asked): Promise<unknown> {
  const url = readFileSync("backend", "utf8");
  const response = await fetch(url, { method: "POST", body: JSON.stringify(asked) });
  return await response.json();
}

function writeLocal(siteUrl: string): void {
  // lib/deployment.ts, `writeDeploymentEnvVar`; lib/envvars.ts, `writeUrlsToEnvFile`
  writeFileSync(
    ".env.local",
    `# Deployment used by \`npx convex dev\`\nCONVEX_DEPLOYMENT=anonymous:${NAME}\n\n` +
      `VITE_CONVEX_URL=http://127.0.0.1:3210\n\nVITE_CONVEX_SITE_URL=${siteUrl}\n`,
  );
}

function init(): void {
  console.error(
    "CONVEX_AGENT_MODE=anonymous mode is in beta, functionality may change in the future.",
  );
  if (fault === "init fails") {
    console.error("✖ Requested port 3210 is not available");
    process.exit(1);
  }
  writeLocal("http://127.0.0.1:3211");
}

/** lib/env.ts, `envSet` */
async function set(name: string, value: string): Promise<void> {
  if (existsSync("backend")) await ask({ what: "set", name, value });
  console.error(`✔ Successfully set ${name} (on anonymous deployment ${NAME})`);
}

/** lib/dev.ts, `watchAndPush` */
async function dev(): Promise<void> {
  console.error("- Preparing Convex functions...");
  if (fault === "push fails") {
    console.error("✖ Error fetching POST http://127.0.0.1:3210/api/deploy2/start_push 400");
    process.exit(1);
  }
  // A deployment has variables of its own.
  for (const name of Object.keys(process.env)) {
    if (name.startsWith("CLERK_")) Reflect.deleteProperty(process.env, name);
  }
  // Only here, as it takes a second.
  const { startInProcess } = await import("../../scripts/host/in-process-host");
  const host = await startInProcess();
  const server = createServer((request, response) => {
    void (async () => {
      const asked = (await json(request)) as Asked;
      const answer = async () => {
        switch (asked.what) {
          case "set":
            await host.setVariable(asked.name, asked.value);
            return null;
          case "table":
            return await host.readTable(asked.name as "users");
          case "run": {
            host.takeLog();
            const result = await host.run(asked.name, asked.args);
            return { result, log: host.takeLog() };
          }
        }
      };
      response.end(JSON.stringify(await answer()));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  writeFileSync("backend", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  writeLocal(host.url);
  // As the schedule does on the first deploy.
  void host.run("clerk/reconcile:run", { mode: "due" });
  console.error("✔ 12:00:00 Convex functions ready! (2.1s)");
  process.on("SIGINT", () => process.exit(130));
}

/** run.ts; lib/run.ts, `runFunctionAndLog` and `formatValue`; browser/logging.ts, `logForFunction` */
async function run(name: string, given: string): Promise<void> {
  const asked = { what: "run", name, args: JSON.parse(given) as Record<string, unknown> } as const;
  const { result, log } = (await ask(asked)) as { result: unknown; log: string[] };
  for (const line of log) console.error(`[CONVEX A(${name})] [INFO] '${line}'`);
  if (result !== null) console.log(JSON.stringify(result, null, 2));
}

/** lib/data.ts, `listDocuments` */
async function data(table: string): Promise<void> {
  const documents = (await ask({ what: "table", name: table })) as Record<string, unknown>[];
  if (documents.length === 0) console.error("There are no documents in this table.");
  else console.log(documents.map(stringify).join("\n"));
}

/** lib/data.ts, `stringify` */
function stringify(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stringify).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value).map(([key, each]) => `"${key}": ${stringify(each)}`);
  return `{ ${pairs.join(", ")} }`;
}

if (command === "init") init();
if (command === "env") await set(args[1] ?? "", args[2] ?? "");
if (command === "dev") await dev();
if (command === "run") await run(args[0] ?? "", args[1] ?? "{}");
if (command === "data") await data(args[0] ?? "");
