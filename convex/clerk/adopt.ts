/**
 * Fills in `clerkId` where an app's rows hold Clerk's id elsewhere, before the first run:
 * `npx convex run clerk/adopt:fill '{"column":"externalId","dryRun":true}'`.
 */
import { ConvexError, v, type Infer } from "convex/values";
import { internal } from "../_generated/api";
import { internalAction, internalMutation, type MutationCtx } from "../_generated/server";
import { clock, MINUTE } from "./clock";
import { deploymentFlag, runCommand } from "./commands";
import { isClerkId } from "./profile";
import { fillClerkId, hasRow, rowsFrom, vPlace, type Place, type User } from "./rows";

/** One call goes on for so long; an action may take ten minutes and more. */
const MAX_CALL_MS = 8 * MINUTE;
/** Of the rows and bytes that one transaction may read, which a row of 1 MiB must not overrun. */
const MAX_ROWS = 500;
const MAX_BYTES = 4 * 1024 * 1024;
/** So many ids are named. */
const MAX_NAMED = 20;

const vFilled = v.object({
  /** Rows that were looked at, and that were given a `clerkId`, or would be. */
  rows: v.number(),
  filled: v.number(),
  /** Ids of which there is a row already: the oldest is mirrored from now on, see README. The first 20. */
  doubled: v.array(v.string()),
  summary: v.string(),
  /** What goes on, where one call was not enough, or what comes next. */
  next: v.string(),
});

/**
 * Fills in the `clerkId` of rows that have none from another column: with its text, or with what follows
 * the last "|" of it, as in Convex's `tokenIdentifier`. Rows where that is no Clerk user id, `user_…`,
 * are guests, and left as they are. It can be stopped and begun again at any time.
 * @param column where Clerk's id is; without it, `clerkId` itself, of which what follows the last "|" stays
 * @param dryRun say what would be filled, change nothing; default false
 * @param after where to go on, as `next` of the call before has it
 * @throws ConvexError where the app's own code refuses a row, or `column` is `clerkId`
 */
export const fill = internalAction({
  args: {
    column: v.optional(v.string()),
    dryRun: v.optional(v.boolean()),
    after: v.optional(vPlace),
  },
  returns: vFilled,
  handler: async (ctx, { column, dryRun = false, after }): Promise<Infer<typeof vFilled>> => {
    if (column === "clerkId")
      throw new ConvexError("Leave column out to fill from clerkId itself.");
    const endsAt = clock.now() + MAX_CALL_MS;
    const flag = await deploymentFlag(ctx);
    let place: Place | null = after ?? null;
    const total = { rows: 0, filled: 0, doubled: new Set<string>() };
    for (;;) {
      const page: Infer<typeof vPage> = await ctx.runMutation(internal.clerk.adopt.fillPage, {
        column,
        dryRun,
        after: place,
      });
      total.rows += page.rows;
      total.filled += page.filled;
      for (const id of page.doubled) total.doubled.add(id);
      place = page.next;
      if (place === null || clock.now() >= endsAt) break;
    }
    const doubled = [...total.doubled];
    return {
      rows: total.rows,
      filled: total.filled,
      doubled: doubled.slice(0, MAX_NAMED),
      summary: summaryOf({ ...total, doubled: doubled.length }, { column, dryRun }),
      next: nextOf(flag, place, { column, dryRun }),
    };
  },
});

type Options = { column: string | undefined; dryRun: boolean };

function summaryOf(
  { rows, filled, doubled }: { rows: number; filled: number; doubled: number },
  { column, dryRun }: Options,
): string {
  const source = column === undefined ? 'behind the last "|" of their clerkId' : `in ${column}`;
  const done = dryRun ? "would be given" : "were given";
  const twice =
    doubled === 0
      ? ""
      : ` ${doubled} of these ids are on another row, too: the oldest row of each is mirrored.`;
  return `${rows} rows looked at: ${filled} ${done} a clerkId, the others have no Clerk user id ${source}.${twice}`;
}

function nextOf(flag: string, place: Place | null, { column, dryRun }: Options): string {
  if (place !== null) {
    return runCommand(flag, "adopt:fill", { column, dryRun: dryRun || undefined, after: place });
  }
  return dryRun
    ? runCommand(flag, "adopt:fill", { column })
    : runCommand(flag, "reconcile:run", { dryRun: true });
}

const vPage = v.object({
  rows: v.number(),
  filled: v.number(),
  doubled: v.array(v.string()),
  next: v.nullable(vPlace),
});

/** Fills as many rows as a transaction should read. @returns with `next` where to go on; null at the end */
export const fillPage = internalMutation({
  args: {
    column: v.optional(v.string()),
    dryRun: v.boolean(),
    after: v.nullable(vPlace),
  },
  returns: vPage,
  handler: async (ctx, { column, dryRun, after }): Promise<Infer<typeof vPage>> => {
    const page = { rows: 0, filled: 0, doubled: [] as string[] };
    const given = new Set<string>();
    let read = 0;
    for await (const row of rowsFrom(ctx, after, column !== undefined)) {
      read += 1;
      // One that was filled in place stands further on now, and is met again there.
      const isRight = row.clerkId !== undefined && isClerkId(row.clerkId);
      if (!isRight) page.rows += 1;
      const clerkId = isRight ? null : idIn(row, column);
      if (clerkId !== null) {
        const isTaken = given.has(clerkId) || (await hasRow(ctx, clerkId));
        if (isTaken) page.doubled.push(clerkId);
        given.add(clerkId);
        if (!dryRun) await fillClerkId(ctx, row, clerkId);
        page.filled += 1;
      }
      if (read >= MAX_ROWS || (await isNearBudget(ctx))) {
        return { ...page, next: { clerkId: row.clerkId, createdAt: row._creationTime } };
      }
    }
    return { ...page, next: null };
  },
});

async function isNearBudget(ctx: MutationCtx): Promise<boolean> {
  const { bytesRead, bytesWritten } = await ctx.meta.getTransactionMetrics();
  return bytesRead.used >= MAX_BYTES || bytesWritten.used >= MAX_BYTES;
}

/** The Clerk user id that a row holds elsewhere, or null. */
function idIn(row: User, column: string | undefined): string | null {
  const value = column === undefined ? row.clerkId : (row as Record<string, unknown>)[column];
  const id = typeof value === "string" ? (value.split("|").at(-1) ?? "") : "";
  return isClerkId(id) ? id : null;
}
