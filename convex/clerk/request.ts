/**
 * Sends requests to Clerk's Backend API, the only file that does, and says of each error what to do
 * about it. With `fetch`, not with the SDK's client, because that sends a count with every list, has
 * no time-out, and drops an empty `userId` filter, which then lists everyone (@clerk/backend 3.25).
 */
import { env } from "../_generated/server";
import { SECOND } from "./clock";

/** The version of Clerk's API whose OpenAPI document this follows. */
const API_VERSION = "2026-05-12";
const DEFAULT_API_URL = "https://api.clerk.com";
const TIMEOUT_MS = 20_000;
/** Characters of what Clerk says of an error. */
const MAX_SAID = 200;

/** Names may repeat. */
export type Query = [name: string, value: string | number][];

/** Clerk can't be asked, or its answer can't be used. The message names no user and no secret. */
export class ClerkError extends Error {
  override name = "ClerkError";

  /**
   * @param whatNext `give up` when asking again can't help
   * @param retryAfterMs how long Clerk wants us to wait
   */
  constructor(
    message: string,
    readonly whatNext: "give up" | "retry later",
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}

/** Requests of one call, with the deployment's key. */
export class Requests {
  /** Those that no step of a run has counted yet. */
  uncounted = 0;
  readonly #secretKey: string;
  readonly #apiUrl: string;

  /** @throws ClerkError when a variable is missing or can't be right */
  constructor() {
    this.#secretKey = secretKey();
    this.#apiUrl = apiUrl();
  }

  /**
   * GETs a path below `/v1`.
   * @param accept whether an answer other than 2xx is one that was asked for
   * @throws ClerkError when there is no answer, or another one than JSON with 2xx
   */
  async get(
    path: string,
    query: Query = [],
    accept: (status: number, json: unknown) => boolean = () => false,
  ): Promise<{ status: number; json: unknown }> {
    const search = new URLSearchParams(
      query.map(([name, value]) => [name, String(value)]),
    ).toString();
    this.uncounted += 1;
    const response = await this.#fetch(`${path}${search && `?${search}`}`, path);
    const { status } = response;
    const json = await readJson(response);
    if (response.ok && json !== undefined) return { status, json };
    if (accept(status, json)) return { status, json };
    if (response.ok) {
      const type = response.headers.get("content-type")?.split(";")[0] ?? "no content type";
      throw unexpected(path, `${status} with a body that is not JSON (${type})`);
    }
    throw this.#refused(path, response, json);
  }

  async #fetch(pathAndQuery: string, path: string): Promise<Response> {
    try {
      return await fetch(`${this.#apiUrl}/v1${pathAndQuery}`, {
        headers: {
          Authorization: `Bearer ${this.#secretKey}`,
          "Clerk-API-Version": API_VERSION,
          "User-Agent": "clerk-convex-sync",
        },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      // Its message may quote a header, and so the key.
      const timedOut = error instanceof Error && error.name === "TimeoutError";
      const what = timedOut ? `no answer within ${TIMEOUT_MS / 1000} s` : "no connection";
      throw new ClerkError(`Clerk could not be reached for GET ${path}: ${what}.`, "retry later");
    }
  }

  #refused(path: string, { status, headers }: Response, json: unknown): ClerkError {
    const { code, message, trace } = saidBy(json);
    const answer = [status, code, trace && `trace id ${trace}`].filter(Boolean).join(", ");
    if (status !== 401 && status !== 403) {
      const whatNext = status === 429 || status >= 500 ? "retry later" : "give up";
      const sentence = `Clerk answered GET ${path} with ${answer}.`;
      return new ClerkError(this.#redact(sentence), whatNext, retryAfterMs(headers));
    }
    const sentence = `Clerk refused CLERK_SECRET_KEY (${answer}): set the secret key of your instance, from Clerk's dashboard under API keys.${message && ` It says: ${message}`}`;
    return new ClerkError(this.#redact(sentence), "give up");
  }

  /** Whatever answers may echo the key, whole or in part, or somebody's address. */
  #redact(sentence: string): string {
    return sentence
      .replaceAll(this.#secretKey, "[CLERK_SECRET_KEY]")
      .replace(/\bsk_\w+/g, "[CLERK_SECRET_KEY]")
      .replace(/\S+@\S+/g, "[address]");
  }
}

/** What Clerk says of an error: its schema `ClerkErrors`. */
function saidBy(json: unknown): { code: string; message: string; trace: string } {
  const text = (value: unknown) => (typeof value === "string" ? value.slice(0, MAX_SAID) : "");
  const first = firstError(json);
  return {
    code: text(fieldOf(first, "code")),
    message: text(fieldOf(first, "message")),
    trace: text(fieldOf(json, "clerk_trace_id")),
  };
}

/** Whether there is a secret key, right or wrong: without one nothing can begin yet. */
export function isConfigured(): boolean {
  return Boolean(env.CLERK_SECRET_KEY?.trim());
}

function secretKey(): string {
  const key = env.CLERK_SECRET_KEY?.trim();
  if (!key) {
    throw new ClerkError(
      "CLERK_SECRET_KEY is not set on this deployment: set the secret key of your instance, from Clerk's dashboard under API keys.",
      "give up",
    );
  }
  // A header holds no other characters, and the error about it would quote the key.
  if (!/^[!-~]+$/.test(key)) {
    throw new ClerkError(
      "CLERK_SECRET_KEY holds characters that no key has: copy it again.",
      "give up",
    );
  }
  return key;
}

function apiUrl(): string {
  const url = env.CLERK_API_URL?.trim() || DEFAULT_API_URL;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new ClerkError(
      `CLERK_API_URL is not an http(s) address: unset it, or set it to ${DEFAULT_API_URL}.`,
      "give up",
    );
  }
  return url.replace(/\/+$/, "");
}

/** `Retry-After` in seconds, as Clerk sends it with 429. */
function retryAfterMs(headers: Headers): number | undefined {
  const seconds = Number(headers.get("retry-after") ?? NaN);
  return seconds >= 0 ? seconds * SECOND : undefined;
}

async function readJson(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    return undefined;
  }
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

/** What to throw for an answer that can't be what was asked for: `what` says why, without a value. */
export function unexpected(path: string, what: string): ClerkError {
  return new ClerkError(
    `Clerk's answer to GET ${path} can't be used: ${what}. Nothing was concluded from it.`,
    "retry later",
  );
}
