/** @module-tag slow */
// @vitest-environment node
/** The chat room in headless Chromium, as `npm run demo:chat` serves it. */
import { existsSync } from "node:fs";
import axe from "axe-core";
import { chromium, type Browser, type Page } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Person } from "../../scripts/demo/backstage";
import { serveChatRoom, type ChatRoomServer } from "../../scripts/demo/server";

const CHROMIUM = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);

if (CHROMIUM === undefined) {
  console.warn(
    "SKIPPED: the chat room in a browser. No Chromium at /usr/bin/chromium (Debian: apt-get install chromium), nor at $CHROMIUM.",
  );
}

/** Chromium for a test: nothing but the page itself goes over the network. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

describe.skipIf(CHROMIUM === undefined)("the chat room in a browser", () => {
  let browser: Browser;
  let server: ChatRoomServer;
  let deliver: () => void;
  const problems: string[] = [];

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  });
  afterAll(async () => {
    await browser.close();
  });

  beforeEach(async () => {
    const gate = new Promise<void>((resolve) => {
      deliver = resolve;
    });
    // Webhooks are on their way until the test has seen what it is like without them.
    server = await serveChatRoom({
      port: 0,
      beforeDelivery: async () => {
        await gate;
      },
    });
    problems.length = 0;
  });
  afterEach(async () => {
    await Promise.all(
      browser.contexts().map(async (context) => {
        await context.close();
      }),
    );
    await server.stop();
    expect(problems).toEqual([]);
  });

  /** A window of its own, in which a reload would be noticed. */
  async function open(): Promise<Page> {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.on("pageerror", ({ message }) => problems.push(message));
    page.on("request", (request) => {
      if (!request.url().startsWith(server.url)) problems.push(`asked ${request.url()}`);
    });
    await page.goto(server.url);
    page.on("load", () => problems.push("the page was loaded again"));
    return page;
  }

  const status = async (page: Page, text: string) => {
    await page.getByRole("status").getByText(text, { exact: true }).waitFor();
  };
  const signUp = async (page: Page, name: string) => {
    await page.getByLabel("First name", { exact: true }).fill(name);
    await page.getByRole("button", { name: "Sign up" }).click();
  };
  const say = async (page: Page, body: string) => {
    await page.getByLabel("Message", { exact: true }).fill(body);
    await page.keyboard.press("Enter");
  };
  /** What the page asks of `ensureSynced` from now on. */
  const questions = (page: Page): string[] => {
    const asked: string[] = [];
    page.on("request", (request) => {
      const body = request.postData() ?? "";
      if (body.includes("account:ensureSynced")) asked.push(body);
    });
    return asked;
  };
  const drift = async (page: Page, count: string) => {
    await page.getByLabel("Drift").getByText(count, { exact: true }).waitFor();
  };
  const message = (page: Page, author: string, body: string) =>
    page.getByRole("log").getByRole("listitem").filter({ hasText: author }).getByText(body);

  test("goes from No Clerk User to Logged In when the webhook comes, without a reload", async () => {
    const page = await open();
    await status(page, "No JWT Token");
    await signUp(page, "Zoe");
    await status(page, "No Clerk User");
    deliver();
    await status(page, "Logged In");
    await page.getByText("webhook.applied").waitFor();
  });

  test("asks for nobody's row whose webhook comes", async () => {
    deliver();
    const page = await open();
    const asked = questions(page);
    await signUp(page, "Zoe");
    await status(page, "Logged In");
    expect(asked).toEqual([]);
  });

  test("ends at once with a ban, also for a token that still lives, and opens again without one", async () => {
    deliver();
    const page = await open();
    const reads = async () => {
      const id = await page.evaluate(() => sessionStorage.getItem("clerkId"));
      const headers = { authorization: `Bearer ${id ?? ""}` };
      const data = { path: "messages:list", args: [{}] };
      const response = await page.request.post(`${server.url}api/query`, { data, headers });
      return await response.text();
    };
    await signUp(page, "Zoe");
    await status(page, "Logged In");
    await say(page, "before the ban");
    await message(page, "Zoe", "before the ban").waitFor();
    expect(await reads()).toMatch("before the ban");
    await page.getByRole("button", { name: "Ban Zoe" }).click();
    await status(page, "Banned");
    await page.getByText("You are banned from this room.").waitFor();
    expect(await page.getByRole("log").count()).toBe(0);
    expect(await reads()).toMatch("Your account is banned.");
    expect(await reads()).not.toMatch("before the ban");
    await page.getByRole("button", { name: "Unban Zoe" }).click();
    await message(page, "Zoe", "before the ban").waitFor();
  });

  test("finds a ban that no webhook told of by a run, and its end by itself", async () => {
    deliver();
    const page = await open();
    await page.getByLabel("Signed in as").selectOption("Ada");
    await status(page, "Logged In");
    await page.getByRole("switch").uncheck();
    await page.getByRole("button", { name: "Ban Ada", exact: true }).click();
    await page.getByRole("button", { name: "Unban Ada" }).waitFor();
    await status(page, "Logged In");
    await page.getByRole("button", { name: "Reconcile" }).click();
    await status(page, "Banned");
    await page.getByRole("button", { name: "Unban Ada" }).click();
    await status(page, "Logged In");
  });

  test("shows messages and new names in the other window without a reload", async () => {
    deliver();
    const [zoe, ada] = [await open(), await open()];
    await signUp(zoe, "Zoe");
    await ada.getByLabel("Signed in as").selectOption("Ada");
    for (const page of [zoe, ada]) await status(page, "Logged In");
    await say(zoe, "Hello from Zoe");
    await message(ada, "Zoe", "Hello from Zoe").waitFor();
    await expect.poll(() => zoe.getByLabel("Message", { exact: true }).inputValue()).toBe("");
    await say(ada, "Hello from Ada");
    await message(zoe, "Ada", "Hello from Ada").waitFor();

    await ada.getByLabel("New name of Zoe").fill("Zora");
    await ada.getByRole("button", { name: "Rename Zoe" }).click();
    for (const page of [zoe, ada]) await message(page, "Zora", "Hello from Zoe").waitFor();

    await zoe.getByLabel("Your colour").selectOption("orchid");
    const zora = ada.getByRole("log").getByRole("listitem").filter({ hasText: "Zora" });
    await zora.locator('[style*="orchid"]').waitFor();
  });

  test("loses nobody whose deletion got lost, until a reconcile finds it", async () => {
    deliver();
    const [zoe, ada] = [await open(), await open()];
    await signUp(zoe, "Zoe");
    await status(zoe, "Logged In");
    await say(zoe, "Remember me");
    await ada.getByLabel("Signed in as").selectOption("Ada");
    await ada.getByRole("switch").uncheck();
    await ada.getByRole("button", { name: "Delete Zoe" }).click();
    await ada.getByLabel("New name of Grace").fill("Gracie");
    await ada.getByRole("button", { name: "Rename Grace" }).click();
    for (const each of ["missing 0", "stale 1", "orphaned 1"]) await drift(ada, each);
    expect(await message(ada, "Zoe", "Remember me").isVisible()).toBe(true);
    await status(zoe, "Logged In");

    await ada.getByRole("button", { name: "Reconcile" }).click();
    await message(ada, "deleted user", "Remember me").waitFor();
    await status(zoe, "No Clerk User");
    for (const each of ["missing 0", "stale 0", "orphaned 0"]) await drift(ada, each);
    expect(await ada.getByLabel("Log").getByRole("listitem").first().innerText()).toBe(
      "reconcile.finished 3 users compared: updated 1, deleted 1.",
    );
  });

  test("shows nothing of who was signed in before, and sends nothing as somebody else", async () => {
    const page = await open();
    const signIn = async (name: string) => {
      await page.getByLabel("Signed in as").selectOption(name);
    };
    const composer = page.getByLabel("Message", { exact: true });
    await signIn("Ada");
    await status(page, "Logged In");
    await say(page, "from Ada");
    await message(page, "Ada", "from Ada").waitFor();
    await composer.fill("Ada's draft");

    await signIn("Grace");
    await message(page, "Ada", "from Ada").waitFor();
    expect(await composer.inputValue()).toBe("");
    await say(page, "from Grace");
    await message(page, "Grace", "from Grace").waitFor();
    expect(await page.getByRole("log").getByRole("listitem").count()).toBe(2);

    await signIn("nobody");
    await status(page, "No JWT Token");
    expect(await page.getByText("from Ada").count()).toBe(0);
    expect(await composer.count()).toBe(0);
    await page.reload();
    await status(page, "No JWT Token");
    expect(problems.splice(0)).toEqual(["the page was loaded again"]);
  });

  test("stays usable for somebody who is deleted while they look at the room", async () => {
    deliver();
    const page = await open();
    for (const name of ["Zoe", "Zora", "Zita"]) {
      await signUp(page, name);
      await status(page, "Logged In");
      await say(page, `from ${name}`);
      await message(page, name, `from ${name}`).waitFor();
      await page.getByRole("button", { name: `Delete ${name}` }).click();
      await status(page, "No Clerk User");
      expect(await page.getByText(`from ${name}`).count()).toBe(0);
    }
  });

  test("holds many deletions, and makes them when that is asked for", async () => {
    const page = await open();
    const command = async (name: string, data: object) => {
      const response = await page.request.post(`${server.url}backstage/${name}`, { data });
      return (await response.json()) as Person;
    };
    const visitors: string[] = [];
    for (let i = 0; i < 11; i++) visitors.push((await command("signUp", { name: `V ${i}` })).id);
    await page.getByRole("button", { name: "Reconcile" }).click();
    await page.getByText("14 users compared: created 11").waitFor();
    for (const id of visitors) await command("remove", { id });
    await drift(page, "orphaned 11");
    await page.getByRole("button", { name: "Reconcile" }).click();
    await page.getByRole("button", { name: "Delete the 11 who are held" }).click();
    await drift(page, "orphaned 0");
  });

  test("lets in a newcomer whose webhook got lost, within seconds", async () => {
    const page = await open();
    const asked = questions(page);
    await page.getByRole("switch").uncheck();
    await signUp(page, "Zoe");
    await status(page, "No Clerk User");
    await status(page, "Logged In");
    expect(asked.length).toBe(1);
  });

  test("says what was wrong with a message, and keeps it", async () => {
    const page = await open();
    await page.getByLabel("Signed in as").selectOption("Ada");
    await status(page, "Logged In");
    await say(page, "   ");
    await page.getByRole("alert").getByText("A message has 1 to 2000 characters").waitFor();
    expect(await page.getByLabel("Message", { exact: true }).inputValue()).toBe("   ");
  });

  test("has no fault that axe finds and no sideways scroll: light, dark, wide, narrow", async () => {
    deliver();
    const page = await open();
    await page.getByLabel("Signed in as").selectOption("Ada");
    await status(page, "Logged In");
    await say(page, `${"long ".repeat(50)}${"x".repeat(200)}`);
    await message(page, "Ada", "xxx").waitFor();
    await page.getByRole("button", { name: "Delete Ada" }).click();
    await page.getByLabel("Signed in as").selectOption("Grace");
    await message(page, "deleted user", "xxx").waitFor();
    await page.addScriptTag({ content: axe.source });
    for (const width of [1440, 360]) {
      await page.setViewportSize({ width, height: 800 });
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        const { violations } = await page.evaluate(async () => await window.axe.run());
        expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
      }
      const overflow = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return scrollWidth - clientWidth;
      });
      expect(overflow).toBe(0);
    }
  });
});

