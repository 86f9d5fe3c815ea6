import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const results = process.env.VITEST_JSON;

/** Files that take longest: one of them begun last would keep a core waiting for a minute. */
const SLOWEST = [
  "histories",
  "budgets",
  "adoption",
  "cli",
  "reconcile",
  "field-apps",
  "browser",
  "types",
  "columns",
];

class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = SLOWEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return at === -1 ? SLOWEST.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

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
    sequence: { sequencer: SlowestFirst },
    // CI counts what ran.
    reporters: results ? ["default", ["json", { outputFile: results }]] : ["default"],
  },
});
