/** Pure: how long rows stay that are marked as removed. */
import * as app from "./app.js";
import { isMarked } from "./gone.js";
import type { User } from "./types.js";

/** How long after the mark a row is purged, ms; null where that is never. */
export function purgeAfterMs(): number | null {
  return app.removal === "delete" ? null : (app.removal.purgeAfterMs ?? null);
}

/** Whether a row was marked so long ago that it is to be purged. @param now ms */
export function isToPurge(row: User, now: number): boolean {
  const afterMs = purgeAfterMs();
  return isMarked(row) && afterMs !== null && (row.deletedAt ?? now) <= now - afterMs;
}
