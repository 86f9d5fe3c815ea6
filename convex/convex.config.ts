import { defineApp } from "convex/server";
import { clerkEnvironment } from "./clerk/environment";

export default defineApp({ env: { ...clerkEnvironment } });
