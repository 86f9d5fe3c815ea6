/** Convex's React client for the in-process demo: it asks again and again where Convex would push. */
import { ConvexHttpClient } from "convex/browser";
import { ConvexReactClient, type AuthTokenFetcher, type Watch } from "convex/react";
import {
  getFunctionName,
  type ArgsAndOptions,
  type FunctionReference,
  type FunctionReference_future,
  type FunctionReturnType,
} from "convex/server";
import { ConvexError, convexToJson, type Value } from "convex/values";

type QueryReference = FunctionReference<"query"> | FunctionReference_future<"query">;
type MutationReference = FunctionReference<"mutation"> | FunctionReference_future<"mutation">;

const POLL_MS = 300;

type Result = { value: unknown } | { error: ConvexError<Value> };
type Watched = {
  ask: () => Promise<unknown>;
  listeners: Set<() => void>;
  result: Result | undefined;
};

export class PollingClient extends ConvexReactClient {
  readonly #http: ConvexHttpClient;
  readonly #watched = new Map<string, Watched>();
  /** Counts whose answers those are: one that was asked for as somebody else is dropped. */
  #login = 0;

  constructor(address: string) {
    super(address);
    this.#http = new ConvexHttpClient(address, { skipConvexDeploymentUrlCheck: true });
    setInterval(() => void this.#poll(), POLL_MS);
  }

  override setAuth(fetchToken: AuthTokenFetcher, onChange?: (isAuthenticated: boolean) => void) {
    void fetchToken({ forceRefreshToken: false }).then((token) => {
      this.clearAuth();
      if (token) this.#http.setAuth(token);
      onChange?.(Boolean(token));
    });
  }

  override clearAuth() {
    this.#http.clearAuth();
    this.#login += 1;
    for (const watched of this.#watched.values()) watched.result = undefined;
    void this.#poll();
  }

  override watchQuery<Query extends QueryReference>(
    query: Query,
    ...[args]: ArgsAndOptions<Query, object>
  ): Watch<FunctionReturnType<Query>> {
    const key = getFunctionName(query) + JSON.stringify(convexToJson(args ?? {}));
    return {
      onUpdate: (listener) => {
        const ask = async (): Promise<unknown> => await this.#http.query(query, args);
        const watched = this.#watched.get(key) ?? { ask, listeners: new Set(), result: undefined };
        this.#watched.set(key, watched);
        watched.listeners.add(listener);
        void this.#poll();
        return () => {
          watched.listeners.delete(listener);
          if (watched.listeners.size === 0) this.#watched.delete(key);
        };
      },
      localQueryResult: () => {
        const result = this.#watched.get(key)?.result;
        if (result === undefined) return undefined;
        if ("error" in result) throw result.error;
        return result.value;
      },
      journal: () => undefined,
    };
  }

  override async mutation<Mutation extends MutationReference>(
    mutation: Mutation,
    ...[args]: ArgsAndOptions<Mutation, object>
  ): Promise<FunctionReturnType<Mutation>> {
    const result: FunctionReturnType<Mutation> = await this.#http.mutation(mutation, args);
    await this.#poll();
    return result;
  }

  /** Asks all at once, and tells all at once, so that what is shown fits together. */
  async #poll(): Promise<void> {
    const login = this.#login;
    const asked = [...this.#watched.values()];
    const results = await Promise.all(asked.map(resultOf));
    if (login !== this.#login) return;
    const changed = asked.filter(({ result }, i) => {
      const newer = results[i];
      return newer && JSON.stringify(newer) !== JSON.stringify(result);
    });
    for (const watched of changed) watched.result = results[asked.indexOf(watched)];
    for (const { listeners } of changed) for (const listener of listeners) listener();
  }
}

/** Undefined while the demo does not answer: what is shown stays. */
async function resultOf({ ask }: Watched): Promise<Result | undefined> {
  try {
    return { value: await ask() };
  } catch (error) {
    return error instanceof ConvexError ? { error: error as ConvexError<Value> } : undefined;
  }
}
