/** The sync's environment variables, for `defineApp` in `convex.config.ts`. */
import { v } from "convex/values";

/**
 * All are optional so that they never block the push of the app around them; each is checked where
 * it is used, with an error that names it.
 */
export const clerkEnvironment = {
  /** Clerk's Backend API key, `sk_test_…` or `sk_live_…`. */
  CLERK_SECRET_KEY: v.optional(v.string()),
  /** Signing secret of the webhook endpoint, `whsec_…`; several, separated by spaces, while rotating. */
  CLERK_WEBHOOK_SECRET: v.optional(v.string()),
  /** Another name for the same, Clerk's own. Secrets of both are accepted. */
  CLERK_WEBHOOK_SIGNING_SECRET: v.optional(v.string()),
  /** Where Clerk's Backend API answers, without `/v1`. Default: https://api.clerk.com */
  CLERK_API_URL: v.optional(v.string()),
  /** Clerk's Frontend API URL, where `auth.config.ts` reads it by this name: only the doctor looks at it. */
  CLERK_JWT_ISSUER_DOMAIN: v.optional(v.string()),
};
