/** The demo's story: backfill, a life with unreliable webhooks, drift, repair. */
import { setTimeout } from "node:timers/promises";
import type { FunctionReturnType } from "convex/server";
import type { internal } from "../../convex/_generated/api";
import { DAY } from "../../convex/clerk/shared/clock";
import type { UserEvent } from "../stand-in/clerk-json";
import { ClerkStandIn } from "../stand-in/clerk-stand-in";
import { compare, type Difference } from "./compare";
import { historyOf, type Change } from "./history";
import type { Host } from "../host/host";
import { signedEvent } from "../stand-in/signed-event";

export type Report = FunctionReturnType<typeof internal.clerk.reconcile.run>;
type Print = (text?: string) => void;

const WEBHOOK_SECRET = `whsec_${Buffer.from("the demo's signing secret").toString("base64")}`;
const YEAR = 365 * DAY;
const LOG_LINES_SHOWN = 6;
const FIRST_NAMES = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "Tony"];
const LAST_NAMES = [
  "Lovelace",
  "Hopper",
  "Turing",
  "Dijkstra",
  "Liskov",
  "Knuth",
  "Allen",
  "Hoare",
];

/** Tells the story on a host. @returns whether the table ends equal to Clerk, rightly reported */
export async function tell(
  host: Host,
  { users, seed, print }: { users: number; seed: number; print: Print },
): Promise<boolean> {
  const clerk = new ClerkStandIn();
  try {
    await host.setVariable("CLERK_API_URL", await clerk.start());
    await host.setVariable("CLERK_SECRET_KEY", clerk.secretKey);
    await host.setVariable("CLERK_WEBHOOK_SECRET", WEBHOOK_SECRET);
    return await new Story(host, clerk, print).tell(users, seed);
  } finally {
    await clerk.stop();
  }
}

function isDrift({ missing, stale, orphaned }: Difference, counts: Report["drift"]): boolean {
  return (
    missing.length === counts.missing &&
    stale.length === counts.stale &&
    orphaned.length === counts.orphaned
  );
}

/** At most so many lines: the first ones and the last. */
function shortened(lines: string[], most: number): string[] {
  if (lines.length <= most) return lines;
  const left = lines.length - most;
  return most === 0
    ? []
    : [...lines.slice(0, most - 1), `… ${left} more lines …`, ...lines.slice(-1)];
}

class Story {
  readonly #ids: string[] = [];
  #now = Date.now();

  constructor(
    readonly host: Host,
    readonly clerk: ClerkStandIn,
    readonly print: Print,
  ) {}

  async tell(users: number, seed: number): Promise<boolean> {
    const { print } = this;
    print(`Convex functions run ${this.host.name}; Clerk is a stand-in over HTTP.\n`);
    print(`1. ${users} people signed up before there was a sync. The first run is the backfill.`);
    for (let i = 0; i < users; i++) this.#ids.push(this.#signUp(this.#now - YEAR + i * 1000));
    const backfill = await this.#reconcile({});

    const history = historyOf({ users, seed });
    print(`\n2. Life goes on: ${history.length} changes in Clerk, each with its signed webhook.`);
    const posted = await this.#live(history);
    print(
      `   ${posted.accepted} webhooks posted and accepted, some twice or out of order; ${posted.lost} got lost.`,
    );

    print("\n3. What drifted, by comparing Clerk with the table:");
    const drifted = await this.#compare();
    this.#printDifference(drifted);

    print("\n4. A dry run finds it and changes nothing.");
    const dry = await this.#reconcile({ dryRun: true });

    print("\n5. A run repairs it.");
    const repair = await this.#reconcile({}, LOG_LINES_SHOWN);

    print("\n6. A second run finds nothing.");
    const second = await this.#reconcile({});

    const left = await this.#compare();
    print();
    this.#printTable({ backfill, "dry run": dry, repair, "second run": second });
    const isEqual = isDrift(left, { missing: 0, stale: 0, orphaned: 0 });
    const rows = await this.host.readTable("users");
    print(
      isEqual
        ? `\nThe users table equals Clerk: ${rows.length} users.`
        : "\nThe users table differs from Clerk:",
    );
    if (!isEqual) this.#printDifference(left);
    const isReported = isDrift(drifted, dry.drift) && isDrift(drifted, repair.drift);
    if (!isReported) print("\nThe reports of steps 4 and 5 count other drift than step 3 shows.");
    if (second.setAside > 0) await this.#printSetAside(second);
    return isEqual && isReported;
  }

