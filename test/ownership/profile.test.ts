import { convexToJson, type Value } from "convex/values";
import { describe, expect, test } from "vitest";
import { columnsOf } from "../../convex/clerk/mirror/plan";
import { readUser } from "../../convex/clerk/profile/profile";
import { clerkUser, emailAddress, userEvent } from "../../scripts/stand-in/clerk-json";
import { everything, LONG_AGO, post, run, useSetting } from "../world/setting";

const base = { id: "user_1", created_at: LONG_AGO };

function profileOf(json: unknown): Record<string, unknown> {
  const reading = readUser(json);
  if (reading.kind !== "profile") throw new Error(`unreadable: ${JSON.stringify(reading)}`);
  return columnsOf(reading);
}

describe("a profile", () => {
  test("has the primary address, not the first one, and whether it is verified", () => {
    const second = { ...emailAddress("idn_2", "second@example.com"), verification: null };
    const user = clerkUser({
      ...base,
      email: "first@example.com",
      primary_email_address_id: "idn_2",
    });
    user.email_addresses.push(second);
    expect(profileOf(user)).toMatchObject({ email: "second@example.com", emailVerified: false });
  });

  test("has null for what Clerk has as null, as empty metadata, or not at all", () => {
    const { image_url: _, ...user } = clerkUser(base);
    const profile = profileOf(user);
    expect(profile).toMatchObject({ clerkId: "user_1", clerkCreatedAt: LONG_AGO, banned: false });
    for (const absent of ["username", "firstName", "name", "email", "emailVerified", "imageUrl"]) {
      expect(profile[absent]).toBeNull();
    }
    expect(profile.publicMetadata).toBeNull();
  });

  test("has no address whose primary id names none of the list", () => {
    const user = clerkUser({
      ...base,
      email: "a@example.com",
      primary_email_address_id: "idn_gone",
    });
    expect(profileOf(user)).toMatchObject({ email: null, emailVerified: null });
  });

  test.each([
    ["Ada", null, "Ada"],
    [null, "Lovelace", "Lovelace"],
    ["Ada", "Lovelace", "Ada Lovelace"],
    ["", "", null],
    [null, null, null],
  ])("of %s and %s has the name %s", (first_name, last_name, name) => {
    expect(profileOf(clerkUser({ ...base, first_name, last_name })).name).toBe(name);
  });

  test("never has private or unsafe metadata", () => {
    const secret = { key: "hidden" };
    const user = clerkUser({ ...base, private_metadata: secret, unsafe_metadata: secret });
    expect(JSON.stringify(readUser(user))).not.toMatch("hidden");
  });
});

const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });

describe("metadata that Convex can't hold is left out alone", () => {
  const badKey = "a key that Convex can't hold";
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`key${i}`, i]));
  const role = "admin";

  test.each<[string, unknown, object | null, string]>([
    ["a key that isn't ASCII", { role, größe: 1 }, { role }, badKey],
    ["an emoji as a key", { role, "🙂": 1 }, { role }, badKey],
    ["two such keys", { role, größe: 1, $ref: 1 }, { role }, `${badKey} (2 of them)`],
    ["a key that begins with $", { $ref: 1, role }, { role }, badKey],
    ["a key of 1,025 characters", { role, ["k".repeat(1025)]: 1 }, { role }, badKey],
    [
      "a key below others",
      { role, account: { plan: { $id: 1, fine: 1 } } },
      { role, account: { plan: { fine: 1 } } },
      `account.plan: ${badKey}`,
    ],
    [
      "a key below one that is no name",
      { role, "ada@example.com": { $id: 1, fine: 1 } },
      { role, "ada@example.com": { fine: 1 } },
      badKey,
    ],
    ["a key of a list's entry", { role, list: [{ $ref: 1 }] }, { role }, `list: ${badKey}`],
    ["__proto__ as a key", JSON.parse('{"__proto__": {"admin": true}}'), null, badKey],
    ["1,025 keys", many(1025), null, "an object of more than 1024 keys"],
    [
      "a list of 8,193",
      { role, list: Array(8193).fill(0) },
      { role },
      "list: an array of more than 8192 elements",
    ],
    ["half a character", { role, text: "\ud800" }, { role }, "text: text that is not Unicode"],
    ["200 kB", { text: "x".repeat(200_000) }, null, "over 131072 characters of JSON"],
    ["one character too many", { a: "x".repeat(131_065) }, null, "over 131072 characters of JSON"],
  ])("%s", (_, public_metadata, kept, reason) => {
    const user = clerkUser({ ...base, username: "ada" });
    const reading = readUser({ ...user, public_metadata });
    expect(reading).toMatchObject({ kind: "profile", columns: { username: "ada" } });
    expect(reading).toMatchObject({ leftOut: [{ field: "publicMetadata", reason }] });
    const { publicMetadata = null } = profileOf({ ...user, public_metadata });
    expect(publicMetadata).toEqual(kept);
    // What is left, Convex takes.
    expect(() => convexToJson(publicMetadata as Value)).not.toThrow();
  });

  test.each([16, 40])("what lies deeper than Convex holds, of %i levels", (levels) => {
    const reading = readUser({ ...clerkUser(base), public_metadata: { role, deep: deep(levels) } });
    expect(reading).toMatchObject({ kind: "profile", columns: { publicMetadata: { role } } });
    expect(JSON.stringify(reading)).toMatch("nested more than 15 levels deep");
  });

  test.each<[string, unknown]>([
    ["1,024 keys", many(1024)],
    ["a key of 1,024 characters", { ["k".repeat(1024)]: 1 }],
    ["a key with $ and _ inside", { a$_b: 1 }],
    ["a key that begins with _, and an empty one", { _id: 1, account: { _id: 2, "": 3 } }],
    ["as many characters as a field may have", { a: "x".repeat(131_064) }],
  ])("what it can is kept: %s", (_, public_metadata) => {
    expect(profileOf({ ...clerkUser(base), public_metadata })).toMatchObject({
      publicMetadata: public_metadata,
    });
  });

  test("what it can is kept: 15 levels, a list of 8,192 and a key with spaces", () => {
    const public_metadata = { levels: deep(14), list: Array(8192).fill(0), "a key!": null };
    expect(profileOf({ ...clerkUser(base), public_metadata }).publicMetadata).toEqual(
      public_metadata,
    );
  });
});

