/** A clock that goes on by itself, at once, when nothing is left to do but to wait. */

/** Turns of the event loop after which nothing is taken to be left to do. */
const IDLE_TURNS = 3;

type Waiting = { at: number; wake: () => void };

export class SimulatedClock {
  #now: number;
  #waiting: Waiting[] = [];
  #isRunning = false;
  #busy = 0;

  /** @param now ms since 1970 */
  constructor(now: number) {
    this.#now = now;
  }

  /** Ms since 1970, with fractions. */
  get now(): number {
    return this.#now;
  }

  /** Comes back when so much time has passed, ms; those who wait for the same time in their order. */
  async sleep(ms: number): Promise<void> {
    await new Promise<void>((wake) => {
      const at = this.#now + ms;
      const place = this.#waiting.findLastIndex((other) => other.at <= at) + 1;
      this.#waiting.splice(place, 0, { at, wake });
      void this.#run();
    });
  }

  /** Stands still while something is done that takes turns of the event loop, and no time. */
  async during<Result>(work: Promise<Result>): Promise<Result> {
    this.#busy += 1;
    try {
      return await work;
    } finally {
      this.#busy -= 1;
    }
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      const isNow = (this.#waiting[0]?.at ?? 0) <= this.#now;
      for (let turn = 0; turn < (isNow ? 1 : IDLE_TURNS) || this.#busy > 0; turn += 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.at);
      next.wake();
    }
    this.#isRunning = false;
  }
}
