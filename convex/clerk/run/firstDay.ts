/**
 * The table as a first run finds it: is the instance that of its users, and can they be told at all? Once one is
 * pinned, by a run or by a person, no run asks again; the doctor still looks for Clerk's ids in another column.
 */
import { type Infer, v } from "convex/values";
import { internal } from "../../_generated/api.js";
import { type ActionCtx, internalQuery, type QueryCtx } from "../../_generated/server.js";
import { type Clerk, ClerkError } from "../api/api.js";
import * as app from "../app.js";
import { readSyncState, readVersion } from "../memory/memory.js";
import { hasClerkId, hasRow, isMirrored, valueAt } from "../mirror/mirror.js";
import { deploymentFlag, runCommand } from "../report/report.js";
import { inParallel } from "../shared/parallel.js";
import { clerkIdWithin, isClerkId } from "../shared/user.js";
import type { Key, User } from "../types.js";

/** Rows whose ids are asked of an instance before it is pinned: one request, and no chance result. */
const SAMPLE_SIZE = 40;
/** Places that are looked at: rows that the sync has written itself are passed over. */
const MAX_PROBES = 200;
const ITSELF = "clerkId";
const MAX_NAMED = 10;
/** Above every id. */
const END = "\u{10ffff}";
/** Bytes of the 16 MiB that a query may read: a row holds up to 1 MiB. */
const MAX_BYTES = 6 * 1024 * 1024;
/** So many rows without a `clerkId`, where no other is the app's own, are rather users than guests. */
const MIN_BLANK = 10;

const vSample = v.object({
  /** What `adopt:fill` is at, if it is not done. */
  fillsFrom: v.optional(v.string()),
  /** Clerk user ids of which an instance is to know; and how many rows with any the app has set. */
  ids: v.array(v.string()),
  set: v.number(),
  /** Sampled rows with a `clerkId` of another form, and those of them with Clerk's id behind a "|". */
  others: v.number(),
  cut: v.number(),
  /** Rows without a `clerkId`, as many as were looked at. */
  blank: v.object({
    count: v.number(),
    /** What looks like a Clerk user id in their columns, in which, and whether it has a row of the mirror, too. */
    ids: v.array(v.object({ id: v.string(), column: v.string(), isTwice: v.boolean() })),
    texts: v.array(v.string()),
  }),
});
type Sample = Infer<typeof vSample>;
/** With those of the ids asked about that Clerk knows, and the column that has some of rows without a `clerkId`. */
type Sampled = Sample & { known: string[]; column: string | null; isTwice: boolean };

/** Rows unknown to the sync, by halves between neighbours: a week's many and the few of another kind are among them. */
export const sample = internalQuery({
  args: {},
  returns: vSample,
  handler: async (ctx): Promise<Sample> => {
    const found = new Set<string>();
    const set = new Set<string>();
    const note = async (row: User | null) => {
      const { clerkId = "" } = row ?? {};
      if (row === null || clerkId === "") return row?.clerkId;
      if (hasClerkId(row) && !isMirrored(row)) return clerkId;
      const version = await readVersion(ctx, clerkId);
      const isSet = version === null || version.kind === "met";
      if (isSet) set.add(clerkId);
      // What a run wrote while an instance was pinned tells nothing of the one that is to be.
      if (isSet || version.appliedBy === "run") found.add(clerkId);
      return clerkId;
    };
    const first = await note(await neighbour(ctx, "asc", { above: "" }));
    const last = await note(await neighbour(ctx, "desc", { above: "" }));
    const spans = first !== undefined && last !== undefined ? [{ above: first, below: last }] : [];
    for (let probes = 0; probes < MAX_PROBES && found.size < SAMPLE_SIZE; probes += 1) {
      const span = spans.shift();
      if (span === undefined || (await bytesRead(ctx)) >= MAX_BYTES) break;
      const { above, below } = span;
      const place = placeBetween(above, below);
      const after = await note(await neighbour(ctx, "asc", { from: place, above, below }));
      const before = await note(await neighbour(ctx, "desc", { above, below: place }));
      if (before !== undefined) spans.push({ above, below: before });
      if (after !== undefined) spans.push({ above: after, below });
    }
    const ids = [...found]
      .map((id) => (isKey(ITSELF) ? (clerkIdWithin(id) ?? id) : id))
      .filter(isClerkId);
    const others = [...found].filter((clerkId) => !isClerkId(clerkId));
    const cut = others.filter((clerkId) => clerkIdWithin(clerkId) !== null).length;
    const { fillsFrom } = await readSyncState(ctx);
    const blank = await lookAtBlank(ctx);
    return { ids, set: set.size, others: others.length, cut, fillsFrom, blank };
  },
});

