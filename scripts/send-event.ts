/**
 * Sends a correctly signed `user.*` event to a webhook:
 *   CLERK_WEBHOOK_SECRET=whsec_… npx tsx scripts/send-event.ts --url https://….convex.site/clerk-users-webhook \
 *     --type user.updated --id user_123 [--data user.json] [--instance ins_123]
 * `--data`: a file with Clerk's JSON of the user; without it, a user with nothing but that id.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { signingSecretsIn, whyNotSigningSecrets } from "../convex/clerk/shared/secrets";
import { clerkUser, deletedUser, userEvent, type UserEventType } from "./stand-in/clerk-json";
import { signedEvent } from "./stand-in/signed-event";
import { answerHelp } from "./usage";

const USAGE =
  "usage: CLERK_WEBHOOK_SECRET=whsec_… npx tsx scripts/send-event.ts --url https://….convex.site/clerk-users-webhook --instance ins_… --type user.updated --id user_… [--data user.json]";
const TYPES: UserEventType[] = ["user.created", "user.updated", "user.deleted"];

function parse() {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      type: { type: "string", default: "user.updated" },
      id: { type: "string" },
      data: { type: "string" },
      instance: { type: "string", default: "ins_test" },
    },
  });
  const { url, id, data, instance } = values;
  const type = TYPES.find((known) => known === values.type);
  if (!url || !URL.canParse(url)) {
    throw new Error(`--url must be the address of the webhook, not ${url ?? "nothing"}.`);
  }
  if (!id) throw new Error("--id must be a Clerk user id, user_….");
  if (!type) throw new Error(`--type must be one of ${TYPES.join(", ")}, not ${values.type}.`);
  return { url, id, type, data, instance, secret: signingSecret() };
}

/** The first secret of the variable, by either of its names. */
function signingSecret(): string {
  const { CLERK_WEBHOOK_SECRET: ours, CLERK_WEBHOOK_SIGNING_SECRET: clerks } = process.env;
  const name = ours ? "CLERK_WEBHOOK_SECRET" : "CLERK_WEBHOOK_SIGNING_SECRET";
  const [secret] = signingSecretsIn(ours || clerks);
  const fault = whyNotSigningSecrets(name, ours || clerks);
  if (fault !== null) throw new Error(fault);
  if (secret !== undefined) return secret;
  throw new Error(
    "CLERK_WEBHOOK_SECRET is not set: it must be the endpoint's signing secret, whsec_… (Clerk dashboard → Webhooks → your endpoint).",
  );
}

/** @returns whether the event was accepted */
async function send({ url, id, type, data, instance, secret }: ReturnType<typeof parse>) {
  const now = Date.now();
  const user: unknown =
    data === undefined
      ? clerkUser({ id, created_at: now })
      : JSON.parse(readFileSync(data, "utf8"));
  const payload = type === "user.deleted" ? deletedUser(id) : user;
  const event = userEvent(type, payload, { instanceId: instance, at: now });
  const request = signedEvent(event, { secret, id: `msg_${randomUUID()}`, at: now });
  const response = await fetch(url, { method: "POST", ...request }).catch((error: unknown) => {
    const { cause } = error as Error;
    throw new Error(`No answer from ${url}: ${cause instanceof Error ? cause.message : "unknown"}`);
  });
  console.log(`${response.status} ${await response.text()}`);
  return response.ok;
}

answerHelp(USAGE);
try {
  process.exitCode = (await send(parse())) ? 0 : 1;
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exitCode = 2;
}
