/** Counts what Convex functions cost: calls, documents, bytes and waits, as Convex counts them. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { TransactionMetrics } from "convex/server";
import { DatabaseCalls, watchDatabase } from "./database-calls";
import { SimulatedClock } from "./simulated-clock";

type Modules = Record<string, () => Promise<unknown>>;
type Handler = (ctx: Context, args: unknown) => Promise<unknown>;
type Context = { meta: { getTransactionMetrics(): Promise<TransactionMetrics> } };
type Registered = { _handler: Handler } & Partial<
  Record<"isQuery" | "isMutation" | "isAction", true>
>;

export type Cost = {
  actions: number;
  queries: number;
  mutations: number;
  documentsRead: number;
  documentsWritten: number;
  /** Bytes of documents. */
  bytesRead: number;
  bytesWritten: number;
  /** Calls of transactions to the database, and how often these were waited for. */
  databaseCalls: number;
  waits: number;
};

const NOTHING: Cost = {
  actions: 0,
  queries: 0,
  mutations: 0,
  documentsRead: 0,
  documentsWritten: 0,
  bytesRead: 0,
  bytesWritten: 0,
  databaseCalls: 0,
  waits: 0,
};

/** One transaction: what it read and wrote. */
export type Transaction = { name: string } & Pick<
  Cost,
  "documentsRead" | "documentsWritten" | "bytesRead" | "bytesWritten" | "databaseCalls" | "waits"
>;

/** What runs within a transaction is part of it, but not what that schedules. */
const within = new AsyncLocalStorage<{ isOpen: boolean; calls: DatabaseCalls }>();

function openCalls(): DatabaseCalls | undefined {
  const transaction = within.getStore();
  return transaction?.isOpen === true ? transaction.calls : undefined;
}

export class Meter {
  /** All since `take` was last called. */
  readonly transactions: Transaction[] = [];
  #cost = { ...NOTHING };
  readonly #clock: SimulatedClock;

  /** @param clock what is waited for takes time on it */
  constructor(clock = new SimulatedClock(0)) {
    this.#clock = clock;
  }

  /** The modules for convex-test, with each call of their functions counted. */
  wrap(modules: Modules): Modules {
    return Object.fromEntries(
      Object.entries(modules).map(([path, load]) => {
        const once = { module: undefined as Promise<unknown> | undefined };
        // To load it takes turns of the event loop, each time anew, and no time of the clock.
        const loaded = async () => await (once.module ??= this.#clock.during(load()));
        const wrap = async () =>
          this.#wrapModule(path, (await loaded()) as Record<string, unknown>);
        return [path, wrap];
      }),
    );
  }

  /** What was counted since this was last called. */
  take(): Cost {
    const cost = this.#cost;
    this.#cost = { ...NOTHING };
    this.transactions.length = 0;
    return cost;
  }

  #wrapModule(path: string, module: Record<string, unknown>): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(module).map(([name, value]) => [
        name,
        isRegistered(value) ? this.#wrapFunction(`${path}:${name}`, value) : value,
      ]),
    );
  }

  #wrapFunction(name: string, registered: Registered): Registered {
    const { _handler: handler, isAction, isQuery } = registered;
    const measured: Handler = async (ctx, args) => {
      if (isAction) {
        this.#cost.actions += 1;
        return await handler(ctx, args);
      }
      if (within.getStore()?.isOpen === true) return await handler(ctx, args);
      this.#cost[isQuery ? "queries" : "mutations"] += 1;
      watchDatabase(openCalls);
      const calls = new DatabaseCalls(this.#clock);
      const transaction = { isOpen: true, calls };
      return await within.run(transaction, async () => {
        try {
          return await handler(ctx, args);
        } finally {
          transaction.isOpen = false;
          this.#add(name, await ctx.meta.getTransactionMetrics(), calls);
        }
      });
    };
    return Object.assign(() => undefined, registered, { _handler: measured });
  }

  #add(name: string, metrics: TransactionMetrics, { calls, waits }: DatabaseCalls): void {
    const transaction = {
      name,
      databaseCalls: calls,
      waits,
      documentsRead: metrics.documentsRead.used,
      documentsWritten: metrics.documentsWritten.used,
      bytesRead: metrics.bytesRead.used,
      bytesWritten: metrics.bytesWritten.used,
    };
    this.transactions.push(transaction);
    this.#cost.documentsRead += transaction.documentsRead;
    this.#cost.documentsWritten += transaction.documentsWritten;
    this.#cost.bytesRead += transaction.bytesRead;
    this.#cost.bytesWritten += transaction.bytesWritten;
    this.#cost.databaseCalls += calls;
    this.#cost.waits += waits;
  }
}

function isRegistered(value: unknown): value is Registered {
  return typeof value === "function" && "_handler" in value;
}
