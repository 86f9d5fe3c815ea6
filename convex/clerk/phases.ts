/** What each phase of a run asks of Clerk, and the step that it hands the answer to. */
import { internal } from "../_generated/api";
import type { ActionCtx } from "../_generated/server";
import { ClerkError, MAX_IDS, type Clerk } from "./api";
import { clock, SECOND } from "./clock";
import { isClerkId } from "./profile";
import { isIn, type RunIn, type RunningRun } from "./runs";
import type { StepResult } from "./step";
import {
  batchOf,
  comparePositions,
  CROWD,
  crowdOf,
  idOf,
  lookBackOf,
  positionOf,
  START,
  windowOf,
  type Window,
} from "./sweep";
import type { Reading } from "./validators";

/** Deletions in one step: each is asked for on its own first, for at most so long. */
const MAX_REMOVALS = 25;
const MAX_REMOVALS_MS = 20 * SECOND;

/** What a call that conducts a run keeps between its steps. */
export type Asking = {
  ctx: ActionCtx;
  clerk: Clerk;
  instanceId: string;
  /** While no instance is pinned: some ids of the mirror. */
  sample: string[];
  /** Users in one transaction at most. */
  limit: number;
  /** Users in the last transaction; 0 while Clerk was asked. */
  size: number;
  /** The first user of the last transaction. */
  first?: string;
  /** Who is to be set aside, being alone in the next transaction, and why. */
  setAside?: { clerkId: string; reason: string };
  /** The last page's window, while part of it is left to settle. */
  window?: Window & { seenAt: number };
};

type Step = Promise<StepResult | null>;

/** @throws ClerkError when the secret key is another instance's than the one that is mirrored */
export async function checkInstance(clerk: Clerk, pinned: string | null): Promise<string> {
  const { id: instanceId } = await clerk.instance();
  if (pinned === null || instanceId === pinned) return instanceId;
  throw new ClerkError(
    `CLERK_SECRET_KEY belongs to the Clerk instance ${instanceId}, but this table mirrors ${pinned}: set the secret key of that instance, or move on purpose with clerk/reconcile:pinInstance.`,
    "give up",
  );
}

/**
 * Takes the next step of a run.
 * @returns null when another call has taken the run further, or ended it
 * @throws ClerkError, or what a transaction throws; nothing was changed then
 */
export async function takeStep(asking: Asking, run: RunningRun): Step {
  asking.size = 0;
  asking.first = undefined;
  if (isIn(run, "begin")) return await begin(asking, run);
  if (isIn(run, "walk")) return await walk(asking, run);
  if (isIn(run, "lookBack")) return await lookBack(asking, run);
  if (isIn(run, "undated")) return await suspectUndated(asking, run);
  if (isIn(run, "evidence")) return await judge(asking, run);
  return isIn(run, "delete") ? await remove(asking, run) : null;
}

function checkpoint({ clerk }: Asking, { _id: runId, state: { step } }: RunningRun) {
  return { runId, step, requests: clerk.uncounted };
}

async function begin(asking: Asking, run: RunIn<"begin">): Step {
  const { ctx, clerk, instanceId, sample } = asking;
  const asked = sample.filter(isClerkId);
  const known = await clerk.listByIds(asked);
  if (known.length * 2 < asked.length) {
    throw new ClerkError(
      `The Clerk instance ${instanceId} knows only ${known.length} of ${asked.length} users sampled from this table: set the secret key of the instance that they come from, or, if this one is right, pin it with clerk/reconcile:pinInstance.`,
      "give up",
    );
  }
  const expected = await clerk.countUsers();
  const args = { at: checkpoint(asking, run), instanceId, expected };
  return await ctx.runMutation(internal.clerk.lifecycle.start, args);
}

async function walk(asking: Asking, run: RunIn<"walk">): Step {
  const { settled, crowd } = run.state.phase;
  if (crowd?.kind === "listing") return await listCrowd(asking, run, crowd);
  if (crowd?.kind === "listed") {
    asking.window = { users: [], until: crowd.until, seenAt: clock.now() };
  }
  if (asking.window === undefined) {
    const seenAt = clock.now();
    const page = await asking.clerk.listByCreation(pageStart(run), run.pageSize);
    const window = windowOf(page, settled, run.pageSize);
    if (window === null) return await listCrowd(asking, run, CROWD, { page, seenAt });
    asking.window = { ...window, seenAt };
  }
  return await settle(asking, run, asking.window);
}

/** The creation time from which on a page is asked for; null for the first page. */
function pageStart({ state }: RunIn<"walk">): number | null {
  const { settled } = state.phase;
  return comparePositions(settled, START) === 0 ? null : settled.clerkCreatedAt;
}

