/** Users and events in shapes that the world has and Clerk's documents don't promise, through the mounted route. */
import { describe, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { fields } from "../../convex/clerk/fields";
import { DAY, HOUR, MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { whyLacking } from "../../convex/clerk/profile/profile";
import { clerkUser, userEvent, type ClerkUserJSON } from "../../scripts/stand-in/clerk-json";
import { expectMirror, signUp } from "../world/people";
import { complete, internal, LONG_AGO, pass, post, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const ID = "user_ada";

const ADA = {
  id: ID,
  created_at: LONG_AGO,
  first_name: "Ada",
  last_name: "Lovelace",
  username: "ada",
  email: "ada@example.com",
  external_id: "42",
  public_metadata: { role: "admin" },
};

/** Ada, as a run has mirrored her. */
async function mirrored(change: Partial<ClerkUserJSON> = {}): Promise<ClerkUserJSON> {
  const { t, clerk } = setting;
  const { user } = clerk.createUser({ ...ADA, ...change });
  await complete(t);
  pass(HOUR);
  return user;
}

async function send(type: "user.created" | "user.updated" | "user.deleted", data: unknown) {
  const at = { instanceId: setting.clerk.instanceId, at: Date.now() };
  const response = await post(setting.t, userEvent(type, data, at));
  expect(response.status).toBe(200);
}

async function finish(): Promise<void> {
  await setting.t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 1000);
}

function without(user: ClerkUserJSON, ...keys: string[]): object {
  return Object.fromEntries(Object.entries(user).filter(([key]) => !keys.includes(key)));
}

describe("an event that lacks a key which a column reads", () => {
  test.each([
    [["banned", "locked", "image_url"]],
    [["first_name", "last_name"]],
    [["email_addresses"]],
    [["primary_email_address_id"]],
    [["public_metadata"]],
    [["username", "external_id", "phone_numbers"]],
  ])("(%j) clears nothing, and Clerk is asked at once", async (keys) => {
    const { t, clerk } = setting;
    const user = await mirrored();
    const before = await rows(t);
    const update = clerk.updateUser(ID, { first_name: "Augusta" }, Date.now());
    clerk.requests.length = 0;
    await send("user.updated", without(update.data as ClerkUserJSON, ...keys));
    expect(await rows(t)).toEqual(before);
    expect(setting.log.at(-1)?.reason).toMatch(
      keys.some((key) => /addresses|numbers/.test(key))
        ? /^unclear: it lacks the key (email_addresses|phone_numbers|username)$/
        : /^unclear: it lacks the key \w+$/,
    );
    const askedAt = Date.now();
    await finish();
    expect(Date.now() - askedAt).toBeLessThan(5 * SECOND);
    const [row] = await rows(t);
    expect(row).toMatchObject({ firstName: "Augusta", email: "ada@example.com", username: "ada" });
    expect(row?.publicMetadata).toEqual(user.public_metadata);
  });

  test("makes no row by what it lacks: a newcomer comes by Clerk's answer", async () => {
    const { t, clerk } = setting;
    await mirrored();
    const { user } = clerk.createUser({ id: "user_bob", created_at: Date.now(), banned: true });
    await send("user.created", without(user, "banned"));
    expect((await rows(t)).length).toBe(1);
    await finish();
    expect((await rows(t)).find(({ clerkId }) => clerkId === "user_bob")?.banned).toBe(true);
  });

  test("asks nothing where nothing would change, nor for a key that no column reads", async () => {
    const { t, clerk } = setting;
    const user = await mirrored({ username: null });
    clerk.requests.length = 0;
    await send("user.updated", without({ ...user, updated_at: Date.now() }, "username"));
    const renamed = { ...user, first_name: "Augusta", updated_at: Date.now() + 1 };
    await send("user.updated", without(renamed, "locale", "saml_accounts", "totp_enabled"));
    await finish();
    expect(clerk.requests).toEqual([]);
    expect((await rows(t))[0]?.firstName).toBe("Augusta");
  });

  test("is told by the first key of a nested object, and metadata's own keys are none", () => {
    const user = clerkUser(ADA);
    const [address] = user.email_addresses;
    const bare = { id: address?.id, email_address: address?.email_address };
    expect(whyLacking({ ...user, email_addresses: [bare] })).toBe(
      "it lacks the key email_addresses.verification",
    );
    expect(whyLacking({ ...user, public_metadata: {} })).toBeNull();
  });
});

test.each<[string, (user: Record<string, unknown>) => unknown]>([
  ["in", (user) => ("banned" in user ? user.banned : null)],
  ["Object.hasOwn", (user) => (Object.hasOwn(user, "banned") ? user.banned : null)],
  ["structuredClone", (user) => (structuredClone(user) as { banned?: boolean }).banned],
])("an event without a key lifts no ban where a reader looks for it by %s", async (_, read) => {
  vi.spyOn(fields, "banned").mockImplementation((user) => read(user) as boolean);
  await mirrored({ banned: true });
  const { data } = setting.clerk.updateUser(ID, { first_name: "Augusta" }, Date.now());
  await send("user.updated", without(data as ClerkUserJSON, "banned"));
  expect((await rows(setting.t))[0]?.banned).toBe(true);
});

test("without a primary id, and with addresses without ids, there is no primary address", async () => {
  const user = clerkUser(ADA);
  const nameless = user.email_addresses.map(({ id: _, ...rest }) => rest);
  const odd = { ...without(user, "primary_email_address_id"), email_addresses: nameless };
  setting.clerk.users.set(ID, odd as never);
  await complete(setting.t);
  const [row] = await rows(setting.t);
  expect(row).toMatchObject({ firstName: "Ada" });
  expect(row?.email).toBeUndefined();
});

describe("metadata with a key that Convex can't hold", () => {
  test("loses that key alone, by run and by event, and status stays clear about it", async () => {
    const { t, clerk } = setting;
    const metadata = { role: "admin", account: { _id: "7", $ref: 1 }, "🙂": 1 };
    await mirrored({ public_metadata: metadata });
    const kept = { role: "admin", account: { _id: "7" } };
    expect((await rows(t))[0]?.publicMetadata).toEqual(kept);
    const update = { ...metadata, role: "owner" } as never;
    await post(t, clerk.updateUser(ID, { public_metadata: update }, Date.now()));
    expect((await rows(t))[0]?.publicMetadata).toEqual({ ...kept, role: "owner" });
    const repaired = await t.action(internal.clerk.reconcile.user, { clerkId: ID });
    expect(repaired.reason).toMatch(
      "publicMetadata: account: a key that Convex can't hold; a key that Convex can't hold",
    );
    const quiet = await complete(t);
    expect(quiet).toMatchObject({ drift: { missing: 0, stale: 0, orphaned: 0 }, setAside: 1 });
    expect(quiet.entries[0]).toMatchObject({ clerkId: ID, fields: ["publicMetadata"] });
    expect(JSON.stringify(quiet) + JSON.stringify(setting.log)).not.toMatch(/ref|🙂|owner/);
  });
});

describe("a line of the log says what came", () => {
  const send = async (event: object, headers: Record<string, string> = {}) => {
    const { signedEvent } = await import("../../scripts/stand-in/signed-event");
    const { WEBHOOK_SECRET } = await import("../world/setting");
    const signed = signedEvent(event, { secret: WEBHOOK_SECRET, id: "msg_1" });
    const sent = { ...signed.headers, ...headers };
    const init = { method: "POST", body: signed.body, headers: sent };
    expect((await setting.t.fetch("/clerk-users-webhook", init)).status).toBe(200);
    return setting.log.at(-1);
  };

  test.each([
    [{ type: "session.created", data: {} }, "not an event about a user but session.created"],
    [{ data: {} }, "not an event about a user but one without a type"],
    [{ type: "a@b.example", data: {} }, "not an event about a user but one of another form"],
    [{ type: 7, data: {} }, "not an event about a user but one of another form"],
  ])("of %j", async (event, reason) => {
    expect(await send(event)).toMatchObject({ event: "webhook.ignored", reason });
  });

  test("of an event without an instance, or with a strange one", async () => {
    await mirrored();
    for (const instance_id of [undefined, null, 7, "a@b.example"]) {
      const line = await send({ type: "user.updated", data: clerkUser(ADA), instance_id });
      expect(line?.reason).toBe(
        "another Clerk instance: one without a usable instance_id is not ins_stand_in",
      );
    }
  });

  test("by the message's id, also where the headers have Standard Webhooks' names", async () => {
    const { signedEvent } = await import("../../scripts/stand-in/signed-event");
    const { WEBHOOK_SECRET } = await import("../world/setting");
    const { body, headers } = signedEvent({}, { secret: WEBHOOK_SECRET, id: "msg_7" });
    const renamed = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.replace("svix-", "webhook-"), value]),
    );
    const init = { method: "POST", body, headers: renamed };
    expect((await setting.t.fetch("/clerk-users-webhook", init)).status).toBe(200);
    expect(setting.log.at(-1)?.messageId).toBe("msg_7");
  });
});

