/**
 * Breaks the sync in each way that its promises forbid, one at a time, in a copy, and demands that
 * the named property fails: `npm run test:teeth`, or `npm run test:teeth -- look-back`
 * for some. A break that no longer applies is an error.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

type Edit = { file: string; replace: string; by: string };
type Tooth = {
  breaks: string;
  edits: Edit[];
  /** The property of `oracle.ts`, or the name of a test, that must fail. */
  property: string;
  /** Where not in a generated history: the test file. */
  file?: string;
};

const ROOT = path.join(import.meta.dirname, "..");
const SYNC = "convex/clerk";
const HISTORIES = "test/histories.test.ts";
/** At most: most breaks are caught by the first few dozen. */
const COUNT = "6000";

const LIVE = "no live user's row is removed by a run";
const LOOKS = "no row goes back to an older look";
const ONCE = "a run counts nobody twice";
const ACCOUNTS = "the reports account for every repair";

const teeth: Tooth[] = [
  {
    breaks: "the version guard",
    edits: [
      { file: "plan.ts", replace: "if (incoming.version < knownVersion) {", by: "if (false) {" },
    ],
    property: LOOKS,
  },
  {
    breaks: "the tombstone",
    edits: [
      {
        file: "plan.ts",
        replace: 'if (known.version?.kind === "tombstone") {',
        by: "if (false) {",
      },
      {
        file: "plan.ts",
        replace: "const knownVersion = known.version?.version ?? -Infinity;",
        by: "const knownVersion = (known.version as { version?: number } | null)?.version ?? -Infinity;",
      },
    ],
    property: "no dead user rises",
  },
  {
    breaks: "evidence: deletes on absence from a list",
    edits: [
      {
        file: "phases/evidence.ts",
        replace: "const found = await clerk.listByIds(asked.filter(isClerkId));",
        by: "const found: never[] = [];",
      },
      {
        file: "phases/deletion.ts",
        replace: "const user = await clerk.getUser(clerkId);",
        by: "const user = null;",
      },
    ],
    property: LIVE,
  },
  {
    breaks: "the 404 before each deletion",
    edits: [
      {
        file: "phases/deletion.ts",
        replace: "const user = await clerk.getUser(clerkId);",
        by: "const user = null;",
      },
    ],
    property: LIVE,
  },
  {
    breaks: "the hold",
    edits: [
      {
        file: "plan.ts",
        replace: "if (orphaned === 0) return null;",
        by: "if (true) return null;",
      },
    ],
    property: "a run deletes only what its rules allow",
  },
  {
    breaks: "the instance pin",
    edits: [
      {
        file: "instance.ts",
        replace: "if (pinned === null || instanceId === pinned) return instanceId;",
        by: "if (true) return instanceId;",
      },
      {
        file: "repair.ts",
        replace: "if (pinned !== undefined && pinned !== instanceId) {",
        by: "if (false) {",
      },
    ],
    property: "nothing is mirrored from another instance",
  },
  {
    breaks: "the checkpoint's compare",
    edits: [
      {
        file: "step.ts",
        replace: "if (run === null || !isRunning(run) || run.state.step !== step) return null;",
        by: "if (run === null || !isRunning(run)) return null;",
      },
    ],
    property: ONCE,
  },
  {
    breaks: "the window's lower bound",
    edits: [
      {
        file: "sweep.ts",
        replace: "return isBefore && comparePositions(position, settled) > 0;",
        by: "return isBefore;",
      },
      {
        file: "sweep.ts",
        replace:
          "const rest = window.users.filter((user) => comparePositions(positionOf(user), settled) > 0);",
        by: "const rest = window.users;",
      },
    ],
    property: ONCE,
  },
  {
    breaks: "the count check",
    edits: [{ file: "phases/lookBack.ts", replace: "if (seen >= expected)", by: "if (true)" }],
    property: "a list with users missing judges nobody",
  },
  {
    breaks: "the look-back",
    edits: [
      {
        file: "phases/walk.ts",
        replace: "const since = step.run.startedAt - CLOCK_SKEW_MS;",
        by: "const since = step.run.startedAt + 60_000 * MINUTE + CLOCK_SKEW_MS;",
      },
    ],
    property: "a completed run shows what changed while it walked",
  },
  {
    breaks: "the re-check before deletion",
    edits: [
      {
        file: "phases/deletion.ts",
        replace: "const outcome = await applyEvidence(ctx, clerkId, null, { askedAt, dryRun });",
        by: 'const outcome = { kind: "orphaned" as string, known: { version: null as never }, reason: String(askedAt && applyEvidence) };',
      },
    ],
    property: ACCOUNTS,
  },
  {
    breaks: "patching only profile fields",
    edits: [
      {
        file: "rows.ts",
        replace: "await patchRow(ctx, row._id, changes);",
        by: "await patchRow(ctx, row._id, { ...changes, ...newUserFields(profile) });",
      },
    ],
    property: "the app's own fields are as it left them",
  },
  {
    breaks: "the doubt about events from before the running run",
    edits: [
      {
        file: "events.ts",
        replace: "state.fullRunStartedAt ?? -Infinity",
        by: "state.lastFullRunStartedAt ?? -Infinity",
      },
    ],
    property: "a completed run leaves nobody who was gone before it",
  },
  {
    breaks: "the five minutes that Clerk's answers may lag",
    edits: [
      {
        file: "plan.ts",
        replace: "if (version.appliedAt <= settledAt) return false;",
        by: "if (version.appliedAt <= settledAt + SETTLING_MS) return false;",
      },
    ],
    property: LIVE,
  },
  {
    breaks: "halving",
    edits: [
      {
        file: "batch.ts",
        replace: "const isAlone = this.#ids.length === 1;",
        by: "const isAlone = true;",
      },
    ],
    file: "test/trouble.test.ts",
    property: "a poison user, one whose app-side defaults throw, and a duplicate, among 600",
  },
];