async function neighbour(
  ctx: QueryCtx,
  order: "asc" | "desc",
  { from = "", above, below = END }: { from?: string; above: string; below?: string },
): Promise<User | null> {
  const isFrom = from > above;
  if ((isFrom ? from : above) >= below) return null;
  const rows = ctx.db.query("users").withIndex("by_clerkId", (q) => {
    const lower = isFrom ? q.gte("clerkId", from) : q.gt("clerkId", above);
    return lower.lt("clerkId", below);
  });
  return await rows.order(order).first();
}

/** A place about halfway between two ids, by the first characters in which they differ. */
export function placeBetween(first: string, last: string): string {
  let shared = 0;
  while (shared < first.length && first[shared] === last[shared]) shared += 1;
  const [from, to] = [first, last].map((text) => numberOf(text.slice(shared)));
  return first.slice(0, shared) + textOf(Math.ceil(((from ?? 0) + (to ?? 0)) / 2));
}

const BASE = 128;

function numberOf(text: string): number {
  const codes = [0, 1, 2].map((i) => Math.min(text.charCodeAt(i) || 0, BASE - 1));
  return codes.reduce((sum, code) => sum * BASE + code, 0);
}

function textOf(place: number): string {
  const codes = [Math.floor(place / BASE ** 2), Math.floor(place / BASE) % BASE, place % BASE];
  return String.fromCharCode(...codes);
}

async function bytesRead(ctx: QueryCtx): Promise<number> {
  return (await ctx.meta.getTransactionMetrics()).bytesRead.used;
}

/** What rows without a `clerkId` there are: the oldest, the newest, and some from all over the time between. */
async function lookAtBlank(ctx: QueryCtx): Promise<Sample["blank"]> {
  const seen = new Map<string, User>();
  for (const clerkId of [undefined, ""]) {
    const blank = (from: number) =>
      ctx.db
        .query("users")
        .withIndex("by_clerkId", (q) => q.eq("clerkId", clerkId).gte("_creationTime", from));
    const ends = [...(await blank(0).take(1)), ...(await blank(0).order("desc").take(1))];
    for (const row of ends) seen.set(row._id, row);
    const [oldest = 0, newest = 0] = ends.map(({ _creationTime }) => _creationTime);
    for (let i = 0; ends.length > 0 && i < SAMPLE_SIZE; i += 1) {
      if ((await bytesRead(ctx)) >= 2 * MAX_BYTES) break;
      const from = oldest + ((newest - oldest) * i) / SAMPLE_SIZE;
      for (const row of await blank(from).take(2)) seen.set(row._id, row);
    }
  }
  const all = [...seen.values()].flatMap(idsOrTexts);
  const byId = new Map(
    all.flatMap(({ id, column }) => (id === null ? [] : [[id, { id, column }] as const])),
  );
  const texts = [...new Set(all.map(({ column }) => column))].slice(0, MAX_NAMED);
  const ids = await inParallel([...byId.values()].slice(0, SAMPLE_SIZE), async (each) => {
    return { ...each, isTwice: await hasRow(ctx, each.id) };
  });
  return { count: seen.size, ids, texts };
}

/** Columns of the app's with text, and the Clerk id in each; of objects the `id`, as an app may keep Clerk's user. */
function idsOrTexts(row: User): { id: string | null; column: string }[] {
  return Object.keys(row).flatMap((name) => {
    const column = typeof valueAt(row, name) === "string" ? name : `${name}.id`;
    const value = valueAt(row, column);
    if (name.startsWith("_") || typeof value !== "string") return [];
    return { id: clerkIdWithin(value), column };
  });
}

/** Whether the app knows its rows by this column (`key`): then they are taken over, and nobody gets a second one. */
function isKey(column: string): boolean {
  const key = app.key as Key | undefined;
  return (key?.column as string | undefined) === column;
}

/** What is wrong with a table, in a sentence, and the command that shows what would mend it. */
type Fault = { reason: string; next: string };

