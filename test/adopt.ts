/**
 * `npm run test:adopt`: an app takes the sync in, under each compiler and each setting that apps have, on the oldest
 * and the newest Convex and svix, which are installed in a folder of its own; and the apps of `field-apps.ts` do, each
 * with packages of its own, by the packed command.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseConfigFileTextToJson } from "typescript";
import { answerHelp } from "../scripts/usage";
import { MadeUpApp, NEWEST_CONVEX, ROOT, usualTsconfig, type Files } from "./world/made-up-app";
import { EACH_KIND, wrongAmong, writeCases } from "./world/type-cases";

const COMPILERS = ["5.0", "5.4", "5.9", "6.0", "7.0"];
/** The oldest that is supported, and the newest. */
const PACKAGES = [
  { convex: "1.40.0", svix: "1" },
  { convex: NEWEST_CONVEX, svix: "2" },
];

type Options = Record<string, unknown>;
const SETTINGS: Record<string, Options> = {
  strict: {},
  "not strict": { strict: false },
  exactOptionalPropertyTypes: { exactOptionalPropertyTypes: true },
  "noUncheckedIndexedAccess and unused locals": {
    noUncheckedIndexedAccess: true,
    noUnusedLocals: true,
    noUnusedParameters: true,
  },
  "no target": { target: undefined },
  "target ES5": { target: "ES5" },
  NodeNext: { module: "NodeNext", moduleResolution: "NodeNext" },
};
/** From version 6 on, compilers know no ES5. */
const WITHOUT_ES5 = ["6.0", "7.0"];

/** @returns the folder of packages */
function install(folder: string, packages: { convex: string; svix: string }): string {
  mkdirSync(folder);
  writeFileSync(path.join(folder, "package.json"), "{}");
  const compilers = COMPILERS.map((version) => `typescript-${version}@npm:typescript@~${version}`);
  const others = Object.entries(packages).map(([name, version]) => `${name}@${version}`);
  const args = ["install", "--no-audit", "--no-fund", "--loglevel", "error"];
  const { status, stderr } = spawnSync("npm", [...args, ...compilers, ...others], {
    cwd: folder,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`npm install failed: ${stderr}`);
  return path.join(folder, "node_modules");
}

function tsconfigOf(options: Options): string {
  const { config } = parseConfigFileTextToJson("tsconfig.json", usualTsconfig()) as {
    config: { compilerOptions: Options };
  };
  const usual = { ...config.compilerOptions, lib: ["ES2021", "DOM"] };
  return JSON.stringify({ ...config, compilerOptions: { ...usual, ...options } });
}

/** NodeNext wants to be told that a file is JavaScript in the end. */
function withExtensions(files: Files): Files {
  const named = Object.entries(files).map(([file, text]) => [
    file,
    text.replace(/(from ")(\.{1,2}\/[^"]+?)(\.js)?"/g, '$1$2.js"'),
  ]);
  return Object.fromEntries(named) as Files;
}

answerHelp("usage: npm run test:adopt   installs what apps have, and has each take the sync in");
const folder = mkdtempSync(path.join(tmpdir(), "adopt-"));
let [right, wrong] = [0, 0];

function tell(name: string, faults: string[]): void {
  if (faults.length === 0) right += 1;
  else wrong += 1;
  console.log(`${faults.length === 0 ? "✓" : "✗"} ${name}`);
  for (const fault of faults.slice(0, 10)) console.log(`    ${fault}`);
}

async function check(
  packages: string,
  name: string,
  compiler: string,
  setting: string,
): Promise<void> {
  const options = SETTINGS[setting] ?? {};
  const made = await MadeUpApp.taken(EACH_KIND, packages);
  const cases = writeCases(made);
  if (setting === "NodeNext") {
    const own = [...Object.keys(EACH_KIND.before), ...Object.keys(EACH_KIND.written ?? {})];
    const files = [...own, ...Object.keys(cases)].map((file) => [file, made.read(file)]);
    made.write(withExtensions(Object.fromEntries(files) as Files));
  }
  made.write({ "tsconfig.json": tsconfigOf(options) });
  const errors = made.typeErrors(`typescript-${compiler}`);
  tell(`${name}, TypeScript ${compiler}, ${setting}`, wrongAmong(errors, options.strict !== false));
  made.remove();
}

/** The sync's own source needs no newer compiler than the oldest one. */
async function checkSource(packages: string, name: string, compiler: string): Promise<void> {
  const made = await MadeUpApp.taken(EACH_KIND, packages);
  for (const file of made.vendored) {
    made.write({ [file]: readFileSync(path.join(ROOT, "convex", file), "utf8") });
  }
  made.write({ "tsconfig.json": tsconfigOf({ types: [] }) });
  tell(
    `${name}, TypeScript ${compiler}, the sync's source itself`,
    made.typeErrors(`typescript-${compiler}`),
  );
  made.remove();
}

try {
  for (const [index, each] of PACKAGES.entries()) {
    const packages = install(path.join(folder, String(index)), each);
    const name = `convex ${each.convex}, svix ${each.svix}`;
    for (const compiler of COMPILERS) {
      for (const setting of Object.keys(SETTINGS)) {
        if (setting === "target ES5" && WITHOUT_ES5.includes(compiler)) continue;
        await check(packages, name, compiler, setting);
      }
    }
    await checkSource(packages, name, "5.0");
    await checkSource(packages, name, "7.0");
  }
  const pnpm = path.join(folder, "pnpm");
  mkdirSync(pnpm);
  const args = ["install", "--silent", "--no-audit", "--no-fund", "--prefix", pnpm, "pnpm@10"];
  spawnSync("npm", args);
  const PATH = `${path.join(pnpm, "node_modules/.bin")}:${process.env.PATH ?? ""}`;
  const vitest = path.join(ROOT, "node_modules/vitest/vitest.mjs");
  const results = path.join(folder, "results.json");
  const { status } = spawnSync(
    process.execPath,
    [vitest, "run", "--config", "test/vitest.config.ts", "test/command/field-apps.test.ts"],
    {
      cwd: ROOT,
      env: { ...process.env, PATH, FIELD_APPS: "all", VITEST_JSON: results },
      stdio: "inherit",
    },
  );
  const counted = JSON.parse(readFileSync(results, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
  };
  right += counted.numPassedTests;
  wrong += status === 0 ? counted.numFailedTests : Math.max(1, counted.numFailedTests);
} finally {
  rmSync(folder, { recursive: true });
}
console.log(`${right} passed, ${wrong} failed`);
process.exitCode = wrong === 0 ? 0 : 1;
