/** npm run demo:chat [-- --port 5173]: the chat room in a browser, without an account. */
import { parseArgs } from "node:util";
import { serveChatRoom } from "./server";

const USAGE = "usage: npm run demo:chat [-- --port 5173]";
/** So that one sees the page wait, ms. */
const DELIVERY_MS = 2000;

const { values } = parseArgs({ options: { port: { type: "string", default: "5173" } } });
const port = Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`--port must be a whole number from 0 to 65535, not ${values.port}.\n${USAGE}`);
  process.exit(2);
}
const delivery = async () => await new Promise((resolve) => setTimeout(resolve, DELIVERY_MS));
const { url } = await serveChatRoom({ port, beforeDelivery: delivery });
console.log(
  `The chat room is open: ${url} (in two windows it is a conversation; Ctrl-C closes it)`,
);
