import { describe, expect, test, vi } from "vitest";
import { clerkUser, deletedUser, userEvent } from "../../scripts/stand-in/clerk-json";
import type * as Server from "../../convex/_generated/server";
import { signedEvent } from "../../scripts/stand-in/signed-event";
import { killAt } from "../world/kill";
import {
  everything,
  isUntouched,
  internal,
  LONG_AGO,
  post,
  rows,
  run,
  useSetting,
  WEBHOOK_SECRET,
} from "../world/setting";

// Counts the calls of the HTTP action, too.
vi.mock("../../convex/_generated/server", async (importOriginal) => {
  const { mortal } = await import("../world/kill");
  const server = await importOriginal<typeof Server>();
  type Handler = (ctx: Server.ActionCtx, request: Request) => Promise<Response>;
  const httpAction = (handler: Handler) =>
    server.httpAction(
      async (ctx: Server.ActionCtx, request) => await handler(mortal(ctx), request),
    );
  return { ...server, httpAction };
});

const setting = useSetting();
const ID = "user_2abc";

function ada(change: Partial<Parameters<typeof clerkUser>[0]> = {}) {
  return clerkUser({
    id: ID,
    created_at: LONG_AGO,
    first_name: "Ada",
    last_name: "Lovelace",
    email: "ada@example.com",
    ...change,
  });
}

function event(type: "user.created" | "user.updated" | "user.deleted", data: unknown) {
  return userEvent(type, data, { instanceId: setting.clerk.instanceId, at: LONG_AGO });
}

describe("a genuine event", () => {
  test("creates, updates and deletes the row, and answers 200 each time", async () => {
    const { t, log } = setting;
    expect((await post(t, event("user.created", ada()))).status).toBe(200);
    const [created] = await rows(t);
    expect(created).toMatchObject({
      clerkId: ID,
      clerkCreatedAt: LONG_AGO,
      firstName: "Ada",
      name: "Ada Lovelace",
      email: "ada@example.com",
      emailVerified: true,
    });

    const renamed = ada({ first_name: "Augusta", updated_at: LONG_AGO + 1 });
    expect((await post(t, event("user.updated", renamed))).status).toBe(200);
    expect(await rows(t)).toMatchObject([{ _id: created?._id, name: "Augusta Lovelace" }]);

    expect((await post(t, event("user.deleted", deletedUser(ID)))).status).toBe(200);
    expect(await rows(t)).toEqual([]);
    expect(log.map((line) => [line.event, line.outcome])).toEqual([
      ["webhook.applied", "created"],
      ["webhook.applied", "updated"],
      ["webhook.applied", "deleted"],
    ]);
  });

  test("leaves what the app keeps on the row as it is", async () => {
    const { t } = setting;
    await post(t, event("user.created", ada()));
    await t.run(async (ctx) => {
      const row = await ctx.db.query("users").first();
      if (row) await ctx.db.patch("users", row._id, { color: "chosen" });
    });
    await post(t, event("user.updated", ada({ username: "ada", updated_at: LONG_AGO + 1 })));
    expect(await rows(t)).toMatchObject([{ color: "chosen", username: "ada" }]);
  });

  test("that comes twice changes nothing the second time", async () => {
    const { t } = setting;
    await post(t, event("user.created", ada()));
    // But for when an event last came.
    const known = async () => (await everything(t)).replace(/"(created)?[eE]ventAt":\d+/g, "");
    const before = await known();
    expect((await post(t, event("user.created", ada()))).status).toBe(200);
    expect(await known()).toBe(before);
  });

  test("that was overtaken by a newer one changes nothing", async () => {
    const { t, log } = setting;
    await post(t, event("user.updated", ada({ first_name: "New", updated_at: LONG_AGO + 5 })));
    await post(t, event("user.created", ada({ first_name: "Old" })));
    expect(await rows(t)).toMatchObject([{ firstName: "New" }]);
    expect(log.at(-1)).toMatchObject({ event: "webhook.ignored", clerkId: ID });
  });

  test("that comes after the deletion does not bring the user back", async () => {
    const { t } = setting;
    await post(t, event("user.deleted", deletedUser(ID)));
    await post(t, event("user.created", ada()));
    await post(t, event("user.updated", ada({ updated_at: LONG_AGO + 9 })));
    expect(await rows(t)).toEqual([]);
  });

  test("with another look at a known version, or from the future, is left to a run", async () => {
    const { t, log } = setting;
    await post(t, event("user.created", ada()));
    await post(t, event("user.updated", ada({ first_name: "Other" })));
    await post(
      t,
      event("user.updated", ada({ first_name: "Other", updated_at: Date.now() + 1e6 })),
    );
    expect(await rows(t)).toMatchObject([{ firstName: "Ada" }]);
    expect(log.slice(1).map((line) => line.event)).toEqual(["webhook.ignored", "webhook.ignored"]);
  });

  test("that is older than the last full run is left to the next one", async () => {
    const { t, clerk } = setting;
    const { user } = clerk.createUser({ created_at: LONG_AGO, first_name: "Now" });
    await t.action(run, {});
    const stale = { ...user, first_name: "Then", updated_at: user.updated_at + 1 };
    await post(t, event("user.updated", stale));
    expect(await rows(t)).toMatchObject([{ firstName: "Now" }]);
  });

  test("costs one mutation, at most 5 documents read and 3 written", async () => {
    const { t } = setting;
    const cost = async (data: ReturnType<typeof ada>) =>
      await t.mutation(async (ctx) => {
        await ctx.runMutation(internal.clerk.webhook.event.apply, {
          type: "user.updated",
          instanceId: undefined,
          change: {
            kind: "user",
            clerkId: data.id,
            clerkCreatedAt: data.created_at,
            columns: { name: data.first_name ?? "" },
            newFields: { columns: { color: "teal" } },
            version: data.updated_at,
          },
        });
        return await ctx.meta.getTransactionMetrics();
      });
    for (const data of [ada(), ada({ first_name: "B", updated_at: LONG_AGO + 1 })]) {
      const { documentsRead, documentsWritten } = await cost(data);
      expect(documentsRead.used).toBeLessThanOrEqual(5);
      expect(documentsWritten.used).toBeLessThanOrEqual(3);
    }
    const calls = killAt(null);
    await post(t, event("user.deleted", deletedUser(ID)));
    calls.restore();
    expect(calls.places).toBe(1);
  });

  test("is accepted from either secret while both are set", async () => {
    const { t } = setting;
    const next = `whsec_${btoa("the next signing secret of all")}`;
    vi.stubEnv("CLERK_WEBHOOK_SECRET", `${WEBHOOK_SECRET} ${next}`);
    expect((await post(t, event("user.created", ada()))).status).toBe(200);
    expect((await post(t, event("user.deleted", deletedUser(ID)), next)).status).toBe(200);
    vi.stubEnv("CLERK_WEBHOOK_SECRET", next);
    expect((await post(t, event("user.created", ada()))).status).toBe(400);
  });
});

