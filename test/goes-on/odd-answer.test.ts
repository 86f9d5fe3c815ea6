/** An id about which Clerk answers, with 200, something else than the user or an error: it is set aside, others go on. */
import { describe, expect, test } from "vitest";
import { HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { backfill } from "../world/people";
import { complete, pass, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

/** 9 of 60 users are deleted, and no event tells of it. @returns their ids */
async function loseDeletions(): Promise<string[]> {
  const gone = (await backfill(setting, 60)).slice(0, 9);
  pass(HOUR);
  for (const id of gone) setting.clerk.users.delete(id);
  return gone;
}

async function expectOneSetAside(): Promise<void> {
  const report = await complete(setting.t);
  expect(report.summary).not.toMatch("Failed");
  expect(report).toMatchObject({ status: "completed", setAside: 1, repaired: { deleted: 8 } });
}

describe("a run sets one aside, and removes the others, where Clerk answers", () => {
  test.each([
    ["another user", { object: "user", id: "user_other" }],
    ["an empty object", {}],
    ["null", null],
  ])("%s for the id", async (_, answer) => {
    const gone = await loseDeletions();
    const body = JSON.stringify(answer);
    setting.clerk.order(new RegExp(`/v1/users/${gone[4]}$`), { kind: "body", body });
    await expectOneSetAside();
  });

  test.each([
    ["an object", '{"data":[]}'],
    ["a user who was not asked for", '[{"id":"user_other"}]'],
  ])("%s in the place of every list that names the id", async (_, body) => {
    const gone = await loseDeletions();
    setting.clerk.order(new RegExp(`user_id=${gone[4]}`), { kind: "body", body });
    await expectOneSetAside();
  });
});

test("whom Clerk lists twice does not keep the worker from the others", async () => {
  const { t, clerk } = setting;
  const ids = await backfill(setting, 20);
  pass(HOUR);
  const [odd = ""] = ids;
  const twice = (json: unknown) => [json, json].flat();
  clerk.order(new RegExp(`user_id=${odd}`), { kind: "change", change: twice });
  // Events come late, of changes from before the full run.
  const at = Date.now() - 2 * HOUR;
  for (const id of ids) await post(t, clerk.updateUser(id, { first_name: "New" }, at));
  for (let i = 0; i < 8; i += 1) {
    await complete(t, { mode: "due" });
    pass(15 * MINUTE);
  }
  const stale = (await rows(t)).filter(({ firstName }) => firstName !== "New");
  expect(stale.map(({ clerkId }) => clerkId).filter((id) => id !== odd)).toEqual([]);
});
