/** npm run demo [-- --users 500 --seed 1 --live]: a drifted users table, reconciled end to end. */
import { runDemo } from "./run-demo";

process.exitCode = await runDemo(process.argv.slice(2));
