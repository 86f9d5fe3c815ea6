import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestModule, type TestSpecification, type Reporter } from "vitest/node";

/** Where CI wants to know what ran. */
const results = process.env.VITEST_JSON;
/** Whether these are the tests of `npm test`, after every change: nobody waits for one file of them. */
const isLoop = process.env.LOOP !== undefined;
/** What a file of the loop may take, on two cores. */
const MOST_MS = 15_000;
/** Processes at work for each core: the tests, lint and types alone are up to two. */
const MOST_LOAD = 2.5;

/** Files that take longest: one of them begun last would keep a core waiting. */
const SLOWEST = [
  "histories",
  "browser",
  "adoption",
  "cli",
  "columns",
  "types",
  "field-apps",
].concat(["reconcile", "field", "busy", "slips", "budgets", "purge", "endure", "month", "live"]);

class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = SLOWEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return at === -1 ? SLOWEST.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

/** Fails the loop for a file that takes too long. */
class Patience implements Reporter {
  readonly #late: string[] = [];

  onTestModuleEnd(module: TestModule): void {
    const { duration } = module.diagnostic();
    if (duration <= MOST_MS) return;
    this.#late.push(`${module.relativeModuleId}: ${(duration / 1000).toFixed(1)} s`);
  }

  onTestRunEnd(): void {
    if (this.#late.length === 0) return;
    const [load = 0] = loadavg();
    // Where others are at work, too, time says nothing of the tests.
    const isBusy = load > MOST_LOAD * availableParallelism();
    const files = this.#late.join("\n  ");
    console.error(
      `Over ${MOST_MS / 1000} s, so not for the loop: make it faster, or tag what is slow "slow".\n  ${files}`,
    );
    if (isBusy) console.error("  (let pass: other work keeps the machine busy)");
    else process.exitCode = 1;
  }
}

const FOLDER = new URL(".", import.meta.url).pathname;

const files = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".test.ts"),
);
/** Whoever came after one of these in the same worker would have the module that it replaces, too. */
const replacing = files.filter((file) => readFileSync(FOLDER + file, "utf8").includes("vi.mock("));

/** The others share their modules: most of what a short test takes is to load them, and to run them cold. */
function project(name: string, some: string[], isolate: boolean) {
  return {
    extends: true as const,
    test: { name, include: some.map((file) => `test/${file}`), isolate },
  };
}

export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    projects: [
      project("apart", replacing, true),
      project(
        "together",
        files.filter((file) => !replacing.includes(file)),
        false,
      ),
    ],
    // The nearest thing to Convex's default runtime: no Node globals.
    environment: "edge-runtime",
    server: { deps: { inline: ["convex-test"] } },
    testTimeout: 60_000,
    tags: [{ name: "slow", description: "not in `npm test`: npm run test:slow", timeout: 600_000 }],
    // By default one core is left idle, which on two is half of them.
    maxWorkers: "100%",
    sequence: { sequencer: SlowestFirst },
    reporters: [
      "default",
      ...(isLoop ? [new Patience()] : []),
      ...(results ? [["json", { outputFile: results }] as ["json", object]] : []),
    ],
  },
});
