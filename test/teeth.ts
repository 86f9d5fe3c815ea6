/**
 * Breaks the sync in each way that its promises forbid, one at a time, in a copy, and demands that
 * the named property fails: `npm run test:teeth`, or `npm run test:teeth -- look-back`
 * for some. A break that no longer applies is an error.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { answerHelp } from "../scripts/usage";

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
const HISTORIES = "test/convergence/histories.test.ts";
/** At most: most breaks are caught by the first few dozen. */
const COUNT = "6000";

/** Most breaks are caught within seconds; one that takes longer than this is none. */
const LIMIT_MS = 240_000;

const LIVE = "no live user's row is removed by a run";
const LOOKS = "no row goes back to an older look";
const ONCE = "a run counts nobody twice";
const FRESH = "a removal is fresh";

const teeth: Tooth[] = [
  {
    breaks: "the version guard",
    edits: [
      {
        file: "mirror/plan.ts",
        replace: "if (incoming.version < knownVersion) {",
        by: "if (false) {",
      },
    ],
    property: LOOKS,
  },
  {
    breaks: "the tombstone",
    edits: [
      {
        file: "mirror/plan.ts",
        replace: 'if (known.version?.kind === "tombstone") {',
        by: "if (false) {",
      },
    ],
    property: "no dead user rises",
  },
  {
    breaks: "evidence: deletes on absence from a list",
    edits: [
      {
        file: "run/evidence.ts",
        replace: "await clerk.listByIds(ids)",
        by: "([] as never[])",
      },
      {
        file: "run/delete.ts",
        replace: "await clerk.getUser(clerkId)",
        by: "null",
      },
    ],
    property: LIVE,
  },
  {
    breaks: "the 404 before each deletion",
    edits: [
      {
        file: "run/delete.ts",
        replace: "await clerk.getUser(clerkId)",
        by: "null",
      },
    ],
    file: "test/no-false-deletion/deletions.test.ts",
    property: "are not made when Clerk knows the user after all",
  },
  {
    breaks: "the hold",
    edits: [
      {
        file: "mirror/gate.ts",
        replace: "  if (maxDeletions !== undefined) {",
        by: "  if (run !== undefined) return null;\n  if (maxDeletions !== undefined) {",
      },
    ],
    property: "a run deletes only what its rules allow",
  },
  {
    breaks: "the instance pin",
    edits: [
      {
        file: "api/api.ts",
        replace: "if (pinned === null || instanceId === pinned) return instanceId;",
        by: "if (true) return instanceId;",
      },
      {
        file: "run/repair.ts",
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
        file: "memory/lease.ts",
        replace: "isRunning(run) && run.state.step === step ?",
        by: "isRunning(run) ?",
      },
    ],
    file: "test/convergence/reconcile.test.ts",
    property: "a step that was overtaken changes nothing",
  },
  {
    breaks: "the window's lower bound",
    edits: [
      {
        file: "run/sweep.ts",
        replace: "return isBefore && comparePositions(position, settled) > 0;",
        by: "return isBefore;",
      },
      {
        file: "run/sweep.ts",
        replace: "(user) => comparePositions(positionOf(user, order), settled) > 0,",
        by: "() => comparePositions(settled, settled) === 0,",
      },
    ],
    property: ONCE,
  },
  {
    breaks: "the count",
    edits: [
      {
        file: "run/count.ts",
        replace: "Math.max(0, clerkUsers - counts.listed - Math.max(walked, looked))",
        by: "0",
      },
    ],
    // No list of the histories lacks anybody for good any more.
    file: "test/convergence/slips.test.ts",
    property: "also where an event changes a newcomer whom the walk has just made",
  },
  {
    breaks: "the look-back",
    edits: [
      {
        file: "run/next.ts",
        replace: "lookBackTo(step.run.startedAt - LAG_MS, clock.now())",
        by: "lookBackTo(step.run.startedAt + 3_600_000_000, clock.now())",
      },
    ],
    property: "a completed run shows what changed while it walked",
  },
  {
    breaks: "patching only profile fields",
    edits: [
      {
        file: "mirror/rows.ts",
        replace: "await patchRow(ctx, row._id, changes, isHearsay);",
        by: 'await patchRow(ctx, row._id, { ...changes, color: "red" }, isHearsay);',
      },
    ],
    property: "the app's own fields are as it left them",
  },
  {
    breaks: "the doubt about events from before the running run",
    edits: [
      {
        file: "mirror/mirror.ts",
        replace: "const { fullRunStartedAt = -Infinity, recentRun",
        by: "const { lastFullRunStartedAt: fullRunStartedAt = -Infinity, recentRun",
      },
    ],
    file: "test/no-false-deletion/promises.test.ts",
    property: "creates no ghost of a user whose deletion was lost",
  },
  {
    breaks: "the gate at the removal",
    edits: [
      {
        file: "mirror/mirror.ts",
        replace: "const kept = await whyKept(ctx, known, { askedAt, remover });",
        by: "const kept = (await whyKept(ctx, known, { askedAt, remover })) && null;",
      },
    ],
    file: "test/no-false-deletion/deletions.test.ts",
    property: "are not made when an event touches the user while Clerk is asked",
  },
  {
    breaks: "the freshness of the gate before a purge",
    edits: [
      {
        file: "mirror/gate.ts",
        replace: "if (whyTooEarly({ row: marked, version }, askedAt) !== null) return false;",
        by: "",
      },
    ],
    property: "a purge is fresh",
  },
  {
    breaks: "the gate within the transaction of a purge",
    edits: [
      {
        file: "mirror/mirror.ts",
        replace: "if (!(await mayPurge(ctx, known, { askedAt, left }))) return 0;",
        by: "await mayPurge(ctx, known, { askedAt, left });",
      },
    ],
    file: "test/no-false-deletion/purge.test.ts",
    property: "is not purged where an event names it while Clerk is asked",
  },
  {
    breaks: "the time that a mark stays",
    edits: [
      {
        file: "mirror/gate.ts",
        replace: "(row.deletedAt ?? now) <= now - afterMs",
        by: "(row.deletedAt ?? now) <= now",
      },
    ],
    property: "a purge does not come early",
  },
  {
    breaks: "Clerk's answer right before a purge",
    edits: [
      {
        file: "run/delete.ts",
        replace: "setAside === undefined ? await clerk.getUser(clerkId) : null;",
        by: "null;",
      },
    ],
    file: "test/no-false-deletion/purge.test.ts",
    property: "is not purged where Clerk knows its user again right before",
  },
  {
    breaks: "purges wait while anybody is held",
    edits: [{ file: "run/next.ts", replace: "  if (held > 0) {", by: "  if (held > 1_000_000) {" }],
    file: "test/no-false-deletion/purge.test.ts",
    property: "stays in a run that holds but one whom nobody ever saw in Clerk",
  },
  {
    breaks: "the row goes last",
    edits: [{ file: "mirror/erasure.ts", replace: 'if (answer === "more") {', by: "if (false) {" }],
    property: "what hangs on a row goes before it",
  },
  {
    breaks: "nobody comes back to a row on its way out",
    edits: [
      {
        file: "mirror/rows.ts",
        replace: "if (rows.length > 0 && (await isBeingErased(ctx, clerkId))) {",
        by: "if (false) {",
      },
    ],
    file: "test/no-false-deletion/purge.test.ts",
    property: "that has begun is finished, and who comes back meanwhile gets a new row afterwards",
  },
  {
    breaks: "the gate's freshness",
    edits: [
      {
        file: "mirror/plan.ts",
        replace: "const settledAt = askedAt - LAG_MS;",
        by: "const settledAt = askedAt;",
      },
    ],
    property: FRESH,
  },
  {
    breaks: "the gate's hold of repairs while the last full run is held",
    edits: [
      {
        file: "mirror/gate.ts",
        replace: 'if (last?.state.kind === "held")',
        by: 'if (last?.state.kind === "running")',
      },
    ],
    file: "test/no-false-deletion/doubt.test.ts",
    property: "the worker removes nobody while the last full run is held",
  },
  {
    breaks: "the gate's hold of repairs while a full run is under way",
    edits: [
      {
        file: "mirror/gate.ts",
        replace: 'if (run?.mode === "full" && !run.dryRun) {',
        by: 'if (run?.mode === "doubts") {',
      },
    ],
    property: "no repair removes while a full run is under way",
  },
  {
    breaks: "the gate's hold after a move",
    edits: [
      { file: "mirror/gate.ts", replace: "if (state.isMoved === true)", by: "if (false)" },
      { file: "mirror/gate.ts", replace: "  if (isMoved) {", by: "  if (isMoved && !isMoved) {" },
    ],
    property: "nobody is removed unasked after a move",
  },
  {
    breaks: "the gate's hold of whom nobody confirmed",
    edits: [
      {
        file: "mirror/plan.ts",
        replace: "return isUnmet(known) || isForeign(known.version, instanceId);",
        by: "return isForeign(known.version, instanceId);",
      },
    ],
    property: "nobody unconfirmed is removed unasked",
  },
  {
    breaks: "the gate's memory of whom a run held",
    edits: [
      {
        file: "mirror/gate.ts",
        replace: "if (heldAt === undefined || (isByHand && isHeldByLimit)) return false;",
        by: "if (heldAt !== 0 || isByHand || isHeldByLimit) return false;",
      },
    ],
    property: "nobody held is removed unasked",
  },
  {
    breaks: "that a crowd is counted",
    edits: [
      {
        file: "run/places.ts",
        replace: "const isWhole = met >= stand && !isBroken && isSure;",
        by: "const isWhole = true;",
      },
    ],
    file: "test/convergence/lists.test.ts",
    property: "of creation are all met by a full run, 7 a page",
  },
  {
    breaks: "that a crowd's pages overlap",
    edits: [
      {
        file: "run/places.ts",
        replace: "const isBroken = crowd.isBroken === true || !page.isJoined;",
        by: "const isBroken = false;",
      },
    ],
    file: "test/convergence/crowd.test.ts",
    property: "two of a crowd who are deleted between two of its pages hide nobody of it",
  },
  {
    breaks: "that a page requested ahead begins before what is settled",
    edits: [
      {
        file: "run/sweep.ts",
        replace: "return keyOf(first, order) < settled.key && keyOf(last, order) > settled.key;",
        by: "return keyOf(last, order) > settled.key;",
      },
    ],
    file: "test/convergence/ahead.test.ts",
    property: "meets everyone once though all of a page that comes yet leaves between its requests",
  },
  {
    breaks: "that bodies of requests ahead wait to be read",
    edits: [
      {
        file: "api/request.ts",
        replace: "const sent = this.#fetch(path, query, false);",
        by: "const sent = this.#fetch(path, query, false).then(async (r) => new Response(await r.text(), r));",
      },
    ],
    file: "test/silence/heap.test.ts",
    property: "four requested ahead",
  },
  {
    breaks: "that an event writes nothing that another one reads",
    edits: [
      {
        file: "webhook/event.ts",
        replace: "const other = instanceId === state.instanceId ? undefined : instanceId;",
        by: "const other = instanceId;",
      },
    ],
    file: "test/convergence/burst.test.ts",
    property: "where an instance is mirrored",
  },
  {
    breaks: "that an id made a moment ago is fresh",
    edits: [
      {
        file: "mirror/plan.ts",
        replace: "isYoungAtClerk(mintedAt(row.clerkId))",
        by: "isYoungAtClerk(null)",
      },
    ],
    file: "test/convergence/slips.test.ts",
    property: "is kept by a run, though it was mirrored",
  },
  {
    breaks: "that a table whose users lack a clerkId is not begun on",
    edits: [
      {
        file: "run/firstDay.ts",
        replace:
          'if (fault !== null) throw new ClerkError(fault.reason, "give up", 0, false, fault.next);',
        by: "",
      },
    ],
    file: "test/no-false-deletion/first-day.test.ts",
    property: "users whose id is in another column begins when that is filled in",
  },
  {
    breaks: "that an event without a key asks Clerk",
    edits: [
      {
        file: "webhook/webhook.ts",
        replace: "const missing = whyLacking(data) ?? undefined;",
        by: "const missing = undefined;",
      },
    ],
    file: "test/goes-on/records.test.ts",
    property: "clears nothing, and Clerk is asked at once",
  },
  {
    breaks: "that only what can be a signing secret is one",
    edits: [
      {
        file: "shared/secrets.ts",
        replace: "if (wrong === undefined) return null;",
        by: "if (wrong !== name) return null;",
      },
    ],
    file: "test/goes-on/secrets.test.ts",
    property: "lets nothing in, and is told by its kind",
  },
  {
    breaks: "that a short page ends nothing",
    edits: [
      {
        file: "run/walk.ts",
        replace: "page.length === 0 ||",
        by: "page.length < run.pageSize ||",
      },
      {
        file: "run/walk.ts",
        replace: "if (window?.until) {",
        by: "if (window?.until && page.length === run.pageSize) {",
      },
    ],
    file: "test/convergence/lists.test.ts",
    property: "ten at most: a full run meets everyone",
  },
  {
    breaks: "halving",
    edits: [
      {
        file: "run/call.ts",
        replace: "const isAlone = this.#ids.length === 1;",
        by: "const isAlone = true;",
      },
    ],
    file: "test/goes-on/patience.test.ts",
    property: "one user whose transaction takes 5 s and then throws is set aside",
  },
  {
    breaks: "taking over the row that the app knows by its key",
    edits: [
      {
        file: "mirror/rows.ts",
        replace: "if (!key) return null;",
        by: "return null;",
      },
    ],
    property: "nobody whom the app knows gets a second row",
  },
  {
    breaks: "taking over no row that is another user's",
    edits: [
      {
        file: "mirror/rows.ts",
        replace: "return rows.find((row) => !hasClerkId(row)) ?? null;",
        by: "return rows[0] ?? null;",
      },
    ],
    file: "test/ownership/key.test.ts",
    property: "is left alone where it is another user's, and of several the oldest is taken",
  },
  {
    breaks: "leaving alone rows with an id of the app's own",
    edits: [
      {
        file: "mirror/rows.ts",
        replace: "return isClerkId(clerkId);",
        by: 'return clerkId !== "";',
      },
    ],
    file: "test/convergence/reconcile.test.ts",
    property: "rows whose id is no Clerk id are the app's own: counted, never asked for",
  },
  {
    breaks: "null where a column may not be absent",
    edits: [{ file: "mirror/columns.ts", replace: "if (more.length === 0) return", by: "return" }],
    file: "test/ownership/fields.test.ts",
    property: "has a required column be null that may be, and an optional one absent",
  },
  {
    breaks: "writing what else the schema takes",
    edits: [
      {
        file: "mirror/columns.ts",
        replace: 'if (!("written" in one)) leftOut',
        by: "leftOut",
      },
    ],
    file: "test/ownership/fields.test.ts",
    property: "sets that user aside with the column's name, and the other columns are written",
  },
  {
    breaks: "a full run for other columns",
    edits: [
      {
        file: "memory/lease.ts",
        replace: "columns?.join() !== FINGERPRINTS.join();",
        by: "columns === null;",
      },
    ],
    file: "test/ownership/fields.test.ts",
    property: "make a tick a full run, whose drift counts for no webhook",
  },
  {
    breaks: "undoing a write that a trigger refuses",
    edits: [
      {
        file: "mirror/columns.ts",
        replace: "if (hooks.database === undefined) return",
        by: "return",
      },
    ],
    file: "test/ownership/hooks.test.ts",
    property:
      "a trigger that the schema refuses undoes the write that it saw, and nobody is doubled",
  },
  {
    breaks: "giving a new row the key by which the app finds it",
    edits: [
      { file: "mirror/rows.ts", replace: "...(isColumn && { [key.column]: key.value }), ", by: "" },
    ],
    file: "test/ownership/key.test.ts",
    property: "a row that the sync makes has the key, by which the app's own sign-in finds it",
  },
  {
    breaks: "that a new row is made of nothing that an event lacks",
    edits: [
      {
        file: "mirror/mirror.ts",
        replace: "user.missing ?? (isNew ? missingForNew : undefined)",
        by: "user.missing",
      },
    ],
    file: "test/ownership/fields.test.ts",
    property: "by a key that an event lacks has Clerk asked, of somebody who gets a row alone",
  },
  {
    breaks: "that a row is confirmed once",
    edits: [
      {
        file: "run/judge.ts",
        replace: 'const isWritten = kind === "created" || kind === "updated";',
        by: 'const isWritten = kind === "created" || kind === "updated"; if (known.row !== null) counts.confirmed += 1;',
      },
    ],
    file: "test/no-false-deletion/limit.test.ts",
    property: "users whose creation time has moved on do not raise the limit",
  },
  {
    breaks: "that an erasure is of one user's row",
    edits: [{ file: "mirror/erasure.ts", replace: "user.clerkId !== clerkId", by: "false" }],
    file: "test/no-false-deletion/erasing.test.ts",
    property: "a row that the app gave to somebody else meanwhile is theirs, and stays",
  },
  {
    breaks: "that a batch outlives the call",
    edits: [{ file: "run/run.ts", replace: "new Batch(run.state.batch)", by: "new Batch()" }],
    file: "test/goes-on/refusals.test.ts",
    property: "an answer, by Clerk, about one id",
  },
  {
    breaks: "that what the app refuses is undone alone",
    edits: [
      {
        file: "mirror/columns.ts",
        replace:
          "return [hooks.created, hooks.updated, hooks.database].some((hook) => hook !== undefined);",
        by: "return false;",
      },
    ],
    file: "test/goes-on/refusals.test.ts",
    property: "ten for a hundred doubts of its events",
  },
  {
    breaks: "that a crowd is settled up to the next one's time",
    edits: [
      {
        file: "run/walk.ts",
        replace: "key <= run.startedAt ? Math.min(next, run.startedAt + 1) : next",
        by: "key + 1",
      },
    ],
    file: "test/goes-on/timeless.test.ts",
    property: "are set aside, and those behind them are mirrored, in few requests",
  },
  {
    breaks: "that a doubt is known by when it was raised",
    edits: [
      {
        file: "run/evidence.ts",
        replace: "if (doubt?.raisedAt !== raisedAt) continue;",
        by: "if (doubt === null || Math.max(raisedAt, doubt.raisedAt) > askedAt) continue;",
      },
    ],
    file: "test/goes-on/clocks.test.ts",
    property: "a run asks about each doubt, and not time and again",
  },
  {
    breaks: "that who lacks on a page is due by both clocks",
    edits: [{ file: "run/evidence.ts", replace: "Math.min(askedAt, clock.now())", by: "askedAt" }],
    file: "test/goes-on/clocks.test.ts",
    property: "a run asks about each doubt, and not time and again",
  },
  {
    breaks: "that another instance's word on who is gone is none",
    edits: [
      {
        file: "mirror/plan.ts",
        replace: "const isNewest = deletedEventAt === eventAt && eventInstanceId === instanceId;",
        by: "const isNewest = deletedEventAt === eventAt || eventInstanceId === instanceId;",
      },
    ],
    file: "test/no-false-deletion/told.test.ts",
    property: "another instance's word is none",
  },
  {
    breaks: "that who begins a list without a time has that from which it was asked for",
    edits: [{ file: "api/api.ts", replace: "isBegin: offset === 0", by: "isBegin: false" }],
    file: "test/goes-on/timeless.test.ts",
    property: "are met where one of them begins a list",
  },
  {
    breaks: "what events of the last five minutes said",
    edits: [
      {
        file: "mirror/plan.ts",
        replace: "if (answer.version < heardVersion && eventAt",
        by: "if (answer.version < -Infinity && eventAt",
      },
    ],
    file: "test/convergence/recent.test.ts",
    property: "an event about a change from just before a recent run is not given up",
  },
  {
    breaks: "that a pin voids what the worker asked",
    edits: [{ file: "run/begin.ts", replace: 'await wakeForDoubts(ctx, "void");', by: "" }],
    file: "test/no-false-deletion/instance-asked.test.ts",
    property: "what the worker has heard of it removes nobody once another one is pinned",
  },
  {
    breaks: "that an erasure stands beside a tombstone alone",
    edits: [
      {
        file: "mirror/write.ts",
        replace: 'if (known.version?.kind === "tombstone") await endErasures(ctx, clerkId);',
        by: "",
      },
    ],
    file: "test/no-false-deletion/erasing.test.ts",
    property: "gives nobody who is back a second row",
  },
  {
    breaks: "that the turns of a look-back are counted",
    edits: [
      {
        file: "run/sweep.ts",
        replace: "const turns = isProgress ? 0 : (at.turns ?? 0) + Number(isTurn);",
        by: "const turns = isProgress || isTurn ? 0 : (at.turns ?? 0);",
      },
    ],
    file: "test/goes-on/patience.test.ts",
    property: "a look-back ends whose list changes",
  },
  {
    breaks: "that Clerk is asked before an erasure goes on",
    edits: [
      {
        file: "mirror/erasure.ts",
        replace: "if (hasErased || isTaken) await",
        by: "if (clerkId) await",
      },
    ],
    file: "test/no-false-deletion/erasing.test.ts",
    property: "is kept if Clerk has them again",
  },
  {
    breaks: "that whom events have removed holds nobody",
    edits: [
      {
        file: "run/next.ts",
        replace: 'if (reason !== null && (await dropRemoved(step, "orphaned")))',
        by: 'if (reason === undefined && (await dropRemoved(step, "orphaned")))',
      },
    ],
    file: "test/no-false-deletion/limit.test.ts",
    property: "no run holds or counts: it asks for whether it knows them",
  },
  {
    breaks: "that a word ends with Clerk's answer to the contrary",
    edits: [
      { file: "mirror/plan.ts", replace: "return isBack || isNewer(", by: "return isNewer(" },
    ],
    file: "test/no-false-deletion/told.test.ts",
    property: "nor is a word after which Clerk itself answered that they are alive",
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
    // In threads, so that one that is stopped leaves no process behind.
    const vitest = [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--config",
      "test/vitest.config.ts",
      "--pool",
      "threads",
    ];
    const only =
      file === HISTORIES ? ["-t", "in any history, from a fixed seed"] : ["-t", property];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...vitest, file, ...only, "--bail", "1"],
      {
        cwd: copy,
        encoding: "utf8",
        timeout: LIMIT_MS,
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

answerHelp("usage: npm run test:teeth [-- part of a break's name]");
const [wanted = ""] = process.argv.slice(2);
const tried = teeth.filter(({ breaks }) => breaks.includes(wanted));
const dull = tried.filter((tooth) => {
  const startedAt = Date.now();
  const isCaught = bites(tooth);
  const seconds = Math.round((Date.now() - startedAt) / 1000);
  const { breaks, property } = tooth;
  console.log(`${isCaught ? "caught" : "NOT CAUGHT"} in ${seconds} s: ${breaks} (${property})`);
  return !isCaught;
});
console.log(`${tried.length - dull.length} of ${tried.length} breaks are caught.`);
process.exit(dull.length === 0 && tried.length > 0 ? 0 : 1);
