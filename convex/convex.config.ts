import { defineApp } from "convex/server";
import { v } from "convex/values";

export default defineApp({
  env: {
    /** Clerk's Frontend API URL, of which `auth.config.ts` takes tokens. */
    CLERK_JWT_ISSUER_DOMAIN: v.optional(v.string()),
  },
});
