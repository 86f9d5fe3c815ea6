/** Where the sync's HTTP routes are: apart, so that who only names one loads nothing else. */

/** Where Clerk sends its events, unless the app says otherwise. */
export const WEBHOOK_PATH = "/clerk-users-webhook";

/** Where uptime monitors ask. */
export const HEALTH_PATH = "/clerk-users-health";

/** The header in which the health check says where the webhook is. */
export const PATH_HEADER = "x-clerk-users-webhook";
