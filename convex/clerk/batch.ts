/** Pure: how many users the next transaction takes, and what follows when it throws. */
import { SECOND } from "./clock.js";
import { idOf } from "./pages.js";
import type { Reading } from "./validators.js";

/** Tries of a transaction about several users before it is halved: once more, in case it was a conflict. */
const TRIES = 2;
/** Tries of a transaction about one user, at growing intervals, before that user is set aside. */
const TRIES_OF_ONE = 4;

/**
 * The users of the next transaction. One that throws is tried again, then halved, until the one user
 * at fault is alone, and is set aside.
 */
export class Batch {
  /** Users in the next transaction at most. */
  limit = Infinity;
  /** Whom the transaction is about that comes next, or threw; nobody, while Clerk is asked. */
  #ids: string[] = [];
  #throws = 0;
  #setAside: { clerkId: string; reason: string } | undefined;

  /** A step begins: until `take`, what throws is not about anybody. */
  clear(): void {
    this.#ids = [];
  }

  /**
   * Notes whom the next transaction is about.
   * @param ids at most `limit`
   * @returns why they, being one, are to be set aside; undefined where they are not
   */
  take(ids: string[]): string | undefined {
    this.#ids = ids;
    const isAlone = ids.length === 1 && ids[0] === this.#setAside?.clerkId;
    return isAlone ? this.#setAside?.reason : undefined;
  }

  /** The same for users, as the transaction is to see them: who is set aside can't be read. */
  takeUsers(users: Reading[]): Reading[] {
    const reason = this.take(users.map(idOf));
    if (reason === undefined) return users;
    return users.map((user) => {
      const { clerkId, clerkCreatedAt } = user.kind === "profile" ? user.profile : user;
      return { kind: "unreadable", clerkId, clerkCreatedAt, version: user.version, reason };
    });
  }

  /** The transaction was made: the next one may take twice as many. */
  succeed(): void {
    this.#throws = 0;
    this.#setAside = undefined;
    this.limit *= 2;
  }

  /**
   * The transaction threw, or Clerk refused whom it is about.
   * @param isFinal whether the same again can't help
   * @returns how long to wait before the next one, ms; null when it is not about users that could be
   *   fewer, or set aside
   */
  shrink(reason: string, isFinal = false): number | null {
    const [first] = this.#ids;
    if (first === undefined || first === this.#setAside?.clerkId) return null;
    this.#throws += 1;
    const isAlone = this.#ids.length === 1;
    // It may be a conflict, which passes.
    if (!isFinal && isAlone && this.#throws < TRIES_OF_ONE) return SECOND * 2 ** (this.#throws - 1);
    if (!isFinal && !isAlone && this.#throws < TRIES) return 0;
    if (isAlone) this.#setAside = { clerkId: first, reason };
    else this.limit = Math.floor(this.#ids.length / 2);
    this.#throws = 0;
    return 0;
  }
}
