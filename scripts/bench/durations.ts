/** How long runs take by number of users, for this project and the crons to compare with. */
import * as handwritten from "./handwritten-cron";
import type { CronToCompare } from "./peer";
import {
  measureBackfill,
  measurePeerBackfill,
  measurePeerQuiet,
  measureQuietRun,
  type Measured,
  type Modules,
} from "./scenarios";
import * as usual from "./usual-cron";

export const SIZES = [1000, 10_000, 100_000, 1_000_000];
export const CONTENDERS = ["this project", "by hand", "the usual cron"] as const;
/** Bytes a second that a deployment takes in writes: 4 MiB (docs.convex.dev/production/state/limits). */
const WRITES_PER_SECOND = 4 * 1024 * 1024;

/** `isCounted`: measured at this size; else told from what one more page takes at the sizes that were. */
export type Point = { users: number; seconds: number; writeSeconds: number; isCounted: boolean };
export type Line = {
  what: "quiet full run" | "backfill";
  who: (typeof CONTENDERS)[number];
  points: Point[];
};

/** Sizes, two of each kind, of which the difference tells what one more user takes. */
const COUNTED = { quiet: [10_000, 20_000], peer: [1000, 2000], backfill: [1000, 3000] };

/** Measures each, on the simulated clock. */
export async function measureDurations(modules: Modules): Promise<Line[]> {
  const peer = async (cron: CronToCompare) => ({
    quiet: await each(COUNTED.peer, async (users) => await measurePeerQuiet(cron, users)),
    backfill: await each(COUNTED.backfill, async (users) => await measurePeerBackfill(cron, users)),
  });
  const mine = {
    quiet: await each(COUNTED.quiet, async (users) => await measureQuietRun(modules, users)),
    backfill: await each(COUNTED.backfill, async (users) => await measureBackfill(modules, users)),
  };
  const first = await measureQuietRun(modules, COUNTED.backfill[0] ?? 0);
  const all = [
    { who: "this project" as const, ...mine, quiet: [first, ...mine.quiet] },
    { who: "by hand" as const, ...(await peer(handwritten)) },
    { who: "the usual cron" as const, ...(await peer(usual)) },
  ];
  return all.flatMap(({ who, quiet, backfill }): Line[] => [
    { what: "quiet full run", who, points: SIZES.map((users) => pointAt(quiet, users)) },
    { what: "backfill", who, points: SIZES.map((users) => pointAt(backfill, users)) },
  ]);
}

async function each(sizes: number[], measure: (users: number) => Promise<Measured>) {
  const found: Measured[] = [];
  for (const users of sizes) found.push(await measure(users));
  return found;
}

/** What is counted at a size, or follows from the two largest sizes that were. */
export function pointAt(
  counted: Pick<Measured, "users" | "durationMs" | "bytesWritten">[],
  users: number,
): Point {
  const own = counted.find((measured) => measured.users === users);
  const [a, b] = counted.slice(-2);
  if (a === undefined || b === undefined) throw new Error("expected two sizes");
  const at = (of: "durationMs" | "bytesWritten") =>
    own?.[of] ?? b[of] + ((b[of] - a[of]) / (b.users - a.users)) * (users - b.users);
  return {
    users,
    seconds: at("durationMs") / 1000,
    writeSeconds: at("bytesWritten") / WRITES_PER_SECOND,
    isCounted: own !== undefined,
  };
}
