/** The sync's HTTP routes. */
import type { HttpRouter, PublicHttpAction } from "convex/server";
import { internal } from "../_generated/api.js";
import { type ActionCtx, httpAction } from "../_generated/server.js";
import type { Status } from "./report/status.js";
import { HEALTH_PATH, PATH_HEADER, WEBHOOK_PATH } from "./shared/environment.js";
import { webhook } from "./webhook/webhook.js";

/**
 * Mounts the webhook and the health check on the app's router.
 * @param path where Clerk sends its events; default `/clerk-users-webhook`
 * @throws Error for a path that does not begin with "/", or where something is mounted already
 * @example
 * const http = httpRouter(); // in convex/http.ts
 * addClerkRoutes(http);
 * export default http;
 */
export function addClerkRoutes(
  http: HttpRouter,
  { path = WEBHOOK_PATH }: { path?: string } = {},
): void {
  http.route({ path, method: "POST", handler: webhook });
  http.route({ path: HEALTH_PATH, method: "GET", handler: healthOf(path) });
}

/** 200 while `status` knows of no outage, else 503; besides only where the webhook is, as the doctor asks for it. */
function healthOf(path: string): PublicHttpAction {
  return httpAction(async (ctx: ActionCtx): Promise<Response> => {
    const { isUp }: Status = await ctx.runQuery(internal.clerk.reconcile.status, {});
    const headers = { "cache-control": "no-store", [PATH_HEADER]: path };
    return new Response(null, { status: isUp ? 200 : 503, headers });
  });
}
