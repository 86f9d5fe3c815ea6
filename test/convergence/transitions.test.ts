/** The diagram of convex/clerk/README.md, held against what runs do. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import { MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import { Step } from "../../convex/clerk/run/step";
import { deletedUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { loseRows, signUp } from "../world/people";
import { complete, internal, pass, post, useSetting } from "../world/setting";

const README = path.join(import.meta.dirname, "../../convex/clerk/README.md");

/** The ways that runs take from state to state, each once, in order. */
const ROUTES = {
  completed: [
    "begin --> walk",
    "walk --> walk",
    "walk --> lookBack",
    "lookBack --> count",
    "running --> completed",
  ],
  deleting: [
    "begin --> walk",
    "walk --> walk",
    "walk --> lookBack",
    "lookBack --> count",
    "count --> evidence",
    "evidence --> evidence",
    "evidence --> delete",
    "delete --> delete",
    "running --> completed",
  ],
  held: [
    "begin --> walk",
    "walk --> walk",
    "walk --> lookBack",
    "lookBack --> count",
    "count --> evidence",
    "running --> held",
  ],
  "from before": [
    "begin --> walk",
    "walk --> walk",
    "walk --> lookBack",
    "lookBack --> count",
    "count --> count",
    "count --> evidence",
    "running --> held",
  ],
  recounting: [
    "begin --> walk",
    "walk --> walk",
    "walk --> lookBack",
    "lookBack --> count",
    "count --> lookBack",
    "running --> completed",
  ],
  failed: ["running --> failed"],
  cancelled: ["running --> cancelled"],
  recent: ["begin --> lookBack", "lookBack --> lookBack", "running --> completed"],
  doubting: ["begin --> lookBack", "lookBack --> evidence", "running --> completed"],
};

const setting = useSetting({ http: false });

/** Watches a run. @returns the ways that it took, each once, in order */
async function routeOf(run: () => Promise<{ status: string } | null>): Promise<string[]> {
  const goTo = vi.spyOn(Step.prototype, "goTo");
  const ended = await run();
  const ways = goTo.mock.calls.map(([phase], i) => {
    const step = goTo.mock.contexts[i] as Step<"begin">;
    return `${step.run.state.phase.kind} --> ${phase.kind}`;
  });
  if (ended !== null) ways.push(`running --> ${ended.status}`);
  goTo.mockRestore();
  return [...new Set(ways)];
}

describe("a full run", () => {
  test("walks, looks back, has Clerk count, and is completed", async () => {
    signUp(setting, 5);
    expect(await routeOf(async () => await complete(setting.t, { pageSize: 2 }))).toEqual(
      ROUTES.completed,
    );
  });

  test("asks about suspects by the hundred, and deletes who is gone by 25", async () => {
    // 101 are more than a request asks for (100), and than four steps delete (25 each).
    const ids = signUp(setting, 105);
    await complete(setting.t);
    for (const id of ids.slice(0, 101)) setting.clerk.deleteUser(id, Date.now());
    const args = { pageSize: 50, maxDeletions: 101 };
    expect(await routeOf(async () => await complete(setting.t, args))).toEqual(ROUTES.deleting);
  });

  test("deletes nobody and is held where there is a reason to", async () => {
    // 11 of 15 are more than the few that go of any table (10), and than 5 %.
    const ids = signUp(setting, 15);
    await complete(setting.t);
    for (const id of ids.slice(0, 11)) setting.clerk.deleteUser(id, Date.now());
    expect(await routeOf(async () => await complete(setting.t, { pageSize: 10 }))).toEqual(
      ROUTES.held,
    );
  });

  test("takes many rows without a creation time in several steps", async () => {
    const ids = signUp(setting, 8);
    await setting.t.run(async (ctx) => {
      for (const clerkId of ids) {
        await ctx.db.insert("users", { clerkId, color: "from before" });
      }
      // A step reads 2 MiB of rows.
      for (let i = 0; i < 7; i += 1) {
        const row = { clerkId: `user_of_old${i}`, color: "x".repeat(900_000) };
        await ctx.db.insert("users", row);
      }
    });
    pass(6 * MINUTE);
    expect(await routeOf(async () => await complete(setting.t))).toEqual(ROUTES["from before"]);
  });

  test("looks back and has Clerk count once more where the count does not add up", async () => {
    signUp(setting, 3);
    setting.clerk.countsTooMany = 1;
    const counted = async () => await complete(setting.t, { pageSize: 2 });
    expect(await routeOf(counted)).toEqual(ROUTES.recounting);
  });

  test("fails where Clerk refuses the key", async () => {
    setting.clerk.secretKey = "sk_test_another";
    expect(await routeOf(async () => await complete(setting.t))).toEqual(ROUTES.failed);
  });

  test("is cancelled by hand", async () => {
    const { t } = setting;
    await t.mutation(internal.clerk.run.lifecycle.begin, {
      mode: "full",
      dryRun: false,
      pageSize: 2,
    });
    const cancel = async () => await t.mutation(internal.clerk.reconcile.cancel, {});
    expect(await routeOf(cancel)).toEqual(ROUTES.cancelled);
  });
});

describe("a recent run", () => {
  test("looks back from the start, page by page, and is completed", async () => {
    const ids = signUp(setting, 5);
    await complete(setting.t);
    pass(15 * MINUTE);
    for (const id of ids) setting.clerk.updateUser(id, { first_name: "New" }, Date.now() - SECOND);
    const recent = async () => await complete(setting.t, { mode: "recent", pageSize: 2 });
    expect(await routeOf(recent)).toEqual(ROUTES.recent);
  });

  test("asks about whom it has to doubt, and deletes nobody", async () => {
    const { t, clerk } = setting;
    const [id = ""] = signUp(setting, 3);
    await complete(t);
    const { instanceId } = clerk;
    await post(t, userEvent("user.deleted", deletedUser(id), { instanceId, at: Date.now() }));
    await loseRows(setting, [id]);
    pass(15 * MINUTE);
    clerk.updateUser(id, { first_name: "Alive" }, Date.now() - SECOND);
    expect(await routeOf(async () => await complete(t, { mode: "recent" }))).toEqual(
      ROUTES.doubting,
    );
  });
});

test("the diagram shows the ways that runs take, and no other", () => {
  const drawn = [...readFileSync(README, "utf8").matchAll(/^ +(\w+ --> \w+)/gm)];
  const taken = new Set(Object.values(ROUTES).flat());
  expect(new Set(drawn.map(([, way]) => way))).toEqual(taken);
});
