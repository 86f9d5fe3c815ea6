/**
 * A Clerk instance over HTTP, for the demo and the tests. It answers as Clerk's OpenAPI document
 * says, for the endpoints and parameters that the sync uses; anything else is an error, so that a
 * misspelt parameter is noticed. Faults are to order.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  clerkUser,
  deletedUser,
  userEvent,
  type ClerkUserJSON,
  type UserEvent,
} from "./clerk-json";
import { Random } from "./random";

/** Who signs the session tokens of this instance. */
export const ISSUER = "https://clerk.stand-in.example";

const MAX_LIMIT = 500;
const DEFAULT_LIMIT = 10;
const MAX_IDS = 100;
const SORTABLE = ["created_at", "updated_at"] as const;
const FILTERS = ["user_id", "created_at_after", "created_at_before"];

/** An answer other than the right one. */
export type Fault =
  | { kind: "status"; status: number; code?: string; retryAfter?: number }
  /** Any body with 200, sent as it is. */
  | { kind: "body"; body: string; contentType?: string }
  /** The right answer, changed. */
  | { kind: "change"; change: (json: unknown) => unknown }
  /** The right answer, once something else has happened. */
  | { kind: "wait"; for: Promise<unknown> }
  | { kind: "reset" }
  | { kind: "hang" };

type Ordered = { path: RegExp; fault: Fault; times: number };
type Answer = { status: number; json: unknown };

/** What a count has to know of a user. */
export type CountedUser = Pick<ClerkUserJSON, "id" | "created_at">;

export type StandInRequest = { method: string; path: string; query: URLSearchParams };

/** Clerk's users API over real HTTP, as its OpenAPI document has it, with a table of users that can be changed. */
export class ClerkStandIn {
  readonly users = new Map<string, ClerkUserJSON>();
  readonly requests: StandInRequest[] = [];
  secretKey = "sk_test_double_of_clerk";
  instanceId = "ins_stand_in";
  environment: "development" | "production" = "production";
  /** Whether `created_at_after` includes its own millisecond: Clerk's documents do not say. */
  createdAtAfterIsInclusive = false;
  /** The same of `created_at_before`. */
  createdAtBeforeIsInclusive = false;
  /** Whether the list takes `starting_after`, which Clerk has since August 2026. */
  knowsStartingAfter = true;
  /**
   * Whether users who share the value sorted by come in another order with each request: nothing
   * says that Clerk sorts them. With `starting_after` it has to, and does.
   */
  shufflesTies = false;
  /** Users that a page of the list holds at most, whatever was asked for. */
  limitFallsBackTo: number | null = null;
  /** What is left of a page of the list, where it holds fewer than it should. */
  dropsFromPage: ((users: ClerkUserJSON[]) => ClerkUserJSON[]) | null = null;
  /** Users who are shown without `created_at`, which Clerk knows all the same. */
  readonly hidesCreationOf = new Set<string>();
  /** Users by whom every count is too high; too low where it is negative. */
  countsTooMany = 0;
  /** So many requests are answered within so long, the others with 429, as `environment` has it; null: all. */
  allows: { requests: number; inMs: number } | null = null;
  /** How many were not. */
  refused = 0;
  /** Called before each answer. */
  onRequest: (request: StandInRequest) => void = () => undefined;
  #shown: ReadonlyMap<string, ClerkUserJSON> | null = null;
  #counted: ReadonlyMap<string, CountedUser> | null = null;
  #random = new Random(1);
  #server: Server | null = null;
  #faults: Ordered[] = [];
  #created = 0;
  #answered: number[] = [];