describe("what is refused changes nothing", () => {
  const genuine = () =>
    signedEvent(event("user.created", ada()), { secret: WEBHOOK_SECRET, id: "msg_x" });

  async function send(init: RequestInit & { path?: string }): Promise<number> {
    const { path = "/clerk-users-webhook", ...rest } = init;
    const response = await setting.t.fetch(path, { method: "POST", ...rest });
    expect(await isUntouched(setting.t)).toBe(true);
    return response.status;
  }

  test("a wrong signature", async () => {
    const other = `whsec_${btoa("another signing secret of all")}`;
    const forged = signedEvent(event("user.created", ada()), { secret: other, id: "msg_x" });
    expect(await send(forged)).toBe(400);
    expect(setting.log).toMatchObject([
      { event: "webhook.rejected", reason: "No matching signature found" },
    ]);
  });

  test("a timestamp more than five minutes off, in either direction", async () => {
    for (const at of [Date.now() - 301_000, Date.now() + 301_000]) {
      const old = signedEvent(event("user.created", ada()), {
        secret: WEBHOOK_SECRET,
        id: "m",
        at,
      });
      expect(await send(old)).toBe(400);
    }
  });

  test.each(["svix-id", "svix-timestamp", "svix-signature"])("a missing %s", async (name) => {
    const { body, headers } = genuine();
    const { [name]: _, ...rest } = headers;
    expect(await send({ body, headers: rest })).toBe(400);
  });

  test("a body changed by one character", async () => {
    const { body, headers } = genuine();
    expect(await send({ body: body.replace("Ada", "Eve"), headers })).toBe(400);
  });

  test("a body that is the same JSON, written otherwise", async () => {
    const { body, headers } = genuine();
    expect(await send({ body: JSON.stringify(JSON.parse(body), null, 1), headers })).toBe(400);
  });

  test("another method or path", async () => {
    const { body, headers } = genuine();
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      expect(await send({ method, body, headers })).toBe(404);
    }
    expect(await send({ method: "GET" })).toBe(404);
    expect(await send({ path: "/clerk-users-webhook/x", body, headers })).toBe(404);
  });

  /** A body without an end, and how many pieces of 64 KiB were taken of it. */
  function endless() {
    let taken = 0;
    const body = new ReadableStream({
      pull(controller) {
        taken += 1;
        controller.enqueue(new Uint8Array(64 * 1024));
      },
    });
    return { body, pulled: () => taken };
  }

  test.each([
    ["no header of Svix's", {}],
    ["an old timestamp", { "svix-timestamp": "1600000000" }],
  ])("%s, before its body is read", async (name, change) => {
    const { headers } = genuine();
    const { body, pulled } = endless();
    const sent = name.startsWith("no") ? {} : { ...headers, ...change };
    const init = { method: "POST", body, headers: sent, duplex: "half" };
    const response = await setting.t.fetch("/clerk-users-webhook", init);
    expect(response.status).toBe(400);
    expect(pulled()).toBeLessThan(3);
  });

  test("an endless body, of which no more is read than is taken", async () => {
    const { headers } = genuine();
    const { body, pulled } = endless();
    const init = { method: "POST", body, headers, duplex: "half" };
    const response = await setting.t.fetch("/clerk-users-webhook", init);
    expect(response.status).toBe(413);
    expect(pulled()).toBeLessThan(20);
  });

  test("more than 1 MiB, announced or not", async () => {
    const huge = signedEvent("x".repeat(1024 * 1024 + 1), { secret: WEBHOOK_SECRET, id: "m" });
    expect(await send(huge)).toBe(413);
    const { body, headers } = genuine();
    expect(await send({ body, headers: { ...headers, "content-length": "9999999" } })).toBe(413);
  });

  test.each([
    ["none", undefined],
    ["an empty", ""],
    ["a broken", "whsec_%%%"],
  ])(
    "everything while there is %s secret, with 500 so that it is sent again",
    async (_, secret) => {
      vi.stubEnv("CLERK_WEBHOOK_SECRET", secret);
      expect(await send(genuine())).toBe(500);
      expect(setting.log).toMatchObject([{ level: "error", event: "webhook.failed" }]);
      expect(setting.log[0]?.reason).toMatch("CLERK_WEBHOOK_SECRET");
    },
  );
});

