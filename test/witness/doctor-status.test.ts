/** The doctor and `status`, which give one verdict each: what is wrong to the one is wrong to the other. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { hooks } from "../../convex/clerk/app";
import { HOUR, MINUTE } from "../../convex/clerk/shared/clock";
import { signUp } from "../world/people";
import { complete, internal, pass, post, useSetting } from "../world/setting";

const setting = useSetting({ http: false });
const SITE = "https://happy-animal-1.convex.site";
let ids: string[];

/** An app at peace. */
beforeEach(async () => {
  const { t, clerk } = setting;
  vi.stubEnv("CONVEX_SITE_URL", SITE);
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    const request = new Request(...args);
    pass(10);
    if (!request.url.startsWith(SITE)) return await clerk.fetch(...args);
    const { method, headers } = request;
    const { pathname } = new URL(request.url);
    return await t.fetch(pathname, { method, headers, body: await request.text() });
  });
  ids = signUp(setting, 5);
  await complete(t, { mode: "due" });
  pass(HOUR);
  await post(t, clerk.updateUser(ids[0] ?? "", { first_name: "New" }, Date.now()));
});
afterEach(() => {
  for (const name of Object.keys(hooks)) Reflect.deleteProperty(hooks, name);
});

async function verdicts(): Promise<string[]> {
  const status = await setting.t.query(internal.clerk.reconcile.status, {});
  const doctor = await setting.t.action(internal.clerk.doctor.check, {});
  return [status.verdict, doctor.verdict];
}

test("both are healthy where nothing is wrong", async () => {
  expect(await verdicts()).toEqual(["healthy", "healthy"]);
});

test("both see whom a recent run set aside", async () => {
  const { t, clerk } = setting;
  const change = { public_metadata: { $key: 1 } };
  await post(t, clerk.updateUser(ids[1] ?? "", change, Date.now()));
  pass(10 * MINUTE);
  await complete(t, { mode: "due" });
  expect(await verdicts()).toEqual(["attention", "attention"]);
});

test("both see rows that erase does not let go", async () => {
  const { t, clerk } = setting;
  hooks.erase = () => {
    throw new Error("stuck");
  };
  await post(t, clerk.deleteUser(ids[2] ?? "", Date.now()));
  vi.advanceTimersByTime(1);
  await t.finishInProgressScheduledFunctions();
  expect(await verdicts()).toEqual(["attention", "attention"]);
});
