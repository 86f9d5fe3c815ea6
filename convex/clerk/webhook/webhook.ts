/**
 * The webhook: verify → one mutation → status code. Svix resends an event until it is answered with 2xx, and disables
 * the endpoint after days of anything else; so what can't be used is accepted.
 */
import type { FunctionArgs } from "convex/server";
import { internal } from "../../_generated/api.js";
import { type ActionCtx, httpAction } from "../../_generated/server.js";
import { newUserFields } from "../app.js";
import { clerkIdOf, readUser, whyLacking } from "../profile/profile.js";
import { log, nameOfError, refusalOf } from "../shared/log.js";
import { signingSecrets } from "../shared/secrets.js";
import { Webhook, WebhookVerificationError } from "../shared/svix.js";
import { EVENT_TYPES, type EventType, INSTANCE_ID } from "../shared/user.js";

const { apply } = internal.clerk.webhook.event;

/** Bytes. Clerk's user JSON with all its metadata stays far below. */
const MAX_BODY_BYTES = 1024 * 1024;

/** What svix says of headers that no body can make right: they lack something, or are old. */
const ABOUT_HEADERS = /headers|timestamp/i;

/** Takes an event: 200 applied or ignored, 400 not verified, 413 over 1 MiB, 500 no usable secret, or try again. */
export const webhook = httpAction(async (ctx: ActionCtx, request): Promise<Response> => {
  const { secrets, fault } = signingSecrets();
  if (fault !== null) {
    log("error", "webhook.failed", { reason: fault });
    return new Response("No signing secret.", { status: 500 });
  }
  const reject = (reason: string, answer = "Not verified.", status = 400) => {
    log("info", "webhook.rejected", { reason });
    return new Response(answer, { status });
  };
  const early = await whyNotGenuine(secrets, "", request.headers);
  if (early !== null && ABOUT_HEADERS.test(early)) return reject(early);
  const body = await readBody(request);
  if (body === null) {
    return reject(`a body of more than ${MAX_BODY_BYTES} bytes`, "Too large.", 413);
  }
  const reason = await whyNotGenuine(secrets, body, request.headers);
  if (reason !== null) return reject(reason);
  // Standard Webhooks has names of its own, which svix takes as well.
  const messageId = request.headers.get("svix-id") ?? request.headers.get("webhook-id");
  return await handleEvent(ctx, parse(body), messageId);
});

/** The body as text, of which no more is read than is taken; null where there is more. */
async function readBody(request: Request): Promise<string | null> {
  if (Number(request.headers.get("content-length")) > MAX_BODY_BYTES) return null;
  const reader = request.body?.getReader();
  const decoder = new TextDecoder();
  let [text, size] = ["", 0];
  for (;;) {
    const { done = true, value } = (await reader?.read()) ?? {};
    if (done) return text + decoder.decode();
    size += value?.byteLength ?? 0;
    if (size > MAX_BODY_BYTES) {
      await reader?.cancel();
      return null;
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** Why none of the secrets signed this body just now, or null. The body is hashed for one after the other. */
async function whyNotGenuine(secrets: string[], body: string, headers: Headers) {
  const signature: Record<string, string> = {};
  headers.forEach((value, name) => {
    signature[name] = value;
  });
  let first: string | null = null;
  for (const secret of secrets) {
    const reason = await whyNotSigned(secret, body, signature);
    if (reason === null) return null;
    first ??= reason;
  }
  return first ?? "no secret";
}

/** What its next version returns may be a promise. */
type Verifier = { verify(body: string, signature: Record<string, string>): unknown };

/** Only what the library does not reject is genuine: it returns nothing, and before version 2 the payload. */
async function whyNotSigned(secret: string, body: string, signature: Record<string, string>) {
  try {
    const verifier: Verifier = new Webhook(secret);
    const verified = await verifier.verify(body, signature);
    return verified === undefined || typeof verified === "object" ? null : "not verified";
  } catch (error) {
    // The library's own messages quote nothing of the request.
    return error instanceof WebhookVerificationError ? error.message : "not verifiable";
  }
}

function parse(body: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(body);
    return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** @param messageId `svix-id`, the same for every resend of a message */
async function handleEvent(
  ctx: ActionCtx,
  { type, data, instance_id: from }: Record<string, unknown>,
  messageId: string | null,
): Promise<Response> {
  const clerkId = clerkIdOf(data);
  const details = { messageId, type: knownType(type), clerkId };
  const ignore = (reason: string, level: "info" | "error" = "info") => {
    log(level, "webhook.ignored", { ...details, reason });
    return new Response("Ignored.", { status: 200 });
  };
  if (details.type === null) return ignore(`not an event about a user but ${typeOf(type)}`);
  if (clerkId === null) return ignore("names no Clerk user id");
  const { leftOut, ...change } = changeOf(details.type, data, clerkId);
  const instanceId = typeof from === "string" && INSTANCE_ID.test(from) ? from : undefined;
  try {
    const event = { type: details.type, instanceId, change };
    const { outcome, reason, refusal } = await applyOrNote(ctx, event);
    if (outcome === "foreign") return ignore(`another Clerk instance: ${reason}`, "error");
    if (outcome === "refused") return ignore(`refused: ${reason}`, "error");
    if (reason !== undefined) return ignore(`${outcome}: ${reason}`);
    const level = refusal === undefined ? "info" : "error";
    log(level, "webhook.applied", { ...details, outcome, leftOut, reason: refusal });
    return new Response("Applied.", { status: 200 });
  } catch (error) {
    // Its message may quote the document.
    const reason = `applying it threw ${nameOfError(error)}`;
    log("error", "webhook.failed", { ...details, reason });
    return new Response("Not applied.", { status: 500 });
  }
}

/** Applies an event. Of one that the app refuses it is noted that it came: sent again it would be refused again. */
async function applyOrNote(ctx: ActionCtx, event: FunctionArgs<typeof apply>) {
  try {
    return await ctx.runMutation(apply, event);
  } catch (error) {
    const reason = refusalOf(error);
    if (reason === null) throw error;
    const change = { kind: "refused" as const, clerkId: event.change.clerkId, reason };
    return await ctx.runMutation(apply, { ...event, change });
  }
}

function typeOf(type: unknown): string {
  const isName = typeof type === "string" && /^[a-zA-Z][\w.]{0,63}$/.test(type);
  return isName ? type : type === undefined ? "one without a type" : "one of another form";
}

function knownType(type: unknown): EventType | null {
  return EVENT_TYPES.find((known) => known === type) ?? null;
}

function changeOf(type: EventType, data: unknown, clerkId: string) {
  if (type === "user.deleted") return { kind: "deleted" as const, clerkId, leftOut: [] };
  const unclear = (reason: string) => ({ kind: "unclear" as const, clerkId, reason, leftOut: [] });
  const user = readUser(data);
  if (user.kind === "unreadable") return unclear(user.reason);
  const { leftOut, ...known } = user;
  const missing = whyLacking(data) ?? undefined;
  // Clerk's own answer may have another shape.
  if (leftOut.some(({ field }) => !(field in user.columns))) return unclear(missing ?? "");
  const isRefused = user.newFields !== undefined && "refusal" in user.newFields;
  const readers = isRefused ? [] : [["newUserFields", newUserFields] as const];
  const missingForNew = whyLacking(data, readers) ?? undefined;
  return { ...known, kind: "user" as const, missing, missingForNew, leftOut };
}