describe.skipIf(CHROMIUM === undefined)("the page for a deployment", () => {
  let browser: Browser;
  let server: ViteDevServer;

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  });
  afterAll(async () => {
    await browser.close();
  });
  afterEach(async () => {
    await server.close();
    vi.unstubAllEnvs();
  });

  async function open(): Promise<Page> {
    const configFile = "scripts/demo/vite.config.ts";
    server = await createServer({ configFile, envDir: false, logLevel: "silent" });
    await server.listen(0);
    const url = server.resolvedUrls?.local[0] ?? "";
    const page = await browser.newPage();
    await page.route(
      (asked) => !asked.href.startsWith(url),
      async (route) => {
        await route.abort();
      },
    );
    await page.goto(url);
    return page;
  }

  test("says which variable is missing", async () => {
    await (await open()).getByText("Set VITE_CLERK_PUBLISHABLE_KEY").waitFor();
    await server.close();
    vi.stubEnv("VITE_CLERK_PUBLISHABLE_KEY", "pk_test_x");
    await (await open()).getByText("VITE_CONVEX_URL is missing").waitFor();
  });

  test("opens the same room, and waits for Clerk", async () => {
    vi.stubEnv("VITE_CLERK_PUBLISHABLE_KEY", `pk_test_${btoa("clerk.example.com$")}`);
    vi.stubEnv("VITE_CONVEX_URL", "http://127.0.0.1:9");
    const page = await open();
    await page.getByRole("heading", { name: "Chat room" }).waitFor();
    await page.getByRole("status").getByText("Loading").waitFor();
    expect(await page.getByText("Backstage").count()).toBe(0);
  });
});

describe("the side panel", () => {
  test("takes commands of its own page only, and says what is wrong with one", async () => {
    const server = await serveChatRoom({
      port: 0,
      beforeDelivery: async () => {
        await Promise.resolve();
      },
    });
    const command = async (name: string, given: unknown, type = "application/json") => {
      const headers = { "content-type": type };
      const body = JSON.stringify(given);
      const response = await fetch(`${server.url}backstage/${name}`, {
        method: "POST",
        headers,
        body,
      });
      return [response.status, (await response.json()) as unknown];
    };
    try {
      expect(await command("signUp", { name: "Zoe" })).toMatchObject([200, { name: "Zoe" }]);
      expect(await command("signUp", { name: " " })).toEqual([
        400,
        "A name has 1 to 60 characters.",
      ]);
      expect(await command("remove", { id: 7 })).toEqual([400, "Clerk knows nobody of this id."]);
      expect(await command("constructor", {})).toMatchObject([404, expect.anything()]);
      expect(await command("reconcile", {}, "text/plain")).toMatchObject([415, expect.anything()]);
    } finally {
      await server.stop();
    }
  });
});

declare global {
  interface Window {
    axe: typeof axe;
  }
}