async function settle(
  asking: Asking,
  run: RunIn<"walk">,
  window: Window & { seenAt: number },
): Step {
  const { users, until } = batchOf(window, run.state.phase.settled, asking.limit);
  const args = {
    at: checkpoint(asking, run),
    users: setAsideIn(asking, users),
    until,
    seenAt: window.seenAt,
  };
  const result: StepResult | null = await asking.ctx.runMutation(internal.clerk.walk.settle, args);
  const phase = result && isIn(result.run, "walk") ? result.run.state.phase : null;
  const isLeft =
    phase !== null && (window.until === null || comparePositions(phase.settled, window.until) < 0);
  if (!isLeft) asking.window = undefined;
  return result;
}

async function listCrowd(
  asking: Asking,
  run: RunIn<"walk">,
  crowd: typeof CROWD,
  listed?: { page: Reading[]; seenAt: number },
): Step {
  const { ctx, clerk, limit } = asking;
  const { pageSize } = run;
  const seenAt = listed?.seenAt ?? clock.now();
  const page = listed?.page ?? (await clerk.listByCreation(pageStart(run), pageSize, crowd.offset));
  const step = crowdOf(page, run.state.phase.settled, crowd, pageSize, limit);
  if (step === null) throw shifting();
  const users = setAsideIn(asking, step.users);
  const args = { at: checkpoint(asking, run), users, seenAt, crowd: step.crowd };
  return await ctx.runMutation(internal.clerk.walk.settleCrowd, args);
}

async function lookBack(asking: Asking, run: RunIn<"lookBack">): Step {
  const { ctx, clerk, limit } = asking;
  const { pageSize, state } = run;
  const seenAt = clock.now();
  const page = await clerk.listByChange(state.phase.offset, pageSize);
  const step = lookBackOf(page, state.phase, pageSize);
  if (step === null) throw shifting();
  const users = setAsideIn(asking, step.users.slice(0, limit));
  const isLast = step.next === null && users.length === step.users.length;
  const clerkUsers = isLast && run.mode === "full" ? await clerk.countUsers() : undefined;
  const next = users.length < step.users.length ? following(run, users) : step.next;
  const args = { at: checkpoint(asking, run), users, seenAt, next, clerkUsers };
  return await ctx.runMutation(internal.clerk.walk.lookBack, args);
}

/** Where a look-back goes on after part of a page. */
function following({ state }: RunIn<"lookBack">, users: Reading[]) {
  const { offset, restarts } = state.phase;
  const last = users.at(-1);
  return { offset: offset + users.length - 1, seam: last ? idOf(last) : null, restarts };
}

async function suspectUndated(asking: Asking, run: RunIn<"undated">): Step {
  const args = { at: checkpoint(asking, run) };
  return await asking.ctx.runMutation(internal.clerk.walk.suspectUndated, args);
}

async function judge(asking: Asking, run: RunIn<"evidence">): Step {
  const { ctx, clerk } = asking;
  const asked = await suspects(asking, run, "open", MAX_IDS);
  const askedAt = clock.now();
  const found = await clerk.listByIds(asked.filter(isClerkId));
  const setAside = note(asking, asked);
  const args = { at: checkpoint(asking, run), asked, found, askedAt, setAside };
  return await ctx.runMutation(internal.clerk.judgement.judge, args);
}

async function remove(asking: Asking, run: RunIn<"delete">): Step {
  const { ctx, clerk } = asking;
  const askedAt = clock.now();
  const gone: string[] = [];
  const alive: Reading[] = [];
  for (const clerkId of await suspects(asking, run, "orphaned", MAX_REMOVALS)) {
    const user = await clerk.getUser(clerkId);
    if (user === null) gone.push(clerkId);
    else alive.push(user);
    if (clock.now() - askedAt > MAX_REMOVALS_MS) break;
  }
  const setAside = note(asking, [...gone, ...alive.map(idOf)]);
  const args = { at: checkpoint(asking, run), gone, alive, askedAt, setAside };
  return await ctx.runMutation(internal.clerk.judgement.remove, args);
}

async function suspects(
  { ctx, limit }: Asking,
  { _id: runId }: RunningRun,
  state: "open" | "orphaned",
  most: number,
): Promise<string[]> {
  const args = { runId, state, count: Math.min(limit, most) };
  return await ctx.runQuery(internal.clerk.judgement.suspects, args);
}

/** The users of the next transaction, noted in case that it throws. */
function setAsideIn(asking: Asking, users: Reading[]): Reading[] {
  const reason = note(asking, users.map(idOf));
  if (reason === undefined) return users;
  return users.map((user) => ({ kind: "unreadable", ...positionOf(user), reason }));
}

/** Notes whom the next transaction is about. @returns why that one user is to be set aside */
function note(asking: Asking, ids: string[]): string | undefined {
  asking.size = ids.length;
  asking.first = ids[0];
  const { setAside } = asking;
  return ids.length === 1 && setAside?.clerkId === ids[0] ? setAside?.reason : undefined;
}

function shifting(): ClerkError {
  return new ClerkError(
    "Clerk's list of users changes faster than it can be read: pages that should overlap do not.",
    "give up",
  );
}
