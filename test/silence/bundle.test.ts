// @vitest-environment node
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

type Module = { path: string; source: string; environment: string };

const KB = 1000;
let folder: string;
let modules: Map<string, Module>;

/** What the CLI would push, written to a file instead. Nothing listens at the address. */
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "bundle-"));
  const request = path.join(folder, "push");
  const args = ["deploy", "--write-push-request", request, "--push-all-modules"];
  execFileSync(
    process.execPath,
    ["node_modules/convex/bin/main.js", ...args, "--typecheck", "disable", "--codegen", "disable"],
    {
      stdio: "pipe",
      env: {
        ...process.env,
        CONVEX_SELF_HOSTED_URL: "http://127.0.0.1:9",
        CONVEX_SELF_HOSTED_ADMIN_KEY: "offline|offline",
      },
    },
  );
  const push = JSON.parse(readFileSync(`${request}.json`, "utf8")) as {
    appDefinition: { changedModules?: Module[]; functions?: Module[] };
  };
  const { changedModules, functions = [] } = push.appDefinition;
  modules = new Map((changedModules ?? functions).map((module) => [module.path, module]));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function importsOf(module: Module): string[] {
  return [...module.source.matchAll(/^(?:import|export|\}) ?(?:.* ?from ?)?"([^"]+)"/gm)].map(
    ([, imported = ""]) => imported,
  );
}

/** Bytes of a module and all that it imports. */
function loaded(entry: string, seen = new Set<string>()): number {
  const module = modules.get(entry);
  if (module === undefined) throw new Error(`no module ${entry}`);
  if (seen.has(entry)) return 0;
  seen.add(entry);
  const imported = importsOf(module).map((each) => path.join(path.dirname(entry), each));
  return (
    Buffer.byteLength(module.source) + imported.reduce((sum, each) => sum + loaded(each, seen), 0)
  );
}

describe("what a deploy pushes", () => {
  test("runs in Convex's default runtime: every import is a module of the bundle", () => {
    expect(modules.size).toBeGreaterThan(10);
    for (const module of modules.values()) {
      expect(module.environment).toBe("isolate");
      expect(importsOf(module).every((each) => each.startsWith("."))).toBe(true);
    }
  });

  test("loads at most 130 kB for the webhook", () => {
    expect(loaded("http.js")).toBeLessThanOrEqual(130 * KB);
    expect(loaded("http.js")).toBeGreaterThan(70 * KB);
  });

  test("loads at most 90 kB for a query of the app, and 100 kB for one that lists and writes", () => {
    expect(loaded("users.js")).toBeLessThanOrEqual(90 * KB);
    expect(loaded("messages.js")).toBeLessThanOrEqual(100 * KB);
  });
});
