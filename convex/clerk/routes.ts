/** The sync's HTTP routes. */
import type { HttpRouter } from "convex/server";
import { internal } from "../_generated/api";
import { httpAction, type ActionCtx } from "../_generated/server";
import type { Status } from "./health";
import { HEALTH_PATH, WEBHOOK_PATH } from "./paths";
import { webhook } from "./webhook";

/**
 * Mounts the webhook and the health check on the app's router.
 * @example
 * const http = httpRouter(); // in convex/http.ts
 * addClerkRoutes(http);
 * export default http;
 */
export function addClerkRoutes(http: HttpRouter): void {
  http.route({ path: WEBHOOK_PATH, method: "POST", handler: webhook });
  http.route({ path: HEALTH_PATH, method: "GET", handler: health });
}

/** 200 while `status` knows of no outage, else 503; whoever asks learns no more. */
const health = httpAction(async (ctx: ActionCtx) => {
  const { isUp }: Status = await ctx.runQuery(internal.clerk.reconcile.status, {});
  const headers = { "cache-control": "no-store" };
  return new Response(null, { status: isUp ? 200 : 503, headers });
});
