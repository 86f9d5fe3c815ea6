/** Stops an action at one of the places where it waits for the world: it never comes back. */
import { vi } from "vitest";
import type { ActionCtx } from "../../convex/_generated/server";

/** Where an action stops: before or after its n-th request, query, mutation or schedule. */
export type Death = { place: number; when: "before" | "after" } | null;

export type Killer = {
  /** How many places there were so far. */
  places: number;
  isDead: boolean;
  /** Lets everything live again. */
  restore: () => void;
};

type Pass = <Result>(act: () => Promise<Result>) => Promise<Result>;
let pass: Pass = async (act) => await act();

/**
 * The context that actions get while they can be killed. A schedule is part of the mutation that
 * makes it, here as in Convex: it is made with it or not at all.
 */
export function mortal(ctx: ActionCtx): ActionCtx {
  const runQuery = async (...args: unknown[]) =>
    await pass(
      async () => await (ctx.runQuery as (...args: unknown[]) => Promise<unknown>)(...args),
    );
  const runMutation = async (...args: unknown[]) =>
    await pass(
      async () => await (ctx.runMutation as (...args: unknown[]) => Promise<unknown>)(...args),
    );
  return { ...ctx, runQuery, runMutation } as ActionCtx;
}

/** Counts the places of the actions that run from now on, and kills them at one of them. */
export function killAt(death: Death): Killer {
  const realFetch = globalThis.fetch;
  const killer: Killer = {
    places: 0,
    isDead: false,
    restore: () => {
      pass = async (act) => await act();
      vi.stubGlobal("fetch", realFetch);
    },
  };
  const hang = async (): Promise<never> => {
    killer.isDead = true;
    return await new Promise<never>(() => undefined);
  };
  pass = async (act) => {
    killer.places += 1;
    const isHere = death?.place === killer.places;
    if (isHere && death.when === "before") return await hang();
    const result = await act();
    return isHere ? await hang() : result;
  };
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
    return await pass(async () => await realFetch(...args));
  });
  return killer;
}
