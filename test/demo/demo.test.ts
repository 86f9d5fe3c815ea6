/** @module-tag slow */
// @vitest-environment node
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test, vi } from "vitest";
import type { Host } from "../../scripts/host/host";
import { startInProcess } from "../../scripts/host/in-process-host";
import { startLive } from "../../scripts/host/live-host";
import { tell } from "../../scripts/demo/story";
import { WEBHOOK_SECRET } from "../world/setting";

const tsx = (script: string, ...args: string[]) =>
  spawnSync(process.execPath, ["--import", "tsx", `scripts/${script}`, ...args], {
    encoding: "utf8",
    // A demo that is told ends: nothing may be left to be done.
    timeout: 60_000,
  });

/** `LIVE=1` has the stories told on a real, local Convex backend. */
const LIVE = process.env.LIVE !== undefined;

async function tellQuietly(seed: number, spoil?: (host: Host) => void) {
  const host = await (LIVE ? startLive() : startInProcess());
  spoil?.(host);
  const said: string[] = [];
  try {
    const print = (text = "") => said.push(text);
    return { isEqual: await tell(host, { users: 40, seed, print }), said: said.join("\n") };
  } finally {
    await host.stop();
  }
}

describe("the demo", { timeout: LIVE ? 600_000 : 60_000 }, () => {
  test.each([1, 2, 3, 4])("converges with seed %i", async (seed) => {
    const { isEqual, said } = await tellQuietly(seed);
    expect(isEqual).toBe(true);
    expect(said).toMatch("The users table equals Clerk");
  });

  test("tells the same story for the same seed", async () => {
    const withoutTimes = ({ said }: { said: string }) => said.replace(/\s+\d+\.\d$|.*log:.*/gm, "");
    expect(withoutTimes(await tellQuietly(7))).toBe(withoutTimes(await tellQuietly(7)));
  });

  test("fails when the table does not end equal to Clerk", async () => {
    const { isEqual, said } = await tellQuietly(1, (host) => {
      const readTable = host.readTable.bind(host);
      host.readTable = async (table) => (await readTable(table)).slice(1);
    });
    expect(isEqual).toBe(false);
    expect(said).toMatch("The users table differs from Clerk");
  });

  test("exits with 0, and with 2 and a sentence for wrong options", () => {
    expect(tsx("demo/demo.ts", "--users", "10")).toMatchObject({ status: 0 });
    const wrong = tsx("demo/demo.ts", "--users", "many");
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toMatch("--users must be a whole number from 10 to 5000, not many.");
  });
});

describe("the demo of the chat room", () => {
  test("lets a browser reach public functions only", async () => {
    const host = await startInProcess();
    const ask = async (kind: string, path: string) => {
      const body = JSON.stringify({ path, args: [{}] });
      const response = await fetch(`${host.url}/api/${kind}`, { method: "POST", body });
      return { status: response.status, text: await response.text() };
    };
    try {
      expect(await ask("query", "account:current")).toMatchObject({
        status: 200,
        text: expect.stringContaining("signed out") as string,
      });
      expect(await ask("query", "messages:list")).toMatchObject({
        status: 560,
        text: expect.stringContaining("Sign in with Clerk first") as string,
      });
      for (const [kind, path] of [
        ["query", "clerk/reconcile:status"],
        ["mutation", "clerk/reconcile:cancel"],
        ["query", "users:getUser"],
        ["query", "account:ensureSynced"],
        ["query", "nowhere:nothing"],
        ["action", "clerk/reconcile:run"],
      ] as const) {
        expect(await ask(kind, path), path).toMatchObject({ status: 404 });
      }
    } finally {
      await host.stop();
    }
  });

  test("exits with 2 and a sentence for wrong options", () => {
    const wrong = tsx("demo/chat.ts", "--port", "http");
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toMatch("--port must be a whole number from 0 to 65535, not http.");
    const unknown = tsx("demo/chat.ts", "--prot", "5173");
    expect(unknown.status).toBe(2);
    expect(unknown.stderr).toMatch(/^Unknown option '--prot'.*\nusage: .+\n$/);
  });

  test("takes no other port than the one that was asked for", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as AddressInfo;
    const refused = tsx("demo/chat.ts", "--port", String(port));
    taken.close();
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(`Port ${port} is already in use`);
  });
});

describe("send-event", () => {
  test("posts a signed event, and exits by the answer", async () => {
    const received: string[] = [];
    const server = createServer((request, response) => {
      received.push(String(request.headers["svix-signature"]));
      response.writeHead(received.length === 1 ? 200 : 400).end("seen");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const send = async () => {
      const args = [
        "--import",
        "tsx",
        "scripts/send-event.ts",
        "--url",
        `http://127.0.0.1:${port}`,
        "--id",
        "user_1",
      ];
      const env = { ...process.env, CLERK_WEBHOOK_SECRET: WEBHOOK_SECRET };
      const child = spawn(process.execPath, args, { env });
      return await new Promise<number | null>((resolve) => child.on("close", resolve));
    };
    expect(await send()).toBe(0);
    expect(await send()).toBe(1);
    expect(received).toEqual([expect.stringMatching(/^v1,/), expect.stringMatching(/^v1,/)]);
    server.close();
  });

  test("says what is missing", () => {
    const wrong = tsx(
      "send-event.ts",
      "--url",
      "http://127.0.0.1:9",
      "--id",
      "user_1",
      "--type",
      "user.x",
    );
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toMatch("--type must be one of user.created, user.updated, user.deleted");
    expect(wrong.stderr).toMatch("usage: ");
  });

  test.each([
    ["whsec_…", "CLERK_WEBHOOK_SECRET holds a masked value"],
    ["whsec_c2VjcmV0", "CLERK_WEBHOOK_SECRET holds something that no signing secret is"],
    ["", "CLERK_WEBHOOK_SECRET is not set"],
    [WEBHOOK_SECRET, "No answer from http://127.0.0.1:9: "],
  ])("with the secret %j and nobody at the address says so", (secret, sentence) => {
    vi.stubEnv("CLERK_WEBHOOK_SECRET", secret);
    const wrong = tsx("send-event.ts", "--url", "http://127.0.0.1:9", "--id", "user_1");
    vi.unstubAllEnvs();
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toMatch(sentence);
    expect(wrong.stderr).not.toMatch(/\n +at /);
  });
});
