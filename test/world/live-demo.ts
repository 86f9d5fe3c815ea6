/** `npm run demo -- --live` with the stand-in for the Convex CLI. */
import path from "node:path";
import { runDemo } from "../../scripts/demo/run-demo";

const cli = path.join(import.meta.dirname, "convex-cli.ts");
process.exitCode = await runDemo(process.argv.slice(2), [process.execPath, "--import", "tsx", cli]);
