/** Variables as tired people paste them: none is sent or believed where it can't be right, and none is repeated. */
import { Webhook } from "svix";
import { describe, expect, test, vi } from "vitest";
import { MINUTE } from "../../convex/clerk/shared/clock";
import { apiUrlOf, whyNotIssuer, whyNotSecretKey } from "../../convex/clerk/shared/addresses";
import { whyNotSigningSecrets } from "../../convex/clerk/shared/secrets";
import { ReconcileError } from "../../convex/clerk/report/report";
import { clerkUser, userEvent } from "../../scripts/stand-in/clerk-json";
import { signUp } from "../world/people";
import {
  complete,
  everything,
  internal,
  isUntouched,
  LONG_AGO,
  post,
  run,
  useSetting,
  WEBHOOK_SECRET,
} from "../world/setting";

const setting = useSetting({ http: false });

const BODY = "Yk3vQmXwRtbNcLpHsDfGjKaUeWiVxBoqZ7T9rE2dS4";
const KEY = `sk_test_${BODY}`;
const SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJl";
const PEM =
  "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----";

/** What can stand in no variable but one, and how it is told. */
const ALIENS: [value: string, kind: string][] = [
  ["pk_test_aGFwcHktY2F0LTEuY2xlcmsuYWNjb3VudHMuZGV2JA", "a publishable key"],
  ["pk_live_Y2xlcmsuZXhhbXBsZS5jb20k", "a publishable key"],
  ["ak_2abcdefghijklmnopqrstuvwxyz", "an API key of a user"],
  ["mch_2abcdefghijklmnopqrstuvwxyz", "a key or token of a machine"],
  ["mt_2abcdefghijklmnopqrstuvwxyz", "a key or token of a machine"],
  ["oat_2abcdefghijklmnopqrstuvwxyz", "an OAuth token"],
  ["ins_2abcdefghijklmnopqrstuvwxyz", "the id of an instance"],
  ["user_2abcdefghijklmnopqrstuvwxyz", "the id of a user"],
  ["ep_2abcdefghijklmnopqrstuvwxyz", "an id from the webhook's dashboard"],
  ["msg_2abcdefghijklmnopqrstuvwxyz", "an id from the webhook's dashboard"],
  [JWT, "a token (JWT)"],
  [PEM, ""],
  ["sk_test_••••••••••••••••", "a masked value"],
  ["whsec_••••••••••••••••", "a masked value"],
  ["sk_live_****************", "a masked value"],
  ["sk_test_...", "a masked value"],
  ["sk_test_…", "a masked value"],
  [`<${BODY}>`, "brackets"],
  [`{${BODY}}`, "brackets"],
];

/** Ways in which a right value goes wrong on its way. */
function spoilt(name: string, right: string): [value: string, kind: string][] {
  const middle = Math.floor(right.length / 2);
  return [
    [`"${right}"`, "quotes"],
    [`'${right}'`, "quotes"],
    [`“${right}”`, "quotes"],
    [`\`${right}\``, "quotes"],
    [`${name}=${right}`, "name in front"],
    [`${name} = ${right}`, "name in front"],
    [`export ${name}=${right}`, "name in front"],
    [`${name}: ${right}`, "name in front"],
    [`\u200b${right}`, "can't be seen"],
    [`${right}\u200d`, "can't be seen"],
    [`${right.slice(0, middle)}\u2060${right.slice(middle)}`, "can't be seen"],
    [`${right}é`, "can't be seen"],
  ];
}

/** What sentences say whatever a value is. */
const SAID = `
  export CLERK_SECRET_KEY CLERK_WEBHOOK_SECRET CLERK_WEBHOOK_SIGNING_SECRET CLERK_API_URL
  CLERK_JWT_ISSUER_DOMAIN BEGIN PUBLIC KEY dashboard convex.site/clerk-users-webhook`;

