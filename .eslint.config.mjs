import convexPlugin from "@convex-dev/eslint-plugin";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

const SYNC = "convex/clerk";

/** The rooms of the sync, from the ground up: each imports those before it by their door, the file of the room's own name. Of `shared`, each file is one. */
const ROOMS = ["shared", "profile", "api", "memory", "mirror", "report", "run", "webhook"];
const rooms = ROOMS.map((room, floor) => {
  const above = ROOMS.slice(floor + 1).join("|") || "-";
  const inside = `(?!_generated/|shared/|(?<door>\\w+)/\\k<door>\\.js)\\w+/`;
  const regex = `^\\.\\./((${above})/|${inside}|(?!(app|fields|types|users)\\.js)\\w+\\.js|\\.\\./(?!_generated/))`;
  const message = "A room imports rooms below it, by their door: see ROOMS in .eslint.config.mjs.";
  const rules = { "no-restricted-imports": ["error", { patterns: [{ regex, message }] }] };
  return { files: [`${SYNC}/${room}/**/*.ts`], rules };
});

/** Files that decide without touching the database, Clerk or the clock. */
const PURE = ["fields", "tables", "shared/{user,secrets,addresses}", "profile/*"]
  .concat(["memory/model", "mirror/plan", "run/{places,sweep}"])
  .map((name) => `${SYNC}/${name}.ts`);
const pureFiles = {
  files: PURE,
  rules: {
    "@typescript-eslint/no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            regex: "_generated/(server|api)|svix",
            allowTypeImports: true,
            message: "This file is pure.",
          },
        ],
      },
    ],
  },
};

/** What lets any app's compiler take the folder. */
const portableFiles = {
  files: [`${SYNC}/**/*.ts`],
  rules: {
    "no-restricted-syntax": [
      "error",
      {
        selector:
          ":matches(Property[key.name='handler'], CallExpression[callee.name='httpAction']) > :matches(ArrowFunctionExpression, FunctionExpression):not([returnType])",
        message:
          "Give a registered function its return type: where an app does not check the folder's types, an inferred one makes its whole `api` any.",
      },
      {
        selector: "ImportDeclaration[source.value=/^\\..*(?<!\\.js)$/]",
        message: "Relative imports end in .js, for NodeNext.",
      },
    ],
  },
};

// What holds for any TypeScript is in .oxlintrc.json; here is what Convex's plugin, and this project's own rules, say.
export default defineConfig(
  { ignores: ["convex/_generated/"] },
  {
    files: ["convex/**/*.ts"],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { project: "./convex/tsconfig.json" } },
  },
  convexPlugin.configs.recommended,
  {
    files: ["convex/**/*.ts"],
    rules: {
      "@convex-dev/no-collect-in-query": "error",
      "@convex-dev/no-filter-in-query": "error",
      "@convex-dev/no-top-of-hour-crons": "error",
      "no-restricted-globals": ["error", "Buffer", "setImmediate", "queueMicrotask"],
    },
  },
  {
    // An app need not declare the sync's variables in a convex.config.ts.
    files: [`${SYNC}/shared/environment.ts`],
    rules: { "@convex-dev/no-process-env": "off" },
  },
  {
    // Convex reads the variables of this file when it is pushed; `env` is not there yet.
    files: ["convex/auth.config.ts"],
    rules: { "@convex-dev/no-process-env": "off" },
  },
  ...rooms,
  pureFiles,
  portableFiles,
);
