/** Every function that a browser can call, found by walking the modules. */
import { makeFunctionReference } from "convex/server";
import { describe, expect, test } from "vitest";
import http from "../../convex/http";
import { clerkUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { everything, LONG_AGO, post, rows, useSetting, type Convex } from "../world/setting";

const setting = useSetting({ http: false });

const modules = import.meta.glob<Record<string, unknown>>(
  ["../../convex/**/*.ts", "!../../convex/_generated/**"],
  { eager: true },
);

/** Arguments that each of them takes: a new public function has to be thought of here. */
const ARGUMENTS: Record<string, Record<string, unknown>> = {
  "account:current": {},
  "account:ensureSynced": {},
  "account:setColor": { color: "teal" },
  "messages:list": {},
  "messages:send": { body: "hello" },
};

const publicFunctions = Object.entries(modules).flatMap(([path, module]) =>
  Object.entries(module)
    .filter(([, value]) => typeof value === "function" && "isPublic" in value && value.isPublic)
    .map(([name, value]) => ({
      path: `${path.replace(/^\.\.\/\.\.\/convex\/|\.ts$/g, "")}:${name}`,
      isQuery: Object.hasOwn(value as object, "isQuery"),
    })),
);

type Caller = Pick<Convex, "query" | "mutation">;

async function call(
  caller: Caller,
  { path, isQuery }: (typeof publicFunctions)[number],
  args = ARGUMENTS[path] ?? {},
): Promise<{ value: unknown } | { error: string }> {
  try {
    const value: unknown = isQuery
      ? await caller.query(makeFunctionReference<"query">(path), args)
      : await caller.mutation(makeFunctionReference<"mutation">(path), args);
    return { value };
  } catch (error) {
    return { error: String(error) };
  }
}

function valueOf(answer: Awaited<ReturnType<typeof call>>): unknown {
  return "value" in answer ? answer.value : answer.error;
}

const identity = (clerkId: string) => setting.t.withIdentity({ subject: clerkId });

/** What others must not see of a user, as Clerk's JSON has it. */
const PRIVATE = {
  email: "secret-address@example.com",
  username: "secret-username",
  external_id: "secret-external-id",
  public_metadata: { plan: "secret-metadata" },
  private_metadata: { note: "secret-metadata" },
};

async function arrive(id: string, first_name: string) {
  const data = clerkUser({ id, created_at: LONG_AGO, first_name, ...PRIVATE });
  const at = { instanceId: setting.clerk.instanceId, at: LONG_AGO };
  await post(setting.t, userEvent("user.created", data, at));
}

test("every public function is known here", () => {
  expect(publicFunctions.map(({ path }) => path).sort()).toEqual(Object.keys(ARGUMENTS));
});

test("every route is known here", () => {
  expect(http.getRoutes().map(([path, method]) => [path, method])).toEqual([
    ["/clerk-users-health", "GET"],
    ["/clerk-users-webhook", "POST"],
  ]);
});

describe.each(publicFunctions)("$path", (each) => {
  test("tells the signed out nothing, and changes nothing for them", async () => {
    await arrive("user_ada", "Ada");
    await identity("user_ada").mutation(makeFunctionReference<"mutation">("messages:send"), {
      body: "for members",
    });
    const before = await everything(setting.t);
    const answer = await call(setting.t, each);
    const isRefused = "error" in answer && answer.error.includes("Sign in");
    if (!isRefused) expect(answer).toEqual({ value: { status: "signed out" } });
    expect(await everything(setting.t)).toBe(before);
  });

  test("lets nobody without a row read, write or become somebody", async () => {
    await arrive("user_ada", "Ada");
    const before = await rows(setting.t);
    const answer = await call(identity("user_newcomer"), each);
    const isRefused = "error" in answer && answer.error.includes("not arrived here yet");
    if (!isRefused) expect([{ status: "syncing" }, null]).toContainEqual(valueOf(answer));
    expect(await rows(setting.t)).toEqual(before);
    expect(await everything(setting.t)).not.toMatch(/messages"/);
  });

  test("shows another user nothing private, and does nothing in their name", async () => {
    await arrive("user_ada", "Ada");
    await identity("user_ada").mutation(makeFunctionReference<"mutation">("messages:send"), {
      body: "for members",
    });
    await arrive("user_bob", "Bob");
    const [ada, bob] = await rows(setting.t);
    for (const args of [ARGUMENTS[each.path], ...hostile(each.path, ada?._id)]) {
      const answer = await call(identity("user_bob"), each, args);
      expect(JSON.stringify(answer)).not.toMatch(/secret|user_ada/);
    }
    const [adaAfter, bobAfter] = await rows(setting.t);
    expect(adaAfter).toEqual(ada);
    expect({ ...bobAfter, color: bob?.color }).toEqual(bob);
    expect(bobAfter?.color).toMatch(/^\w+$/);
    const said = await setting.t.run(async (ctx) => await ctx.db.query("messages").take(100));
    expect(said.filter(({ author }) => author === ada?._id)).toMatchObject([
      { body: "for members" },
    ]);
    for (const { body } of said) expect(body.length).toBeLessThanOrEqual(2000);
  });
});

/** Arguments of the wrong type and size, and in somebody else's name. */
function hostile(path: string, victim: unknown): Record<string, unknown>[] {
  const right = ARGUMENTS[path] ?? {};
  const values = [
    null,
    0,
    NaN,
    [],
    {},
    { $gt: "" },
    "",
    " \n\t ",
    "x".repeat(1_000_000),
    "user_ada",
    victim,
    "red; background: url(https://example.com)",
    "<img src=x onerror=alert(1)>",
    "\u0000\ud800",
  ];
  const names = ["author", "user", "userId", "clerkId", "subject", "identity", "_id", "__proto__"];
  return [
    ...Object.keys(right).flatMap((key) => values.map((value) => ({ ...right, [key]: value }))),
    ...names.flatMap((name) => ["user_ada", victim].map((value) => ({ ...right, [name]: value }))),
  ];
}