describe("a lockout that ends by itself", () => {
  const lock = { locked: true, lockout_expires_in_seconds: 1800 };
  const unlock = { locked: false, lockout_expires_in_seconds: null };

  /** Clerk ends it without an event, and without a newer `updated_at`. */
  function expire(): void {
    const user = setting.clerk.users.get(ID);
    if (user) setting.clerk.users.set(ID, { ...user, ...unlock });
  }

  test("is seen to have ended, of an event", async () => {
    const { t, clerk } = setting;
    await mirrored();
    await post(t, clerk.updateUser(ID, lock, Date.now()));
    expect((await rows(t))[0]?.locked).toBe(true);
    const lockedAt = Date.now();
    expire();
    await finish();
    expect((await rows(t))[0]?.locked).toBe(false);
    expect(Date.now() - lockedAt).toBeLessThan(31 * MINUTE);
  });

  test("is seen to have ended, of a run", async () => {
    const { t, clerk } = setting;
    await mirrored();
    clerk.updateUser(ID, lock, Date.now());
    await t.action(run, { mode: "recent" });
    expect((await rows(t))[0]?.locked).toBe(true);
    expire();
    await finish();
    expect((await rows(t))[0]?.locked).toBe(false);
  });

  /** Clerk tells the seconds that are left, and ends it by itself. */
  function lockUntil(ends: { at: number }): void {
    setting.clerk.onRequest = () => {
      const user = setting.clerk.users.get(ID);
      const leftMs = ends.at - Date.now();
      const lockout = leftMs > 0 ? Math.floor(leftMs / SECOND) : null;
      const now = { locked: leftMs > 0, lockout_expires_in_seconds: lockout };
      if (user) setting.clerk.users.set(ID, { ...user, ...now });
    };
  }

  test.each([900, 30_000])("%i ms later than was said is seen to have ended", async (late) => {
    const { t, clerk } = setting;
    await mirrored();
    await post(t, clerk.updateUser(ID, lock, Date.now()));
    lockUntil({ at: Date.now() + 30 * MINUTE + late });
    await finish();
    expect((await rows(t))[0]?.locked).toBe(false);
  });

  test("hours later is seen to have ended, by the tick before it", async () => {
    const { t, clerk } = setting;
    await mirrored();
    const long = { locked: true, lockout_expires_in_seconds: 2 * 3600 };
    await post(t, clerk.updateUser(ID, long, Date.now()));
    lockUntil({ at: Date.now() + 2 * HOUR });
    await finish();
    pass(HOUR + MINUTE);
    await complete(t, { mode: "due" });
    expect((await rows(t))[0]?.locked).toBe(false);
  });

  test("that a second event makes longer is seen to have ended", async () => {
    const { t, clerk } = setting;
    await mirrored();
    const ends = { at: Date.now() + 30 * MINUTE };
    await post(t, clerk.updateUser(ID, lock, Date.now()));
    lockUntil(ends);
    pass(10 * MINUTE);
    ends.at = Date.now() + HOUR;
    const longer = { ...lock, lockout_expires_in_seconds: 3600 };
    await post(t, clerk.updateUser(ID, longer, Date.now()));
    await finish();
    expect((await rows(t))[0]?.locked).toBe(false);
  });

  test("that Clerk says goes on and on is not asked about for ever", async () => {
    const { t, clerk } = setting;
    await mirrored();
    await post(t, clerk.updateUser(ID, lock, Date.now()));
    clerk.requests.length = 0;
    await finish();
    expect(clerk.requests.length).toBeLessThan(20);
  });

  test("of days leaves each day's Report to its day", async () => {
    const { t, clerk } = setting;
    await mirrored();
    const long = { locked: true, lockout_expires_in_seconds: 6 * 86_400 };
    await post(t, clerk.updateUser(ID, long, Date.now()));
    const ids: unknown[] = [];
    for (const first_name of ["B", "C"]) {
      clerk.updateUser(ID, { first_name }, Date.now());
      await t.action(internal.clerk.reconcile.user, { clerkId: ID });
      const day = await t.query(internal.clerk.reconcile.report, { mode: "doubts" });
      expect(day?.status).toBe("completed");
      ids.push(day?.runId);
      pass(3 * DAY);
    }
    expect(ids[0]).not.toBe(ids[1]);
  });

  test("costs a quiet run nothing", async () => {
    const { t, clerk } = setting;
    clerk.createUser({ ...ADA, ...lock });
    const doubts = async () =>
      await t.run(async (ctx) => await ctx.db.query("clerkDoubts").take(9));
    await t.action(run, {});
    const before = await doubts();
    expect(before.length).toBe(1);
    pass(MINUTE);
    expect(await t.action(run, {})).toMatchObject({ status: "completed", unchanged: 1 });
    expect(await doubts()).toEqual(before);
  });
});

