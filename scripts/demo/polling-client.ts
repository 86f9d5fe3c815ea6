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
import { convexToJson } from "convex/values";

type QueryReference = FunctionReference<"query"> | FunctionReference_future<"query">;
type MutationReference = FunctionReference<"mutation"> | FunctionReference_future<"mutation">;

const POLL_MS = 300;

type Result = { value: unknown } | { error: Error };
type Watched = {
  ask: () => Promise<unknown>;
  listeners: Set<() => void>;
  result: Result | undefined;
};

export class PollingClient extends ConvexReactClient {
  readonly #http: ConvexHttpClient;
  readonly #watched = new Map<string, Watched>();
  /** Polls, by number: how many were begun, how many ended, and up to which their answers are too old. */
  #begun = 0;
  #ended = 0;
  #outdated = 0;

  constructor(address: string) {
    super(address);
    this.#http = new ConvexHttpClient(address, { skipConvexDeploymentUrlCheck: true });
    setInterval(() => {
      if (this.#begun === this.#ended) void this.#poll();
    }, POLL_MS);
  }

  override setAuth(fetchToken: AuthTokenFetcher, onChange?: (isAuthenticated: boolean) => void) {
    void fetchToken({ forceRefreshToken: false }).then((token) => {
      if (token) this.#http.setAuth(token);
      else this.#http.clearAuth();
      this.#forget();
      onChange?.(Boolean(token));
    });
  }

  override clearAuth() {
    this.#http.clearAuth();
    this.#forget();
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
    // A queue would send what waits in it as whoever has signed in meanwhile.
    const now = { skipQueue: true };
    const result: FunctionReturnType<Mutation> = await this.#http.mutation(mutation, args, now);
    await this.#poll();
    return result;
  }

  /** Somebody else looks from now on: what is shown, and what is on its way, is not theirs. */
  #forget(): void {
    this.#outdated = this.#begun;
    for (const watched of this.#watched.values()) watched.result = undefined;
    tell([...this.#watched.values()]);
    void this.#poll();
  }

  /**
   * Asks all at once, and tells all at once. The answers are not of one moment, as Convex's are: an
   * error is believed only if it stays when all are asked again.
   */
  async #poll(isSecond = false): Promise<void> {
    const number = (this.#begun += 1);
    const asked = [...this.#watched.values()];
    const results = await Promise.all(asked.map(resultOf));
    this.#ended += 1;
    if (number <= this.#outdated) return;
    if (!isSecond && results.some((result) => result && "error" in result)) {
      await this.#poll(true);
      return;
    }
    this.#outdated = number;
    const changed = asked.filter((watched, i) => {
      const result = results[i];
      if (!result || textOf(result) === textOf(watched.result)) return false;
      watched.result = result;
      return true;
    });
    tell(changed);
  }
}

function tell(watched: Watched[]): void {
  for (const { listeners } of watched) for (const listener of listeners) listener();
}

function textOf(result: Result | undefined): string {
  if (result === undefined) return "";
  return "error" in result ? `error ${result.error.message}` : JSON.stringify(result);
}

/** Undefined while the demo does not answer: what is shown stays. */
async function resultOf({ ask }: Watched): Promise<Result | undefined> {
  try {
    return { value: await ask() };
  } catch (error) {
    return error instanceof TypeError || !(error instanceof Error) ? undefined : { error };
  }
}
