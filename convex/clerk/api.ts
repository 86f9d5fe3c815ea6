/** What the sync asks of Clerk's Backend API, and what it takes for an answer. */
import { INSTANCE_ID, isClerkId } from "./profile.js";
import {
  fieldOf,
  firstError,
  Requests,
  toldOf,
  unexpected,
  type Query,
  type Sent,
} from "./request.js";
import { idOf, readPage, UnexpectedAnswer } from "./pages.js";
import type { Reading } from "./validators.js";

/** `user_id` accepts up to 100 ids (GetUserList). */
export const MAX_IDS = 100;

/** A page of the list by creation time: `from` in ms. */
type CreationPage = { from: number | null; limit: number; offset?: number };

/**
 * Clerk's API. The constructor throws ClerkError when a variable is missing or can't be right, every
 * method when Clerk can't be asked, or its answer can't be used.
 */
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

  /** How many users the instance has. @param before count those created before, ms */
  async countUsers(before?: number): Promise<number> {
    const query: Query = before === undefined ? [] : [["created_at_before", before]];
    const { json } = await this.requests.get("/users/count", query);
    const count = fieldOf(json, "total_count");
    if (typeof count !== "number") throw unexpected("/users/count", "no total_count");
    return count;
  }

  /**
   * Up to `limit` users by creation time, from `from` (ms) on; from the first where it is null.
   * Whether Clerk takes `created_at_after` as inclusive is not documented, so users of the
   * millisecond before may be among them.
   * @param sent what `sendByCreation` gave for the same page
   */
  async listByCreation(page: CreationPage, sent?: Sent): Promise<Reading[]> {
    const { from, limit } = page;
    return await this.#list(byCreation(page), { limit, order: "+created_at", from }, { sent });
  }

  /** Sends the request of `listByCreation`, which reads the answer. */
  sendByCreation(page: CreationPage): Sent {
    return this.requests.send("/users", withLimit(byCreation(page), page.limit));
  }

  /**
   * Up to `limit` users, latest change first, after the first `offset`.
   * @param settled the time of change back to which users are settled, ms: that of entries without one
   */
  async listByChange(offset: number, limit: number, settled: number): Promise<Reading[]> {
    const query: Query = [
      ["order_by", "-updated_at"],
      ["offset", offset],
    ];
    return await this.#list(query, { limit, order: "-updated_at", settled });
  }

  /**
   * Those of up to 100 ids that Clerk knows. A page may hold fewer than there are: whoever it lacks is asked for
   * again, until it brings nobody new.
   * @param again of those whom a page lacks, whom to ask for again; default: all
   */
  async listByIds(
    ids: string[],
    again: (lacking: string[]) => Promise<string[]> = async (lacking) =>
      await Promise.resolve(lacking),
  ): Promise<Reading[]> {
    // Without an id there would be no filter, and Clerk would list everyone.
    if (ids.length === 0) return [];
    if (ids.length > MAX_IDS || !ids.every(isClerkId))
      throw new Error("expected 1 to 100 user ids");
    const query: Query = ids.map((id) => ["user_id", id]);
    const users = await this.#list(query, { limit: MAX_IDS, order: null }, { isNamed: true });
    const asked = new Set(ids);
    // Of an entry without an id nothing is known, not even that it was asked for.
    const named = users.filter((user) => isClerkId(idOf(user)));
    if (!named.every((user) => asked.delete(idOf(user)))) {
      throw unexpected("/users?user_id", "users who were not asked for, or more than once");
    }
    const isShort = named.length > 0 && asked.size > 0;
    return isShort ? [...named, ...(await this.listByIds(await again([...asked]), again))] : named;
  }

  /** One user, or null only when Clerk says 404 `resource_not_found` for this very id. */
  async getUser(id: string): Promise<Reading | null> {
    if (!isClerkId(id)) throw new Error("expected a user id");
    const path = `/users/${id}`;
    const { status, json } = await this.requests.get(path, [], {
      isNamed: true,
      accept: isNotFound,
    });
    if (status === 404) return null;
    const [user] = readPage([json], { limit: 1, order: null });
    if (user === undefined || idOf(user) !== id)
      throw unexpected("/users/{id}", "not the user asked for");
    return user;
  }

  /** @param how see `Requests.get` */
  async #list(
    query: Query,
    asked: Parameters<typeof readPage>[1],
    how: { isNamed?: boolean; sent?: Sent } = {},
  ): Promise<Reading[]> {
    const { json } = await this.requests.get("/users", withLimit(query, asked.limit), how);
    try {
      return readPage(json, asked);
    } catch (error) {
      if (error instanceof UnexpectedAnswer) throw unexpected("/users", error.message);
      throw error;
    }
  }
}

function byCreation({ from, offset = 0 }: CreationPage): Query {
  const query: Query = [["order_by", "+created_at"]];
  if (from !== null) query.push(["created_at_after", from - 1]);
  if (offset > 0) query.push(["offset", offset]);
  return query;
}

function withLimit(query: Query, limit: number): Query {
  return [...query, ["limit", limit]];
}

function isNotFound(status: number, json: unknown): boolean {
  return status === 404 && fieldOf(firstError(json), "code") === "resource_not_found";
}
