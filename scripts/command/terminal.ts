/** Where the command speaks and asks: a person at a terminal, or a log. */
import { confirm, isCancel, note, outro } from "@clack/prompts";
import { Problem } from "./problem";

export type Terminal = {
  /** Lines for whoever reads along. */
  say: (text: string) => void;
  /** Standard output where it is for another program: a diff. */
  print: (text: string) => void;
  /** A heading with lines. */
  note: (title: string, lines: string[]) => void;
  /** @throws Problem where nobody can be asked, or the answer is no */
  agree: (question: string) => Promise<void>;
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
      if (isAsked) note(lines.join("\n"), title);
      else say(`\n${title}\n${lines.map((line) => `  ${line}`).join("\n")}`);
    },
    agree: async (question) => {
      if (isAgreed) return;
      if (!isAsked) {
        throw new Problem(
          `${question} There is no terminal to ask at: say so with --yes, or look at it first with --dry-run.`,
        );
      }
      const answer = await confirm({ message: question });
      if (isCancel(answer) || !answer) {
        outro("Nothing was changed.");
        throw new Problem("stopped by the answer.");
      }
    },
  };
}
