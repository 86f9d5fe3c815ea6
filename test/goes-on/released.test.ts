// @vitest-environment node
/** What rows and scheduled calls of each released version look like, which the present one has to take. */
import { describe, expect, test } from "vitest";
import { clerkTables } from "../../convex/clerk/tables";
import schema from "../../convex/schema";
import { version } from "../../scripts/command/vendored";

type Json = { type: string; value?: unknown; keys?: Json; values?: { fieldType: Json } };
type Field = { fieldType: Json; optional: boolean };

/** Whether every value that one validator takes is taken by another. */
function takesAllOf(next: Json, last: Json): boolean {
  if (next.type === "any" || JSON.stringify(next) === JSON.stringify(last)) return true;
  if (last.type === "union") return (last.value as Json[]).every((each) => takesAllOf(next, each));
  if (next.type === "union") return (next.value as Json[]).some((each) => takesAllOf(each, last));
  if (next.type !== last.type) return false;
  if (next.type === "array") return takesAllOf(next.value as Json, last.value as Json);
  if (next.type !== "object") return false;
  const [fields, before] = [next.value, last.value] as Record<string, Field>[];
  return Object.keys({ ...fields, ...before }).every((name) => {
    const [now, then] = [fields?.[name], before?.[name]];
    if (!now) return false;
    if (!then) return now.optional;
    return (now.optional || !then.optional) && takesAllOf(now.fieldType, then.fieldType);
  });
}

type Released = { tables: Record<string, Json>; args: Record<string, Json> };
type Registered = { exportArgs?: () => string; isInternal?: boolean };

/** What rows and calls of a version look like. */
async function released(): Promise<Released> {
  const exported = JSON.parse((schema as unknown as { export: () => string }).export()) as {
    tables: { tableName: string; documentType: Json }[];
  };
  const tables = exported.tables.filter(({ tableName }) => tableName in clerkTables);
  const modules = import.meta.glob<Record<string, Registered | null>>("../../convex/clerk/**/*.ts");
  const args: Record<string, Json> = {};
  for (const [file, load] of Object.entries(modules)) {
    for (const [name, value] of Object.entries(await load())) {
      if (!value?.isInternal || !value.exportArgs) continue;
      const module = file.replace("../../convex/", "").replace(/\.ts$/, "");
      args[`${module}:${name}`] = JSON.parse(value.exportArgs()) as Json;
    }
  }
  const sorted = Object.entries(args).sort(([one], [other]) => (one < other ? -1 : 1));
  return {
    tables: Object.fromEntries(tables.map((each) => [each.tableName, each.documentType])),
    args: Object.fromEntries(sorted),
  };
}

describe("what an earlier version left", () => {
  const records = import.meta.glob<Released>("../world/released/*.json", { import: "default" });

  test("is on record for the version that is packed", async () => {
    const { tables, args } = await released();
    const lines = (each: Record<string, Json>) =>
      Object.entries(each).map(([name, json]) => `"${name}": ${JSON.stringify(json)}`);
    const text = `{"tables": {\n${lines(tables).join(",\n")}\n},\n"args": {\n${lines(args).join(",\n")}\n}}\n`;
    await expect(text).toMatchFileSnapshot(`../world/released/${version()}.json`);
  });

  test("is taken by the present one: rows of its tables, and calls that it scheduled", async () => {
    const now = await released();
    expect(Object.keys(records)).toContain(`../world/released/${version()}.json`);
    for (const load of Object.values(records)) {
      const { tables, args } = await load();
      for (const [name, table] of Object.entries(tables)) {
        // A table whose rows changed gets another name: then nobody reads the old one.
        if (now.tables[name])
          expect([name, takesAllOf(now.tables[name], table)]).toEqual([name, true]);
      }
      for (const [name, given] of Object.entries(args)) {
        if (now.args[name]) expect([name, takesAllOf(now.args[name], given)]).toEqual([name, true]);
      }
    }
  });

  test("is noticed where it would not be", () => {
    const of = (value: object): Json => ({ type: "object", value });
    const text = { fieldType: { type: "string" }, optional: false };
    const maybe = { ...text, optional: true };
    expect(takesAllOf(of({ a: text }), of({ a: text }))).toBe(true);
    expect(takesAllOf(of({ a: text, b: maybe }), of({ a: text }))).toBe(true);
    expect(takesAllOf(of({ a: text, b: text }), of({ a: text }))).toBe(false);
    expect(takesAllOf(of({}), of({ a: maybe }))).toBe(false);
    expect(takesAllOf(of({ a: text }), of({ a: maybe }))).toBe(false);
  });
});