describe("a genuine event that can't be used is accepted and ignored", () => {
  test.each<[string, unknown]>([
    ["not JSON", "{"],
    ["null", "null"],
    ["a list", "[]"],
    ["another kind", { type: "session.created", data: { id: "sess_1" } }],
    ["no data", { type: "user.created" }],
    ["a deletion without id", { type: "user.deleted", data: { object: "user", deleted: true } }],
    ["an id that is not a user's", { type: "user.deleted", data: { id: "org_1" } }],
    ["no creation time", { type: "user.created", data: { id: ID } }],
    ["a creation time that is text", { type: "user.created", data: { id: ID, created_at: "x" } }],
    ["another shape", { type: "user.updated", data: { ...ada(), email_addresses: "none" } }],
    ["a name that is a number", { type: "user.updated", data: { ...ada(), first_name: 7 } }],
  ])("%s", async (_, body) => {
    const { t, log } = setting;
    expect((await post(t, body)).status).toBe(200);
    expect(log).toMatchObject([{ level: "info", event: "webhook.ignored" }]);
    expect(await rows(t)).toEqual([]);
  });

  test("another instance than the one that is mirrored, at level error", async () => {
    const { t, log } = setting;
    await t.action(run, {});
    const foreign = userEvent("user.created", ada(), { instanceId: "ins_other", at: LONG_AGO });
    expect((await post(t, foreign)).status).toBe(200);
    expect(log.at(-1)).toMatchObject({ level: "error", event: "webhook.ignored" });
    expect(await rows(t)).toEqual([]);
  });
});

test("a failing database answers 500, and what it quotes is not logged", async () => {
  const { t, log } = setting;
  // A second row of the singleton makes the transaction throw.
  await t.run(async (ctx) => {
    await ctx.db.insert("clerkSyncState", {});
    await ctx.db.insert("clerkSyncState", {});
  });
  expect((await post(t, event("user.created", ada()))).status).toBe(500);
  expect(log.at(-1)).toMatchObject({ level: "error", event: "webhook.failed", clerkId: ID });
  expect(JSON.stringify(log)).not.toMatch("ada@example.com");
});
