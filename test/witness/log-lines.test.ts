/** Lines of the log on an app with many columns and keys of its own: short, and without what is nobody's business. */
import { defineTable } from "convex/server";
import { v } from "convex/values";
import { beforeEach, expect, test, vi } from "vitest";
import { signUp } from "../world/people";
import { complete, convexWith, post, useSetting } from "../world/setting";

type Reader = (user: { first_name: string | null; public_metadata: unknown }) => unknown;
const names = vi.hoisted(() =>
  Array.from({ length: 200 }, (_, i) => `columnOfTheAppWithNumber${i}`),
);
vi.mock("../../convex/clerk/fields", () => {
  const first: Reader = ({ first_name }) => first_name;
  const metadata: Reader = ({ public_metadata }) => public_metadata;
  const fields = Object.fromEntries(names.map((name) => [name, first]));
  return { fields: { ...fields, publicMetadata: metadata } };
});
const setting = useSetting({ http: false });

beforeEach(() => {
  const columns = Object.fromEntries(names.map((name) => [name, v.optional(v.string())]));
  setting.t = convexWith(
    defineTable({
      ...columns,
      clerkId: v.optional(v.string()),
      clerkCreatedAt: v.optional(v.number()),
      publicMetadata: v.optional(v.any()),
      color: v.string(),
    })
      .index("by_clerkId", ["clerkId"])
      .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]),
  );
});

test("each line stays below 4 KiB, however many columns a difference is in", async () => {
  signUp(setting, 1);
  expect(await complete(setting.t)).toMatchObject({ repaired: { created: 1 } });
  for (const line of setting.log) {
    expect(JSON.stringify(line).length, line.event).toBeLessThan(4096);
  }
});

test("no line has a token that is a key of metadata beside one that Convex can't hold", async () => {
  const { t, clerk, log } = setting;
  const token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
  const { event } = clerk.createUser({
    created_at: Date.now(),
    public_metadata: { tokens: { [token]: { größe: 1 } } },
  });
  expect((await post(t, event)).status).toBe(200);
  expect(log).not.toEqual([]);
  expect(JSON.stringify(log)).not.toMatch("ghp_16C7");
});
