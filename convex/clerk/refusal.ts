/**
 * What the app's own code, or Convex, refuses to take. The error is replaced by one that holds no
 * value, since a message may quote the row, and Convex logs what a function throws.
 */
import { ConvexError } from "convex/values";

/**
 * @param who refuses where it throws, as it reads before "threw"
 * @throws ConvexError with the `refusal` that `refusalOf` reads
 */
export async function orRefuse<Result>(
  who: string,
  act: () => Result | Promise<Result>,
): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    throw refused(who, error);
  }
}

/** What to throw where `who` refused: no value is in it. */
export function refused(who: string, error: unknown): ConvexError<{ refusal: string }> {
  return new ConvexError({ refusal: `${who} ${thrownBy(error)}` });
}

/** What was thrown, and where, in words behind a name. */
export function thrownBy(error: unknown): string {
  return `threw ${describe(error)}`;
}

/** Why a transaction was refused, or null for any other error. */
export function refusalOf(error: unknown): string | null {
  if (!(error instanceof ConvexError)) return null;
  const data: unknown = error.data;
  const refusal = typeof data === "object" && data !== null && "refusal" in data && data.refusal;
  return typeof refusal === "string" ? refusal : null;
}

/** The name of what was thrown, which may be told: one that the app made up may hold a value. */
export function nameOfError(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return /^\w{1,40}$/.test(error.name) ? error.name : "an error";
}

/** The error's name, the field that it is about, and where it was thrown. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { message, stack = "" } = error;
  const field = /Path: (\.\w+)/.exec(message)?.[1];
  const frames =
    stack.slice(stack.indexOf(message) + message.length).match(/^ +at .+:\d+:\d+\)?$/gm) ?? [];
  // Where a limit of Convex's is reached, its library's frames come first.
  const frame = (frames.find((each) => !/node_modules|node:/.test(each)) ?? frames[0])?.trim();
  return [nameOfError(error), field && `about ${field}`, frame].filter(Boolean).join(" ");
}
