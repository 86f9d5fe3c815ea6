/**
 * How long a transaction waits for the database, as Convex's backend has it
 * (crates/isolate/src/environment/udf/async_syscall.rs): when its code has nothing left to do, what it asked for is
 * taken in order, and reads that follow on each other run at once, up to 16. A page of a paginated query is a
 * read by itself; writes are kept until the commit.
 */
import { AsyncResource } from "node:async_hooks";
import type { SimulatedClock } from "./simulated-clock";

/** `MAX_SYSCALL_BATCH_SIZE` of the backend. */
const READS_AT_ONCE = 16;
/** What a read takes on Convex, ms. */
const WAIT_MS = 1.6;
const READS = ["1.0/get", "1.0/queryStreamNext"];
const PAGE = "1.0/queryPage";

type Call = { name: string; make: () => void };
type Syscall = (name: string, args: string) => Promise<string>;
type Convex = { syscall: unknown; jsSyscall: unknown; asyncSyscall: Syscall };

/** The calls of one transaction to the database. */
export class DatabaseCalls {
  calls = 0;
  /** How often one or several were waited for. */
  waits = 0;
  readonly #clock: SimulatedClock;
  #asked: Call[] = [];
  #isBusy = false;

  constructor(clock: SimulatedClock) {
    this.#clock = clock;
  }

  async call(name: string, make: () => Promise<string>): Promise<string> {
    this.calls += 1;
    return await new Promise((resolve, reject) => {
      const bound = AsyncResource.bind(() => {
        make().then(resolve, reject);
      });
      this.#asked.push({ name, make: bound });
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (;;) {
      await this.#clock.sleep(0);
      const batch = this.#next();
      const [first] = batch;
      if (first === undefined) break;
      if (first.name === PAGE || READS.includes(first.name)) {
        this.waits += 1;
        await this.#clock.sleep(WAIT_MS);
      }
      for (const { make } of batch) make();
    }
    this.#isBusy = false;
  }

  #next(): Call[] {
    const other = this.#asked.findIndex(({ name }) => !READS.includes(name));
    const reads = other === -1 ? this.#asked.length : other;
    return this.#asked.splice(0, Math.max(1, Math.min(reads, READS_AT_ONCE)));
  }
}

const watched = new WeakSet<Convex>();

/** Has calls to the database go through those of the transaction at work, where there is one. */
export function watchDatabase(current: () => DatabaseCalls | undefined): void {
  const place = globalThis as unknown as { Convex: Convex };
  const { Convex: convex } = place;
  if (watched.has(convex)) return;
  const asyncSyscall: Syscall = async (name, args) => {
    const make = async () => await convex.asyncSyscall(name, args);
    const calls = current();
    return calls === undefined ? await make() : await calls.call(name, make);
  };
  const own: Convex = {
    get syscall() {
      return convex.syscall;
    },
    get jsSyscall() {
      return convex.jsSyscall;
    },
    asyncSyscall,
  };
  watched.add(own);
  place.Convex = own;
}
