/** Fills in `clerkId` where an app's rows hold Clerk's id elsewhere, before the first run. */
import { ConvexError, type Infer, v } from "convex/values";
import { internal } from "../_generated/api.js";
import {
  internalAction,
  internalMutation,
  type MutationCtx,
  type QueryCtx,
} from "../_generated/server.js";
import { readSyncState, updateSyncState } from "./memory/state.js";
import { fillClerkId, hasRow, valueAt } from "./mirror/rows.js";
import { deploymentFlag, runCommand } from "./report/report.js";
import { clock, MINUTE } from "./shared/clock.js";
import { clerkIdWithin, isClerkId } from "./shared/user.js";
import type { User } from "./types.js";

/** One call goes on for so long; an action may take ten minutes and more. */
const MAX_CALL_MS = 8 * MINUTE;
/** Of the rows and bytes that one transaction may read, which a row of 1 MiB must not overrun. */
const MAX_ROWS = 500;
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_NAMED = 20;
const ITSELF = "clerkId";

/** A place in the order of `by_clerkId`, in which rows without a `clerkId` come first. */
const vPlace = v.object({ clerkId: v.optional(v.string()), createdAt: v.number() });
type Place = Infer<typeof vPlace>;

async function* rowsFrom(ctx: QueryCtx, after: Place | null) {
  const users = () => ctx.db.query("users");
  const { clerkId, createdAt = -Infinity } = after ?? {};
  yield* users().withIndex("by_clerkId", (q) =>
    q.eq("clerkId", clerkId).gt("_creationTime", createdAt),
  );
  yield* users().withIndex("by_clerkId", (q) =>
    clerkId === undefined ? q.gte("clerkId", "") : q.gt("clerkId", clerkId),
  );
}

const vFilled = v.object({
  /** Rows without a Clerk user id, and how many of them were given one, or would be. */
  rows: v.number(),
  filled: v.number(),
  /** Ids of which there is a row already, the first 20: the oldest row of each is mirrored, see the project README. */
  doubled: v.array(v.string()),
  summary: v.string(),
  /** What goes on, where one call was not enough, or what comes next. */
  next: v.string(),
});

/**
 * Fills in the `clerkId` of rows that have none, or one that is no Clerk user id, from another column: with its text,
 * or with what follows the last "|" of it, as in Convex's `tokenIdentifier`. Rows where that is no Clerk user id,
 * `user_…`, are guests, left as they are. It can be stopped and begun again at any time; until done, no first run
 * begins.
 * @param column where Clerk's id is, with dots within an object (`clerkUser.id`); default: `clerkId` itself, of which
 *   what follows the last "|" stays
 * @param dryRun say what would be filled, change nothing; default false
 * @param cursor where to go on, as `next` of the call before has it
 * @throws ConvexError where the app's own code refuses a row, no row has the column, or for another cursor
 * @example npx convex run clerk/adopt:fill '{"column":"externalId","dryRun":true}'
 */
export const fill = internalAction({
  args: {
    column: v.optional(v.string()),
    dryRun: v.optional(v.boolean()),
    cursor: v.optional(v.string()),
  },
  returns: vFilled,
  handler: async (
    ctx,
    { column = ITSELF, dryRun = false, cursor },
  ): Promise<Infer<typeof vFilled>> => {
    const endsAt = clock.now() + MAX_CALL_MS;
    const flag = await deploymentFlag(ctx);
    let place: Place | null = cursor === undefined ? null : placeOf(cursor);
    const total = { rows: 0, filled: 0, hasColumn: false, doubled: new Set<string>() };
    for (;;) {
      const page: Infer<typeof vPage> = await ctx.runMutation(internal.clerk.adopt.fillPage, {
        column,
        dryRun,
        after: place,
      });
      total.rows += page.rows;
      total.filled += page.filled;
      total.hasColumn ||= page.hasColumn;
      for (const id of page.doubled) total.doubled.add(id);
      place = page.next;
      if (place === null || clock.now() >= endsAt) break;
    }
    const { rows, filled, hasColumn } = total;
    if (place === null && rows > 0 && !hasColumn && column !== ITSELF) {
      throw new ConvexError(
        `column must be one that rows without a Clerk user id have: none of ${rows} has ${column}.`,
      );
    }
    const doubled = [...total.doubled];
    return {
      rows,
      filled,
      doubled: doubled.slice(0, MAX_NAMED),
      summary: summaryOf({ rows, filled, doubled: doubled.length }, { column, dryRun }),
      next: nextOf(flag, place, { column, dryRun, isAny: filled > 0 }),
    };
  },
});

