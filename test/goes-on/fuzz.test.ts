import fc from "fast-check";
import { afterAll, expect, test, vi } from "vitest";
import { Webhook } from "svix";
import { COLUMNS } from "../../convex/clerk/profile/profile";
import { clerkUser } from "../../scripts/stand-in/clerk-json";
import { complete, LONG_AGO, rows, useSetting, WEBHOOK_SECRET } from "../world/setting";

const RUNS = 1500;
const setting = useSetting({ http: false });
const webhook = new Webhook(WEBHOOK_SECRET);

/** What a genuine sender with a hostile mind could sign, and how often it came. */
const met = new Map<string, number>();
afterAll(() => {
  console.log(`Fuzzed webhooks were answered: ${JSON.stringify(Object.fromEntries(met))}`);
});

async function send(body: string, headers: Record<string, string> = {}): Promise<number> {
  const at = new Date();
  const signed = {
    "svix-id": "msg_1",
    "svix-timestamp": String(Math.floor(at.getTime() / 1000)),
    "svix-signature": webhook.sign("msg_1", at, body),
  };
  const init = { method: "POST", body, headers: { ...signed, ...headers } };
  const { status } = await setting.t.fetch("/clerk-users-webhook", init);
  met.set(String(status), (met.get(String(status)) ?? 0) + 1);
  return status;
}

const anything = fc.anything({
  withNullPrototype: true,
  withObjectString: true,
  values: [fc.string({ unit: "binary" }), fc.double(), fc.boolean(), fc.constant(null)],
  maxDepth: 4,
});
const hostile = fc.oneof(
  { weight: 6, arbitrary: anything },
  {
    weight: 1,
    arbitrary: fc.constantFrom("__proto__", "constructor", "\ud800", -1, 2 ** 60, 1e308),
  },
);

const base = clerkUser({
  id: "user_1",
  created_at: LONG_AGO,
  updated_at: LONG_AGO,
  email: "a@b.example",
  first_name: "Ada",
});
/** A user of Clerk with some fields replaced by what no user has. */
const users = fc
  .tuple(
    fc.constantFrom("user_1", "user_2"),
    fc.subarray(
      Object.keys(base).filter((field) => field !== "id"),
      { maxLength: 3 },
    ),
    fc.array(hostile, { minLength: 3, maxLength: 3 }),
    fc.boolean(),
  )
  .map(([id, fields, values, isBare]) => {
    const replaced = Object.fromEntries(fields.map((field, index) => [field, values[index]]));
    return isBare ? { id, ...replaced } : { ...base, id, ...replaced };
  });
const events = fc.record(
  {
    type: fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom("user.created", "user.updated", "user.deleted") },
      { weight: 1, arbitrary: hostile },
    ),
    data: fc.oneof({ weight: 5, arbitrary: users }, { weight: 1, arbitrary: hostile }),
    instance_id: fc.oneof(fc.constant("ins_stand_in"), hostile),
    object: hostile,
    timestamp: hostile,
  },
  { requiredKeys: [] },
);

/** What users are called here is nowhere in the log, whatever went wrong. */
function expectNothingToldOf(told: string[]): void {
  const log = JSON.stringify(setting.log);
  for (const value of told) expect(log).not.toContain(value);
}

async function expectRowsThatFit(): Promise<void> {
  // convex-test checks the schema at each write; what matters beside: only fields of the profile.
  const own = ["clerkId", "clerkCreatedAt", "color", "_id", "_creationTime"];
  const known = [...COLUMNS, ...own];
  const all = await rows(setting.t);
  for (const row of all) {
    expect(known).toEqual(expect.arrayContaining(Object.keys(row)));
    expect(row.clerkId).toMatch(/^user_\w+$/);
    expect(Number.isSafeInteger(row.clerkCreatedAt)).toBe(true);
  }
  expect(new Set(all.map(({ clerkId }) => clerkId)).size).toBe(all.length);
}

test("a genuine event that can't be used is accepted, whatever it holds", async () => {
  const { t, clerk, log } = setting;
  await complete(t);
  log.length = 0;
  const property = fc.asyncProperty(events, async (event) => {
    expect(await send(JSON.stringify(event))).toBe(200);
    await expectRowsThatFit();
  });
  await fc.assert(property, { numRuns: RUNS });
  expect(met.get("200")).toBeGreaterThanOrEqual(RUNS);
  expect(log.some(({ reason }) => String(reason).startsWith("another Clerk instance"))).toBe(true);
  expect(log.some(({ event }) => event === "webhook.applied")).toBe(true);
  // The repairs that were asked for on the way: Clerk knows none of these users.
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 10_000);
  expect(clerk.requests.some(({ query }) => query.getAll("user_id").includes("user_1"))).toBe(true);
  expectNothingToldOf(["a@b.example", "Ada", "idn_user", clerk.secretKey, WEBHOOK_SECRET]);
});

test("a signed body that is no JSON is accepted and ignored", async () => {
  const property = fc.asyncProperty(fc.string({ unit: "grapheme" }), async (body) => {
    expect(await send(body)).toBe(200);
  });
  await fc.assert(property, { numRuns: 300 });
  expect(await rows(setting.t)).toEqual([]);
});

test("hostile headers are refused, and nothing is read", async () => {
  const spy = vi.spyOn(JSON, "parse");
  const name = fc.constantFrom("svix-id", "svix-timestamp", "svix-signature");
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom("v1,", "v1,AAAA", "v2,x v1,y", "NaN", "1e999", "-1", "0", "9".repeat(400)),
  );
  const printable = value.map((text) => text.replace(/[^ -~]/g, ""));
  const property = fc.asyncProperty(name, printable, async (header, text) => {
    const parsed = spy.mock.calls.length;
    fc.pre(header !== "svix-id" || text !== "msg_1");
    const body = JSON.stringify({ type: "user.created", data: base });
    expect(await send(body, { [header]: text })).toBe(400);
    const bodies = spy.mock.calls.slice(parsed).filter(([json]) => json === body);
    expect(bodies).toEqual([]);
  });
  await fc.assert(property, { numRuns: 500 });
  expect(await rows(setting.t)).toEqual([]);
});
