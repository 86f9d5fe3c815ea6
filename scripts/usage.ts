/** Ends the process, with 0, where all that is asked for is how to use it: `--help`. */
export function answerHelp(usage: string): void {
  if (!process.argv.slice(2).includes("--help")) return;
  console.log(usage);
  process.exit(0);
}
