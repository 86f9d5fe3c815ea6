/**
 * Lets the functions of actions go on place by place, so that anything can happen in between. An action may wait at
 * several places at once: for requests that it sent ahead, and for what it does meanwhile.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ActionCtx } from "../../convex/_generated/server";

/** What an action waits to do next; `nothing` once it has returned. */
type Place = "start" | "request" | "query" | "mutation" | "nothing";
type Handler = (ctx: ActionCtx, args: Record<string, unknown>) => Promise<unknown>;

const realSetTimeout = setTimeout;

/** Longer than an action mostly takes from one place to the next; where it takes longer, others go on beside it. */
async function aWhile(): Promise<void> {
  await new Promise((resolve) => realSetTimeout(resolve, 0));
}

const forGood = async (): Promise<never> => await new Promise<never>(() => undefined);

/** An action under way. It waits before each request, query and mutation until it may proceed. */
export class Actor {
  #waiting: { place: Place; goOn: () => void }[] = [];
  #hasReturned = false;
  #arrive: () => void = () => undefined;

  constructor(readonly args: Record<string, unknown>) {}

  /** Where it has waited longest. */
  get next(): Place {
    return this.#hasReturned ? "nothing" : (this.#waiting[0]?.place ?? "request");
  }

  /** Whether it goes on with something while it waits for an answer. */
  get isAhead(): boolean {
    const places = this.#waiting.map(({ place }) => place);
    return places.includes("request") && places.includes("mutation");
  }

  /** Does what it has waited for longest, and comes to the next place, or waits for what is on its way. */
  async proceed(): Promise<void> {
    if (this.#waiting.length === 0) await this.#arrival();
    const arrival = this.#arrival();
    this.#waiting.shift()?.goOn();
    const isOnItsWay = this.#waiting.length > 0;
    await (isOnItsWay ? Promise.race([arrival, aWhile()]) : arrival);
  }

  async reach(place: Place): Promise<void> {
    if (place === "nothing") {
      this.#hasReturned = true;
      this.#arrive();
      return;
    }
    const leave = new Promise<void>((goOn) => this.#waiting.push({ place, goOn }));
    this.#arrive();
    await leave;
  }

  async #arrival(): Promise<void> {
    if (this.#hasReturned) return;
    await new Promise<void>((resolve) => (this.#arrive = resolve));
  }
}

const atWork = new AsyncLocalStorage<Actor>();

/** The action that asks. */
export function currentActor(): Actor | undefined {
  return atWork.getStore();
}

export class Gate {
  /** The actions that wait, in the order in which they began. */
  actors: Actor[] = [];

  /** The handler of an action that waits at each place. */
  async enter(handler: Handler, ctx: ActionCtx, args: Record<string, unknown>): Promise<unknown> {
    const actor = new Actor(args);
    this.actors.push(actor);
    await actor.reach("start");
    const runQuery = async (...rest: unknown[]) => {
      await actor.reach("query");
      return await (ctx.runQuery as (...rest: unknown[]) => Promise<unknown>)(...rest);
    };
    const runMutation = async (...rest: unknown[]) => {
      await actor.reach("mutation");
      return await (ctx.runMutation as (...rest: unknown[]) => Promise<unknown>)(...rest);
    };
    const own = { ...ctx, runQuery, runMutation } as ActionCtx;
    try {
      return await atWork.run(actor, async () => await handler(own, args));
    } finally {
      this.actors = this.actors.filter((other) => other !== actor);
      await actor.reach("nothing");
    }
  }
}

/** Whoever is at work now waits before a request. */
export async function waitForRequest(): Promise<void> {
  await (currentActor()?.reach("request") ?? forGood());
}

let gate = new Gate();

/** Forgets all actions: they wait for ever. */
export function newGate(): Gate {
  gate = new Gate();
  return gate;
}

export function atGate(handler: Handler): Handler {
  return async (ctx, args) => await gate.enter(handler, ctx, args);
}