/** No piece of 8 characters of a value is in a text, but for what it says of any. */
function expectNothingOf(value: string, text: string): void {
  const [told, said] = [text.toLowerCase(), SAID.toLowerCase()];
  for (let from = 0; from + 8 <= value.length; from += 1) {
    const piece = value.slice(from, from + 8).toLowerCase();
    if (told.includes(piece) && !said.includes(piece.trim())) {
      throw new Error(`${JSON.stringify(piece)} is told`);
    }
  }
}

/** All that people see: the log, the database, the answers of the functions that they call. */
async function told(): Promise<string> {
  const { t, log } = setting;
  const answers = [
    await t.query(internal.clerk.reconcile.status, {}),
    await t.query(internal.clerk.reconcile.report, {}),
    await t.action(internal.clerk.doctor.check, {}),
    await t
      .action(internal.clerk.reconcile.user, { clerkId: "user_1" })
      .catch((error: unknown) => String(error)),
    await t.action(run, { mode: "due" }).catch((error: unknown) => {
      if (!(error instanceof ReconcileError)) throw error;
      return error.message;
    }),
  ];
  return JSON.stringify([answers, log]) + (await everything(t));
}

describe("CLERK_SECRET_KEY", () => {
  const wrong: [string, string][] = [
    ...ALIENS,
    ...spoilt("CLERK_SECRET_KEY", KEY),
    [SIGNING, "a webhook's signing secret"],
    [`Bearer ${KEY}`, '"Bearer"'],
    [`${KEY} ${KEY}`, "more than one value"],
    [`sk_test_${BODY.slice(0, 9)} ${BODY.slice(9)}`, "a blank within"],
    ["sk_test_xxxxxxxxxxxxxxxx", "an example"],
    ["sk_test_your_secret_key_here", "an example"],
    ["sk_test_", "the beginning of a key"],
    ["sk_prod_abcdefghijkl", "the beginning of a key"],
    [`${KEY}/`, "something in it that no key has"],
    [`sk_test_${SIGNING}`, "something in it that no key has"],
    ["https://api.clerk.com/v1", "an address"],
    [BODY, "a text of another form"],
    ["changeme!", "a text of another form"],
  ];

  test.each(wrong)("%j is not sent, and is told by its kind", async (value, kind) => {
    const { t, clerk } = setting;
    vi.stubEnv("CLERK_SECRET_KEY", value);
    expect(whyNotSecretKey(value.trim())).toContain(kind);
    const failed = await complete(t);
    expect(failed.status).toBe("failed");
    expect(failed.summary).toMatch(/CLERK_SECRET_KEY holds .+ not a secret key/);
    expectNothingOf(value, await told());
    expect(clerk.requests.filter(({ path }) => path.startsWith("/v1"))).toEqual([]);
  });

  test("takes at least 40 wrong values, and the right ones with white space around", () => {
    expect(wrong.length).toBeGreaterThanOrEqual(40);
    for (const right of [KEY, KEY.replace("test", "live"), `test_${BODY}`, `live_${BODY}`]) {
      expect(whyNotSecretKey(right)).toBeNull();
    }
  });

  test("of another instance is sent, refused by both names, and repeated nowhere", async () => {
    const { t, clerk } = setting;
    signUp(setting, 3);
    await complete(t);
    clerk.secretKey = KEY;
    clerk.instanceId = "ins_other";
    vi.stubEnv("CLERK_SECRET_KEY", `\n ${KEY}\t`);
    const failed = await complete(t);
    expect(failed.summary).toMatch(/ins_other.+ins_stand_in/);
    expectNothingOf(KEY, await told());
  });
});

