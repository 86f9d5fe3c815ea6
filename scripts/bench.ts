/** npm run bench [-- --users 1000,5000,20000 --json]: what a run and a webhook cost, counted. */
import { parseArgs } from "node:util";
import { overruns } from "./budgets";
import { findModules } from "./functions";
import {
  measureBackfill,
  measureCrowd,
  measureDrift,
  measureQuiet,
  measureUsual,
  measureUsualBackfill,
  type Figures,
  type Measured,
} from "./scenarios";

const USAGE =
  "usage: npm run bench [-- --users 1000,5000,20000 --json]; beside them a backfill of 1,000 and 5,000 users with one creation time";
/** The usual cron collects the whole table, and Convex reads 32,000 documents in one go. */
const MOST_USERS = 30_000;
/** The backfill's in-process engine scans the table at every look-up. */
const BACKFILL_USERS = 1000;
/** Users who share one creation time. */
const CROWD_USERS = 5000;

function sizes(text: string): number[] {
  const chosen = text.split(",").map((each) => {
    const size = Number(each);
    if (Number.isInteger(size) && size >= 100 && size <= MOST_USERS) return size;
    throw new Error(`--users must be whole numbers from 100 to ${MOST_USERS}, not ${each}.`);
  });
  return [...new Set(chosen)];
}

function calls({ actions, queries, mutations }: Figures): number {
  return actions + queries + mutations;
}

const COLUMNS: [name: string, of: (figures: Figures) => number][] = [
  ["requests", ({ requests }) => requests],
  ["function calls", calls],
  ["documents read", ({ documentsRead }) => documentsRead],
  ["documents written", ({ documentsWritten }) => documentsWritten],
  ["kB read", ({ bytesRead }) => Math.ceil(bytesRead / 1000)],
  ["kB written", ({ bytesWritten }) => Math.ceil(bytesWritten / 1000)],
];

/** "40 (0.008 a user)"; beside it the usual cron's, and how many times as many that is. */
function cell(
  of: (figures: Figures) => number,
  mine: Measured,
  usual: Measured | undefined,
): string {
  const own = of(mine);
  const each = mine.what === "webhook" ? "" : ` (${Number((own / mine.users).toPrecision(2))})`;
  if (usual === undefined) return `${own}${each}`;
  const ratio = own === 0 ? "" : `, ${Number((of(usual) / own).toPrecision(2))}×`;
  return `${own}${each} · ${of(usual)}${ratio}`;
}

function table(mirror: Measured[], usual: Measured[]): string {
  const header = ["users", "what", ...COLUMNS.map(([name]) => name)];
  const rows = mirror.map((mine) => {
    const same = usual.find(({ users, what }) => users === mine.users && what === mine.what);
    return [String(mine.users), mine.what, ...COLUMNS.map(([, of]) => cell(of, mine, same))];
  });
  const widths = header.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: string[]) =>
    `| ${cells.map((text, i) => text.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join(
    "\n",
  );
}

async function main(): Promise<number> {
  let users;
  let isJson;
  try {
    const { values } = parseArgs({
      options: {
        users: { type: "string", default: "1000,5000,20000" },
        json: { type: "boolean", default: false },
      },
    });
    [users, isJson] = [sizes(values.users), values.json];
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return 2;
  }
  const print = console.log.bind(console);
  console.info = () => undefined;
  const modules = findModules();
  const mirror = await measureBackfill(modules, BACKFILL_USERS);
  const usual = await measureUsualBackfill(BACKFILL_USERS);
  for (const size of users) {
    console.error(`${size} users …`);
    mirror.push(...(await measureQuiet(modules, size)), ...(await measureDrift(modules, size)));
    usual.push(...(await measureUsual(size)));
  }
  mirror.push(...(await measureCrowd(modules, CROWD_USERS)));
  const over = overruns(mirror);
  if (isJson) print(JSON.stringify({ mirror, usual, over }, null, 2));
  else {
    print("This project (a user) · the usual cron, times as many. Above 8,192 users Convex would");
    print("refuse the cron: its query returns an array that is too long.\n");
    print(table(mirror, usual));
    print(over.length === 0 ? "\nWithin every budget." : `\nOver budget:\n${over.join("\n")}`);
  }
  return over.length === 0 ? 0 : 1;
}

process.exitCode = await main();
