/** Sends requests to Clerk's Backend API, the only file that does, and says of each error what to do about it. With
 * `fetch`, not with the SDK's client, because that sends a count with every list, has no time-out, and drops an empty
 * `userId` filter, which then lists everyone (@clerk/backend 3.25).
 */
import { apiUrlOf, whyNotSecretKey } from "../shared/addresses.js";
import { clock, SECOND } from "../shared/clock.js";
import { environment } from "../shared/environment.js";
import { given, holdsPieceOf, signingSecretsIn } from "../shared/secrets.js";

/** The version of Clerk's API whose OpenAPI document this follows. */
const API_VERSION = "2026-05-12";
const TIMEOUT_MS = 20_000;
/** So long at most a request waits where Clerk wants it to: longer waits are scheduled. */
const MAX_WAIT_MS = 30 * SECOND;
/** All that is told of an error but its status: answers may echo the key or an address; support asks for trace ids. */
const CODE = /^[a-z_]{1,64}$/;
const TRACE_ID = /^[\w-]{1,64}$/;

/** Names may repeat. */
export type Query = [name: string, value: string | number][];

/** Clerk can't be asked, or its answer can't be used. The message names no user and no secret. */
export class ClerkError extends Error {
  override name = "ClerkError";

  /**
   * @param whatNext what helps: nothing, waiting, waiting `retryAfterMs` (0: not said), leaving out whom it named
   * @param isNamed whether Clerk failed at a request that named users
   * @param next the command that mends it, where there is one
   */
  constructor(
    message: string,
    readonly whatNext: "give up" | "retry later" | "slow down" | "set aside",
    readonly retryAfterMs = 0,
    readonly isNamed = false,
    readonly next?: string,
  ) {
    super(message);
  }
}

/** The answer to a request, whose body nobody has read yet. */
export type Sent = Promise<Response>;

/**
 * Requests at once: enough that Clerk's answers are not waited for, and few of the 1,000 in 10 s that a production
 * instance allows (https://clerk.com/docs/guides/how-clerk-works/system-limits).
 */
const MOST_AT_ONCE = 4;

/** Requests of one call, with the deployment's key. */
export class Requests {
  /** Those that no step of a run has counted yet. */
  uncounted = 0;
  /** So many may be under way at once: fewer, once Clerk has said 429. */
  atOnce = 1;
  readonly #secretKey: string;
  readonly #apiUrl: string;

  /** @throws ClerkError when a variable is missing or can't be right */
  constructor() {
    this.#secretKey = secretKey();
    this.#apiUrl = apiUrl();
  }

  /** Only production gets more: a development instance allows 100 requests in 10 s, to all its deployments together. */
  allow(environment: string): void {
    if (environment === "production") this.atOnce = MOST_AT_ONCE;
  }

  /** Sends what `get` asks for, to look at the answer later. */
  send(path: string, query: Query): Sent {
    this.uncounted += 1;
    const sent = this.#fetch(path, query, false);
    // Where nobody looks at it, nobody has to know that it failed.
    sent.catch(() => undefined);
    return sent;
  }

