import { defineConfig } from "vite";

/** The page: `npm run dev` serves it for a deployment, `npm run demo:chat` in the mode `in-process`. */
export default defineConfig(({ mode }) => ({
  root: import.meta.dirname,
  // `convex dev` writes .env.local there.
  envDir: "../..",
  cacheDir: `../../node_modules/.vite/${mode}`,
  // All of them, else the first visit finds them one by one, and reloads.
  optimizeDeps: {
    include: [
      "@clerk/react",
      "convex/browser",
      "convex/react",
      "convex/react-clerk",
      "convex/server",
      "convex/values",
      "react",
      "react-dom/client",
      "react/jsx-dev-runtime",
    ],
  },
}));
