import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { deploymentFlag, DriftLog } from "../../convex/clerk/report/report";
import { log } from "../../convex/clerk/shared/log";
import type { DriftEntry } from "../../convex/clerk/memory/model";

let lines: string[];

beforeEach(() => {
  lines = [];
  for (const level of ["info", "error"] as const) {
    vi.spyOn(console, level).mockImplementation((line: string) => lines.push(line));
  }
});
afterEach(() => {
  vi.restoreAllMocks();
});

const RUN = "run_1" as DriftEntry["runId"];

function deletion(i: number): DriftEntry {
  const clerkId = `user_${String(i).padStart(27, "0")}`;
  return { runId: RUN, clerkId, kind: "orphaned", fields: [], action: "deleted" };
}

function bytes(line: string): number {
  return Buffer.byteLength(line);
}

describe("a line", () => {
  test.each([
    ["one long text", { reason: "ü".repeat(50_000) }],
    ["many texts", { reasons: Array.from({ length: 60 }, () => "ü".repeat(400)) }],
    ["lone surrogates and quotes", { reason: '\ud800"\\'.repeat(2000) }],
  ])("stays below 4 KiB and can be parsed, whatever it tells: %s", (_, details) => {
    log("info", "webhook.ignored", details);
    const [line = ""] = lines;
    expect(bytes(line)).toBeLessThan(4096);
    expect(Object.keys(JSON.parse(line) as object)[0]).toBe("event");
  });

  test("loses nothing where it fits", () => {
    const details = { clerkId: "user_1", reason: "x".repeat(900) };
    log("error", "reconcile.failed", details);
    expect(JSON.parse(lines[0] ?? "")).toEqual({ event: "reconcile.failed", ...details });
  });
});

describe("the drift of a call", () => {
  test("names every deletion until it is full, in 200 lines less those of the run itself", () => {
    const drift = new DriftLog(RUN);
    const updated = { ...deletion(0), kind: "stale" as const, action: "updated" as const };
    drift.write(Array.from({ length: 400 }, () => updated));
    let written = 0;
    while (!drift.isFull) {
      drift.write(Array.from({ length: 25 }, (_, i) => deletion(written + i)));
      written += 25;
    }
    drift.end();
    expect(lines.length).toBeLessThanOrEqual(198);
    expect(Math.max(...lines.map(bytes))).toBeLessThan(4096);
    const told = lines.map(
      (line) => JSON.parse(line) as { clerkIds?: string[]; unlogged?: number },
    );
    const named = told.flatMap(({ clerkIds = [] }) => clerkIds);
    expect(named).toEqual(Array.from({ length: written }, (_, i) => deletion(i).clerkId));
    expect(written).toBeGreaterThan(1000);
    expect(told.at(-1)).toMatchObject({ runId: RUN, unlogged: 250 });
  });
});

test("a backend that does not know its own name costs the flag of printed commands, nothing else", async () => {
  const unknown = async () => await Promise.reject(new Error("no such operation"));
  expect(await deploymentFlag({ meta: { getDeploymentMetadata: unknown } })).toBe("");
});
