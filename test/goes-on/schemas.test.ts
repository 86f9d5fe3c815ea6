/** Users as Clerk's own schema allows them, whatever it allows: each is mirrored, or set aside with a reason. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import schema from "../world/clerk-user-schema.json";
import { complete, LONG_AGO, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

const COUNT = 250;
const FIXED_SEED = 19;
const FRESH_SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);

/** What is used of OpenAPI's schemas. */
type Schema = {
  type?: string;
  enum?: unknown[];
  nullable?: boolean;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
};

/** Text of all sorts, half characters among them. */
const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 30 }),
  fc.string({ unit: "binary", maxLength: 10 }),
  fc.constantFrom("", "\ud800", "__proto__", "$ref", "x".repeat(2000)),
);

function arbitraryOf(given: Schema, depth = 0): fc.Arbitrary<unknown> {
  const { nullable = false, ...one } = given;
  const arbitrary = arbitraryOfOne(one, depth);
  return nullable ? fc.oneof(fc.constant(null), arbitrary) : arbitrary;
}

function arbitraryOfOne(one: Schema, depth: number): fc.Arbitrary<unknown> {
  const choices = one.oneOf ?? one.anyOf;
  if (choices) return fc.oneof(...choices.map((each) => arbitraryOf(each, depth)));
  if (one.allOf) {
    const all = one.allOf.map((each) => arbitraryOf(each, depth));
    return fc.tuple(...all).map((parts) => Object.assign({}, ...parts) as object);
  }
  if (one.enum) return fc.constantFrom(...one.enum);
  switch (one.type) {
    case "string":
      return text;
    case "integer":
      return fc.oneof(fc.integer({ min: 0, max: 2 ** 41 }), fc.maxSafeInteger());
    case "number":
      return fc.double();
    case "boolean":
      return fc.boolean();
    case "array":
      return fc.array(arbitraryOf(one.items ?? {}, depth + 1), { maxLength: depth > 1 ? 1 : 3 });
    case "object":
      return objectOf(one, depth);
    default:
      return fc.jsonValue({ maxDepth: 3 });
  }
}

function objectOf({ properties, required = [], additionalProperties }: Schema, depth: number) {
  const named = Object.entries(properties ?? {}).map(
    ([name, each]) => [name, arbitraryOf(each, depth + 1)] as const,
  );
  const known = fc.record(Object.fromEntries(named), { requiredKeys: required });
  if (properties !== undefined && additionalProperties !== true) return known;
  const values = fc.oneof(fc.jsonValue({ maxDepth: 4 }), text);
  const more = fc.dictionary(text, values, { maxKeys: 4, noNullPrototype: true });
  return fc.tuple(more, known).map(([a, b]) => ({ ...a, ...b }));
}

type Json = Record<string, unknown> & { id: string };

/** Users with ids of their own; of what tells who and when it is, some are odd, too. */
function users(seed: number): Json[] {
  const drawn = fc.sample(arbitraryOf(schema.user as unknown as Schema) as fc.Arbitrary<object>, {
    seed,
    numRuns: COUNT,
  });
  return drawn.map((user, i) => ({
    ...(user as Json),
    id: `user_${i}`,
    ...(i % 10 > 0 && { created_at: LONG_AGO + i, updated_at: LONG_AGO + i }),
  }));
}

describe.each([
  [FIXED_SEED, []],
  [FRESH_SEED, ["slow"]],
])(`${COUNT} users of Clerk's schema, from seed %i,`, (seed, tags) => {
  test("are mirrored by a run, or set aside with a reason", { tags }, async () => {
    const { t, clerk } = setting;
    const all = users(seed);
    for (const user of all) clerk.users.set(user.id, user as never);
    const report = await complete(t);
    expect(report.status).toBe("completed");
    const here = new Set((await rows(t)).map(({ clerkId }) => clerkId));
    const aside = report.entries.filter(({ action }) => action === "setAside");
    const reasons = new Map(aside.map(({ clerkId, reason }) => [clerkId, reason]));
    const lost = all.filter(({ id }) => !here.has(id) && !reasons.get(id));
    expect(lost).toEqual([]);
    expect(here.size).toBeGreaterThan(COUNT / 2);
    const again = await complete(t);
    expect(again).toMatchObject({ status: "completed", drift: { missing: 0, stale: 0 } });
  });

  test("are applied as events, or left to Clerk's answer", { tags, timeout: 120_000 }, async () => {
    const { t, clerk, log } = setting;
    const all = users(seed);
    for (const [i, user] of all.entries()) {
      clerk.users.set(user.id, user as never);
      const type = i % 2 === 0 ? "user.created" : "user.updated";
      const at = { instanceId: clerk.instanceId, at: LONG_AGO };
      expect((await post(t, userEvent(type, user, at))).status).toBe(200);
    }
    expect(log.filter(({ event }) => event === "webhook.failed")).toEqual([]);
    const here = new Set((await rows(t)).map(({ clerkId }) => clerkId));
    const ignored = new Map(log.map(({ clerkId, reason }) => [clerkId as string, reason]));
    expect(all.filter(({ id }) => !here.has(id) && !ignored.get(id))).toEqual([]);
  });
});
