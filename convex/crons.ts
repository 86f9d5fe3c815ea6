import { cronJobs } from "convex/server";
import { internal } from "./_generated/api.js";

const crons = cronJobs();

// An interval also fires at once on the first deploy: that run is the backfill.
crons.interval("reconcile users with Clerk", { minutes: 15 }, internal.clerk.reconcile.run, {
  mode: "due",
});

export default crons;