describe("what Clerk answers is not repeated, wherever it echoes a secret", () => {
  const json = { "content-type": "application/json" };
  const errors = (more: object) => JSON.stringify({ errors: [more], clerk_trace_id: KEY });
  const pieces = KEY.toLowerCase().replace(/[^a-z_]/g, "_");
  const instance = (id: string, environment_type: string) =>
    new Response(JSON.stringify({ id, environment_type }), { headers: json });

  test.each<[string, () => Response]>([
    ["401 in every field", () => response(401, errors({ code: KEY, message: KEY, meta: KEY }))],
    ["401 as a code of small letters", () => response(401, errors({ code: pieces }))],
    ["403 in the long message", () => response(403, errors({ code: "no", long_message: KEY }))],
    ["404 of a path", () => response(404, errors({ code: BODY.slice(3, 12) }))],
    ["422", () => response(422, errors({ code: "form", message: SIGNING }))],
    ["429", () => response(429, KEY, { "retry-after": KEY })],
    ["500 in a header", () => response(500, KEY, { "cf-ray": BODY, "x-echo": KEY })],
    ["502 of HTML", () => response(502, `<html>${KEY}</html>`, { "content-type": KEY })],
    ["200 of text", () => response(200, KEY, { "content-type": `text/${BODY}` })],
    ["200 of another shape", () => response(200, JSON.stringify({ [KEY]: KEY }))],
    ["an instance's id", () => instance(`ins_${KEY}`, "development")],
    ["a piece of it as an instance's id", () => instance(`ins_${BODY.slice(4, 30)}`, "production")],
    ["an instance's environment", () => instance("ins_1", KEY)],
    ["a redirect", () => response(302, "", { location: `https://evil.example/${KEY}` })],
  ])("%s", async (_, answer) => {
    const { t } = setting;
    vi.stubEnv("CLERK_SECRET_KEY", KEY);
    vi.stubEnv("CLERK_WEBHOOK_SECRET", SIGNING);
    vi.stubGlobal("fetch", async () => {
      await Promise.resolve();
      vi.setSystemTime(Date.now() + MINUTE);
      return answer();
    });
    await t.action(run, {}).catch(() => null);
    const text = await told();
    expect(text).toContain("reconcile.");
    for (const secret of [KEY, SIGNING]) expectNothingOf(secret, text);
  });

  function response(status: number, body: string, headers: Record<string, string> = json) {
    return new Response(body, { status, headers });
  }

  test("but its code and its trace id are, and that of Clerk's edge from the header", async () => {
    const { t } = setting;
    const body = { errors: [{ code: "maintenance_mode" }], clerk_trace_id: "a1b2-c3" };
    const answers = [
      response(422, JSON.stringify(body)),
      response(422, "<html>", { "cf-ray": "8f00baa-FRA" }),
    ];
    vi.stubGlobal("fetch", async () => await Promise.resolve(answers.shift()));
    expect((await complete(t)).summary).toContain("422, maintenance_mode, trace id a1b2-c3.");
    expect((await complete(t)).summary).toContain("422, trace id 8f00baa-FRA.");
  });
});

