/** What happens behind the chat room of the demo: people in Clerk, its webhooks, runs. */
import { randomUUID } from "node:crypto";
import { clock, DAY, MINUTE } from "../../convex/clerk/shared/clock";
import type { ClerkUserJSON, UserEvent } from "../stand-in/clerk-json";
import { ClerkStandIn, ISSUER } from "../stand-in/clerk-stand-in";
import { compare, type Difference } from "./compare";
import { startInProcess, type InProcessHost } from "../host/in-process-host";
import { signedEvent } from "../stand-in/signed-event";
import type { Report } from "./story";

const WEBHOOK_SECRET = `whsec_${Buffer.from("the chat room's signing secret").toString("base64")}`;
const YEAR = 365 * DAY;
/** A run leaves to the webhooks what has changed in the last five minutes. */
const SETTLED_AFTER_MS = 6 * MINUTE;
const MAX_NAME_LENGTH = 60;
const LINES_KEPT = 50;
/** People from before there was a sync. */
const REGULARS = ["Ada", "Grace", "Alan"];

export type Person = { id: string; name: string; isBanned: boolean };

/** What the side panel shows. */
export type Scene = {
  people: Person[];
  isDelivering: boolean;
  drift: Difference;
  /** Deletions that the last run found and did not make. */
  held: number;
  /** The functions' last log lines, the newest first. */
  log: string[];
};

/** What a command is given, as it came. */
export type Given = { id?: unknown; name?: unknown; isOn?: unknown; maxDeletions?: unknown };

/** A command that makes no sense: its message says why. */
export class BadCommand extends Error {}

export class Backstage {
  readonly #clerk = new ClerkStandIn();
  #isDelivering = true;
  #isClosed = false;
  #log: string[] = [];
  #held = 0;
  #sent = 0;
  #changedAt = 0;

  private constructor(
    readonly host: InProcessHost,
    readonly beforeDelivery: () => Promise<unknown>,
  ) {}

  /** @param beforeDelivery what each webhook waits for on its way */
  static async open(beforeDelivery: () => Promise<unknown>): Promise<Backstage> {
    const backstage = new Backstage(await startInProcess(), beforeDelivery);
    await backstage.#setUp();
    return backstage;
  }

  async #setUp(): Promise<void> {
    const { host } = this;
    await host.setVariable("CLERK_API_URL", await this.#clerk.start());
    await host.setVariable("CLERK_SECRET_KEY", this.#clerk.secretKey);
    await host.setVariable("CLERK_WEBHOOK_SECRET", WEBHOOK_SECRET);
    await host.setVariable("CLERK_JWT_ISSUER_DOMAIN", ISSUER);
    for (const [i, first_name] of REGULARS.entries()) {
      this.#clerk.createUser({ created_at: clock.now() - YEAR + i, first_name });
    }
    await host.run("clerk/reconcile:run", {});
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.host.stop();
    await this.#clerk.stop();
  }

  async scene(): Promise<Scene> {
    this.#log = [...this.host.takeLog().reverse(), ...this.#log].slice(0, LINES_KEPT);
    const rows = await this.host.readTable("users");
    return {
      people: [...this.#clerk.users.values()].map(personOf),
      isDelivering: this.#isDelivering,
      drift: compare(this.#clerk.users, rows),
      held: this.#held,
      log: this.#log,
    };
  }

  /** The commands of the side panel. @throws BadCommand for arguments that make no sense */
  readonly commands = {
    signUp: ({ name }: Given): Person => {
      const first_name = nameFrom(name);
      // A window remembers who it is, also when the demo is started anew.
      const id = `user_${randomUUID().replaceAll("-", "")}`;
      const { user, event } = this.#clerk.createUser({ id, created_at: this.#tick(), first_name });
      this.#send(event);
      return personOf(user);
    },
    rename: ({ id, name }: Given): void => {
      const change = { first_name: nameFrom(name) };
      this.#send(this.#clerk.updateUser(this.#known(id), change, this.#tick()));
    },
    remove: ({ id }: Given): void => {
      this.#send(this.#clerk.deleteUser(this.#known(id), this.#tick()));
    },
    ban: ({ id, isOn }: Given): void => {
      const change = { banned: isOn === true };
      this.#send(this.#clerk.updateUser(this.#known(id), change, this.#tick()));
    },
    deliver: ({ isOn }: Given): void => {
      this.#isDelivering = isOn === true;
    },
    reconcile: async ({ maxDeletions }: Given): Promise<void> => {
      this.host.letPass(SETTLED_AFTER_MS);
      const args = typeof maxDeletions === "number" ? { maxDeletions } : {};
      const { held } = (await this.host.run("clerk/reconcile:run", args)) as Report;
      this.#held = held;
    },
  };

  /** The time of a change in Clerk, ms: no two are the same. */
  #tick(): number {
    this.#changedAt = Math.max(this.#changedAt + 1, clock.now());
    return this.#changedAt;
  }

  #known(id: unknown): string {
    if (typeof id === "string" && this.#clerk.users.has(id)) return id;
    throw new BadCommand("Clerk knows nobody of this id.");
  }

  /** A webhook on its way, unless they are switched off. Svix would send it again where it fails. */
  #send(event: UserEvent): void {
    if (!this.#isDelivering) return;
    this.#sent += 1;
    const id = `msg_${this.#sent}`;
    const deliver = async () => {
      await this.beforeDelivery();
      if (this.#isClosed) return;
      await this.host.postWebhook(signedEvent(event, { secret: WEBHOOK_SECRET, id }));
    };
    deliver().catch((error: unknown) => {
      if (!this.#isClosed) throw error;
    });
  }
}

export type CommandName = keyof Backstage["commands"];

function personOf({ id, first_name, banned }: ClerkUserJSON): Person {
  return { id, name: first_name ?? "", isBanned: banned };
}

function nameFrom(text: unknown): string {
  const name = typeof text === "string" ? text.trim() : "";
  if (name.length >= 1 && name.length <= MAX_NAME_LENGTH) return name;
  throw new BadCommand(`A name has 1 to ${MAX_NAME_LENGTH} characters.`);
}