describe("a column whose reader throws", () => {
  test("is left as it is, with a reason that holds no value; the others are read", () => {
    const reading = readUser({
      ...clerkUser({ ...base, first_name: "Ada" }),
      email_addresses: 4711,
    });
    expect(reading).toMatchObject({ kind: "profile", columns: { firstName: "Ada" } });
    expect(reading.kind === "profile" && "email" in reading.columns).toBe(false);
    const reason = "its reader threw TypeError";
    expect(reading).toMatchObject({
      leftOut: [
        { field: "email", reason },
        { field: "emailVerified", reason },
      ],
    });
    expect(JSON.stringify(reading)).not.toMatch("4711");
  });
});

describe("a user who can't be read at all is told with a reason that holds no value", () => {
  test("without updated_at", () => {
    expect(readUser({ ...clerkUser(base), updated_at: null })).toMatchObject({
      kind: "unreadable",
      clerkId: "user_1",
      clerkCreatedAt: LONG_AGO,
      reason: "updated_at: expected a time in ms",
    });
  });

  test("a user whose fields are too long together", () => {
    const text = { a: "x".repeat(131_000) };
    const user = { ...clerkUser(base), public_metadata: text, first_name: "y".repeat(131_000) };
    expect(readUser(user)).toMatchObject({ reason: "over 262144 characters of JSON" });
  });

  test.each([
    null,
    "user_1",
    [],
    {},
    { id: 1 },
    { id: ["user_1"], created_at: 1 },
    { id: "org_1", created_at: 1 },
    { id: "user_1/../x", created_at: 1 },
    { id: "a user_1", created_at: 1 },
  ])("%j names no user at all", (json) => {
    expect(readUser(json)).toMatchObject({ kind: "unreadable", clerkId: null });
  });

  test.each([{}, { created_at: 1.5 }, { created_at: "1" }, { created_at: null }])(
    "%j names no creation time",
    (json) => {
      const user = readUser({ id: "user_1", updated_at: 7, ...json });
      expect(user).toMatchObject({ clerkId: "user_1", clerkCreatedAt: null, version: 7 });
    },
  );
});

describe("nothing private", () => {
  const setting = useSetting();

  test("reaches the table or the log, by webhook, run or failure", async () => {
    const { t, clerk, log } = setting;
    const hidden = { hidden: "PRIVATE" };
    const someone = {
      created_at: LONG_AGO,
      private_metadata: hidden,
      unsafe_metadata: hidden,
      first_name: "FIRSTNAME",
      email: "EMAIL@example.com",
    };
    const { user } = clerk.createUser(someone);
    clerk.createUser({ ...someone, public_metadata: { größe: "METADATA" } });
    clerk.createUser({ ...someone, banned: "PRIVATE" as never });
    await t.action(run, {});
    const change = { instanceId: clerk.instanceId, at: LONG_AGO };
    await post(t, userEvent("user.updated", { ...user, updated_at: Date.now() }, change));
    await post(t, userEvent("user.updated", { ...user, last_name: 5 }, change));
    clerk.order(/./, { kind: "status", status: 401, code: clerk.secretKey });
    await t.action(run, {});

    expect(await everything(t)).not.toMatch(/PRIVATE|METADATA/);
    const logged = JSON.stringify(log);
    expect(logged).not.toMatch(/PRIVATE|METADATA|FIRSTNAME|EMAIL|größe/);
    expect(log.length).toBeGreaterThan(5);
    expect(logged + (await everything(t))).not.toMatch(clerk.secretKey);
    expect(log.at(-1)?.summary).toContain("(401, trace id");
  });
});