describe.each(["CLERK_WEBHOOK_SECRET", "CLERK_WEBHOOK_SIGNING_SECRET"])("%s", (name) => {
  const other =
    name === "CLERK_WEBHOOK_SECRET" ? "CLERK_WEBHOOK_SIGNING_SECRET" : "CLERK_WEBHOOK_SECRET";
  const of = (bytes: number) => Buffer.from(BODY.repeat(2)).subarray(0, bytes).toString("base64");
  const weak = "no signing secret is";
  const wrong: [string, string][] = [
    ...ALIENS,
    ...spoilt(name, SIGNING),
    [KEY, "a secret key"],
    ["https://happy-animal-1.convex.site/clerk-users-webhook", "an address"],
    ["test", weak],
    ["changeme", weak],
    ["whsec_", weak],
    ["whsec_test", weak],
    ["whsec_xxxxxxxxxxxxxxxx", weak],
    [`whsec_${"x".repeat(32)}`, weak],
    [`whsec_${"A".repeat(43)}=`, weak],
    [`whsec_${of(23)}`, weak],
    [`whsec_${of(65)}`, weak],
    [`whsec_${of(32).slice(0, -3)}`, weak],
    [`${SIGNING},${SIGNING}`, "a comma between"],
    [`${SIGNING} ${SIGNING.slice(0, 20)}`, weak],
    ["whsec_%%%", ""],
  ];

  test.each(wrong)("%j lets nothing in, and is told by its kind", async (value, kind) => {
    const { t, log } = setting;
    vi.stubEnv(other, undefined);
    vi.stubEnv(name, value);
    expect(whyNotSigningSecrets(name, value)).toContain(kind);
    const event = userEvent("user.created", clerkUser({ id: "user_1", created_at: LONG_AGO }), {
      instanceId: "ins_stand_in",
      at: LONG_AGO,
    });
    expect((await post(t, event, SIGNING)).status).toBe(500);
    expect(await isUntouched(t)).toBe(true);
    expect(log.at(-1)).toMatchObject({ level: "error", event: "webhook.failed" });
    expect(log.at(-1)?.reason).toMatch(`${name} holds`);
    expectNothingOf(value, await told());
  });

  test("beside a right one opens nothing", async () => {
    vi.stubEnv(other, undefined);
    vi.stubEnv(name, `${WEBHOOK_SECRET} whsec_xxxxxxxxxxxxxxxx`);
    expect((await post(setting.t, {}, WEBHOOK_SECRET)).status).toBe(500);
    vi.stubEnv(name, "changeme");
    vi.stubEnv(other, WEBHOOK_SECRET);
    expect((await post(setting.t, {}, WEBHOOK_SECRET)).status).toBe(500);
  });

  test("is another name for the same: secrets of both are taken", async () => {
    const { t } = setting;
    vi.stubEnv(other, undefined);
    vi.stubEnv(name, WEBHOOK_SECRET);
    expect((await post(t, {}, WEBHOOK_SECRET)).status).toBe(200);
    vi.stubEnv(other, SIGNING);
    for (const secret of [WEBHOOK_SECRET, SIGNING]) {
      expect((await post(t, {}, secret)).status).toBe(200);
    }
  });

  test("takes at least 40 wrong values, and right ones with and without whsec_", () => {
    expect(wrong.length).toBeGreaterThanOrEqual(40);
    for (const bytes of [24, 32, 64]) {
      expect(whyNotSigningSecrets("CLERK_WEBHOOK_SECRET", of(bytes))).toBe(null);
      expect(whyNotSigningSecrets("CLERK_WEBHOOK_SECRET", `whsec_${of(bytes)}`)).toBe(null);
    }
  });
});

test.each([
  ["a promise that is rejected", () => Promise.reject(new Error("no"))],
  ["a promise of false", () => Promise.resolve(false)],
  ["false", () => false],
  ["text", () => "ok"],
])("an event is let in by none of what a verifier might return: %s", async (_, verify) => {
  const { t } = setting;
  vi.spyOn(Webhook.prototype, "verify").mockImplementation(verify as never);
  const data = clerkUser({ id: "user_1", created_at: LONG_AGO });
  const event = userEvent("user.created", data, { instanceId: "ins_stand_in", at: LONG_AGO });
  expect((await post(t, event)).status).toBe(400);
  expect(await isUntouched(t)).toBe(true);
});

