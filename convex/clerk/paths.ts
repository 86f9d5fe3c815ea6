/** Where the sync's HTTP routes are: apart, so that who only names one loads nothing else. */

/** Where Clerk sends its events. */
export const WEBHOOK_PATH = "/clerk-users-webhook";

/** Where uptime monitors ask. */
export const HEALTH_PATH = "/clerk-users-health";
