/**
 * The table as a first run finds it: whether the instance is that of its users, and whether they can be
 * told at all. Once an instance is pinned, by a run or by a person, none of this is asked again.
 */
import { v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalQuery, type ActionCtx, type QueryCtx } from "../_generated/server";
import type { Clerk } from "./api";
import { deploymentFlag, runCommand } from "./commands";
import { isClerkId } from "./profile";
import { ClerkError } from "./request";
import { isMirrored, readVersion, type User } from "./rows";

/** Rows whose ids are asked of an instance before it is pinned: one request, and no chance result. */
const SAMPLE_SIZE = 40;
/** Places that are looked at: rows that the sync has written itself are passed over. */
const MAX_PROBES = 200;
/** Above every id. */
const END = "\u{10ffff}";
/** Bytes of the 16 MiB that a query may read: a row holds up to 1 MiB. */
const MAX_BYTES = 6 * 1024 * 1024;
/** So many rows without a `clerkId`, where no other is the app's own, are rather users than guests. */
const MIN_BLANK = 10;

const vSample = v.object({
  /** Clerk user ids of which the sync knows nothing. */
  ids: v.array(v.string()),
  /** How many more of the sampled rows have a `clerkId` of another form. */
  others: v.number(),
  /** Rows without a `clerkId`, of the oldest and the newest ten, and a column in which some of them have Clerk's id. */
  blank: v.object({ count: v.number(), column: v.nullable(v.string()) }),
});
type Sample = Infer<typeof vSample>;

/**
 * Rows of which the sync knows nothing, spread over the ids: by halves between neighbours, so that the many
 * who signed up in one week, or the few with ids of another kind, are all among them.
 */
export const sample = internalQuery({
  args: {},
  returns: vSample,
  handler: async (ctx): Promise<Sample> => {
    const found = new Set<string>();
    const note = async (row: User | null) => {
      const { clerkId } = row ?? {};
      if (row !== null && clerkId !== undefined && (await isUnknown(ctx, row, clerkId))) {
        found.add(clerkId);
      }
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
    const ids = [...found].filter(isClerkId);
    const others = found.size - ids.length;
    return { ids, others, blank: await lookAtBlank(ctx) };
  },
});

/** The first row, or, descending, the last one, whose id is above one and below another. */
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

/** The first three characters of a text as a number. */
function numberOf(text: string): number {
  const codes = [0, 1, 2].map((i) => Math.min(text.charCodeAt(i) || 0, BASE - 1));
  return codes.reduce((sum, code) => sum * BASE + code, 0);
}

function textOf(place: number): string {
  const codes = [Math.floor(place / BASE ** 2), Math.floor(place / BASE) % BASE, place % BASE];
  return String.fromCharCode(...codes);
}

async function isUnknown(ctx: QueryCtx, row: User, clerkId: string): Promise<boolean> {
  if (!isMirrored(row)) return false;
  const version = await readVersion(ctx, clerkId);
  return version === null || version.kind === "met";
}

async function bytesRead(ctx: QueryCtx): Promise<number> {
  return (await ctx.meta.getTransactionMetrics()).bytesRead.used;
}

/** What rows without a `clerkId` there are: the oldest and the newest of them tell. */
async function lookAtBlank(ctx: QueryCtx): Promise<{ count: number; column: string | null }> {
  const seen = new Map<string, User>();
  for (const order of ["asc", "desc"] as const) {
    const rows = ctx.db
      .query("users")
      .withIndex("by_clerkId", (q) => q.eq("clerkId", undefined))
      .order(order);
    let read = 0;
    for await (const row of rows) {
      seen.set(row._id, row);
      read += 1;
      if (read >= MIN_BLANK || (await bytesRead(ctx)) >= 2 * MAX_BYTES) break;
    }
  }
  const columns = [...seen.values()].flatMap((row) => columnsWithId(row));
  return { count: seen.size, column: columns[0] ?? null };
}

/** Columns of the app's that hold a Clerk user id, alone or behind a "|". */
function columnsWithId(row: User): string[] {
  return Object.entries(row)
    .filter(([, value]) => typeof value === "string" && isClerkId(value.split("|").at(-1) ?? ""))
    .map(([column]) => column);
}

/** What keeps a first run from this table, in a sentence with the command that mends it; null where nothing does. */
export function whyUnfit(
  { ids, others, blank }: Sample,
  flag: string,
  instanceId = "ins_…",
): string | null {
  const fill = (column?: string) => runCommand(flag, "adopt:fill", { column, dryRun: true });
  const pin = runCommand(flag, "reconcile:pinInstance", { instanceId });
  if (others > 0 && others >= ids.length) {
    return `${others} of ${others + ids.length} rows that were looked at have a clerkId of another form than user_…, so that every user would get a second row. Where the id stands behind the last "|" of it, this shows what would be filled in: ${fill()} — if the table is as it should be: ${pin}`;
  }
  if (blank.column !== null) {
    return `This table has rows without a clerkId that have Clerk's id in the column ${blank.column}, so that their users would get a second row. This shows what would be filled in: ${fill(blank.column)} — if they are guests: ${pin}`;
  }
  if (ids.length + others === 0 && blank.count >= MIN_BLANK) {
    return `This table has ${MIN_BLANK} rows or more without a clerkId, and none with one that the app has set. If they are users, who would get a second row each, fill it in from the column that has Clerk's id: ${fill("…")} — if they are guests: ${pin}`;
  }
  return null;
}

/**
 * Makes sure, before an instance is pinned, that the table is of that instance and has its ids.
 * @throws ClerkError where it knows fewer than half of the sampled users, or the table needs the fill
 */
export async function checkTable(ctx: ActionCtx, clerk: Clerk, instanceId: string): Promise<void> {
  const sampled: Sample = await ctx.runQuery(internal.clerk.firstDay.sample, {});
  const flag = await deploymentFlag(ctx);
  const fault = whyUnfit(sampled, flag, instanceId);
  if (fault !== null) throw new ClerkError(fault, "give up");
  const { ids } = sampled;
  const known = await clerk.listByIds(ids);
  if (known.length * 2 >= ids.length) return;
  const pin = runCommand(flag, "reconcile:pinInstance", { instanceId });
  throw new ClerkError(
    `The Clerk instance ${instanceId} knows only ${known.length} of ${ids.length} users sampled from this table: set the secret key of the instance that they come from, or, if this one is right, pin it: ${pin}`,
    "give up",
  );
}