describe("CLERK_API_URL", () => {
  const API = "https://api.clerk.com";
  const wrong: [string, string][] = [
    ...ALIENS.filter(([value]) => !/^<|^\{/.test(value)),
    ...spoilt("CLERK_API_URL", API),
    [KEY, "a secret key"],
    ["api.clerk.com", "without https"],
    ["//api.clerk.com", "without https"],
    ["http://api.clerk.com", "not https"],
    ["HTTP://api.clerk.com", "not https"],
    ["ftp://api.clerk.com", "not https"],
    ["http://192.168.0.1:3000", "not https"],
    ["http://localhost.evil.example", "not https"],
    ["http://127.0.0.1.evil.example", "not https"],
    [`${API}/v1`, "the API's version"],
    [`${API}/v1/`, "the API's version"],
    [`${API}/v1/users`, "a path"],
    [`${API}?key=1`, "a query"],
    [`${API}#top`, "a query"],
    ["https://key:word@api.clerk.com", "a password"],
    ["https://dashboard.clerk.com", "another part of Clerk"],
    ["https://happy-cat-1.clerk.accounts.dev", "another part of Clerk"],
    ["https://", "an address"],
  ];

  test.each(wrong)("%j gets no key, and is told by its kind", async (value, kind) => {
    const { t, clerk } = setting;
    vi.stubEnv("CLERK_API_URL", value);
    expect(apiUrlOf(value.trim())).toMatchObject({
      fault: expect.stringContaining(kind) as string,
    });
    const failed = await complete(t);
    expect(failed.summary).toMatch(/CLERK_API_URL holds .+: unset it/);
    expect(clerk.requests).toEqual([]);
    expectNothingOf(value, await told());
  });

  test("takes at least 40 wrong values, and the right ones", () => {
    expect(wrong.length).toBeGreaterThanOrEqual(40);
    for (const [value, url] of [
      ["", API],
      [`${API}/`, API],
      ["http://localhost:3000", "http://localhost:3000"],
      ["http://127.0.0.1:8080/", "http://127.0.0.1:8080"],
      ["http://[::1]:8080", "http://[::1]:8080"],
      ["https://proxy.example.com", "https://proxy.example.com"],
    ] as const) {
      expect(apiUrlOf(value)).toEqual({ url });
    }
  });

  test("that answers with a redirect is not followed, and its key goes nowhere else", async () => {
    const { t } = setting;
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (input: string, init: RequestInit) => {
      asked.push(`${new URL(input).host} ${init.redirect}`);
      const headers = { location: "https://evil.example/v1/instance" };
      return await Promise.resolve(new Response(null, { status: 307, headers }));
    });
    const failed = await complete(t);
    expect(failed.summary).toMatch(/^Failed: CLERK_API_URL answers .+ redirect \(307\)/);
    expect(asked).toEqual(["clerk.test manual"]);
  });
});

describe("CLERK_JWT_ISSUER_DOMAIN", () => {
  const ISSUER = "https://happy-cat-1.clerk.accounts.dev";
  const wrong: [string, string][] = [
    ...ALIENS.filter(([value]) => !/^<|^\{/.test(value)),
    ...spoilt("CLERK_JWT_ISSUER_DOMAIN", ISSUER),
    ["", "nothing"],
    [KEY, "a secret key"],
    [SIGNING, "a webhook's signing secret"],
    [`${ISSUER}/`, "a slash at its end"],
    [`${ISSUER}//`, "a slash at its end"],
    [` ${ISSUER}`, "white space"],
    [`${ISSUER}\n`, "white space"],
    ["happy-cat-1.clerk.accounts.dev", "without https"],
    ["clerk.example.com/", "without https"],
    ["http://happy-cat-1.clerk.accounts.dev", "not https"],
    [`${ISSUER}/.well-known/jwks.json`, "JWKS"],
    [`${ISSUER}/v1`, "something behind the name"],
    [`${ISSUER}?a=1`, "something behind the name"],
    ["https://api.clerk.com", "Clerk itself"],
    ["https://dashboard.clerk.com", "Clerk itself"],
  ];

  test.each(wrong)("%j is named by the doctor, by its kind", async (value, kind) => {
    const { t } = setting;
    vi.stubEnv("CLERK_JWT_ISSUER_DOMAIN", value);
    const { checks } = await t.action(internal.clerk.doctor.check, {});
    const [point] = checks.filter(({ check }) => check === "CLERK_JWT_ISSUER_DOMAIN");
    expect(point).toMatchObject({ ok: false });
    expect(point?.found).toMatch(/^CLERK_JWT_ISSUER_DOMAIN holds .+ nobody can sign in/);
    expect(point?.found).toContain(kind);
    expectNothingOf(value, await told());
  });

  test("takes at least 40 wrong values, and right ones, or none", () => {
    expect(wrong.length).toBeGreaterThanOrEqual(40);
    for (const right of [undefined, ISSUER, "https://clerk.example.com"]) {
      expect(whyNotIssuer(right)).toBeNull();
    }
  });
});