  #signUp(created_at: number): string {
    const index = this.clerk.users.size;
    const pick = (names: string[], by: number) =>
      names[Math.floor(index / by) % names.length] ?? "";
    const first_name = pick(FIRST_NAMES, 1);
    const { user } = this.clerk.createUser({
      created_at,
      first_name,
      last_name: pick(LAST_NAMES, FIRST_NAMES.length),
      email: `${first_name.toLowerCase()}.${index}@example.com`,
    });
    return user.id;
  }

  async #reconcile(args: { dryRun?: boolean }, logLines = 0): Promise<Report> {
    this.host.takeLog();
    const report = (await this.host.run("clerk/reconcile:run", args)) as Report;
    const log = this.host.takeLog();
    for (const line of shortened(log, logLines)) this.print(`   log: ${line}`);
    this.print(`   ${report.summary}${report.next === null ? "" : `\n   next: ${report.next}`}`);
    return report;
  }

  /** Lives through a history. Late webhooks arrive at its end, the latest first. */
  async #live(history: Change[]): Promise<{ accepted: number; lost: number }> {
    const late: UserEvent[] = [];
    const counts = { accepted: 0, lost: 0 };
    for (const [index, change] of history.entries()) {
      const event = await this.#happen(change);
      if (change.delivery === "lost") counts.lost += 1;
      if (change.delivery === "late") late.unshift(event);
      const times = { once: 1, twice: 2, late: 0, lost: 0 }[change.delivery];
      for (let i = 0; i < times; i++) counts.accepted += await this.#post(event, `msg_${index}`);
    }
    for (const [index, event] of late.entries()) {
      counts.accepted += await this.#post(event, `msg_late_${index}`);
    }
    return counts;
  }

  async #happen({ kind, who }: Change): Promise<UserEvent> {
    // Each at a time of its own that the functions' clock has reached: a change from the future would leave a doubt.
    while (Date.now() <= this.#now) await setTimeout(1);
    this.#now = Date.now();
    if (kind === "create") {
      const { event } = this.clerk.createUser({
        created_at: this.#now,
        first_name: `Newcomer ${who + 1}`,
        email: `newcomer.${who + 1}@example.com`,
      });
      return event;
    }
    const id = this.#ids[who] ?? "";
    if (kind === "delete") return this.clerk.deleteUser(id, this.#now);
    return this.clerk.updateUser(id, { username: `user_${this.#now}` }, this.#now);
  }

  async #post(event: UserEvent, id: string): Promise<number> {
    const status = await this.host.postWebhook(signedEvent(event, { secret: WEBHOOK_SECRET, id }));
    if (status === 200) return 1;
    throw new Error(`The webhook answered ${status} to a signed event.`);
  }

  async #compare(): Promise<Difference> {
    return compare(this.clerk.users, await this.host.readTable("users"));
  }

  async #printSetAside({ setAside }: Report): Promise<void> {
    const entries = await this.host.readTable("clerkDriftEntries");
    const { clerkId, reason } = entries.findLast(({ action }) => action === "setAside") ?? {};
    this.print(`\n${setAside} users can't be mirrored, or not wholly; of ${clerkId}: ${reason}`);
  }

  #printDifference({ missing, stale, orphaned }: Difference): void {
    this.print(`   missing (in Clerk only): ${missing.length}`);
    this.print(`   stale (different):       ${stale.length}`);
    this.print(`   orphaned (deleted):      ${orphaned.length}`);
  }

  #printTable(reports: Record<string, Report>): void {
    const columns = [
      "",
      "missing",
      "stale",
      "orphaned",
      "created",
      "updated",
      "deleted",
      "requests",
      "seconds",
    ];
    const rows = Object.entries(reports).map(
      ([name, { drift, repaired, requests, durationMs }]) => {
        const { missing, stale, orphaned } = drift;
        const { created, updated, deleted } = repaired;
        const seconds = ((durationMs ?? 0) / 1000).toFixed(1);
        return [name, missing, stale, orphaned, created, updated, deleted, requests, seconds].map(
          String,
        );
      },
    );
    for (const row of [columns, ...rows]) {
      const [name = "", ...cells] = row;
      this.print(name.padEnd(11) + cells.map((cell) => cell.padStart(10)).join(""));
    }
  }
}