describe("a time-out is told as one", () => {
  test.each([
    ["AbortError", "no answer within 20 s"],
    ["TimeoutError", "no answer within 20 s"],
    ["TypeError", "no connection"],
  ])("%s", async (name, sentence) => {
    vi.stubGlobal("fetch", async () => {
      await Promise.resolve();
      pass(MINUTE);
      throw name === "TypeError" ? new TypeError("fetch failed") : new DOMException("x", name);
    });
    expect((await complete(setting.t)).summary).toMatch(sentence);
  });

  test("also of a body that stalls, which is no bad JSON", async () => {
    vi.stubGlobal("fetch", async () => {
      await Promise.resolve();
      pass(MINUTE);
      const body = new ReadableStream({
        start: (controller) => {
          controller.enqueue(new TextEncoder().encode('{"id":'));
          controller.error(new DOMException("The operation was aborted.", "AbortError"));
        },
      });
      return new Response(body);
    });
    expect((await complete(setting.t)).summary).toMatch("no answer within 20 s");
  });
});

describe("a user who is gone and whom the app's hook can't let go", () => {
  const tooMuch = async (): Promise<never> => {
    await Promise.resolve();
    throw new Error("Too many writes in a single function execution (limit: 16000)");
  };

  test("is set aside by the hook's own frame, and met by every run, where rows are deleted", async () => {
    const { t, clerk } = setting;
    signUp(setting, 20);
    await mirrored();
    clerk.users.delete(ID);
    Object.assign(app.hooks, { removed: tooMuch });
    for (let day = 0; day < 2; day += 1) {
      const report = await complete(t);
      expect(report).toMatchObject({ status: "completed", setAside: 1, repaired: { deleted: 0 } });
      const [entry] = report.entries.filter(({ action }) => action === "setAside");
      expect(entry?.reason).toMatch(/hooks\.removed threw Error at .*tooMuch .+records\.test\.ts/);
      pass(DAY);
    }
    Object.assign(app.hooks, { removed: undefined });
    expect(await complete(t)).toMatchObject({ repaired: { deleted: 1 }, setAside: 0 });
    await expectMirror(setting);
  });

  test("does not keep the hook from a second row of the same id, where rows are marked", async () => {
    const { t, clerk } = setting;
    vi.spyOn(app, "removal", "get" as never).mockReturnValue({ mark: {} });
    await mirrored();
    await t.run(async (ctx) => await ctx.db.insert("users", { clerkId: ID, color: "second" }));
    const colors: string[] = [];
    const removed = async (_: unknown, { color }: { color: string }): Promise<never> => {
      colors.push(color);
      return await tooMuch();
    };
    Object.assign(app.hooks, { removed });
    await post(t, clerk.deleteUser(ID, Date.now()));
    Object.assign(app.hooks, { removed: undefined });
    expect(colors.length).toBe(2);
    expect(colors).toContain("second");
  });

  test.each(["event", "run", "person"])(
    "is marked as gone all the same, by %s, where rows are marked",
    async (by) => {
      const { t, clerk } = setting;
      vi.spyOn(app, "removal", "get" as never).mockReturnValue({ mark: {} });
      signUp(setting, 20);
      await mirrored();
      Object.assign(app.hooks, { removed: tooMuch });
      const gone = clerk.deleteUser(ID, Date.now());
      let told: unknown;
      if (by === "event") {
        await post(t, gone);
        told = setting.log.at(-1);
        expect(told).toMatchObject({
          level: "error",
          event: "webhook.applied",
          outcome: "deleted",
        });
      } else if (by === "run") {
        expect((await complete(t, { dryRun: true })).setAside).toBe(1);
        const report = await complete(t);
        expect(report).toMatchObject({ setAside: 1, repaired: { deleted: 1 } });
        told = report.entries;
      } else told = await t.action(internal.clerk.reconcile.user, { clerkId: ID });
      Object.assign(app.hooks, { removed: undefined });
      expect(JSON.stringify(told)).toMatch(
        /hooks\.removed threw Error .+marked as removed all the same/,
      );
      const row = (await rows(t)).find(({ clerkId }) => clerkId === ID);
      expect(row?.deletedAt).toBeDefined();
      expect(row?.firstName).toBeUndefined();
    },
  );
});
