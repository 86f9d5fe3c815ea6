import { defineConfig } from "vite";

/** The page: `npm run dev` serves it for a deployment, `npm run demo:chat` in the mode `in-process`. */
export default defineConfig({
  root: import.meta.dirname,
  // `convex dev` writes .env.local there.
  envDir: "../..",
  // Else the first visit finds them one by one, and reloads.
  optimizeDeps: {
    include: [
      "react",
      "react-dom/client",
      "react/jsx-dev-runtime",
      "convex/react",
      "convex/values",
    ],
  },
});
