// @vitest-environment node
/** The copy of the sync in an app: what is ours comes anew, what is the app's stays. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HEADER, vendor } from "../scripts/vendor";

let app: string;
let functions: string;
const at = (name: string) => path.join(functions, "clerk", name);
const read = (name: string) => readFileSync(at(name), "utf8");

beforeEach(() => {
  app = mkdtempSync(path.join(tmpdir(), "vendor-"));
  functions = path.join(app, "convex");
  mkdirSync(path.join(functions, "_generated"), { recursive: true });
});
afterEach(() => {
  rmSync(app, { recursive: true });
});

test("a second copy leaves what the app edits, and whatever else it has there", () => {
  vendor(functions);
  for (const name of ["fields.ts", "app.ts", "mine.ts"]) writeFileSync(at(name), "// mine\n");
  const first = read("rows.ts");
  writeFileSync(at("rows.ts"), `${first}// changed\n`);
  vendor(functions);
  expect(["fields.ts", "app.ts", "mine.ts"].map(read)).toEqual(Array(3).fill("// mine\n"));
  expect(read("rows.ts")).toBe(first);
});

test("files of a former copy that are no longer of the sync go", () => {
  vendor(functions);
  writeFileSync(at("gone.ts"), `${HEADER}export const gone = 1;\n`);
  vendor(functions);
  expect(existsSync(at("gone.ts"))).toBe(false);
});

test("each file is headed for compilers and linters, but for those that the app edits", () => {
  const ours = vendor(functions).filter((name) => name.endsWith(".ts"));
  const headed = ours.filter((name) => {
    return readFileSync(path.join(functions, name), "utf8").startsWith(HEADER);
  });
  expect(ours.filter((name) => !headed.includes(name)).sort()).toEqual([
    "clerk/app.ts",
    "clerk/fields.ts",
  ]);
});

test("a file of the app's in the way is named, and nothing is written", () => {
  mkdirSync(path.join(functions, "clerk"));
  writeFileSync(at("webhook.ts"), "export const mine = 1;\n");
  expect(() => vendor(functions)).toThrow(/not of a former copy.+clerk\/webhook\.ts/);
  expect(existsSync(at("rows.ts"))).toBe(false);
  expect(read("webhook.ts")).toBe("export const mine = 1;\n");
});

test.each(["", "src", "nowhere"])("a folder without functions (%j) is refused", (name) => {
  mkdirSync(path.join(app, "src"));
  expect(() => vendor(path.join(app, name))).toThrow(
    "expected the app's folder of Convex functions",
  );
  expect(existsSync(path.join(app, name, "clerk"))).toBe(false);
});

test.each([
  ["1.99.1", "svix/dist/webhook.js"],
  ["2.5.0", "svix"],
])("of svix %s it takes %s", (version, from) => {
  const svix = path.join(app, "node_modules/svix");
  mkdirSync(svix, { recursive: true });
  writeFileSync(path.join(svix, "package.json"), JSON.stringify({ version }));
  vendor(functions);
  expect(read("svix.ts")).toMatch(`from "${from}"`);
});

test("it needs convex and svix alone, and of the app nothing but what Convex generates", () => {
  const imports = vendor(functions)
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => {
      const text = readFileSync(path.join(functions, name), "utf8");
      const from = [...text.matchAll(/^(?:import|export|\}).* from "([^"]+)";$/gm)];
      return from.map(([, source = ""]) =>
        source.startsWith(".") ? path.join(path.dirname(name), source) : source,
      );
    });
  expect(imports.length).toBeGreaterThan(200);
  const others = new Set(imports.filter((source) => !/^clerk\/[\w/]+\.js$/.test(source)));
  expect([...others].sort()).toEqual([
    "_generated/api.js",
    "_generated/dataModel.js",
    "_generated/server.js",
    "convex/server",
    "convex/values",
    "svix",
  ]);
});
