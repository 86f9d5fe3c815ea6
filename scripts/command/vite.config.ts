/** `npm pack` builds the command: one file, with all that it needs but Convex, whose bundler it takes. */
import path from "node:path";
import { defineConfig } from "vite";

const root = path.join(import.meta.dirname, "../..");

export default defineConfig({
  root,
  logLevel: "warn",
  build: {
    ssr: path.join(root, "scripts/cli.ts"),
    outDir: "dist",
    target: "node20",
    rolldownOptions: { output: { entryFileNames: "cli.js" } },
  },
  ssr: { noExternal: true },
});