type Options = { column: string; dryRun: boolean };

function summaryOf(
  { rows, filled, doubled }: { rows: number; filled: number; doubled: number },
  { column, dryRun }: Options,
): string {
  const source = column === ITSELF ? 'behind the last "|" of their clerkId' : `in ${column}`;
  const done = dryRun ? "would be given" : "were given";
  const twice =
    doubled === 0
      ? ""
      : ` ${doubled} of these ids are on another row, too: the oldest row of each is mirrored, and the others are reported until you delete them.`;
  return `${rows} rows without a Clerk user id: ${filled} ${done} one, the others have none ${source}.${twice}`;
}

function nextOf(
  flag: string,
  place: Place | null,
  { column, dryRun, isAny }: Options & { isAny: boolean },
): string {
  if (place !== null) {
    const same = { column, dryRun: dryRun || undefined };
    return runCommand(flag, "adopt:fill", { ...same, cursor: cursorOf(place) });
  }
  const isToDo = dryRun && isAny;
  return isToDo
    ? runCommand(flag, "adopt:fill", { column })
    : runCommand(flag, "reconcile:run", { dryRun: true });
}

/** A place as text to paste, whose `clerkId` nobody reads in passing. */
function cursorOf(place: Place): string {
  return btoa(encodeURIComponent(JSON.stringify(place)));
}

function placeOf(cursor: string): Place {
  try {
    const { clerkId, createdAt } = JSON.parse(decodeURIComponent(atob(cursor))) as Place;
    return { clerkId, createdAt };
  } catch {
    throw new ConvexError("cursor must be that of the call before, as its next has it.");
  }
}

const vPage = v.object({
  rows: v.number(),
  filled: v.number(),
  hasColumn: v.boolean(),
  doubled: v.array(v.string()),
  next: v.nullable(vPlace),
});

/** Fills as many rows as a transaction should read. @returns with `next` where to go on; null at the end */
export const fillPage = internalMutation({
  args: { column: v.string(), dryRun: v.boolean(), after: v.nullable(vPlace) },
  returns: vPage,
  handler: async (ctx, { column, dryRun, after }): Promise<Infer<typeof vPage>> => {
    const page = { rows: 0, filled: 0, hasColumn: false, doubled: [] as string[] };
    const given = new Set<string>();
    let [read, next]: [number, Place | null] = [0, null];
    for await (const row of rowsFrom(ctx, after)) {
      read += 1;
      // One that was filled in place stands further on then, and is met again there.
      if (row.clerkId === undefined || !isClerkId(row.clerkId)) {
        page.rows += 1;
        page.hasColumn ||= valueAt(row, column) !== undefined;
        const clerkId = idIn(row, column);
        if (clerkId !== null) {
          const isTaken = given.has(clerkId) || (await hasRow(ctx, clerkId));
          if (isTaken) page.doubled.push(clerkId);
          given.add(clerkId);
          if (!dryRun) await fillClerkId(ctx, row, clerkId);
          page.filled += 1;
        }
      }
      if (read >= MAX_ROWS || (await isNearBudget(ctx))) {
        next = { clerkId: row.clerkId, createdAt: row._creationTime };
        break;
      }
    }
    if (!dryRun) await noteProgress(ctx, next === null ? undefined : column);
    return { ...page, next };
  },
});

/** What is filled in, until it is done: a first run would give the others a second row. */
async function noteProgress(ctx: MutationCtx, fillsFrom: string | undefined): Promise<void> {
  const state = await readSyncState(ctx);
  if (state.fillsFrom !== fillsFrom) await updateSyncState(ctx, { fillsFrom });
}

async function isNearBudget(ctx: MutationCtx): Promise<boolean> {
  const { bytesRead, bytesWritten } = await ctx.meta.getTransactionMetrics();
  return bytesRead.used >= MAX_BYTES || bytesWritten.used >= MAX_BYTES;
}

function idIn(row: User, column: string): string | null {
  const value = valueAt(row, column);
  return typeof value === "string" ? clerkIdWithin(value) : null;
}
