/** Stops an action at one of the places where it waits for the world: it never comes back. */
import { vi } from "vitest";

type Convex = {
  syscall: unknown;
  jsSyscall: unknown;
  asyncSyscall: (op: string, args: string) => Promise<string>;
};
const host = globalThis as unknown as { Convex: Convex };

/** Where an action stops: before or after its n-th request, query, mutation or schedule. */
export type Death = { place: number; when: "before" | "after" } | null;

export type Killer = {
  /** How many places there were so far. */
  places: number;
  isDead: boolean;
  /** Lets everything live again. */
  restore: () => void;
};

/** Counts the places of the actions that run from now on, and kills them at one of them. */
export function killAt(death: Death): Killer {
  const realConvex = host.Convex;
  const realFetch = globalThis.fetch;
  const killer: Killer = {
    places: 0,
    isDead: false,
    restore: () => {
      host.Convex = realConvex;
      vi.stubGlobal("fetch", realFetch);
    },
  };
  const forever = async () => {
    killer.isDead = true;
    return await new Promise<never>(() => undefined);
  };
  const pass = async <Result>(act: () => Promise<Result>): Promise<Result> => {
    killer.places += 1;
    const isHere = death?.place === killer.places;
    if (isHere && death.when === "before") return await forever();
    const result = await act();
    if (isHere) return await forever();
    return result;
  };
  vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) =>
    pass(async () => await realFetch(...args)),
  );
  // Each of the host's properties is that of the test that reads it.
  host.Convex = {
    get syscall() {
      return realConvex.syscall;
    },
    get jsSyscall() {
      return realConvex.jsSyscall;
    },
    // Only actions use these; transactions are not killed half-way.
    asyncSyscall: async (op, args) => {
      const call = async () => await realConvex.asyncSyscall(op, args);
      return op.startsWith("1.0/actions/") ? await pass(call) : await call();
    },
  };
  return killer;
}
