/** The rooms of the sync, as its README has them: what the lint can't see of imports. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";

const SYNC = path.join(import.meta.dirname, "../../convex/clerk");
/** Every query of an app may load these: they import one another, and leaves of `shared`, alone. */
const GROUND = ["app.ts", "fields.ts", "types.ts", "users.ts"];

const files = readdirSync(SYNC, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".ts"),
);

/** Which files of the folder a file imports, types apart. */
function importsOf(file: string): string[] {
  const text = readFileSync(path.join(SYNC, file), "utf8");
  const found = text.matchAll(/^(?:import|export) (?!type )(?:[^;"]*? from )?"(\.[^"]+)\.js";/gm);
  return [...found]
    .map(([, to = ""]) => `${path.join(path.dirname(file), to)}.ts`)
    .filter((to) => files.includes(to));
}

const imports = new Map(files.map((file) => [file, importsOf(file)]));

function circleFrom(file: string, way: string[] = []): string[] | null {
  if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
  for (const next of imports.get(file) ?? []) {
    const circle = circleFrom(next, [...way, file]);
    if (circle !== null) return circle;
  }
  return null;
}

test("no files import each other in a circle", () => {
  expect(files.length).toBeGreaterThan(60);
  expect(files.flatMap((file) => circleFrom(file) ?? [])).toEqual([]);
});

test("what an app's own queries load stays small", () => {
  const loaded = GROUND.flatMap((file) => imports.get(file) ?? []);
  expect(loaded.filter((file) => !GROUND.includes(file) && !file.startsWith("shared/"))).toEqual(
    [],
  );
});

/** The files that the README of the folder lists for each room: its name in bold, then a line for each. */
function listedFiles(): string[] {
  const readme = readFileSync(path.join(SYNC, "README.md"), "utf8");
  const rooms = readme.matchAll(/^\*\*`(\w+\/)`\*\*.*\n\n((?:- .*\n)+)/gm);
  return [...rooms].flatMap(([, room = "", list = ""]) =>
    [...list.matchAll(/^- [^:]*/gm)].flatMap(([line]) =>
      [...line.matchAll(/`(\w+)`/g)].map(([, name = ""]) => `${room}${name}.ts`),
    ),
  );
}

test("the README lists each file of each room, and none that is not there", () => {
  expect(listedFiles().sort()).toEqual(files.filter((file) => file.includes("/")).sort());
});

test("the generated API knows each module, and none that is not there", () => {
  const convex = path.join(SYNC, "..");
  const api = readFileSync(path.join(convex, "_generated/api.d.ts"), "utf8");
  const known = [...api.matchAll(/ from "\.\.\/(\S+)\.js";/g)].map(([, module = ""]) => module);
  // As Convex has it: files with two dots, and schema.ts, are none.
  const modules = readdirSync(convex, { recursive: true, encoding: "utf8" })
    .filter((file) => /^[^.]+\.ts$/.test(file) && !file.startsWith("_generated"))
    .map((file) => file.replace(/\.ts$/, ""))
    .filter((module) => module !== "schema");
  expect(known.sort()).toEqual(modules.sort());
});
