/** What a run counts past the entries that are kept, of which there are a hundred here: where 1,000 are kept, `witness` goes past them. */
import { expect, test, vi } from "vitest";
import { DAY } from "../../convex/clerk/shared/clock";
import { atLookBack, signUp } from "../world/people";
import { complete, LONG_AGO, post, useSetting } from "../world/setting";

vi.mock("../../convex/clerk/memory/runs", async (importOriginal) => ({
  ...(await importOriginal<object>()),
  MAX_ENTRIES: 100,
}));

const setting = useSetting({ http: false });

test("each user counts once, in a dry run and in a real one", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 110);
  for (const id of ids.slice(90)) clerk.updateUser(id, { locale: "en" }, Date.now());
  clerk.createUser({ created_at: LONG_AGO + DAY, updated_at: Date.now(), banned: "yes" as never });
  const dry = await complete(t, { dryRun: true, pageSize: 50 });
  expect(dry).toMatchObject({ drift: { missing: 111, stale: 0 }, setAside: 1 });
  atLookBack(setting, () => {
    for (const id of ids.slice(102, 108)) clerk.updateUser(id, { first_name: "New" }, Date.now());
  });
  const report = await complete(t, { pageSize: 50 });
  expect(report).toMatchObject({ drift: dry.drift, setAside: 1 });
  expect(report.repaired).toMatchObject({ created: 111, updated: 6 });
  expect(report.entries.filter(({ action }) => action !== "setAside")).toHaveLength(100);
});

test("one of a crowd who can't be read is set aside once", async () => {
  const { t, clerk } = setting;
  signUp(setting, 105);
  const created_at = LONG_AGO + 5_000_000;
  for (let i = 0; i < 30; i += 1) clerk.createUser({ created_at });
  clerk.createUser({ created_at, updated_at: Date.now(), banned: "yes" as never });
  const report = await complete(t, { pageSize: 20 });
  expect(report).toMatchObject({ status: "completed", setAside: 1 });
});

test("whoever is created behind the walk is not unlisted", async () => {
  const { t, clerk } = setting;
  signUp(setting, 105);
  atLookBack(setting, () => {
    clerk.createUser({ created_at: LONG_AGO + 500, updated_at: Date.now() });
  });
  expect(await complete(t)).toMatchObject({
    status: "completed",
    repaired: { created: 106 },
    unlisted: 0,
  });
});

test("one whom Clerk counts and does not list is unlisted, though an event tells of another meanwhile", async () => {
  const { t, clerk } = setting;
  const ids = signUp(setting, 105);
  clerk.countsTooMany = 1;
  atLookBack(setting, () => {
    const event = clerk.updateUser(ids[103] ?? "", { first_name: "New" }, Date.now());
    clerk.order(/-updated_at/, { kind: "wait", for: post(t, event) }, 1);
  });
  expect(await complete(t)).toMatchObject({ repaired: { created: 105 }, unlisted: 1 });
});
