import convexPlugin from "@convex-dev/eslint-plugin";
import tseslint from "typescript-eslint";

const SYNC = "convex/clerk";

/** Imports point one way: entries → stores and Clerk's API → pure files → tables and app. */
const LAYERS = [
  ["types", "clock", "environment", "parallel", "paths", "refusal", "runValidators", "secrets"],
  ["readers", "svix", "validators", "addresses"],
  ["fields", "app", "tables", "log", "misfit"],
  ["gone"],
  ["marks", "users"],
  ["profile"],
  ["fingerprint"],
  ["plan", "pages", "syncState", "commands", "driftLog"],
  ["columns"],
  ["erasure"],
  ["crowds", "rows"],
  ["sweep", "report", "deliveries", "request", "doubts", "driftEntries"],
  ["batch"],
  ["api", "runs"],
  ["health", "worker", "gate"],
  ["mirror", "instance", "findings", "tombstones"],
  ["step", "events", "firstDay", "adopt"],
  ["ahead", "judgement", "lifecycle", "compare"],
  ["call", "purge"],
  ["phases/begin", "phases/crowd", "phases/undated"],
  ["phases/walk", "phases/lookBack", "phases/count", "phases/evidence", "phases/deletion"],
  ["conductor", "repair"],
  ["reconcile", "webhook"],
  ["routes", "symptoms"],
  ["doctor"],
];
/** Files that decide without touching the database, Clerk or the clock. */
const PURE = [
  "types",
  "readers",
  "fields",
  "app",
  "marks",
  "paths",
  "secrets",
  "addresses",
  "validators",
  "runValidators",
  "tables",
  "profile",
  "fingerprint",
  "misfit",
  "plan",
  "pages",
  "crowds",
  "sweep",
  "batch",
];

/** What a file may not import: its own layer and those above, the app's files, and, if pure, what acts. */
function forbiddenTo(name, others) {
  const up = name.includes("/") ? "\\.\\./" : "";
  const files = others.filter((other) => other !== name).map((other) => other.split("/").at(-1));
  const acts = PURE.includes(name) ? "|.*_generated/.*|(\\./)?svix(\\.js)?" : "";
  const local = `\\.{1,2}/(phases/)?(${files.join("|")})\\.js`;
  return `^(${local}|${up}\\.\\./(?!_generated/).*${acts})$`;
}

const directionOfImports = LAYERS.flatMap((layer, level) =>
  layer.map((name) => ({
    files: [`${SYNC}/${name}.ts`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              regex: forbiddenTo(name, LAYERS.slice(level).flat()),
              allowTypeImports: true,
              message: "Imports point one way: see LAYERS in .eslint.config.mjs.",
            },
          ],
        },
      ],
    },
  })),
);

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

const unlistedFiles = {
  files: [`${SYNC}/**/*.ts`],
  ignores: LAYERS.flat().map((name) => `${SYNC}/${name}.ts`),
  rules: {
    "no-restricted-syntax": [
      "error",
      { selector: "Program", message: "Give this file its place in LAYERS of .eslint.config.mjs." },
    ],
  },
};

export default tseslint.config(
  { ignores: ["convex/_generated/", "dist/"] },
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
    // An app need not declare the sync's variables in a convex.config.ts.
    files: [`${SYNC}/environment.ts`],
    rules: { "@convex-dev/no-process-env": "off" },
  },
  {
    // Convex reads the variables of this file when it is pushed; `env` is not there yet.
    files: ["convex/auth.config.ts"],
    rules: { "@convex-dev/no-process-env": "off" },
  },
  ...directionOfImports,
  portableFiles,
  unlistedFiles,
  { files: ["**/*.mjs"], extends: [tseslint.configs.disableTypeChecked] },
);
