/** Hosts the Convex functions in this process, on convex-test's in-memory database. */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { convexTest } from "convex-test";
import type { Doc, TableNames } from "../../convex/_generated/dataModel";
import { clock } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import type { Host } from "./host";
import { callFunction, findFunction, findModules } from "./functions";
import { PublicApi } from "./public-api";

/** A host that browsers can reach, too. */
export interface InProcessHost extends Host {
  /** Where it answers, on the loopback: the mounted routes, and Convex's HTTP API for public functions. */
  readonly url: string;
  /** Sets the functions' clock forward, ms. */
  letPass(ms: number): void;
}

export async function startInProcess(): Promise<InProcessHost> {
  const modules = findModules();
  const t = convexTest({ schema, modules, transactionLimits: true });
  const publicApi = new PublicApi(t, modules);
  const log: string[] = [];
  const original = { info: console.info, error: console.error };
  for (const level of ["info", "error"] as const) {
    console[level] = (line: string, ...rest: unknown[]) => {
      if (line.startsWith('{"event":')) log.push(line);
      else original[level](line, ...rest);
    };
  }
  const answer = async (request: IncomingMessage): Promise<Response> => {
    const { url = "/", method } = request;
    const body = await text(request);
    if (url.startsWith("/api/")) {
      const { status, json } = await publicApi.answer(url, body, request.headers.authorization);
      return Response.json(json, { status });
    }
    const headers = Object.entries(request.headers).map(([name, value]): [string, string] => [
      name,
      String(value),
    ]);
    return await t.fetch(url, { method, headers, body });
  };
  const server = createServer((request, response) => {
    answer(request)
      .catch((error: unknown) => new Response(String(error), { status: 500 }))
      .then(async ({ status, headers, body }) => {
        response.writeHead(status, Object.fromEntries(headers));
        await pipeline(body ?? [], response);
      })
      .catch(() => response.destroy());
  });
  // A caller who is busy for seconds must not find its connection closed.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;

  let passed = 0;
  const { now } = clock;
  clock.now = () => now() + passed;

  return {
    url,
    letPass: (ms) => {
      passed += ms;
    },
    name: "in this process, on convex-test's in-memory database",
    setVariable: async (name, value) => {
      await Promise.resolve();
      process.env[name] = value;
    },
    run: async (name, args) => {
      const found = await findFunction(modules, name);
      if (found === null) throw new Error(`There is no function ${name}.`);
      return await callFunction(t, found.kind, name, args);
    },
    postWebhook: async ({ body, headers }) => {
      const route = `${url}/clerk-users-webhook`;
      return (await fetch(route, { method: "POST", body, headers })).status;
    },
    readTable: async <Table extends TableNames>(table: Table) =>
      (await t.run(async (ctx) => await ctx.db.query(table).take(20_000))) as Doc<Table>[],
    takeLog: () => log.splice(0),
    stop: async () => {
      Object.assign(console, original);
      Object.assign(clock, { now });
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
