import { defineConfig } from "vitest/config";

const results = process.env.VITEST_JSON;

export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    include: ["test/**/*.test.ts"],
    // The nearest thing to Convex's default runtime: no Node globals.
    environment: "edge-runtime",
    server: { deps: { inline: ["convex-test"] } },
    testTimeout: 60_000,
    // By default one core is left idle, which on two is half of them.
    maxWorkers: "100%",
    // CI counts what ran.
    reporters: results ? ["default", ["json", { outputFile: results }]] : ["default"],
  },
});
