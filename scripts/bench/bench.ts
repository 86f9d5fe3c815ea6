/** npm run bench [-- --users 1000,5000,20000 --json]: what a run and a webhook cost, counted. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { overruns } from "./budgets";
import { findModules } from "../host/functions";
import { CONTENDERS, measureDurations, SIZES, type Line, type Point } from "./durations";
import * as handwritten from "./handwritten-cron";
import { draw } from "./picture";
import {
  measureBackfill,
  measureCrowd,
  measureDrift,
  measurePeerBackfill,
  measurePeerDrift,
  measurePeerQuiet,
  measureQuiet,
  measureStale,
  type Figures,
  type Measured,
} from "./scenarios";
import * as usual from "./usual-cron";
import { answerHelp } from "../usage";

const USAGE =
  "usage: npm run bench [-- --users 1000,5000,20000]   counts runs over so many users\n       npm -s run bench -- --json > bench.json      as JSON\nEither way it also counts backfills and crowds, and draws scripts/bench/bench.svg anew.";
/** The usual cron collects the whole table, and Convex reads 32,000 documents in one go. */
const MOST_USERS = 30_000;
/** The in-process engine scans the table at every look-up. */
const LOOK_UP_USERS = 1000;
/** Users who share one creation time. */
const CROWD_USERS = 2000;
/** Drawn anew each time. */
const PICTURE = path.join(import.meta.dirname, "bench.svg");

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
  ["most waits of a transaction", ({ mostWaits }) => mostWaits],
  ["database calls", ({ databaseCalls }) => databaseCalls],
  ["seconds", ({ durationMs }) => Number((durationMs / 1000).toPrecision(3))],
  ["documents read", ({ documentsRead }) => documentsRead],
  ["documents written", ({ documentsWritten }) => documentsWritten],
  ["kB read", ({ bytesRead }) => Math.ceil(bytesRead / 1000)],
  ["kB written", ({ bytesWritten }) => Math.ceil(bytesWritten / 1000)],
];

/** Of these one more user costs nothing. */
const FIXED = ["most waits of a transaction", "seconds"];

/** "40 (0.008 a user)"; beside it those of the crons to compare with. */
function cell(
  [name, of]: (typeof COLUMNS)[number],
  mine: Measured,
  others: (Measured | undefined)[],
): string {
  const own = of(mine);
  const isOfOne = mine.what === "webhook" || FIXED.includes(name);
  const each = isOfOne ? "" : ` (${Number((own / mine.users).toPrecision(2))})`;
  if (others.every((other) => other === undefined)) return `${own}${each}`;
  const theirs = others.map((other) => (other === undefined ? "–" : String(of(other))));
  return [`${own}${each}`, ...theirs].join(" · ");
}

function countsTable(mirror: Measured[], peers: Measured[][]): string {
  const header = ["users", "what", ...COLUMNS.map(([name]) => name)];
  const rows = mirror.map((mine) => {
    const same = peers.map((peer) =>
      peer.find(({ users, what }) => users === mine.users && what === mine.what),
    );
    return [String(mine.users), mine.what, ...COLUMNS.map((column) => cell(column, mine, same))];
  });
  return table(header, rows);
}

/** "≈ 260 s (3,800 a second)". */
function durationOf({ users, seconds, isCounted }: Point): string {
  const rounded = Number(seconds.toPrecision(3)).toLocaleString("en");
  const rate = Number((users / seconds).toPrecision(2)).toLocaleString("en");
  return `${isCounted ? "" : "≈ "}${rounded} s (${rate} a second)`;
}

function durationsTable(lines: Line[]): string {
  const header = ["run", "by", ...SIZES.map((users) => `${users.toLocaleString("en")} users`)];
  const rows = lines.map(({ what, who, points }) => [what, who, ...points.map(durationOf)]);
  return table(header, rows);
}

/** What a backfill of the largest size takes by what it writes alone. */
function writesOf(lines: Line[]): string {
  const backfill = lines.find(({ what, who }) => what === "backfill" && who === CONTENDERS[0]);
  const { users, seconds, writeSeconds } = backfill?.points.at(-1) ?? {};
  if (users === undefined || seconds === undefined || writeSeconds === undefined) return "";
  const binds = writeSeconds > seconds ? "these writes" : "the database's answers";
  return `A deployment takes 4 MiB of writes a second: the documents of a backfill of ${users.toLocaleString("en")} alone take ${Math.round(writeSeconds)} s, beside ${Math.round(seconds)} s by requests and waits. What binds is ${binds}.`;
}

function table(header: string[], rows: string[][]): string {
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
  const mirror = [
    await measureBackfill(modules, LOOK_UP_USERS),
    await measureStale(modules, LOOK_UP_USERS),
  ];
  const byHand = [
    await measurePeerBackfill(handwritten, LOOK_UP_USERS),
    await measurePeerQuiet(handwritten, LOOK_UP_USERS),
    await measurePeerDrift(handwritten, LOOK_UP_USERS),
  ];
  const theUsual = [await measurePeerBackfill(usual, LOOK_UP_USERS)];
  for (const size of users) {
    theUsual.push(await measurePeerQuiet(usual, size), await measurePeerDrift(usual, size));
  }
  const peers = [byHand, theUsual];
  for (const size of users) {
    console.error(`${size} users …`);
    mirror.push(...(await measureQuiet(modules, size)), await measureDrift(modules, size));
  }
  mirror.push(await measureCrowd(modules, CROWD_USERS));
  console.error("how long runs take …");
  const durations = await measureDurations(modules);
  writeFileSync(PICTURE, draw(durations));
  const over = overruns(mirror);
  if (isJson) print(JSON.stringify({ mirror, peers, durations, over }, null, 2));
  else {
    print(
      "This project (a user) · the best cron by hand (at 1,000 users) · the usual cron. Above 8,192",
    );
    print("users Convex would refuse the latter: its query returns an array that is too long.\n");
    print(countsTable(mirror, peers));
    print(
      "\nOn a simulated clock: 0.3 s a request to Clerk, 1.6 ms a wait for the database; with ≈ not",
    );
    print("counted at that size, but told from what one more page took.\n");
    print(durationsTable(durations));
    print(`\n${writesOf(durations)}`);
    print(over.length === 0 ? "\nWithin every budget." : `\nOver budget:\n${over.join("\n")}`);
  }
  return over.length === 0 ? 0 : 1;
}

answerHelp(USAGE);
process.exitCode = await main();
