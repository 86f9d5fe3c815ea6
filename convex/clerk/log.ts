/** The log: one JSON object a line. */
type Event = `webhook.${"applied" | "ignored" | "rejected" | "failed"}` | RunEvent | "erase.failed";
type RunEvent = `reconcile.${"started" | "resumed" | "drift" | "finished" | "held" | "failed"}`;

/** Bytes; log tools cut, or refuse, what is longer. */
const MAX_LINE_BYTES = 4 * 1024;
/** How long the strings of a line may be, until it fits. */
const MAX_LENGTHS = [1000, 300, 100, 20];

/** Writes one JSON object, `event` first, on one line. Never pass a user's data: ids and field names only. */
export function log(level: "info" | "error", event: Event, details: Record<string, unknown>): void {
  console[level](lineOf({ event, ...details }));
}

function lineOf(object: Record<string, unknown>): string {
  let line = "";
  for (const maxLength of MAX_LENGTHS) {
    line = JSON.stringify(object, (_, value: unknown) =>
      typeof value === "string" && value.length > maxLength
        ? `${value.slice(0, maxLength)}…`
        : value,
    );
    if (new TextEncoder().encode(line).length < MAX_LINE_BYTES) break;
  }
  return line;
}
