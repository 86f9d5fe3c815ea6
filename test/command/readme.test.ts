/**
 * Every command that a README shows is run, or, where it needs a deployment or minutes, is asked whether it knows what it
 * is given; and every link within the repository leads somewhere.
 * @module-tag slow
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { ConvexError } from "convex/values";
import { describe, expect, test } from "vitest";
import { callFunction, findFunction, findModules } from "../../scripts/host/functions";
import { ROOT } from "../world/made-up-app";
import { signUp } from "../world/people";
import { complete, useSetting } from "../world/setting";

const setting = useSetting({ http: false });

const files = execFileSync(
  "git",
  ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
  {
    cwd: ROOT,
    encoding: "utf8",
  },
);
const pages = files
  .split("\n")
  .filter((file) => file !== "" && existsSync(path.join(ROOT, file)))
  .map((file) => ({ file, text: readFileSync(path.join(ROOT, file), "utf8") }));

/** Commands of a page: those of its `sh` blocks, and those that a sentence has between backticks. */
function commandsOf(text: string): string[] {
  const blocks = [...text.matchAll(/^ *```sh\n([\s\S]+?)^ *```/gm)].flatMap(([, block = ""]) =>
    block.replaceAll("\\\n", " ").split("\n"),
  );
  const inline = [...text.matchAll(/`((?:npx|npm) [^`\n]+)`/g)].map(([, command = ""]) => command);
  return [...blocks, ...inline]
    .map((line) => line.replace(/\s+#.*$/, "").trim())
    .flatMap((line) => line.split(/ && | \| | > /))
    .filter((line) => /^(\w+=\S+ )*(npx|npm) /.test(line));
}

const commands = [...new Set(pages.flatMap(({ text }) => commandsOf(text)))].sort();

const said = (command: string, args: string[]) => {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: ROOT, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout + stderr;
};
const optionsOf = (words: string[]) => words.filter((word) => /^--[a-z]/.test(word));
const scripts = (
  JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  }
).scripts;
/** Each is run for itself by CI, or by tests of its own. */
const WITHOUT_HELP = ["test", "test:slow", "lint", "typecheck", "dev"];

/** `npx convex run …`, on a mirror of a few users. */
async function runFunction(words: string[]): Promise<void> {
  const rest = words.filter((word) => !word.startsWith("--"));
  const [name = "", ...json] = rest;
  const args = JSON.parse((json.join(" ") || "'{}'").slice(1, -1).replaceAll("…", "x")) as object;
  const modules = findModules();
  const found = await findFunction(modules, name);
  if (found === null) throw new Error(`there is no function ${name}`);
  signUp(setting, 3);
  await complete(setting.t);
  // What a command says of made-up ids and columns is an answer, too; arguments that it does not take are none.
  await callFunction(setting.t, found.kind, name, { ...args }).catch((error: unknown) => {
    if (!(error instanceof ConvexError)) throw error;
  });
}

/** @returns whether it was asked */
async function ask(command: string): Promise<boolean> {
  const [, program = "", ...words] =
    /^(?:\w+=\S+ )*(npx|npm) (.+)$/
      .exec(command)
      ?.flatMap((part, i) => (i < 2 ? [part] : part.split(" "))) ?? [];
  const [first = "", second = "", ...rest] = words;
  if (program === "npm") {
    if (first === "ci" || first === "test")
      return /npm (ci|test)/.test(readFileSync(path.join(ROOT, ".ci/run"), "utf8"));
    const name = words.find((word) => Object.hasOwn(scripts, word));
    if (first === "install" || (first === "-s" && name === undefined)) return true;
    expect(name, command).toBeDefined();
    if (name === undefined || WITHOUT_HELP.includes(name)) return name !== undefined;
    const help = said("npm", ["run", "--silent", name, "--", "--help"]);
    for (const option of optionsOf(words)) if (option !== "--") expect(help).toContain(option);
    return true;
  }
  if (first === "convex" && second === "run") {
    await runFunction(rest);
    return true;
  }
  if (first === "convex") {
    const sub = second === "env" ? [second, rest[0] ?? ""] : [second];
    const help = said(process.execPath, ["node_modules/convex/bin/main.js", ...sub, "--help"]);
    for (const option of optionsOf(rest)) expect(help).toContain(option);
    return true;
  }
  if (first === "tsx") {
    const help = said(process.execPath, ["--import", "tsx", second, "--help"]);
    for (const option of optionsOf(rest)) expect(help).toContain(option);
    return true;
  }
  if (first === "vitest") {
    const file = words.find((word) => word.endsWith(".test.ts"));
    const name = / -t "([^"]+)"/.exec(command)?.[1] ?? "";
    expect(readFileSync(path.join(ROOT, file ?? "none"), "utf8")).toContain(name);
    return true;
  }
  // Clerk's own, which needs an account.
  return first === "clerk";
}

describe("a command in a README", () => {
  test.each(commands)("%s", async (command) => {
    expect(await ask(command)).toBe(true);
  });
});

test("each link leads to a file, and to a heading of it", () => {
  const slug = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-");
  const broken = pages.flatMap(({ file, text }) =>
    [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)].flatMap(([, to = "", anchor]) => {
      const target = to === "" ? file : path.join(path.dirname(file), to);
      if (!existsSync(path.join(ROOT, target))) return [`${file}: ${to}`];
      if (anchor === undefined) return [];
      const headings = readFileSync(path.join(ROOT, target), "utf8").match(/^#+ .+$/gm) ?? [];
      const isThere = headings.some((heading) => slug(heading.replace(/^#+ /, "")) === anchor);
      return isThere ? [] : [`${file}: ${to}#${anchor}`];
    }),
  );
  expect(broken).toEqual([]);
});
