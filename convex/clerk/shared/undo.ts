/** Results of a nested mutation whose writes are undone: what it throws undoes them, and carries the result. */
import { ConvexError, type Value } from "convex/values";

/** Undoes the mutation that calls it. @throws ConvexError with the result, for `orUndone` */
export function undo(result: Value): never {
  throw new ConvexError({ undone: result });
}

/** What a mutation returned, or what it gave as it was undone (`undo`). @throws whatever else it throws */
export async function orUndone<Result>(made: Promise<Result>): Promise<Result> {
  try {
    return await made;
  } catch (error) {
    const data: unknown = error instanceof ConvexError ? error.data : null;
    if (typeof data === "object" && data !== null && "undone" in data) return data.undone as Result;
    throw error;
  }
}
