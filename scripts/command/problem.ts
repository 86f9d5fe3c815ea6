/** What the person who runs the command has to mend: a sentence that says what was expected, what came and what to do. */
export class Problem extends Error {
  /** @param diff what to apply by hand, where the command may not */
  constructor(
    message: string,
    readonly diff = "",
  ) {
    super(message);
  }
}

/** What a person at a terminal is asked, and nobody else may decide: the message names the option that says it. */
export class Choice extends Problem {
  /** @param candidates what to choose among; none, where it is yes or no */
  constructor(
    message: string,
    readonly option: "key" | "manager" | "newTable",
    readonly candidates: string[],
  ) {
    super(message);
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
