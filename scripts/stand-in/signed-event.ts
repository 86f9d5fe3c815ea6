/** A webhook request as Clerk sends it: the body signed by Svix's scheme. */
import { Webhook } from "svix";

/**
 * @param id `svix-id`, the same for every resend of a message
 * @param at when it is sent, ms: receivers refuse what is more than five minutes off
 */
export function signedEvent(
  event: unknown,
  { secret, id, at = Date.now() }: { secret: string; id: string; at?: number },
): { body: string; headers: Record<string, string> } {
  const body = typeof event === "string" ? event : JSON.stringify(event);
  const sentAt = new Date(at);
  return {
    body,
    headers: {
      "content-type": "application/json",
      "svix-id": id,
      "svix-timestamp": String(Math.floor(at / 1000)),
      "svix-signature": new Webhook(secret).sign(id, sentAt, body),
    },
  };
}
