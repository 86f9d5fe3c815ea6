/** What the rows show the doctor. */
import { v, type Infer } from "convex/values";
import { internalQuery } from "../_generated/server.js";
import { isMirrored } from "./rows.js";

// What one query looks at, rows with all that the app keeps on them.
const MAX_ROWS = 2000;
const MAX_BYTES = 4 * 1024 * 1024;

const vSurvey = v.object({
  /** The `clerkId`s that are on more than one row. */
  duplicates: v.array(v.string()),
  rows: v.number(),
  /** How many rows lack a creation time. */
  undated: v.number(),
  /** Where to go on; null at the end. */
  next: v.nullable(v.string()),
});
/** What one query has looked at. */
export type Survey = Infer<typeof vSurvey>;

/**
 * Looks at the mirror's rows in the order of `clerkId`, from one on.
 * @returns what as many rows as a query should read show; the next query begins at `next`
 */
export const survey = internalQuery({
  args: { from: v.string() },
  returns: vSurvey,
  handler: async (ctx, { from }): Promise<Survey> => {
    const duplicates = new Set<string>();
    let [rows, undated, last] = [0, 0, ""];
    const found = (next: string | null) => ({ duplicates: [...duplicates], rows, undated, next });
    const mirror = ctx.db.query("users").withIndex("by_clerkId", (q) => q.gte("clerkId", from));
    for await (const row of mirror) {
      const { clerkId = "" } = row;
      const { bytesRead, documentsRead } = await ctx.meta.getTransactionMetrics();
      const isEnough = documentsRead.used > MAX_ROWS || bytesRead.used >= MAX_BYTES;
      if (isEnough && clerkId !== last) return found(clerkId);
      if (!isMirrored(row)) continue;
      if (clerkId === last) duplicates.add(clerkId);
      if (row.clerkCreatedAt === undefined) undated += 1;
      [rows, last] = [rows + 1, clerkId];
    }
    return found(null);
  },
});
