import { defineApp } from "convex/server";
import { v } from "convex/values";
import { clerkEnvironment } from "./clerk/environment";

export default defineApp({
  env: {
    ...clerkEnvironment,
    /** The demo app's sign-in: Clerk's Frontend API URL. */
    CLERK_JWT_ISSUER_DOMAIN: v.optional(v.string()),
  },
});