/** Why users would get a second row each; null where no reason is known. `isPinned`: a pin calls the others guests. */
export function whyUnfit(
  { ids, set, others, cut, fillsFrom, blank, column, isTwice }: Sampled,
  flag: string,
  { instanceId = "ins_…", isPinned = false }: { instanceId?: string; isPinned?: boolean } = {},
): Fault | null {
  const fill = (column?: string, dryRun?: true) =>
    runCommand(flag, "adopt:fill", { column, dryRun });
  const pin = `if they are guests: ${runCommand(flag, "reconcile:pinInstance", { instanceId })}`;
  if (fillsFrom !== undefined && !isPinned) {
    const next = fill(fillsFrom);
    return { reason: `The fill of clerkId is not done. What goes on with it: ${next}`, next };
  }
  const isOfOtherForm = cut > 0 || (others > 0 && others >= ids.length);
  if (isOfOtherForm && !isKey(ITSELF) && !isPinned) {
    const next = fill(cut > 0 ? undefined : "…", true);
    const reason = `${others} of ${others + ids.length} rows that were looked at have a clerkId of another form than user_…, so that their users would get a second row. This shows what would be filled in from what follows the last "|" of it, or, with column, from another column: ${next} — ${pin}`;
    return { reason, next };
  }
  // One that the app knows by its key is taken over, unless there was another one already.
  if (column !== null && (!isKey(column) || (isTwice && isPinned))) {
    const next = fill(column, true);
    const reason = `This table has rows without a clerkId that have Clerk's id in the column ${column}, so that their users ${isPinned ? "have, or get, a second row" : "would get a second row"}. This shows what would be filled in: ${next}${isPinned ? "" : ` — ${pin}`}`;
    return { reason, next };
  }
  const isBlank = set === 0 && blank.count >= MIN_BLANK;
  if (isBlank && !blank.texts.some(isKey) && !isPinned) {
    const next = fill("…", true);
    const columns = blank.texts.length === 0 ? "none" : blank.texts.join(", ");
    const reason = `This table has ${MIN_BLANK} rows or more without a clerkId, and none with one that the app has set; of ${blank.count} that were looked at none holds Clerk's id (columns with text: ${columns}). If they are users, who would get a second row each, fill it in first, from the column that has Clerk's id: ${next} — ${pin}`;
    return { reason, next };
  }
  return null;
}

/**
 * Looks at the table before a pin. @returns of how many users Clerk was asked
 * @throws ClerkError where Clerk knows under half the sample, or it needs the fill
 */
export async function checkTable(
  ctx: ActionCtx,
  clerk: Clerk,
  instanceId: string,
): Promise<number> {
  const sampled = await sampleTable(ctx, clerk, true);
  const flag = await deploymentFlag(ctx);
  const fault = whyUnfit(sampled, flag, { instanceId });
  if (fault !== null) throw new ClerkError(fault.reason, "give up", 0, false, fault.next);
  const taken = sampled.blank.ids.filter(({ column }) => isKey(column)).map(({ id }) => id);
  const ids = [...new Set([...sampled.ids, ...taken])];
  const { length: known } = ids.filter((id) => sampled.known.includes(id));
  if (known * 2 >= ids.length) return ids.length;
  const pin = runCommand(flag, "reconcile:pinInstance", { instanceId });
  throw new ClerkError(
    `The Clerk instance ${instanceId} knows only ${known} of ${ids.length} users sampled from this table: set the secret key of the instance that they come from, or, if this one is right, pin it: ${pin}`,
    "give up",
  );
}

/**
 * Samples the table, and asks `clerk` (null where it can't be asked) which column has its ids; and, if `isWhole`, which
 * of those in `clerkId` it knows, in the same request. @throws ClerkError
 */
export async function sampleTable(
  ctx: ActionCtx,
  clerk: Clerk | null,
  isWhole = false,
): Promise<Sampled> {
  const sampled: Sample = await ctx.runQuery(internal.clerk.run.firstDay.sample, {});
  const { ids } = sampled.blank;
  const asked = [...new Set([...(isWhole ? sampled.ids : []), ...ids.map(({ id }) => id)])];
  const known = clerk === null || asked.length === 0 ? [] : await knownAmong(clerk, asked);
  const found = ids.filter(({ id }) => known.includes(id));
  const { column = null, isTwice = false } =
    found.find((each) => each.isTwice || !isKey(each.column)) ?? found[0] ?? {};
  return { ...sampled, known, column, isTwice };
}

/** Which of some ids Clerk knows; one that it refuses to be asked about it does not. */
async function knownAmong(clerk: Clerk, ids: string[]): Promise<string[]> {
  try {
    const found = (await clerk.listByIds(ids)).map(({ clerkId }) => clerkId);
    const lacking = ids.filter((id) => !found.includes(id));
    const isShort = found.length > 0 && lacking.length > 0;
    return isShort ? [...found, ...(await knownAmong(clerk, lacking))] : found;
  } catch (error) {
    if (!(error instanceof ClerkError) || error.whatNext !== "set aside") throw error;
    if (ids.length === 1) return [];
    const half = Math.ceil(ids.length / 2);
    const parts = [ids.slice(0, half), ids.slice(half)];
    const known: string[] = [];
    for (const part of parts) known.push(...(await knownAmong(clerk, part)));
    return known;
  }
}
