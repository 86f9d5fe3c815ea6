// @vitest-environment node
/** Clerk's own SDK as a client of the stand-in: what the stand-in answers is not what our client alone expects. */
import { createClerkClient } from "@clerk/backend";
import { isClerkAPIResponseError } from "@clerk/backend/errors";
import { verifyWebhook } from "@clerk/backend/webhooks";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { userEvent } from "../../scripts/stand-in/clerk-json";
import { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";
import { signedEvent } from "../../scripts/stand-in/signed-event";

const T = 1_600_000_000_000;
const SECRET = `whsec_${btoa("a signing secret of the tests")}`;

let standIn: ClerkStandIn;
let clerk: ReturnType<typeof createClerkClient>;
let ids: string[];

beforeEach(async () => {
  standIn = new ClerkStandIn();
  ids = [0, 10, 20, 30, 40].map((ms) => {
    const chosen = { created_at: T + ms, email: `${ms}@example.com`, first_name: `N${ms}` };
    return standIn.createUser(chosen).user.id;
  });
  const apiUrl = await standIn.start();
  clerk = createClerkClient({
    secretKey: standIn.secretKey,
    apiUrl,
    telemetry: { disabled: true },
  });
});
afterEach(async () => {
  await standIn.stop();
});

/** What the SDK throws of an answer. */
async function thrownBy(act: Promise<unknown>) {
  const error = await act.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!isClerkAPIResponseError(error)) throw new Error("not an error of Clerk's");
  return error;
}

const idsOf = (list: { data: { id: string }[] }) => list.data.map(({ id }) => id);

describe("the SDK lists users", () => {
  test("with their total, in the order asked for, page by page", async () => {
    const all = await clerk.users.getUserList({ orderBy: "+created_at", limit: 500 });
    expect([idsOf(all), all.totalCount]).toEqual([ids, 5]);
    const page = await clerk.users.getUserList({ orderBy: "-created_at", limit: 2, offset: 1 });
    expect(idsOf(page)).toEqual([ids[3], ids[2]]);
    expect(all.data[0]).toMatchObject({
      createdAt: T,
      firstName: "N0",
      primaryEmailAddress: { emailAddress: "0@example.com" },
    });
  });

  test("by ids, and by creation time, as it counts them", async () => {
    const some = { userId: [ids[0] ?? "", ids[4] ?? "", "user_unknown"] };
    expect(idsOf(await clerk.users.getUserList(some)).sort()).toEqual([ids[0], ids[4]]);
    expect(await clerk.users.getCount(some)).toBe(2);
    const span = { createdAtAfter: T, createdAtBefore: T + 40 };
    const listed = await clerk.users.getUserList(span);
    expect([idsOf(listed).sort(), listed.totalCount]).toEqual([ids.slice(1, 4), 3]);
  });

  test("and is told of a filter that the stand-in does not have, not answered as without it", async () => {
    const error = await thrownBy(clerk.users.getUserList({ emailAddress: ["0@example.com"] }));
    expect(error.status).toBe(422);
    expect(error.errors[0]?.code).toBe("form_param_unknown");
  });
});

describe("the SDK gets", () => {
  test("one user, and the instance", async () => {
    expect((await clerk.users.getUser(ids[2] ?? "")).firstName).toBe("N20");
    expect(await clerk.instance.get()).toMatchObject({
      id: standIn.instanceId,
      environmentType: "production",
    });
  });

  test("a missing user as 404 resource_not_found, with a trace id", async () => {
    const error = await thrownBy(clerk.users.getUser("user_unknown"));
    expect(error).toMatchObject({ status: 404, clerkTraceId: expect.any(String) as string });
    expect(error.errors[0]?.code).toBe("resource_not_found");
  });

  test("a refused key as 401, and a burst as 429 with the time to wait", async () => {
    const apiUrl = await standIn.start();
    const other = createClerkClient({ secretKey: "sk_test_other", apiUrl });
    expect((await thrownBy(other.users.getCount())).status).toBe(401);
    standIn.order(/count/, {
      kind: "status",
      status: 429,
      code: "too_many_requests",
      retryAfter: 7,
    });
    const error = await thrownBy(clerk.users.getCount());
    expect(error).toMatchObject({ status: 429, retryAfter: 7 });
    expect(error.errors[0]?.code).toBe("too_many_requests");
  });

  test("a path that the stand-in does not have, and never as a missing user", async () => {
    for (const act of [
      clerk.organizations.getOrganizationList(),
      clerk.sessions.getSession("sess_1"),
      clerk.users.getOrganizationMembershipList({ userId: ids[0] ?? "" }),
    ]) {
      const error = await thrownBy(act);
      expect(error.errors[0]?.code).not.toBe("resource_not_found");
    }
    expect((await thrownBy(clerk.users.deleteUser(ids[0] ?? ""))).status).toBe(405);
    expect(standIn.users.size).toBe(5);
  });
});

describe("the SDK verifies a webhook", () => {
  const event = userEvent("user.deleted", { id: "user_1" }, { instanceId: "ins_1", at: T });
  const requestOf = (secret: string) => {
    const { body, headers } = signedEvent(event, { secret, id: "msg_1" });
    return new Request("https://a.example/", { method: "POST", body, headers });
  };

  test("that is signed as the tests sign, and no other", async () => {
    const verified = await verifyWebhook(requestOf(SECRET), { signingSecret: SECRET });
    expect(verified).toMatchObject({ type: "user.deleted", data: { id: "user_1" } });
    const other = `whsec_${btoa("another signing secret of all")}`;
    await expect(verifyWebhook(requestOf(other), { signingSecret: SECRET })).rejects.toThrow();
  });
});
