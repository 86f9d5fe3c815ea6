/** Serves the chat room with its side panel, on the loopback: the page, the functions, the commands. */
import type { IncomingMessage } from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";
import { createServer } from "vite";
import { Backstage, BadCommand, type Given } from "./backstage";

export type ChatRoomServer = { url: string; stop: () => Promise<void> };

/**
 * @param port 0 for any
 * @param isPortFixed whether it has to be that one; else the next free one does
 * @param beforeDelivery what each webhook waits for on its way
 * @throws Error when a fixed port is in use
 */
export async function serveChatRoom({
  port,
  isPortFixed = false,
  beforeDelivery,
}: {
  port: number;
  isPortFixed?: boolean;
  beforeDelivery: () => Promise<unknown>;
}): Promise<ChatRoomServer> {
  const backstage = await Backstage.open(beforeDelivery);
  const vite = await createServer({
    configFile: path.join(import.meta.dirname, "vite.config.ts"),
    mode: "in-process",
    logLevel: "warn",
    server: {
      host: "127.0.0.1",
      port,
      strictPort: isPortFixed,
      proxy: { "/api": backstage.host.url },
    },
    plugins: [
      {
        name: "backstage",
        configureServer: ({ middlewares }) => {
          middlewares.use("/backstage", (request, response, next) => {
            text(request)
              .then(async (body) => await answer(backstage, request, body))
              .then(({ status, json }) => {
                response.writeHead(status, { "content-type": "application/json" });
                response.end(JSON.stringify(json));
              })
              .catch(next);
          });
        },
      },
    ],
  });
  const stop = async () => {
    await vite.close();
    await backstage.close();
  };
  try {
    await vite.listen();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: vite.resolvedUrls?.local[0] ?? "", stop };
}

/** `GET /backstage`: the scene; `POST /backstage/{command}` with JSON: what the command returns. */
async function answer(
  backstage: Backstage,
  { method, url = "", headers }: IncomingMessage,
  body: string,
): Promise<{ status: number; json: unknown }> {
  if (method === "GET") return { status: 200, json: await backstage.scene() };
  // Pages of other sites can't send this type unless they are allowed to.
  if (headers["content-type"] !== "application/json") {
    return { status: 415, json: "A command comes with application/json." };
  }
  const command = Object.entries(backstage.commands).find(([name]) => url === `/${name}`)?.[1];
  if (command === undefined) return { status: 404, json: "There is no such command." };
  try {
    return { status: 200, json: (await command(givenIn(body))) ?? null };
  } catch (error) {
    if (error instanceof BadCommand) return { status: 400, json: error.message };
    throw error;
  }
}

function givenIn(body: string): Given {
  try {
    const given: unknown = JSON.parse(body);
    if (typeof given === "object" && given !== null) return given;
  } catch {
    // Said below.
  }
  throw new BadCommand("A command comes with a JSON object.");
}
