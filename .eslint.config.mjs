import convexPlugin from "@convex-dev/eslint-plugin";
import tseslint from "typescript-eslint";

const SYNC = "convex/clerk";

/** Imports point one way: entries → stores and Clerk's API → pure files → tables and app. */
const LAYERS = [
  ["app", "clock", "environment", "paths", "refusal"],
  ["validators"],
  ["profile", "plan", "tables", "log"],
  ["sweep", "syncState", "commands", "driftLog"],
  ["report", "deliveries", "api", "suspects"],
  ["runs"],
  ["health"],
  ["pendingRepairs", "rows", "moves", "tombstones"],
  ["mirror"],
  ["step"],
  ["judgement", "lifecycle"],
  ["walk"],
  ["phases"],
  ["conductor", "repair"],
  ["reconcile", "webhook"],
  ["routes", "symptoms"],
  ["doctor"],
];
/** Files that decide without touching the database, Clerk or the clock. */
const PURE = ["app", "paths", "validators", "tables", "profile", "plan", "sweep"];

const directionOfImports = LAYERS.flatMap((layer, level) =>
  layer.map((name) => ({
    files: [`${SYNC}/${name}.ts`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              group: [
                ...LAYERS.slice(level)
                  .flat()
                  .filter((other) => other !== name)
                  .map((other) => `./${other}`),
                ...(PURE.includes(name) ? ["../_generated/*", "svix"] : []),
                "../!(_generated)",
              ],
              allowTypeImports: true,
              message: "Imports point one way: see LAYERS in .eslint.config.mjs.",
            },
          ],
        },
      ],
    },
  })),
);

const unlistedFiles = {
  files: [`${SYNC}/*.ts`],
  ignores: LAYERS.flat().map((name) => `${SYNC}/${name}.ts`),
  rules: {
    "no-restricted-syntax": [
      "error",
      { selector: "Program", message: "Give this file its place in LAYERS of .eslint.config.mjs." },
    ],
  },
};

export default tseslint.config(
  { ignores: ["convex/_generated/"] },
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { project: ["./tsconfig.json", "./convex/tsconfig.json"] },
    },
    rules: {
      eqeqeq: "error",
      "@typescript-eslint/consistent-type-imports": "error",
      // Leaving a property out of an object is what a rest is for.
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
      // An awaited return keeps the function in the stack trace.
      "@typescript-eslint/return-await": ["error", "always"],
      // Numbers are what sentences for people are made of.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    },
  },
  ...convexPlugin.configs.recommended,
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
    // Convex reads the variables of this file when it is pushed; `env` is not there yet.
    files: ["convex/auth.config.ts"],
    rules: { "@convex-dev/no-process-env": "off" },
  },
  ...directionOfImports,
  unlistedFiles,
  { files: ["**/*.mjs"], extends: [tseslint.configs.disableTypeChecked] },
);
