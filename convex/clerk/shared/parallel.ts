/** What is asked of the database together: as many reads as Convex makes at once. */

/** Reads in a row that take the time of one (`MAX_SYSCALL_BATCH_SIZE` and `async_syscall.rs` of Convex's backend). */
export const PARALLEL_READS = 16;

/** The items in order, so many at a time; as many as can be read at once, where nothing is said. */
export function chunksOf<Item>(items: Item[], size = PARALLEL_READS): Item[][] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, index) => items.slice(index * size, (index + 1) * size));
}

/** Asks the same of each item side by side; Convex makes their writes in turn. @returns results in the items' order */
export async function inParallel<Item, Result>(
  items: Item[],
  ask: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const chunk of chunksOf(items)) results.push(...(await Promise.all(chunk.map(ask))));
  return results;
}
