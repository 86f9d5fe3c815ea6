/** A table whose rows have no `clerkId` yet, and what came before the first run. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import { signUp } from "../world/people";
import { complete, internal, post, rows, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
let id: string;

beforeEach(async () => {
  [id = ""] = signUp(setting, 20);
  await setting.t.run(async ({ db }) => {
    for (let i = 0; i < 20; i += 1) {
      await db.insert("users", { color: "teal", email: `n${i}@example.com` });
    }
  });
});

async function expectAsked(): Promise<void> {
  const before = (await rows(setting.t)).length;
  expect(await complete(setting.t)).toMatchObject({ status: "failed" });
  expect(await rows(setting.t)).toHaveLength(before);
}

describe("20 rows without a clerkId are asked about, before their users get second ones,", () => {
  test("where nothing came before the first run", async () => {
    await expectAsked();
  });

  test("after an event has made a row", async () => {
    const { t, clerk } = setting;
    await post(t, clerk.updateUser(id, { first_name: "A" }, Date.now()));
    await expectAsked();
  });

  test("after a person has repaired one user", async () => {
    const { user } = internal.clerk.reconcile;
    expect(await setting.t.action(user, { clerkId: id })).toMatchObject({ outcome: "created" });
    await expectAsked();
  });

  test("after a page of the app has asked for its user's row", async () => {
    const { t } = setting;
    await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: id });
    await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 1000);
    await expectAsked();
  });
});
