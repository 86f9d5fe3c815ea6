/** The stand-in itself: other tests conclude from its answers how the sync meets Clerk's. */
import { beforeEach, describe, expect, test } from "vitest";
import type { ClerkUserJSON } from "../../scripts/stand-in/clerk-json";
import { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";

const T = 1_600_000_000_000;

let clerk: ClerkStandIn;
/** Five users; the middle three share one creation time. */
let ids: string[];

beforeEach(() => {
  clerk = new ClerkStandIn();
  ids = [0, 10, 10, 10, 20].map((ms) => clerk.createUser({ created_at: T + ms }).user.id);
});

async function get(path: string) {
  const headers = { authorization: `Bearer ${clerk.secretKey}` };
  const response = await clerk.fetch(`https://clerk.test/v1${path}`, { headers });
  return { status: response.status, json: (await response.json()) as unknown };
}

async function list(query: string): Promise<string[]> {
  const { json } = await get(`/users?${query}`);
  return (json as ClerkUserJSON[]).map(({ id }) => id);
}

async function count(query = ""): Promise<number> {
  const { json } = await get(`/users/count?${query}`);
  return (json as { total_count: number }).total_count;
}

/** The status of a refusal and its code. */
async function refusal(path: string): Promise<[status: number, code: string | undefined]> {
  const { status, json } = await get(path);
  return [status, (json as { errors: { code: string }[] }).errors[0]?.code];
}

const places = (listed: string[]) => listed.map((id) => ids.indexOf(id));

describe("the count", () => {
  test("counts whom the filters let through", async () => {
    expect(await count()).toBe(5);
    expect(await count(`created_at_after=${T}`)).toBe(4);
    expect(await count(`created_at_before=${T + 20}`)).toBe(4);
    expect(await count(`created_at_after=${T}&created_at_before=${T + 20}`)).toBe(3);
    expect(await count(`user_id=${ids[0]}&user_id=${ids[4]}&user_id=user_unknown`)).toBe(2);
  });

  test("includes the millisecond of a filter where it is told to, as the list does", async () => {
    clerk.createdAtAfterIsInclusive = true;
    clerk.createdAtBeforeIsInclusive = true;
    expect(await count(`created_at_after=${T + 10}&created_at_before=${T + 20}`)).toBe(4);
    expect(await list(`created_at_after=${T + 10}&created_at_before=${T + 20}`)).toHaveLength(4);
  });

  test.each(["limit=5", "created_at_since=1"])("refuses %s", async (query) => {
    expect(await refusal(`/users/count?${query}`)).toEqual([422, "form_param_unknown"]);
  });

  test("lags where it counts older users than are listed, and can be wrong", async () => {
    clerk.countFrom(new Map(clerk.users));
    clerk.deleteUser(ids[0] ?? "", T + 30);
    expect(await count()).toBe(5);
    expect(await list("limit=500")).toHaveLength(4);
    clerk.countsTooMany = 3;
    expect(await count(`created_at_before=${T + 10}`)).toBe(4);
    clerk.countFrom(null);
    expect(await count()).toBe(7);
  });
});

describe("starting_after", () => {
  test.each(["+", "-"])("leads through all users, each once, by %screated_at", async (sign) => {
    const query = `order_by=${encodeURIComponent(sign)}created_at&limit=2`;
    let page = await list(query);
    const listed = [...page];
    while (page.length === 2) {
      page = await list(`${query}&starting_after=${page[1]}`);
      listed.push(...page);
    }
    expect(places(listed)).toEqual(sign === "-" ? [4, 1, 2, 3, 0] : [0, 1, 2, 3, 4]);
  });

  test("sorts by id who share a creation time, and heeds the filters", async () => {
    clerk.shufflesTies = true;
    const early = clerk.createUser({ id: "user_00", created_at: T + 10 }).user.id;
    const query = `order_by=%2Bcreated_at&created_at_before=${T + 20}&starting_after`;
    expect(await list(`${query}=${ids[0]}`)).toEqual([early, ids[1], ids[2], ids[3]]);
    expect(await list(`${query}=${ids[2]}`)).toEqual([ids[3]]);
  });

  test("of somebody who is gone is refused", async () => {
    clerk.users.delete(ids[1] ?? "");
    const answer = await refusal(`/users?starting_after=${ids[1]}`);
    expect(answer).toEqual([422, "form_param_value_invalid"]);
  });

  test.each(["order_by=-updated_at", "offset=1"])("is refused beside %s", async (query) => {
    const answer = await refusal(`/users?${query}&starting_after=${ids[1]}`);
    expect(answer).toEqual([422, "form_param_value_invalid"]);
  });

  test("is not known to an older Clerk", async () => {
    clerk.knowsStartingAfter = false;
    const answer = await refusal(`/users?starting_after=${ids[1]}`);
    expect(answer).toEqual([422, "form_param_unknown"]);
  });
});

test("ties come in another order each time, and in the same ones from the same seed", async () => {
  clerk.shufflesTies = true;
  const orders = async (seed: number) => {
    clerk.seed = seed;
    const found: string[] = [];
    for (let i = 0; i < 20; i += 1) {
      found.push(places(await list("order_by=%2Bcreated_at")).join(""));
    }
    return found;
  };
  const first = await orders(1);
  expect(new Set(first).size).toBeGreaterThan(3);
  expect(first.every((order) => /^0[123]{3}4$/.test(order))).toBe(true);
  expect(await orders(1)).toEqual(first);
  expect(await orders(2)).not.toEqual(first);
});

test("a page holds no more than the limit that Clerk falls back to", async () => {
  clerk.limitFallsBackTo = 2;
  expect(await list("limit=500")).toHaveLength(2);
  expect(await list("limit=1")).toHaveLength(1);
  expect(await list(`limit=100&user_id=${ids.join("&user_id=")}`)).toHaveLength(2);
});

test("a page can lack users, who are not on the next one either", async () => {
  clerk.dropsFromPage = (users) => users.slice(1);
  expect(places(await list("order_by=%2Bcreated_at&limit=2"))).toEqual([1]);
  expect(places(await list("order_by=%2Bcreated_at&limit=2&offset=2"))).toEqual([3]);
});

describe("entries as Clerk's document has none", () => {
  function corrupt(place: number, change: { created_at?: unknown; updated_at?: unknown }): void {
    const id = ids[place] ?? "";
    clerk.users.set(id, { ...clerk.users.get(id), ...change } as ClerkUserJSON);
  }

  test("come last where times go up, and first where they go down", async () => {
    corrupt(0, { created_at: null, updated_at: "yesterday" });
    corrupt(1, { created_at: "yesterday", updated_at: null });
    expect(places(await list("order_by=%2Bcreated_at"))).toEqual([2, 3, 4, 0, 1]);
    expect(places(await list("order_by=-created_at"))).toEqual([0, 1, 4, 2, 3]);
    expect(places(await list("order_by=-updated_at"))).toEqual([0, 1, 4, 2, 3]);
    const next = await list(`order_by=%2Bcreated_at&starting_after=${ids[0]}`);
    expect(places(next)).toEqual([1]);
  });

  test("pass the filters by time, and are counted", async () => {
    corrupt(0, { created_at: null });
    corrupt(1, { created_at: "yesterday" });
    const query = `created_at_after=${T + 15}&created_at_before=${T + 16}`;
    expect(places(await list(query))).toEqual([0, 1]);
    expect(await count(query)).toBe(2);
  });

  test("have their place by their time where that is a fraction", async () => {
    corrupt(0, { created_at: T + 10.5 });
    expect(places(await list("order_by=%2Bcreated_at"))).toEqual([1, 2, 3, 0, 4]);
    expect(await count(`created_at_after=${T + 10}&created_at_before=${T + 11}`)).toBe(1);
  });
});

test("only a missing user is told as one, not a path that there is none of", async () => {
  expect(await refusal("/users/user_unknown")).toEqual([404, "resource_not_found"]);
  for (const path of ["/usres/user_1", "/users/", `/users/${ids[0]}/ban`, "/instances"]) {
    expect(await refusal(path)).toEqual([404, "route_not_found"]);
  }
});
