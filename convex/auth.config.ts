import type { AuthConfig } from "convex/server";

export default {
  providers: [
    {
      // Clerk's Frontend API URL. A push fails while this variable is not set on the deployment.
      domain: process.env.CLERK_JWT_ISSUER_DOMAIN ?? "",
      applicationID: "convex",
    },
  ],
} satisfies AuthConfig;
