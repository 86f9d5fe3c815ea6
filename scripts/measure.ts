/** Counts what Convex functions cost: calls, documents and bytes, as convex-test has Convex count them. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { TransactionMetrics } from "convex/server";

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
};

const NOTHING: Cost = {
  actions: 0,
  queries: 0,
  mutations: 0,
  documentsRead: 0,
  documentsWritten: 0,
  bytesRead: 0,
  bytesWritten: 0,
};

/** One transaction: what it read and wrote. */
export type Transaction = { name: string } & Pick<
  Cost,
  "documentsRead" | "documentsWritten" | "bytesRead" | "bytesWritten"
>;

export class Meter {
  /** All since `take` was last called. */
  readonly transactions: Transaction[] = [];
  #cost = { ...NOTHING };
  /** What runs within a transaction is part of it, but not what that schedules. */
  readonly #within = new AsyncLocalStorage<{ isOpen: boolean }>();

  /** The modules for convex-test, with each call of their functions counted. */
  wrap(modules: Modules): Modules {
    return Object.fromEntries(
      Object.entries(modules).map(([path, load]) => [
        path,
        async () => this.#wrapModule(path, (await load()) as Record<string, unknown>),
      ]),
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
      if (this.#within.getStore()?.isOpen === true) return await handler(ctx, args);
      this.#cost[isQuery ? "queries" : "mutations"] += 1;
      const transaction = { isOpen: true };
      return await this.#within.run(transaction, async () => {
        try {
          return await handler(ctx, args);
        } finally {
          this.#add(name, await ctx.meta.getTransactionMetrics());
          transaction.isOpen = false;
        }
      });
    };
    return Object.assign(() => undefined, registered, { _handler: measured });
  }

  #add(name: string, metrics: TransactionMetrics): void {
    const transaction = {
      name,
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
  }
}

function isRegistered(value: unknown): value is Registered {
  return typeof value === "function" && "_handler" in value;
}