  /** @returns the address for `CLERK_API_URL` */
  async start(): Promise<string> {
    const server = createServer((request, response) => {
      this.#handle(request, response);
    });
    // A caller who is busy for seconds must not find its connection closed.
    server.keepAliveTimeout = 0;
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** Answers the next requests whose path and query match with a fault. */
  order(path: RegExp, fault: Fault, times = Infinity): void {
    this.#faults.push({ path, fault, times });
  }

  /** From now on shows other users, as they were before: Clerk's data is "eventually consistent". */
  fallBehind(users: ReadonlyMap<string, ClerkUserJSON>): void {
    this.#shown = users;
  }

  /** Shows the users as they are again. */
  catchUp(): void {
    this.#shown = null;
  }

  /** From now on counts other users than it lists, as its count may lag; null: the same again. */
  countFrom(users: ReadonlyMap<string, CountedUser> | null): void {
    this.#counted = users;
  }

  /** Begins the orders anew in which ties come: see `shufflesTies`. */
  set seed(seed: number) {
    this.#random = new Random(seed);
  }

  /** The users as the answers show them. */
  get shown(): ReadonlyMap<string, ClerkUserJSON> {
    return this.#shown ?? this.users;
  }

  /** Answers rightly again. */
  heal(): void {
    this.#faults = [];
  }

  /** A user as if they had signed up; `updated_at` is `created_at` unless chosen. */
  createUser(chosen: Partial<Parameters<typeof clerkUser>[0]> & { created_at: number }): {
    user: ClerkUserJSON;
    event: UserEvent;
  } {
    this.#created += 1;
    const id = `user_${String(this.#created).padStart(27, "0")}`;
    const user = clerkUser({ id, ...chosen });
    this.users.set(user.id, user);
    return { user, event: this.#event("user.created", user, user.updated_at) };
  }

  /** @param at becomes `updated_at`, unless the change names another, ms */
  updateUser(id: string, change: Partial<ClerkUserJSON>, at: number): UserEvent {
    const user = this.users.get(id);
    if (user === undefined) throw new Error(`no user ${id}`);
    const updated = { ...user, updated_at: at, ...change };
    this.users.set(id, updated);
    return this.#event("user.updated", updated, at);
  }

  deleteUser(id: string, at: number): UserEvent {
    if (!this.users.delete(id)) throw new Error(`no user ${id}`);
    return this.#event("user.deleted", deletedUser(id), at);
  }

  #event(type: UserEvent["type"], data: unknown, at: number): UserEvent {
    return userEvent(type, structuredClone(data), { instanceId: this.instanceId, at });
  }

  /** Answers in this process, for tests that need no HTTP: put it in the place of `fetch`. */
  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const { method, url, headers } = new Request(input, init);
    const { answer, fault } = this.#receive(method, url, headers.get("authorization"));
    await Promise.resolve();
    const json = (body: unknown, status = 200, more: Record<string, string> = {}) =>
      new Response(JSON.stringify(body), {
        status,
        headers: { "content-type": "application/json", ...more },
      });
    switch (fault?.kind) {
      case undefined:
        return json(answer.json, answer.status);
      case "wait":
        await fault.for;
        return json(answer.json, answer.status);
      case "reset":
        throw new TypeError("fetch failed");
      case "hang":
        throw new DOMException("The operation timed out.", "TimeoutError");
      case "body":
        return new Response(fault.body, {
          headers: { "content-type": fault.contentType ?? "application/json" },
        });
      case "change":
        return json(fault.change(answer.json), answer.status);
      case "status": {
        const { status, code = "internal_clerk_error", retryAfter } = fault;
        const more = retryAfter === undefined ? undefined : { "retry-after": String(retryAfter) };
        return json(error(status, code, "ordered").json, status, more);
      }
    }
  };

