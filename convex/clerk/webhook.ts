/**
 * The webhook: verify → one mutation → status code. Svix resends an event until it is answered with
 * 2xx, and disables the endpoint after days of anything else; so what can't be used is accepted.
 */
import { Webhook, WebhookVerificationError } from "svix";
import { internal } from "../_generated/api";
import { env, httpAction, type ActionCtx } from "../_generated/server";
import { clerkIdOf, readUser } from "./profile";
import { log } from "./log";
import { refusalOf } from "./refusal";
import { vEventType, type EventType } from "./validators";

/** Bytes. Clerk's user JSON with all its metadata stays far below. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Handles `POST /clerk-users-webhook`. */
export const webhook = httpAction(async (ctx: ActionCtx, request) => {
  const verifiers = verifiersOf(env.CLERK_WEBHOOK_SECRET);
  if (verifiers.length === 0 || verifiers.includes(null)) {
    const reason =
      verifiers.length === 0
        ? "CLERK_WEBHOOK_SECRET is not set on this deployment"
        : "CLERK_WEBHOOK_SECRET holds something that is not a signing secret (whsec_…)";
    log("error", "webhook.failed", { reason });
    return new Response("The signing secret is not configured.", { status: 500 });
  }
  const body = await readBody(request);
  if (body === null) {
    const reason = `a body of more than ${MAX_BODY_BYTES} bytes`;
    log("info", "webhook.rejected", { reason });
    return new Response("The body is too large.", { status: 413 });
  }
  const reason = whyNotGenuine(verifiers, body, request.headers);
  if (reason !== null) {
    log("info", "webhook.rejected", { reason });
    return new Response("The signature could not be verified.", { status: 400 });
  }
  return await handleEvent(ctx, parse(body), request.headers.get("svix-id"));
});

/** What verifies by each secret in the variable; null where one can't be a signing secret. */
export function verifiersOf(variable = ""): (Webhook | null)[] {
  return variable.split(/\s+/).filter(Boolean).map(verifierOf);
}

function verifierOf(secret: string): Webhook | null {
  try {
    return new Webhook(secret);
  } catch {
    return null;
  }
}

async function readBody(request: Request): Promise<string | null> {
  if (Number(request.headers.get("content-length")) > MAX_BODY_BYTES) return null;
  const bytes = await request.arrayBuffer();
  return bytes.byteLength > MAX_BODY_BYTES ? null : new TextDecoder().decode(bytes);
}

/** Why none of the secrets signed this body just now, or null. */
function whyNotGenuine(verifiers: (Webhook | null)[], body: string, headers: Headers) {
  const signature: Record<string, string> = {};
  headers.forEach((value, name) => {
    signature[name] = value;
  });
  const reasons = verifiers.map((verifier) => {
    try {
      verifier?.verify(body, signature);
      return null;
    } catch (error) {
      // The library's own messages quote nothing of the request.
      return error instanceof WebhookVerificationError ? error.message : "not verifiable";
    }
  });
  return reasons.includes(null) ? null : (reasons[0] ?? null);
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
  { type, data, instance_id: instanceId }: Record<string, unknown>,
  messageId: string | null,
): Promise<Response> {
  const clerkId = clerkIdOf(data);
  const details = { messageId, type: knownType(type), clerkId };
  const ignore = (reason: string, level: "info" | "error" = "info") => {
    log(level, "webhook.ignored", { ...details, reason });
    return new Response("Ignored.", { status: 200 });
  };
  if (details.type === null) return ignore("not an event about a user");
  if (clerkId === null) return ignore("names no user id");
  const { leftOut, ...change } = changeOf(details.type, data, clerkId);
  const instance = typeof instanceId === "string" ? instanceId : undefined;
  try {
    const applied = await ctx.runMutation(internal.clerk.events.apply, {
      type: details.type,
      instanceId: instance,
      change,
    });
    const { outcome, reason } = applied;
    if (outcome === "foreign") return ignore(`another Clerk instance: ${reason}`, "error");
    if (reason !== undefined) return ignore(`${outcome}: ${reason}`);
    log("info", "webhook.applied", { ...details, outcome, leftOut });
    return new Response("Applied.", { status: 200 });
  } catch (error) {
    // Sent again it would be refused again: the next run sets the user aside, or finds it mended.
    const refusal = refusalOf(error);
    if (refusal !== null) {
      await ctx.runMutation(internal.clerk.events.noteRefused, { type: details.type, clerkId });
      return ignore(`refused: ${refusal}`, "error");
    }
    // Its message may quote the document.
    const name = error instanceof Error ? error.name : typeof error;
    log("error", "webhook.failed", { ...details, reason: `applying it threw ${name}` });
    return new Response("Not applied; send it again.", { status: 500 });
  }
}

function knownType(type: unknown): EventType | null {
  return vEventType.members.map(({ value }) => value).find((known) => known === type) ?? null;
}

/** The change that an event asks for, and which fields it leaves out. */
function changeOf(type: EventType, data: unknown, clerkId: string) {
  const leftOut: unknown[] = [];
  if (type === "user.deleted") return { kind: "deleted" as const, clerkId, leftOut };
  const user = readUser(data);
  if (user.kind === "profile") {
    const { profile, version } = user;
    return { kind: "user" as const, profile, version, leftOut: user.leftOut };
  }
  return { kind: "unreadable" as const, clerkId, reason: user.reason, leftOut };
}
