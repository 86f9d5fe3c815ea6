/**
 * The only file that talks to Clerk's Backend API. It uses `fetch`, not the SDK's client, because
 * that sends a count with every list, has no time-out, and drops an empty `userId` filter, which
 * then lists everyone (@clerk/backend 3.25).
 */
import { env } from "../_generated/server";
import { SECOND } from "./clock";
import { isClerkId, readUser } from "./profile";
import { idOf, readPage, UnexpectedAnswer } from "./sweep";
import { type Reading } from "./validators";

/** The version of Clerk's API whose OpenAPI document this follows. */
const API_VERSION = "2026-05-12";
const DEFAULT_API_URL = "https://api.clerk.com";
const TIMEOUT_MS = 20_000;
/** Characters of what Clerk says of an error. */
const MAX_SAID = 200;
/** `user_id` accepts up to 100 ids (GetUserList). */
export const MAX_IDS = 100;

type Query = [name: string, value: string | number][];

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

/** Clerk's API. */
export class Clerk {
  /** Requests that no step of a run has counted yet. */
  uncounted = 0;
  readonly #secretKey: string;
  readonly #apiUrl: string;

  /** @throws ClerkError when a variable is missing or can't be right */
  constructor() {
    this.#secretKey = secretKey();
    this.#apiUrl = apiUrl();
  }

  /** The instance that the secret key belongs to, and its `environment_type`. */
  async instance(): Promise<{ id: string; environment: string }> {
    const { json } = await this.#get("/instance");
    const id = fieldOf(json, "id");
    if (typeof id !== "string" || !/^ins_\w+$/.test(id)) {
      throw unexpected("/instance", "no instance id");
    }
    return { id, environment: String(fieldOf(json, "environment_type")) };
  }

  async countUsers(): Promise<number> {
    const { json } = await this.#get("/users/count");
    const count = fieldOf(json, "total_count");
    if (typeof count !== "number") throw unexpected("/users/count", "no total_count");
    return count;
  }

  /**
   * Up to `limit` users by creation time, from `from` (ms) on; from the first where it is null.
   * Whether Clerk takes `created_at_after` as inclusive is not documented, so users of the
   * millisecond before may be among them.
   */
  async listByCreation(from: number | null, limit: number, offset = 0): Promise<Reading[]> {
    const query: Query = [["order_by", "+created_at"]];
    if (from !== null) query.push(["created_at_after", from - 1]);
    if (offset > 0) query.push(["offset", offset]);
    return await this.#list(query, limit, "+created_at");
  }

  /** Up to `limit` users, latest change first, after the first `offset`. */
  async listByChange(offset: number, limit: number): Promise<Reading[]> {
    const query: Query = [
      ["order_by", "-updated_at"],
      ["offset", offset],
    ];
    return await this.#list(query, limit, "-updated_at");
  }

  /** Those of up to 100 ids that Clerk knows. */
  async listByIds(ids: string[]): Promise<Reading[]> {
    // Without an id there would be no filter, and Clerk would list everyone.
    if (ids.length === 0) return [];
    if (ids.length > MAX_IDS || !ids.every(isClerkId))
      throw new Error("expected 1 to 100 user ids");
    const query: Query = ids.map((id) => ["user_id", id]);
    const users = await this.#list(query, MAX_IDS, null);
    const asked = new Set(ids);
    if (!users.every((user) => asked.has(idOf(user)))) {
      throw unexpected("/users?user_id", "users who were not asked for");
    }
    return users;
  }

  /** One user, or null only when Clerk says 404 `resource_not_found` for this very id. */
  async getUser(id: string): Promise<Reading | null> {
    if (!isClerkId(id)) throw new Error("expected a user id");
    const { status, json } = await this.#get(`/users/${id}`, [], isNotFound);
    if (status === 404) return null;
    const user = readUser(json);
    if (user === null || idOf(user) !== id)
      throw unexpected("/users/{id}", "not the user asked for");
    return user;
  }

  async #list(
    query: Query,
    limit: number,
    orderBy: "+created_at" | "-updated_at" | null,
  ): Promise<Reading[]> {
    const { json } = await this.#get("/users", [...query, ["limit", limit]]);
    try {
      return readPage(json, { limit, orderBy });
    } catch (error) {
      if (error instanceof UnexpectedAnswer) throw unexpected("/users", error.message);
      throw error;
    }
  }

  async #get(
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

function isNotFound(status: number, json: unknown): boolean {
  return status === 404 && fieldOf(firstError(json), "code") === "resource_not_found";
}

function firstError(json: unknown): unknown {
  const errors = fieldOf(json, "errors");
  return Array.isArray(errors) ? errors[0] : undefined;
}

function fieldOf(json: unknown, field: string): unknown {
  return typeof json === "object" && json !== null
    ? (json as Record<string, unknown>)[field]
    : undefined;
}

function unexpected(path: string, what: string): ClerkError {
  return new ClerkError(
    `Clerk's answer to GET ${path} can't be used: ${what}. Nothing was concluded from it.`,
    "retry later",
  );
}