  #handle(message: IncomingMessage, response: ServerResponse): void {
    const { method = "GET", url = "/", headers } = message;
    const { answer, fault } = this.#receive(method, url, headers.authorization ?? null);
    if (fault === null) sendJson(response, answer);
    else sendFault(response, fault, answer);
  }

  #receive(
    method: string,
    address: string,
    authorization: string | null,
  ): { answer: Answer; fault: Fault | null } {
    const url = new URL(address, "http://stand-in");
    const request = { method, path: url.pathname, query: url.searchParams };
    this.requests.push(request);
    this.onRequest(request);
    const fault = this.#tooMany() ?? this.#takeFault(`${url.pathname}${url.search}`);
    return { answer: this.#answer(request, authorization), fault };
  }

  #tooMany(): Fault | null {
    if (this.allows === null) return null;
    const { requests, inMs } = this.allows;
    this.#answered = this.#answered.filter((at) => at > Date.now() - inMs);
    this.#answered.push(Date.now());
    if (this.#answered.length <= requests) return null;
    this.#answered.pop();
    this.refused += 1;
    return { kind: "status", status: 429, code: "too_many_requests", retryAfter: inMs / 1000 };
  }

  #takeFault(pathAndQuery: string): Fault | null {
    const ordered = this.#faults.find(({ path, times }) => times > 0 && path.test(pathAndQuery));
    if (ordered === undefined) return null;
    ordered.times -= 1;
    return ordered.fault;
  }

  #answer({ method, path, query }: StandInRequest, authorization: string | null): Answer {
    if (authorization !== `Bearer ${this.secretKey}`) {
      return error(401, "authentication_invalid", "Unable to authenticate the request");
    }
    if (method !== "GET") return error(405, "method_not_allowed", "Only GET is implemented");
    if (path === "/v1/instance") return { status: 200, json: this.#instance() };
    if (path === "/v1/users/count") return this.#count(query);
    if (path === "/v1/users") return this.#list(query);
    const id = /^\/v1\/users\/([^/]+)$/.exec(path)?.[1];
    // Not the code of a missing user: a misspelt path must never be taken for a deletion.
    if (id === undefined) return error(404, "route_not_found", `there is no ${path}`);
    const user = this.shown.get(id);
    return user === undefined
      ? error(404, "resource_not_found", "not found")
      : { status: 200, json: this.#present(user) };
  }

  #present(user: ClerkUserJSON): Partial<ClerkUserJSON> {
    return this.hidesCreationOf.has(user.id) ? { ...user, created_at: undefined } : user;
  }

  #instance() {
    return {
      object: "instance",
      id: this.instanceId,
      environment_type: this.environment,
      allowed_origins: null,
      workspace_id: null,
    };
  }

  #count(query: URLSearchParams): Answer {
    const refused = whyRefused(query, FILTERS);
    if (refused !== null) return refused;
    const users = this.#filter<CountedUser>(this.#counted ?? this.shown, query);
    const total_count = users.length + this.countsTooMany;
    return { status: 200, json: { object: "total_count", total_count } };
  }

  #list(query: URLSearchParams): Answer {
    const known = [...FILTERS, "limit", "offset", "order_by"];
    const refused = whyRefused(
      query,
      this.knowsStartingAfter ? [...known, "starting_after"] : known,
    );
    if (refused !== null) return refused;
    const [, sign, field] = /^([+-]?)(\w+)$/.exec(query.get("order_by") ?? "-created_at") ?? [];
    const sortable = SORTABLE.find((name) => name === field);
    if (sortable === undefined) return error(422, "form_param_value_invalid", "order_by");
    const direction = sign === "-" ? -1 : 1;
    const byValue = (a: ClerkUserJSON, b: ClerkUserJSON) =>
      direction * compare(sortKey(a[sortable]), sortKey(b[sortable]));
    const offset = Number(query.get("offset") ?? 0);
    const startingAfter = query.get("starting_after");

    let users = this.#filter(this.shown, query);
    if (startingAfter !== null) {
      const last = this.shown.get(startingAfter);
      if (last === undefined || sortable !== "created_at" || offset !== 0) {
        return error(422, "form_param_value_invalid", "starting_after");
      }
      // Ids go up in either direction, as users do who signed up within one millisecond.
      const byPlace = (a: ClerkUserJSON, b: ClerkUserJSON) => byValue(a, b) || compare(a.id, b.id);
      users = users.filter((user) => byPlace(last, user) < 0).sort(byPlace);
    } else {
      if (this.shufflesTies) users = this.#shuffle(users);
      users.sort(byValue);
    }
    const page = users.slice(offset, offset + this.#limit(query));
    const left = this.dropsFromPage === null ? page : this.dropsFromPage(page);
    return { status: 200, json: left.map((user) => this.#present(user)) };
  }

  #limit(query: URLSearchParams): number {
    const asked = Number(query.get("limit") ?? DEFAULT_LIMIT);
    // A limit over the maximum was seen to be taken for none at all.
    const limit = asked >= 1 && asked <= MAX_LIMIT ? asked : DEFAULT_LIMIT;
    return Math.min(limit, this.limitFallsBackTo ?? limit);
  }

  /**
   * The users who pass the filters of a query. An entry without a usable `created_at` passes those
   * by time, so that the list does show it: what must be tested is that it is read.
   */
  #filter<User extends CountedUser>(
    users: ReadonlyMap<string, User>,
    query: URLSearchParams,
  ): User[] {
    const after = Number(query.get("created_at_after") ?? -Infinity);
    const before = Number(query.get("created_at_before") ?? Infinity);
    const ids = new Set(query.getAll("user_id"));
    return [...users.values()].filter(({ id, created_at }) => {
      if (ids.size > 0 && !ids.has(id)) return false;
      const time = timeOf(created_at);
      if (time === null) return true;
      const isAfter = this.createdAtAfterIsInclusive ? time >= after : time > after;
      return isAfter && (this.createdAtBeforeIsInclusive ? time <= before : time < before);
    });
  }

  #shuffle<User>(users: User[]): User[] {
    const drawn = users.map((user) => ({ user, place: this.#random.next() }));
    return drawn.sort((a, b) => a.place - b.place).map(({ user }) => user);
  }
}

/** The answer to a query that Clerk does not take, or null. */
function whyRefused(query: URLSearchParams, known: string[]): Answer | null {
  const unknown = [...query.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) return error(422, "form_param_unknown", `${unknown} is not known`);
  const isTooMany = query.getAll("user_id").length > MAX_IDS;
  return isTooMany ? error(422, "form_param_value_invalid", "too many user_id") : null;
}

/** A time in ms, whole or not; null for what is none, as only a test's odd entries have. */
function timeOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** What is no time comes last where times go up, as SQL's null does. */
function sortKey(value: unknown): number {
  return timeOf(value) ?? Infinity;
}

function compare<Value extends number | string>(a: Value, b: Value): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function error(status: number, code: string, message: string): Answer {
  const errors = [{ message, long_message: message, code }];
  return { status, json: { errors, clerk_trace_id: "trace_stand_in" } };
}

function sendJson(response: ServerResponse, { status, json }: Answer): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(json));
}

function sendFault(response: ServerResponse, fault: Fault, answer: Answer): void {
  switch (fault.kind) {
    case "hang":
      return;
    case "wait":
      void fault.for.then(() => {
        sendJson(response, answer);
      });
      return;
    case "reset":
      response.destroy();
      return;
    case "body":
      response.writeHead(200, { "content-type": fault.contentType ?? "application/json" });
      response.end(fault.body);
      return;
    case "change":
      sendJson(response, { ...answer, json: fault.change(answer.json) });
      return;
    case "status": {
      const { status, code = "internal_clerk_error", retryAfter } = fault;
      if (retryAfter !== undefined) response.setHeader("retry-after", String(retryAfter));
      sendJson(response, error(status, code, "ordered"));
    }
  }
}
