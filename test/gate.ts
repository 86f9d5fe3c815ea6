/** Lets the functions of actions go on place by place, so that anything can happen in between. */
import type { ActionCtx } from "../convex/_generated/server";

/** What an action waits to do next; `nothing` once it has returned. */
type Place = "start" | "request" | "query" | "mutation" | "nothing";
type Handler = (ctx: ActionCtx, args: Record<string, unknown>) => Promise<unknown>;

const forGood = async (): Promise<never> => await new Promise<never>(() => undefined);

/** An action under way. It waits before each request, query and mutation until it may proceed. */
export class Actor {
  next: Place = "start";
  #goOn: () => void = () => undefined;
  #arrive: () => void = () => undefined;

  constructor(readonly args: Record<string, unknown>) {}

  /** Does what it waits for, and comes to the next place. */
  async proceed(gate: Gate): Promise<void> {
    const arrival = new Promise<void>((resolve) => (this.#arrive = resolve));
    gate.current = this;
    this.#goOn();
    await arrival;
    gate.current = null;
  }

  async reach(place: Place): Promise<void> {
    this.next = place;
    const leave = new Promise<void>((resolve) => (this.#goOn = resolve));
    this.#arrive();
    if (place !== "nothing") await leave;
  }
}

export class Gate {
  /** The actions that wait, in the order in which they began. */
  actors: Actor[] = [];
  current: Actor | null = null;

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
    try {
      return await handler({ ...ctx, runQuery, runMutation } as ActionCtx, args);
    } finally {
      this.actors = this.actors.filter((other) => other !== actor);
      await actor.reach("nothing");
    }
  }

  /** Whoever is at work now waits before a request. */
  async request(): Promise<void> {
    await (this.current?.reach("request") ?? forGood());
  }
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
