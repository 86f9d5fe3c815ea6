/** What the sync asks of Clerk's Backend API, and what it takes for an answer. */
import { INSTANCE_ID, isClerkId, type Reading } from "../shared/user.js";
import { readPage } from "./pages.js";
import {
  ClerkError,
  fieldOf,
  firstError,
  type Query,
  Requests,
  type Sent,
  toldOf,
  unexpected,
} from "./request.js";

export { ClerkError, type Sent } from "./request.js";

/** `user_id` accepts up to 100 ids (GetUserList). */
export const MAX_IDS = 100;

/** `from`: where it begins, ms; null: at the first user. */
type CreationPage = { from: number | null; limit: number; offset?: number };

/** Clerk's API. @throws ClerkError when made without right variables; each method, when there is no usable answer */
export class Clerk {
  readonly requests = new Requests();

  /** The instance that the secret key belongs to, and its `environment_type`. */
  async instance(): Promise<{ id: string; environment: string }> {
    const { json } = await this.requests.get("/instance");
    const id = toldOf(fieldOf(json, "id"), INSTANCE_ID, 16);
    if (id === undefined) throw unexpected("/instance", "no instance id");
    const form = /^(development|production)$/;
    const environment = toldOf(fieldOf(json, "environment_type"), form) ?? "unnamed";
    this.requests.allow(environment);
    return { id, environment };
  }

  /** How many users the instance has; with `before`, of those created before it, ms. */
  async countUsers(before?: number): Promise<number> {
    const query: Query = before === undefined ? [] : [["created_at_before", before]];
    const { json } = await this.requests.get("/users/count", query);
    const count = fieldOf(json, "total_count");
    if (typeof count !== "number") throw unexpected("/users/count", "no total_count");
    return count;
  }

  /**
   * Up to `limit` users by creation time, from `from` (ms), or the first, on. Whether Clerk's `created_at_after` is
   * inclusive is not documented: users of the millisecond before may be among them. `sent`: by `sendByCreation`.
   */
  async listByCreation(page: CreationPage, sent?: Sent): Promise<Reading[]> {
    const { from, limit, offset = 0 } = page;
    const asked = { limit, order: "+created_at", from, isBegin: offset === 0 } as const;
    return await this.#list(byCreation(page), asked, sent);
  }

  /** Sends the request of `listByCreation`, which reads the answer. */
  sendByCreation(page: CreationPage): Sent {
    return this.requests.send("/users", byCreation(page));
  }

  /** Up to `limit` users, latest change first, after the first `offset`. Those without a time get `settled` (ms). */
  async listByChange(offset: number, limit: number, settled: number): Promise<Reading[]> {
    const query: Query = [
      ["order_by", "-updated_at"],
      ["offset", offset],
      ["limit", limit],
    ];
    return await this.#list(query, { limit, order: "-updated_at", settled });
  }

  /**
   * Those of up to 100 ids that Clerk knows, as far as one page holds them: it may hold fewer.
   * @throws Error for more ids, or what is no user id
   */
  async listByIds(ids: string[]): Promise<Reading[]> {
    // Without an id there would be no filter, and Clerk would list everyone.
    if (ids.length === 0) return [];
    if (ids.length > MAX_IDS || !ids.every(isClerkId))
      throw new Error("expected 1 to 100 user ids");
    const named: Query = ids.map((id) => ["user_id", id]);
    const query: Query = [...named, ["limit", MAX_IDS]];
    const users = await this.#list(query, { limit: MAX_IDS, order: null });
    const asked = new Set(ids);
    // Of an entry without an id nothing is known, not even that it was asked for.
    const known = users.filter((user) => isClerkId(user.clerkId));
    if (!known.every((user) => asked.delete(user.clerkId))) {
      throw unexpected("/users?user_id", "users who were not asked for, or more than once", true);
    }
    return known;
  }

  /** One user; null only when Clerk says 404 `resource_not_found` for this very id. @throws Error for what is no id */
  async getUser(id: string): Promise<Reading | null> {
    if (!isClerkId(id)) throw new Error("expected a user id");
    const path = `/users/${id}`;
    const { status, json } = await this.requests.get(path, [], {
      isNamed: true,
      accept: isNotFound,
    });
    if (status === 404) return null;
    const [user] = readPage([json], { limit: 1, order: null });
    if (user?.clerkId === id) return user;
    throw unexpected("/users/{id}", "not the user asked for", true);
  }

  async #list(
    query: Query,
    asked: Parameters<typeof readPage>[1],
    sent?: Sent,
  ): Promise<Reading[]> {
    const how = { isNamed: asked.order === null, sent };
    const { json } = await this.requests.get("/users", query, how);
    return readPage(json, asked);
  }
}

function byCreation({ from, limit, offset = 0 }: CreationPage): Query {
  const query: Query = [
    ["order_by", "+created_at"],
    ["limit", limit],
  ];
  if (from !== null) query.push(["created_at_after", from - 1]);
  if (offset > 0) query.push(["offset", offset]);
  return query;
}

function isNotFound(status: number, json: unknown): boolean {
  return status === 404 && fieldOf(firstError(json), "code") === "resource_not_found";
}

/** The instance of the secret key. @throws ClerkError when another one is mirrored (`pinned`; null: none is yet) */
export async function checkInstance(clerk: Clerk, pinned: string | null): Promise<string> {
  const { id: instanceId } = await clerk.instance();
  if (pinned === null || instanceId === pinned) return instanceId;
  throw new ClerkError(
    `CLERK_SECRET_KEY belongs to the Clerk instance ${instanceId}, but this table mirrors ${pinned}: set the secret key of that instance, or move on purpose with clerk/reconcile:pinInstance.`,
    "give up",
  );
}
