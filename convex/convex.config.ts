import { defineApp } from "convex/server";
import { v } from "convex/values";

/**
 * The sync's variables are optional so that they never block the push of the app around them;
 * each is checked where it is used, with an error that names it.
 */
export default defineApp({
  env: {
    /** Clerk's Backend API key, `sk_test_…` or `sk_live_…`. */
    CLERK_SECRET_KEY: v.optional(v.string()),
    /** Signing secret of the webhook endpoint, `whsec_…`; several, separated by spaces, while rotating. */
    CLERK_WEBHOOK_SECRET: v.optional(v.string()),
    /** Where Clerk's Backend API answers, without `/v1`. Default: https://api.clerk.com */
    CLERK_API_URL: v.optional(v.string()),
    /** The demo app's sign-in: Clerk's Frontend API URL. */
    CLERK_JWT_ISSUER_DOMAIN: v.optional(v.string()),
  },
});