  /**
   * GETs a path below `/v1`; after 429 it waits, up to half a minute in all. `sent`: the first try, if made.
   * @param isNamed whether it names users: then what is refused is they, not the key, but for 401
   * @param accept whether an answer other than 2xx is one that was asked for
   * @throws ClerkError when there is no answer, or another one than JSON with 2xx
   */
  async get(
    path: string,
    query: Query = [],
    {
      isNamed = false,
      accept = () => false,
      sent,
    }: {
      isNamed?: boolean;
      accept?: (status: number, json: unknown) => boolean;
      sent?: Sent;
    } = {},
  ): Promise<{ status: number; json: unknown }> {
    for (let leftMs = MAX_WAIT_MS, first = sent; ; first = undefined) {
      if (first === undefined) this.uncounted += 1;
      const response = await (first ?? this.#fetch(path, query, isNamed));
      const { status } = response;
      if (status >= 300 && status < 400) {
        const sentence = `CLERK_API_URL answers GET ${path} with a redirect (${status}), which is not followed: unset it, or set it to an address that answers itself.`;
        throw new ClerkError(sentence, "give up");
      }
      const json = await this.#readJson(response, path, isNamed);
      if (response.ok && json !== undefined) return { status, json };
      if (accept(status, json)) return { status, json };
      if (response.ok) throw unexpected(path, `${status} with a body that is not JSON`, isNamed);
      const error = this.#refused(path, response, json, isNamed);
      const { whatNext, retryAfterMs: waitMs } = error;
      if (status === 429) this.atOnce = Math.max(1, Math.floor(this.atOnce / 2));
      if (whatNext !== "slow down" || waitMs === 0 || waitMs > leftMs) throw error;
      leftMs -= waitMs;
      await clock.sleep(waitMs);
    }
  }

  /** Tells if two calls have the same key, so the same instance, but not the key. `salt`: another one in each run. */
  async fingerprint(salt: string): Promise<string> {
    const text = new TextEncoder().encode(`${salt} ${this.#apiUrl} ${this.#secretKey}`);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
    return Array.from(digest.slice(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async #fetch(path: string, query: Query, isNamed: boolean): Promise<Response> {
    const names = query.map(([name, value]) => [name, String(value)]);
    const search = new URLSearchParams(names).toString();
    try {
      return await fetch(`${this.#apiUrl}/v1${path}${search && `?${search}`}`, {
        headers: {
          Authorization: `Bearer ${this.#secretKey}`,
          "Clerk-API-Version": API_VERSION,
          "User-Agent": "clerk-convex-sync",
        },
        // Whoever it leads to would be believed.
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      throw unreached(error, path, isNamed);
    }
  }

  async #readJson(response: Response, path: string, isNamed: boolean): Promise<unknown> {
    let text: string;
    try {
      text = await response.text();
    } catch (error) {
      throw unreached(error, path, isNamed);
    }
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  #refused(
    path: string,
    { status, headers }: Response,
    json: unknown,
    isNamed: boolean,
  ): ClerkError {
    const code = toldOf(fieldOf(firstError(json), "code"), CODE);
    // Where Clerk's edge answers, its own id is in a header only.
    const trace =
      toldOf(fieldOf(json, "clerk_trace_id"), TRACE_ID) ?? toldOf(headers.get("cf-ray"), TRACE_ID);
    const answer = [status, code, trace && `trace id ${trace}`].filter(Boolean).join(", ");
    const isKey = status === 401 || (status === 403 && !isNamed);
    if (!isKey) {
      const sentence = `Clerk answered GET ${path} with ${answer}.`;
      if (status === 429) return new ClerkError(sentence, "slow down", retryAfterMs(headers));
      if (status >= 500) return new ClerkError(sentence, "retry later", 0, isNamed);
      return new ClerkError(sentence, isNamed ? "set aside" : "give up");
    }
    const sentence = `Clerk refused CLERK_SECRET_KEY (${answer}): set the secret key of your instance, from Clerk's dashboard under API keys.`;
    return new ClerkError(sentence, "give up");
  }
}

/** A text of this form with no piece of a secret, or undefined. `pieceLength`: more where short ones may be chance. */
export function toldOf(value: unknown, form: RegExp, pieceLength?: number): string | undefined {
  const isTold = typeof value === "string" && form.test(value);
  return isTold && !holdsPieceOf(value, secretsInUse(), pieceLength) ? value : undefined;
}

function secretsInUse(): string[] {
  const signing = (["CLERK_WEBHOOK_SECRET", "CLERK_WEBHOOK_SIGNING_SECRET"] as const).flatMap(
    (name) => signingSecretsIn(environment(name)),
  );
  return [given(environment("CLERK_SECRET_KEY")), ...signing];
}

/** No answer, or half of one. The error's own message may quote a header, and so the key. */
function unreached(error: unknown, path: string, isNamed: boolean): ClerkError {
  // Convex's runtime rejects with `AbortError` where browsers and Node have `TimeoutError`.
  const isTimeOut = error instanceof Error && /^(Timeout|Abort)Error$/.test(error.name);
  const what = isTimeOut ? `no answer within ${TIMEOUT_MS / 1000} s` : "no connection";
  const sentence = `Clerk could not be reached for GET ${path}: ${what}.`;
  return new ClerkError(sentence, "retry later", 0, isNamed);
}

/** Whether there is a secret key, right or wrong: without one nothing can begin yet. */
export function isConfigured(): boolean {
  return given(environment("CLERK_SECRET_KEY")) !== "";
}

function secretKey(): string {
  const key = given(environment("CLERK_SECRET_KEY"));
  const fault = whyNotSecretKey(key);
  if (fault !== null) throw new ClerkError(fault, "give up");
  return key;
}

function apiUrl(): string {
  const read = apiUrlOf(given(environment("CLERK_API_URL")));
  if ("fault" in read) throw new ClerkError(read.fault, "give up");
  return read.url;
}

/** `Retry-After` in seconds, as Clerk sends it with 429; 0 where there is none. */
function retryAfterMs(headers: Headers): number {
  const seconds = Number(headers.get("retry-after") ?? NaN);
  return seconds >= 0 ? Math.max(1, seconds) * SECOND : 0;
}

/** The first of the errors that Clerk's answer lists. */
export function firstError(json: unknown): unknown {
  const errors = fieldOf(json, "errors");
  return Array.isArray(errors) ? errors[0] : undefined;
}

/** A field of what should be a JSON object; undefined where it is none. */
export function fieldOf(json: unknown, field: string): unknown {
  return typeof json === "object" && json !== null
    ? (json as Record<string, unknown>)[field]
    : undefined;
}

/** The error for an answer that can't be what was asked for: `what` says why, without a value. */
export function unexpected(path: string, what: string, isNamed = false): ClerkError {
  return new ClerkError(
    `Clerk's answer to GET ${path} can't be used: ${what}. Nothing was concluded from it.`,
    "retry later",
    0,
    isNamed,
  );
}
