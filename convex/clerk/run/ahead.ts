/** Pages of a walk that are requested while the one before them is settled. */
import type { Clerk, Sent } from "../api/api.js";
import type { Position } from "../memory/memory.js";
import { clock, SECOND } from "../shared/clock.js";
import type { Reading } from "../shared/user.js";
import { leadsOn, nextAhead } from "./sweep.js";

type Requested = {
  from: number;
  offset: number;
  limit: number;
  /** Where it begins, see `nextAhead`; -1 once the page before it is known, as they overlap by two. */
  start: number;
  seenAt: number;
  sent: Sent;
};

/** A request that was sent longer ago is made anew: its time-out goes on while pages before it are settled. */
const MAX_AGE_MS = 10 * SECOND;

/** Requests of one call that went ahead, whose bodies are read one at a time. */
export class Ahead {
  readonly #clerk: Clerk;
  readonly #pageSize: number;
  #requested: Requested[] = [];
  readonly #dropped: Promise<unknown>[] = [];

  constructor(clerk: Clerk, pageSize: number) {
    this.#clerk = clerk;
    this.#pageSize = pageSize;
  }

  /**
   * The page that goes on from `settled`; null where none was requested, or it does not lead there. Then, and where it
   * throws, none of the others is used either.
   * @param from the creation time, ms, from which on it would be asked for
   * @throws ClerkError as `Clerk.listByCreation`
   */
  async take(
    settled: Position,
    from: number | null,
  ): Promise<{ users: Reading[]; seenAt: number } | null> {
    const next = this.#requested.shift();
    if (next === undefined) return null;
    const { atOnce } = this.#clerk.requests;
    let users: Reading[] = [];
    try {
      const isYoung = clock.now() - next.seenAt <= MAX_AGE_MS;
      if (from === settled.key && isYoung)
        users = await this.#clerk.listByCreation(next, next.sent);
      else this.#drop(next);
    } finally {
      // Where Clerk slows it down, or does not answer, the others have not fared better.
      const isSlowed = this.#clerk.requests.atOnce < atOnce;
      const isLeading = leadsOn(users, next, settled);
      if (isSlowed || !isLeading) this.dropAll();
      if (!isLeading) users = [];
    }
    if (users.length === 0) return null;
    // From here on places are told from the end of this page.
    for (const other of this.#requested) other.start -= next.start + users.length - 1;
    return { users, seenAt: next.seenAt };
  }

  /** Requests the pages behind a full one, which ended at `key` (creation time, ms) with `left` users behind it. */
  request(key: number, left: number): void {
    for (;;) {
      const isMost = this.#requested.length >= this.#clerk.requests.atOnce;
      const start = nextAhead(
        this.#requested[this.#requested.length - 1]?.start,
        left,
        this.#pageSize,
      );
      if (isMost || start === null) return;
      const page = { from: key, offset: start, limit: this.#pageSize };
      const sent = this.#clerk.sendByCreation(page);
      this.#requested.push({ ...page, start, seenAt: clock.now(), sent });
    }
  }

  /** Ends what was requested so far: nobody looks at it. */
  dropAll(): void {
    for (const each of this.#requested.splice(0)) this.#drop(each);
  }

  /** As the call ends: Convex ends with it what its action still waits for, and warns of it. */
  async end(): Promise<void> {
    this.dropAll();
    await Promise.all(this.#dropped);
  }

  #drop({ sent }: Requested): void {
    this.#dropped.push(sent.then((response) => response.body?.cancel()).catch(() => undefined));
  }
}
