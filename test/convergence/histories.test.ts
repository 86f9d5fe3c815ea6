import fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { clock } from "../../convex/clerk/shared/clock";
import type * as App from "../../convex/clerk/app";
import type * as Server from "../../convex/_generated/server";
import { histories, type History } from "../world/history-steps";
import { FEATURES, Violation } from "../world/oracle";
import { World } from "../world/world";

vi.mock("../../convex/_generated/server", async (importOriginal) => {
  const { atGate } = await import("../world/gate");
  const server = await importOriginal<typeof Server>();
  type Definition = { handler: Parameters<typeof atGate>[0] };
  const internalAction = ({ handler, ...rest }: Definition) =>
    server.internalAction({ ...rest, handler: atGate(handler) });
  return { ...server, internalAction };
});

vi.mock("../../convex/clerk/app", async (importOriginal) => {
  const { appChoice, tokenOf } = await import("../world/history-steps");
  const app = await importOriginal<typeof App>();
  const refuse = (id: string) => {
    if (appChoice.refused.has(id)) throw new Error("refused");
  };
  const newUserFields: typeof App.newUserFields = (user) => {
    if (appChoice.refusesBy === "newUserFields") refuse(user.id);
    return app.newUserFields(user);
  };
  const hooks: typeof App.hooks = {
    created: async (_, { clerkId = "" }) => {
      await Promise.resolve();
      refuse(clerkId);
    },
  };
  const key: typeof App.key = { column: "clerkId", index: "by_clerkId", read: tokenOf };
  const chosen = { ...app, newUserFields };
  const erase: typeof App.hooks.erase = async ({ db }, { _id }) => {
    const messages = await db.query("messages").take(1000);
    const [message, more] = messages.filter(({ author }) => author === _id);
    if (message) await db.delete("messages", message._id);
    return more && "more";
  };
  const get = () => {
    const { removal, purgeAfterMs } = appChoice;
    return removal === "mark" ? { mark: {}, purgeAfterMs } : removal;
  };
  return Object.defineProperties(chosen, {
    removal: { get },
    hooks: {
      get: () => ({
        ...(appChoice.refusesBy === "a hook" && hooks),
        ...(appChoice.erases && { erase }),
      }),
    },
    key: { get: () => (appChoice.isKeyed ? key : null) },
  });
});

/** As many as `npm run test:long` was told to live through; by itself, a file of tests lives through a few. */
const HISTORIES = process.env.HISTORIES === undefined ? null : Number(process.env.HISTORIES);
/** In the loop, from the fixed seed, and from a fresh one, which finds something new in the long runs. */
const IN_THE_LOOP = [4, 2] as const;
const SLOW = 150;
/** Of so few histories a danger that 8 % meet may be met by less than 5 %. */
const MANY = 2000;
/** Teeth look for one property alone, and need no history that is the shortest. */
const ONLY_PROPERTY = process.env.ONLY_PROPERTY;
const endOnFailure = ONLY_PROPERTY !== undefined || process.env.QUICK !== undefined;
const FIXED_SEED = Number(process.env.FIXED_SEED ?? 20_261_124);
const FRESH_SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);

const seen = new Map<string, number>();
let lived = 0;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  vi.stubEnv("CLERK_API_URL", "https://clerk.test");
  vi.spyOn(clock, "sleep").mockImplementation(async (ms) => {
    await Promise.resolve();
    vi.setSystemTime(Date.now() + ms);
  });
  for (const level of ["info", "error"] as const) {
    vi.spyOn(console, level).mockImplementation(() => undefined);
  }
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});
afterAll(() => {
  const shares = FEATURES.map(
    (feature) => `${feature} ${(((seen.get(feature) ?? 0) / lived) * 100).toFixed(1)} %`,
  );
  console.log(
    `Seeds ${FIXED_SEED} and ${FRESH_SEED}: ${lived} histories held. Of them with ${shares.join(", ")}.`,
  );
});

async function live(history: History): Promise<World["features"]> {
  try {
    return (await World.live(history)).features;
  } catch (error) {
    const isOther = error instanceof Violation && !error.message.startsWith(`${ONLY_PROPERTY}: `);
    if (ONLY_PROPERTY !== undefined && isOther) return new Set();
    throw error;
  }
}

async function liveThrough(seed: number, count: number): Promise<void> {
  const property = fc.asyncProperty(histories, async (history) => {
    const features = await live(history);
    lived += 1;
    for (const feature of features) seen.set(feature, (seen.get(feature) ?? 0) + 1);
  });
  const only = process.env.HISTORY_PATH;
  const parameters = { seed, numRuns: Math.ceil(count), endOnFailure };
  await fc.assert(property, { ...parameters, ...(only !== undefined && { path: only }) });
}

describe("no false deletion, no lost update", () => {
  const [fixed, fresh] =
    HISTORIES === null ? IN_THE_LOOP : ([HISTORIES / 2, HISTORIES / 2] as const);

  test("in any history, from a fixed seed", { timeout: 3_600_000 }, async () => {
    await liveThrough(FIXED_SEED, fixed);
  });
  test("in any history, from a fresh seed", { timeout: 3_600_000 }, async () => {
    await liveThrough(FRESH_SEED, fresh);
  });
  test("in any of more histories, from another fixed seed", { tags: ["slow"] }, async () => {
    await liveThrough(FIXED_SEED + 1, SLOW);
  });

  const tags = HISTORIES === null ? ["slow"] : [];
  test("each danger is met by at least 5 % of many histories, and by 2 % of few", { tags }, () => {
    const share = lived >= MANY ? 0.05 : 0.02;
    for (const feature of FEATURES) {
      expect(seen.get(feature) ?? 0, feature).toBeGreaterThanOrEqual(lived * share);
    }
  });
});