function copyOfProject(): string {
  const copy = mkdtempSync(path.join(tmpdir(), "teeth-"));
  for (const name of ["convex", "scripts", "test", "package.json", "tsconfig.json"]) {
    cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
  }
  symlinkSync(path.join(ROOT, "node_modules"), path.join(copy, "node_modules"));
  return copy;
}

/** @throws Error for an edit whose text is not there exactly once */
function apply(copy: string, { file, replace, by }: Edit): void {
  const target = path.join(copy, SYNC, file);
  const parts = readFileSync(target, "utf8").split(replace);
  if (parts.length !== 2) {
    throw new Error(`${SYNC}/${file} holds ${parts.length - 1} times, not once: ${replace}`);
  }
  writeFileSync(target, parts.join(by));
}

function bites({ edits, property, file = HISTORIES }: Tooth): boolean {
  const copy = copyOfProject();
  try {
    for (const edit of edits) apply(copy, edit);
    const vitest = ["node_modules/vitest/vitest.mjs", "run", "--config", "test/vitest.config.ts"];
    const only = file === HISTORIES ? ["-t", "the fixed seed"] : ["-t", property];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...vitest, file, ...only, "--bail", "1"],
      {
        cwd: copy,
        encoding: "utf8",
        env: { ...process.env, HISTORIES: COUNT, ONLY_PROPERTY: property, NO_COLOR: "1" },
      },
    );
    const hasFailed =
      file === HISTORIES ? `${stdout}${stderr}`.includes(`Error: ${property}: `) : status === 1;
    if (!hasFailed) console.log(`${stdout}${stderr}`.slice(-2000));
    return status !== 0 && hasFailed;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

const [wanted = ""] = process.argv.slice(2);
const tried = teeth.filter(({ breaks }) => breaks.includes(wanted));
const dull = tried.filter((tooth) => {
  const isCaught = bites(tooth);
  console.log(`${isCaught ? "caught" : "NOT CAUGHT"}: ${tooth.breaks} (${tooth.property})`);
  return !isCaught;
});
console.log(`${tried.length - dull.length} of ${tried.length} breaks are caught.`);
process.exit(dull.length === 0 && tried.length > 0 ? 0 : 1);
