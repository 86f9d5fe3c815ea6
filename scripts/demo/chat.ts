/** npm run demo:chat [-- --port 5173]: the chat room in a browser, without an account. */
import { parseArgs } from "node:util";
import { answerHelp } from "../usage";
import { serveChatRoom } from "./server";

const USAGE = "usage: npm run demo:chat [-- --port 5173]";
/** Where it is taken, the next free one is as good, unless a port was asked for. */
const USUAL_PORT = 5173;
/** So that one sees the page wait, ms. */
const DELIVERY_MS = 2000;

/** @returns the port that was asked for, if one was */
function portOf(args: string[]): number | undefined {
  const { values } = parseArgs({ args, options: { port: { type: "string" } } });
  if (values.port === undefined) return undefined;
  const port = Number(values.port);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new Error(`--port must be a whole number from 0 to 65535, not ${values.port}.`);
}

function end(code: number, error: unknown, advice: string): never {
  console.error(`${error instanceof Error ? error.message : String(error)}\n${advice}`);
  process.exit(code);
}

answerHelp(USAGE);
let asked: number | undefined;
try {
  asked = portOf(process.argv.slice(2));
} catch (error) {
  end(2, error, USAGE);
}
const beforeDelivery = async () => await new Promise((resolve) => setTimeout(resolve, DELIVERY_MS));
try {
  const room = { port: asked ?? USUAL_PORT, isPortFixed: asked !== undefined, beforeDelivery };
  const { url } = await serveChatRoom(room);
  console.log(
    `The chat room is open: ${url} (in two windows it is a conversation; Ctrl-C closes it)`,
  );
} catch (error) {
  end(1, error, "The chat room could not be opened.");
}
