import { describe, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { clerkUser, deletedUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { api, internal, LONG_AGO, post, rows, useSetting } from "../world/setting";

const setting = useSetting();

const identity = (clerkId: string) => setting.t.withIdentity({ subject: clerkId });

async function arrive(id: string, first_name: string | null, updated_at = LONG_AGO) {
  const data = clerkUser({
    id,
    created_at: LONG_AGO,
    updated_at,
    first_name,
    email: "secret@example.com",
    image_url: `https://img.clerk.com/${id}`,
  });
  const at = { instanceId: setting.clerk.instanceId, at: LONG_AGO };
  await post(setting.t, userEvent("user.created", data, at));
}

async function ban(id: string) {
  const { clerk, t } = setting;
  clerk.createUser({ id, created_at: LONG_AGO, updated_at: LONG_AGO });
  await post(t, clerk.updateUser(id, { banned: true }, Date.now()));
}

async function leave(id: string) {
  const at = { instanceId: setting.clerk.instanceId, at: LONG_AGO };
  await post(setting.t, userEvent("user.deleted", deletedUser(id), at));
}

describe("who looks at the page", () => {
  test("is signed out, then syncing, then ready as the webhook arrives", async () => {
    expect(await setting.t.query(api.account.current, {})).toEqual({ status: "signed out" });
    const ada = identity("user_ada");
    expect(await ada.query(api.account.current, {})).toEqual({ status: "syncing" });
    await arrive("user_ada", "Ada");
    const after = await ada.query(api.account.current, {});
    expect(after).toMatchObject({ status: "ready", user: { name: "Ada" } });
    expect(JSON.stringify(after)).not.toMatch("secret@example.com");
    await leave("user_ada");
    expect(await ada.query(api.account.current, {})).toEqual({ status: "syncing" });
  });
});

describe("the chat room", () => {
  test("shows each message with its author as they are now", async () => {
    await arrive("user_ada", "Ada");
    await arrive("user_bob", null);
    await identity("user_ada").mutation(api.messages.send, { body: "  hello " });
    await identity("user_bob").mutation(api.messages.send, { body: "hi" });
    await arrive("user_ada", "Augusta", LONG_AGO + 1);
    expect(await identity("user_bob").query(api.messages.list, {})).toMatchObject([
      { body: "hello", author: { name: "Augusta", imageUrl: "https://img.clerk.com/user_ada" } },
      { body: "hi", author: { name: "Somebody" } },
    ]);
    await leave("user_ada");
    const [first] = await identity("user_bob").query(api.messages.list, {});
    expect(first).toMatchObject({ body: "hello", author: "deleted user" });
  });

  test("is closed to whoever isn't signed in or has no row", async () => {
    await arrive("user_ada", "Ada");
    for (const who of [setting.t, identity("user_gone")]) {
      await expect(who.mutation(api.messages.send, { body: "x" })).rejects.toThrow(
        /Sign in|has not arrived/,
      );
      await expect(who.query(api.messages.list, {})).rejects.toThrow(/Sign in|has not arrived/);
    }
  });

  test("takes 2,000 characters, whatever they are, and treats a row marked as removed as none", async () => {
    await arrive("user_ada", "Ada");
    await arrive("user_bob", "Bob");
    for (const character of ["x", "\u{1f44b}"]) {
      await identity("user_ada").mutation(api.messages.send, { body: character.repeat(2000) });
    }
    const [ada] = await rows(setting.t);
    if (ada === undefined) throw new Error("no row");
    await setting.t.run(async (ctx) => {
      await ctx.db.patch("users", ada._id, { deletedAt: Date.now() });
    });
    const [said] = await identity("user_bob").query(api.messages.list, {});
    expect(said?.author).toBe("deleted user");
    vi.spyOn(app, "removal", "get" as never).mockReturnValue({ mark: {} });
    const status = await identity("user_ada").query(api.account.current, {});
    expect(status).toEqual({ status: "removed" });
  });

  test.each(["", " \n ", "x".repeat(2001), "\u{1f44b}".repeat(2001)])(
    "refuses a message of the wrong length",
    async (body) => {
      await arrive("user_ada", "Ada");
      await expect(identity("user_ada").mutation(api.messages.send, { body })).rejects.toThrow(
        "A message has 1 to 2000 characters",
      );
    },
  );

  test("lists the newest 100, the newest last", async () => {
    await arrive("user_ada", "Ada");
    for (let i = 0; i < 103; i++) {
      await identity("user_ada").mutation(api.messages.send, { body: `message ${i}` });
    }
    const bodies = (await identity("user_ada").query(api.messages.list, {})).map(
      ({ body }) => body,
    );
    expect(bodies).toEqual(Array.from({ length: 100 }, (_, i) => `message ${i + 3}`));
  });
});

test("whoever has an older row that is marked as removed has the one that is not", async () => {
  await setting.t.run(async ({ db }) => {
    await db.insert("users", { clerkId: "user_ada", color: "old", deletedAt: 1 });
    await db.insert("users", { clerkId: "user_ada", color: "new", name: "Ada" });
  });
  vi.spyOn(app, "removal", "get" as never).mockReturnValue({ mark: {} });
  const status = await identity("user_ada").query(api.account.current, {});
  expect(status).toMatchObject({ status: "ready", user: { color: "new" } });
});

describe("whoever is banned", () => {
  test("is told so, and neither reads nor writes, nor chooses a colour", async () => {
    await arrive("user_ada", "Ada");
    const ada = identity("user_ada");
    await ada.mutation(api.messages.send, { body: "hello" });
    await ban("user_ada");
    expect(await ada.query(api.account.current, {})).toEqual({ status: "banned" });
    for (const attempt of [
      ada.query(api.messages.list, {}),
      ada.mutation(api.messages.send, { body: "again" }),
      ada.mutation(api.account.setColor, { color: "teal" }),
    ]) {
      await expect(attempt).rejects.toThrow("Your account is banned.");
    }
  });
});

describe("a token of another issuer", () => {
  test("is nobody's, whatever its subject", async () => {
    await arrive("user_ada", "Ada");
    vi.stubEnv("CLERK_JWT_ISSUER_DOMAIN", "https://a.clerk.example");
    const at = (issuer: string) => setting.t.withIdentity({ subject: "user_ada", issuer });
    const ours = at("https://a.clerk.example");
    expect(await ours.query(api.account.current, {})).toMatchObject({ status: "ready" });
    const other = at("https://other.example");
    expect(await other.query(api.account.current, {})).toEqual({ status: "signed out" });
    for (const attempt of [
      other.query(api.messages.list, {}),
      other.mutation(api.messages.send, { body: "hello" }),
      other.mutation(api.account.ensureSynced, {}),
    ]) {
      await expect(attempt).rejects.toThrow("Sign in with Clerk first.");
    }
  });
});

test("setColor changes the caller's colour, to a colour only, and the sync leaves it", async () => {
  await arrive("user_ada", "Ada");
  const { setColor } = api.account;
  for (const color of ["teal", "#00ff7F"]) {
    await identity("user_ada").mutation(setColor, { color });
    expect(await rows(setting.t)).toMatchObject([{ color }]);
  }
  await arrive("user_ada", "Augusta", LONG_AGO + 1);
  expect(await rows(setting.t)).toMatchObject([{ color: "#00ff7F", firstName: "Augusta" }]);
  for (const color of ["", "#fff", "red;", "url(x)", "var(--x)", "x".repeat(21)]) {
    await expect(identity("user_ada").mutation(setColor, { color })).rejects.toThrow("A colour is");
  }
});

test("getUser finds a row by its Clerk id, and null for another", async () => {
  await arrive("user_ada", "Ada");
  const get = internal.users.getUser;
  expect(await setting.t.query(get, { clerkId: "user_ada" })).toMatchObject({ firstName: "Ada" });
  expect(await setting.t.query(get, { clerkId: "user_bob" })).toBeNull();
});
