/** Which instance was asked, where the key was another one's for a while and none was pinned yet. */
import { expect, test, vi } from "vitest";
import { HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";
import { complete, internal, pass, post, rows, run, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const { setTimeout: later } = globalThis;

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !isSo(); i += 1) {
    vi.advanceTimersByTime(1);
    await new Promise<void>((resolve) => later(resolve, 1));
  }
  expect(isSo()).toBe(true);
}

test("what the worker has heard of it removes nobody once another one is pinned", async () => {
  const { t, clerk } = setting;
  const other = new ClerkStandIn();
  other.secretKey = "sk_test_wrong_one";
  other.instanceId = "ins_wrong";
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    pass(10);
    const key = new Request(...args).headers.get("authorization");
    return await (key === `Bearer ${other.secretKey}` ? other : clerk).fetch(...args);
  });
  const at = Date.now() - HOUR;
  const ids: string[] = [];
  for (let i = 0; i < 12; i += 1) {
    const { user, event } = clerk.createUser({ created_at: at, updated_at: at });
    await post(t, event);
    ids.push(user.id);
  }
  pass(10 * MINUTE);
  // The worker's question is under way to the wrong instance while the mistake is mended and a full run goes through.
  vi.stubEnv("CLERK_SECRET_KEY", other.secretKey);
  let release: () => void = () => undefined;
  const wait = new Promise<void>((resolve) => (release = resolve));
  other.order(/user_id/, { kind: "wait", for: wait }, 1);
  await t.mutation(internal.clerk.memory.worker.doubt, { clerkId: ids[0] ?? "" });
  vi.advanceTimersByTime(10);
  await until(() => other.requests.some(({ path }) => path === "/v1/users"));
  vi.stubEnv("CLERK_SECRET_KEY", clerk.secretKey);
  expect(await t.action(run, {})).toMatchObject({ status: "completed", scanned: 12 });
  release();
  await t.finishInProgressScheduledFunctions();
  await t.finishAllScheduledFunctions(() => vi.advanceTimersToNextTimer(), 1000);
  expect((await rows(t)).map(({ clerkId }) => clerkId)).toEqual(ids);
  // Asked again, of the right one, the worker finds nothing to do.
  expect(await complete(t)).toMatchObject({ status: "completed", unchanged: 12 });
});
