/** The sync's environment variables. All may be missing: each is checked where it is used, with an error that names it. */

/** Not every app has types for it. */
declare const process: { env: Record<string, string | undefined> };

/**
 * - `CLERK_SECRET_KEY`: Clerk's Backend API key, `sk_test_…` or `sk_live_…`.
 * - `CLERK_WEBHOOK_SECRET`: signing secret of the webhook endpoint, `whsec_…`; several, separated by spaces, while rotating.
 * - `CLERK_WEBHOOK_SIGNING_SECRET`: another name for the same, Clerk's own. Secrets of both are accepted.
 * - `CLERK_API_URL`: where Clerk's Backend API answers, without `/v1`. Default: https://api.clerk.com
 * - `CLERK_JWT_ISSUER_DOMAIN`: Clerk's Frontend API URL, where `auth.config.ts` reads it by this name: only the doctor looks at it.
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
 * What a variable is set to: one of the sync's, or one from which `app.ts` takes the issuer. Not by Convex's typed `env`, for which each app would have to declare the variables in a
 * `convex.config.ts`.
 */
export function environment(name: Variable | (string & {})): string | undefined {
  return process.env[name];
}
