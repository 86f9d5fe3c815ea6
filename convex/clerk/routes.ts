/** The sync's HTTP routes. */
import type { HttpRouter } from "convex/server";
import { webhook } from "./webhook";

/** Where Clerk sends its events. */
export const WEBHOOK_PATH = "/clerk-users-webhook";

/** Mounts the routes on the app's router: call it in `convex/http.ts`. */
export function addClerkRoutes(http: HttpRouter): void {
  http.route({ path: WEBHOOK_PATH, method: "POST", handler: webhook });
}
