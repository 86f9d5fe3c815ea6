/** @module-tag slow */
// @vitest-environment node
/** What a compiler says of the files that an adopter edits; `npm run test:adopt` asks others, too. */
import type { UserJSON } from "@clerk/backend";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import type { ClerkUser } from "../../convex/clerk/types";
import type { ClerkUserJSON } from "../../scripts/stand-in/clerk-json";
import { MadeUpApp } from "../world/made-up-app";
import { CASES, EACH_KIND, wrongAmong, writeCases } from "../world/type-cases";

describe("an app with a column of each kind", () => {
  let made: MadeUpApp;
  beforeAll(async () => {
    made = await MadeUpApp.taken(EACH_KIND);
    writeCases(made);
  }, 60_000);
  afterAll(() => {
    made.remove();
  });

  test.each([true, false])(
    `has the error that each of ${CASES.length} slips must give, and no other (strict: %s)`,
    { timeout: 60_000 },
    (strict) => {
      const config = made.read("tsconfig.json");
      made.write({ "tsconfig.json": config.replace(/"strict": \w+/, `"strict": ${strict}`) });
      expect(wrongAmong(made.typeErrors(), strict)).toEqual([]);
    },
  );

  test(
    "mirrors one more column by a line in schema.ts and one in fields.ts",
    { timeout: 60_000 },
    () => {
      const schema = made.read("schema.ts");
      const fields = made.read("clerk/fields.ts");
      const line = "  pronouns: (user) => user.username,\n} satisfies";
      made.write({ "clerk/fields.ts": fields.replace("} satisfies", line) });
      expect(made.typeErrors().join("\n")).toMatch(
        /clerk\/fields\.ts.+'pronouns' does not exist in type 'Readers'/,
      );
      const column = "    pronouns: v.optional(v.string()),\n    own:";
      made.write({ "schema.ts": schema.replace("    own:", column) });
      expect(made.typeErrors().filter((error) => !/case\d/.test(error))).toEqual([]);
      made.write({ "schema.ts": schema, "clerk/fields.ts": fields });
    },
  );

  test("is told what its users lack for the sync", { timeout: 60_000 }, () => {
    const schema = made.read("schema.ts");
    const said = [
      ["clerkCreatedAt: v.opt", "deletedAt: "],
      ['.index("by_clerkId"'],
      ["...clerkTables"],
    ].map((lacking) => {
      const lines = schema.split("\n");
      const left = lines.filter((line) => !lacking.some((each) => line.trim().startsWith(each)));
      made.write({ "schema.ts": left.join("\n") });
      return made.typeErrors().join("\n");
    });
    const [columns, index, tables] = said;
    expect(columns).toMatch('"users lacks clerkCreatedAt: v.optional(v.number())"');
    expect(columns).toMatch('"users lacks deletedAt: v.optional(v.number()), to mark its rows');
    expect(index).toMatch(/users lacks \.index\(\\?"by_clerkId\\?", \[\\?"clerkId\\?"\]\)/);
    expect(tables).toMatch('"the schema lacks ...clerkTables"');
    made.write({ "schema.ts": schema });
  });

  test("has to fill what fields.ts only may fill", { timeout: 60_000 }, () => {
    const fields = made.read("clerk/fields.ts");
    const annotated = fields
      .replace("export const fields = {", "export const fields: Fields = {")
      .replace("} satisfies Fields;", "};");
    made.write({ "clerk/fields.ts": annotated });
    expect(made.typeErrors().join("\n")).toMatch(
      /clerk\/app\.ts.+\n.+missing the following properties.+: required, union, nullable/,
    );
    made.write({ "clerk/fields.ts": fields });
  });
});

test("Clerk's user is that of its SDK, and of its documents", () => {
  expectTypeOf<UserJSON>().toExtend<ClerkUser>();
  expectTypeOf<ClerkUserJSON>().toExtend<ClerkUser>();
  // What the SDK does not know, nobody can read.
  expectTypeOf<keyof ClerkUser>().toExtend<keyof UserJSON>();
});
