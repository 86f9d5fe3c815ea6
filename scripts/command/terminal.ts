/** Where the command speaks and asks: a person at a terminal, or a log. */
import { confirm, isCancel, select } from "@clack/prompts";
import { Problem, type Choice } from "./problem";

export type Terminal = {
  /** Lines for whoever reads along. */
  say: (text: string) => void;
  /** Standard output where it is for another program: a diff. */
  print: (text: string) => void;
  /** A heading with lines. */
  note: (title: string, lines: string[]) => void;
  /** @throws Problem where nobody can be asked, or the answer is no */
  agree: (question: string) => Promise<void>;
  /** @returns the option that was chosen @throws the choice itself where nobody can be asked */
  choose: (choice: Choice) => Promise<Record<string, unknown>>;
};

/**
 * @param isAgreed whether the person has said yes to what is asked
 * @param isQuiet whether standard output is for a diff alone
 */
export function terminal({ isAgreed, isQuiet }: { isAgreed: boolean; isQuiet: boolean }): Terminal {
  const isAsked = process.stdin.isTTY && process.stdout.isTTY && !isAgreed && !isQuiet;
  const say = (text: string) => {
    if (isQuiet) console.error(text);
    else console.log(text);
  };
  return {
    say,
    print: (text) => process.stdout.write(text),
    note: (title, lines) => {
      say(`\n${title}\n${lines.map((line) => `  ${line}`).join("\n")}\n`);
    },
    agree: async (question) => {
      if (isAgreed) return;
      if (!isAsked) {
        throw new Problem(
          "there is no terminal to ask at. Say yes beforehand with --yes, or look at it first with --dry-run.",
        );
      }
      if ((await confirm({ message: question })) !== true) throw new Problem("you said no.");
    },
    choose: async (choice) => {
      const { option, candidates, message } = choice;
      if (!isAsked) throw choice;
      const options = candidates.map((value) => ({ value }));
      const answer =
        options.length > 0 ? await select({ message, options }) : await confirm({ message });
      if (isCancel(answer) || answer === false) throw choice;
      return { [option]: answer };
    },
  };
}
