/** What may be told: lines of the log, and of what was thrown only what holds no value: a message may quote a row. */
import { ConvexError } from "convex/values";

type Event = `webhook.${"applied" | "ignored" | "rejected" | "failed"}` | RunEvent | "erase.failed";
type RunEvent = `reconcile.${"started" | "resumed" | "drift" | "finished" | "held" | "failed"}`;

/** Log tools cut, or refuse, what is longer. */
const MAX_LINE_BYTES = 4 * 1024;
/** Characters that each string of a line may have, and elements ten times each list, until the line fits. */
const MAX_LENGTHS = [1000, 300, 100, 20];

/** Writes one JSON object, `event` first, on one line. Never pass a user's data: ids and field names only. */
export function log(level: "info" | "error", event: Event, details: Record<string, unknown>): void {
  console[level](lineOf({ event, ...details }));
}

function lineOf(object: Record<string, unknown>): string {
  let line = "";
  for (const maxLength of MAX_LENGTHS) {
    line = JSON.stringify(object, (_, value: unknown) => {
      if (Array.isArray(value)) return (value as unknown[]).slice(0, maxLength / 10);
      const isLong = typeof value === "string" && value.length > maxLength;
      return isLong ? `${value.slice(0, maxLength)}…` : value;
    });
    if (new TextEncoder().encode(line).length < MAX_LINE_BYTES) break;
  }
  return line;
}

/** Why a transaction was refused, as a ConvexError's `refusal` says; null for any other error. */
export function refusalOf(error: unknown): string | null {
  if (!(error instanceof ConvexError)) return null;
  const data: unknown = error.data;
  const refusal = typeof data === "object" && data !== null && "refusal" in data && data.refusal;
  return typeof refusal === "string" ? refusal : null;
}

/** The name of what was thrown, which may be told: one that the app made up may hold a value. */
export function nameOfError(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return /^\w{1,40}$/.test(error.name) ? error.name : "an error";
}

/** What an error of Convex's about a row says before it quotes the row, or a value of it. */
export function saidBefore(message: string): string {
  return message.split(/\n(?:Object|Value): /)[0] ?? "";
}

/** What was thrown, and where, in words behind a name. */
export function thrownBy(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${typeof error}`;
  const { message, stack = "" } = error;
  const field = /(?<=\n)Path: (\.\w+)/.exec(saidBefore(message))?.[1];
  const frames =
    stack.slice(stack.indexOf(message) + message.length).match(/^ +at .+:\d+:\d+\)?$/gm) ?? [];
  // Where a limit of Convex's is reached, its library's frames come first.
  const frame = (frames.find((each) => !/node_modules|node:/.test(each)) ?? frames[0])?.trim();
  const about = field && `about ${field}`;
  return ["threw", nameOfError(error), about, frame].filter(Boolean).join(" ");
}
