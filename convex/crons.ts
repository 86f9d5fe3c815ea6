import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();

// An interval also fires at once on the first deploy: that run is the backfill.
crons.interval("reconcile users with Clerk", { hours: 24 }, internal.clerk.reconcile.run, {});

export default crons;
