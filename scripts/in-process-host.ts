/** Hosts the Convex functions in this process, on convex-test's in-memory database. */
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import type { Doc, TableNames } from "../convex/_generated/dataModel";
import schema from "../convex/schema";
import type { Host } from "./host";

const CONVEX = path.join(import.meta.dirname, "../convex");

/** The modules as `import.meta.glob` would give them, which only bundlers know. */
export function findModules(): Record<string, () => Promise<unknown>> {
  const files = readdirSync(CONVEX, { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    files
      .filter((file) => /\.[jt]s$/.test(file) && !file.endsWith(".d.ts"))
      .map((file) => {
        const url = pathToFileURL(path.join(CONVEX, file)).href;
        return [`../convex/${file}`, async () => (await import(url)) as unknown];
      }),
  );
}

export async function startInProcess(): Promise<Host> {
  const t = convexTest({ schema, modules: findModules(), transactionLimits: true });
  const log: string[] = [];
  const original = { info: console.info, error: console.error };
  for (const level of ["info", "error"] as const) {
    console[level] = (line: string, ...rest: unknown[]) => {
      if (line.startsWith('{"event":')) log.push(line);
      else original[level](line, ...rest);
    };
  }
  const server = createServer((request, response) => {
    void (async () => {
      const { url = "/", method } = request;
      const body = await text(request);
      const headers = Object.entries(request.headers).map(([name, value]): [string, string] => [
        name,
        String(value),
      ]);
      const answer = await t.fetch(url, { method, headers, body });
      response.writeHead(answer.status);
      response.end(await answer.text());
    })();
  });
  // A caller who is busy for seconds must not find its connection closed.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  return {
    name: "in this process, on convex-test's in-memory database",
    setVariable: async (name, value) => {
      await Promise.resolve();
      process.env[name] = value;
    },
    run: async (name, args) =>
      (await t.action(makeFunctionReference<"action">(name), args)) as unknown,
    postWebhook: async ({ body, headers }) => {
      const url = `http://127.0.0.1:${port}/clerk-users-webhook`;
      return (await fetch(url, { method: "POST", body, headers })).status;
    },
    readTable: async <Table extends TableNames>(table: Table) =>
      (await t.run(async (ctx) => await ctx.db.query(table).take(20_000))) as Doc<Table>[],
    takeLog: () => log.splice(0),
    stop: async () => {
      Object.assign(console, original);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
