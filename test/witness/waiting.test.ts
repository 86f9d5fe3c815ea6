/** Marked rows that wait to be purged, among users who share a creation time. */
import { defineTable } from "convex/server";
import { v } from "convex/values";
import { beforeEach, expect, test, vi } from "vitest";
import * as app from "../../convex/clerk/app";
import { DAY, MINUTE } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import { deletedUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { complete, convexWith, LONG_AGO, pass, post, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

beforeEach(() => {
  const { validator } = schema.tables.users;
  // A mark keeps what the schema requires: so the row stands among those of its crowd.
  const users = defineTable({ ...validator.fields, clerkCreatedAt: v.number() })
    .index("by_clerkId", ["clerkId"])
    .index("by_clerkCreatedAt_and_clerkId", ["clerkCreatedAt", "clerkId"]);
  setting.t = convexWith(users as never);
  vi.spyOn(app, "removal", "get").mockReturnValue({ mark: {}, purgeAfterMs: 10 * DAY });
});

/** One of 30 users who share a time is deleted, as an event tells, and Clerk's list shows them all the same. */
async function deleteOneOfACrowd(): Promise<string> {
  const { t, clerk } = setting;
  const all = Array.from({ length: 30 }, () => clerk.createUser({ created_at: LONG_AGO }).user.id);
  await complete(t, { pageSize: 10 });
  pass(DAY);
  const [id = ""] = all;
  const at = { instanceId: clerk.instanceId, at: Date.now() };
  await post(t, userEvent("user.deleted", deletedUser(id), at));
  return id;
}

test("are counted, though Clerk's list still has their user", async () => {
  await deleteOneOfACrowd();
  pass(MINUTE);
  expect(await complete(setting.t, { pageSize: 10 })).toMatchObject({ waiting: 1 });
});

test("are never fewer than none, whoever is purged", async () => {
  const id = await deleteOneOfACrowd();
  pass(20 * DAY);
  const { clerk } = setting;
  clerk.onRequest = ({ query }) => {
    if (query.has("user_id")) clerk.users.delete(id);
  };
  expect(await complete(setting.t, { pageSize: 10 })).toMatchObject({ waiting: 0 });
});
