// @vitest-environment node
/** An action of Convex has a heap of 64 MB. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";

const MOST_MB = 64;
const USERS = 2700;
const clerk = new ClerkStandIn();
let url: string;

beforeEach(async () => {
  url = await clerk.start();
});
afterEach(async () => {
  await clerk.stop();
});

test(
  "pages of 500 users with 30 kB of JSON each are read within 64 MB, four requested ahead",
  { tags: ["slow"] },
  async () => {
    clerk.environment = "production";
    for (let i = 0; i < USERS; i++) {
      clerk.createUser({
        created_at: 1_600_000_000_000 + i,
        public_metadata: { note: "x".repeat(8000) },
        unsafe_metadata: { list: Array.from({ length: 1000 }, (_, j) => `item number ${i} ${j}`) },
      });
    }
    expect(JSON.stringify([...clerk.users.values()]).length).toBeGreaterThan(USERS * 30_000);
    const heap = [`--max-old-space-size=${MOST_MB}`, "--max-semi-space-size=1"];
    const child = spawn(process.execPath, [...heap, "--import", "tsx", "test/world/heap.ts"], {
      env: { ...process.env, CLERK_API_URL: url, CLERK_SECRET_KEY: clerk.secretKey },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
    expect(errors).toBe("");
    expect(out.trim()).toBe(String(USERS));
    expect(clerk.requests.filter(({ query }) => query.has("offset")).length).toBeGreaterThan(2);
  },
);
