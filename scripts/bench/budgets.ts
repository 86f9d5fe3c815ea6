/** What the sync may cost: the budgets that the tests hold it to, counted. */
import type { Measured } from "./scenarios";

type Figure = keyof Pick<
  Measured,
  | "requests"
  | "queries"
  | "mutations"
  | "documentsRead"
  | "documentsWritten"
  | "mostWaits"
  | "databaseCalls"
>;
type Budget = Partial<Record<Figure, number>>;

/** Clerk's own maximum page. */
const PAGE = 500;
/** What one more user costs may differ by so much between sizes. */
const FLAT = 0.05;

function budgetOf({ what, users, orphaned }: Measured): Budget {
  const pages = (users / PAGE) * 1.02;
  switch (what) {
    case "backfill":
      return {
        requests: pages + 8,
        mutations: pages + 8,
        mostWaits: 110,
        databaseCalls: 7 * users,
      };
    case "full run, all stale":
      return {
        requests: pages + 8,
        mutations: pages + 8,
        mostWaits: 130,
        databaseCalls: 10 * users,
      };
    case "quiet full run":
    case "quiet full run, one creation time":
      return {
        requests: pages + 8,
        // A crowd's rows are settled apart from its pages.
        mutations: (what === "quiet full run" ? 1 : 2) * pages + 8,
        documentsRead: what === "quiet full run" ? 1.02 * users + 40 : Infinity,
        // Its own: the run's row, and the sync's one small row at the start and the end.
        documentsWritten: what === "quiet full run" ? pages + 12 : Infinity,
        mostWaits: what === "quiet full run" ? 20 : Infinity,
        databaseCalls: what === "quiet full run" ? users : Infinity,
      };
    case "full run, 1 % drift":
      return {
        requests: pages + 8 + Math.ceil(orphaned / 100) + orphaned,
        // One a page, one for each 100 suspects, one for each 25 deletions.
        mutations: pages + 8 + Math.ceil(orphaned / 100) + Math.ceil(orphaned / 25),
      };
    case "quiet recent run":
      return { requests: 4, documentsRead: 520 };
    case "webhook":
      return { mutations: 1, queries: 0, documentsRead: 6, documentsWritten: 3 };
  }
}

/** Each figure that is over its budget, in words. */
export function overruns(measured: Measured[]): string[] {
  const over = measured.flatMap((each) =>
    Object.entries(budgetOf(each)).flatMap(([figure, most]) => {
      const used = each[figure as Figure];
      return used <= most
        ? []
        : [`${each.what}, ${each.users} users: ${used} ${figure}, budget ${most}`];
    }),
  );
  return [...over, ...unevenness(measured)];
}

/** Where one more user costs more, or less, in a large table than in a small one. */
function unevenness(measured: Measured[]): string[] {
  const quiet = measured
    .filter(({ what }) => what === "quiet full run")
    .sort((a, b) => a.users - b.users);
  return (["documentsRead", "bytesRead"] as const).flatMap((figure) => {
    const marginal = quiet.slice(1).map((each, i) => {
      const before = quiet[i] ?? each;
      return (each[figure] - before[figure]) / (each.users - before.users);
    });
    const [least, most] = [Math.min(...marginal), Math.max(...marginal)];
    return most <= least * (1 + FLAT)
      ? []
      : [`quiet full run: one more user costs ${least} to ${most} ${figure}`];
  });
}
