/** The deployment's variables, any of which may be missing (an error names it where it is used), and its routes. */

/** Not every app has types for it. */
declare const process: { env: Record<string, string | undefined> };

/**
 * - `CLERK_SECRET_KEY`: Clerk's Backend API key, `sk_test_…` or `sk_live_…`.
 * - `CLERK_WEBHOOK_SECRET`: the webhook's signing secret, `whsec_…`; while rotating several, separated by spaces.
 * - `CLERK_WEBHOOK_SIGNING_SECRET`: Clerk's own name for the same. Secrets of both are accepted.
 * - `CLERK_API_URL`: where Clerk's Backend API answers, without `/v1`. Default: https://api.clerk.com
 * - `CLERK_JWT_ISSUER_DOMAIN`: Clerk's Frontend API URL, for `auth.config.ts`, `app.ts` and the doctor.
 * - `CONVEX_SITE_URL`: where this deployment's routes answer; Convex sets it.
 */
type Variable =
  | "CLERK_SECRET_KEY"
  | "CLERK_WEBHOOK_SECRET"
  | "CLERK_WEBHOOK_SIGNING_SECRET"
  | "CLERK_API_URL"
  | "CLERK_JWT_ISSUER_DOMAIN"
  | "CONVEX_SITE_URL";

/**
 * What a variable is set to: the sync's, or one in which `app.ts` finds the issuer. Not by Convex's typed `env`, for
 * which each app would have to declare the variables in a `convex.config.ts`.
 */
export function environment(name: Variable | (string & {})): string | undefined {
  return process.env[name];
}

/** Where Clerk sends its events, unless the app says otherwise. */
export const WEBHOOK_PATH = "/clerk-users-webhook";

/** Where uptime monitors ask. */
export const HEALTH_PATH = "/clerk-users-health";

/** The header in which the health check says where the webhook is. */
export const PATH_HEADER = "x-clerk-users-webhook";
