/** A world in which a generated history happens. What must hold in it after every step, `oracle.ts` says. */
import { convexTest } from "convex-test";
import type { FunctionArgs } from "convex/server";
import { vi } from "vitest";
import { internal } from "../../convex/_generated/api";
import type { Doc } from "../../convex/_generated/dataModel";
import { MINUTE, SECOND } from "../../convex/clerk/shared/clock";
import schema from "../../convex/schema";
import { ClerkStandIn, type Fault } from "../../scripts/stand-in/clerk-stand-in";
import {
  clerkIdAt,
  userEvent,
  deletedUser,
  type ClerkUserJSON,
  type UserEvent,
} from "../../scripts/stand-in/clerk-json";
import { signedEvent } from "../../scripts/stand-in/signed-event";
import { currentActor, newGate, waitForRequest, type Actor, type Gate } from "./gate";
import { appChoice, tokenOf, type History } from "./history-steps";
import { driftApart } from "./setting";
import { demand, Oracle, Violation, type Feature, type Run, type Sight } from "./oracle";

type Step = History["steps"][number];
type StepTo<Do extends Step["do"]> = Extract<Step, { do: Do }>;
type Change =
  | Pick<StepTo<"update">, "do" | "who" | "atEqualVersion">
  | Pick<StepTo<"toggle">, "do" | "who">
  | Pick<StepTo<"move">, "do" | "who" | "created">
  | Pick<StepTo<"delete">, "do" | "who">
  | Pick<StepTo<"come back">, "do" | "who">;

const modules = import.meta.glob("../../convex/**/*.ts");
const START = 1_700_000_000_000;
const LEAKED_SECRET = `whsec_${btoa("a signing secret that leaked")}`;
const NEW_SECRET = `whsec_${btoa("a signing secret that did not")}`;
/** How long an answer takes in peace. */
const ANSWER_MS = 10;
/** By then a run that does not go on is taken for dead. */
const LEASE_MS = 4 * MINUTE;
/** Rows of the app's own that somebody may turn out to be the user of. */
const OLD_ROWS = 3;
const SYNC_TABLES = [
  "clerkVersions",
  "clerkRuns",
  "clerkDriftEntries",
  "clerkDoubts",
  "clerkErasures",
  "clerkSyncState",
] as const;
/** Within so long Clerk's answers show a change. */
const MAX_LAG_MS = 4 * MINUTE;

const realSetTimeout = globalThis.setTimeout;
const macrotask = async () => {
  await new Promise((resolve) => realSetTimeout(resolve, 0));
};

export class World {
  readonly clerk = new ClerkStandIn();
  readonly #oracle = new Oracle(this.clerk, {
    see: async () => await this.#see(),
    mayBeFalse: () => this.#isFalsified || this.#laggingSince !== null || this.#isAway,
  });
  readonly #t = convexTest({ schema, modules, transactionLimits: true });
  readonly #gate: Gate = newGate();
  readonly #other = new ClerkStandIn();
  readonly #skewMs: number;
  #answerMs: number;
  readonly #events: { event: UserEvent; isDelivered: boolean }[] = [];
  /** Clerk's users as they were after each change. */
  readonly #past: { at: number; users: ReadonlyMap<string, ClerkUserJSON> }[] = [];
  #isLeaked = true;
  #looks = 0;
  #laggingSince: number | null = null;
  /** When somebody last came back under an id that was gone. */
  #returnedAt = -Infinity;
  #isFalsified = false;
  /** Whether the mirror is moved to the other instance. */
  #isAway = false;
  readonly #odd = new Set<string>();

  constructor(history: History) {
    this.#skewMs = history.skewMs;
    this.#answerMs = history.answerMs;
    this.clerk.createdAtAfterIsInclusive = history.createdAtAfterIsInclusive;
    this.clerk.shufflesTies = history.shufflesTies;
    this.clerk.environment = history.environment;
    this.#other.instanceId = "ins_other";
    this.#other.secretKey = "sk_test_other";
    for (let i = 0; i < 3; i += 1) {
      const id = `user_other${i}`;
      this.#other.createUser({ id, created_at: START + i, first_name: "other" });
    }
  }

  /** The dangers that were met. */
  get features(): ReadonlySet<Feature> {
    return this.#oracle.features;
  }

  /** What the database holds. */
  get #sight(): Sight {
    return this.#oracle.sight;
  }

  /** Lives through a history, and through the peace after it. */
  static async live(history: History): Promise<World> {
    vi.clearAllTimers();
    vi.setSystemTime(START + 1_000_000);
    appChoice.removal = history.removal;
    appChoice.purgeAfterMs = history.purgeAfterMs;
    appChoice.erases = history.erases;
    appChoice.isKeyed = history.isKeyed;
    appChoice.refusesBy = history.refusesBy;
    appChoice.refused.clear();
    driftApart(history.actionsAheadMs);
    const world = new World(history);
    vi.stubEnv("CLERK_SECRET_KEY", world.clerk.secretKey);
    vi.stubEnv("CLERK_WEBHOOK_SECRET", LEAKED_SECRET);
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      const askedAt = Date.now();
      await waitForRequest();
      vi.setSystemTime(Date.now() + world.#answerMs);
      const key = new Request(...args).headers.get("authorization");
      const instance = key === "Bearer sk_test_other" ? world.#other : world.clerk;
      const answer = await instance.fetch(...args);
      const looks = new Map([...instance.shown].map(([id, user]) => [id, user.first_name]));
      const actor = currentActor();
      if (actor) world.#oracle.answered(actor, askedAt, looks);
      // On its way back.
      await waitForRequest();
      return answer;
    });
    await world.#begin(history);
    world.#oracle.isEventful = true;
    for (const step of history.steps) await world.#take(step);
    world.#oracle.isEventful = false;
    await world.#end();
    return world;
  }

  async #begin({ before, isSynced, isKeyed }: History): Promise<void> {
    for (let i = 0; i < before.known + before.unknown; i += 1) this.#create(i % 5);
    const known = [...this.clerk.users.values()].slice(0, before.known);
    await this.#t.run(async (ctx) => {
      // As an app has them from before: nothing but what it wrote itself.
      await ctx.db.insert("users", { name: "Guest", color: "guest" });
      for (const [index, { id, first_name: firstName }] of known.entries()) {
        const name = firstName ?? undefined;
        const clerkId = isKeyed && index % 2 === 0 ? tokenOf(id) : id;
        await ctx.db.insert("users", { clerkId, firstName: name, color: "before" });
      }
      // A first run takes too many of these for users whose id was not filled in.
      if (isKeyed || before.known + before.gone > 1) {
        await ctx.db.insert("users", { clerkId: "guest_1", name: "Own", color: "own" });
      }
      for (let i = 0; i < before.gone; i += 1) {
        await ctx.db.insert("users", { clerkId: `user_gone${i}`, color: "before" });
      }
      for (let i = 0; i < OLD_ROWS; i += 1) {
        await ctx.db.insert("users", { name: "Old row", color: "before" });
      }
    });
    // They may be of users who sign up at this moment.
    await this.#wait(6 * MINUTE);
    await this.#oracle.look("app");
    if (isSynced) await this.#runInPeace({});
  }

  // What may happen.

  async #take(step: Step): Promise<void> {
    switch (step.do) {
      case "create":
        this.#create(step.created, step.inOneMoment);
        return;
      case "update":
      case "toggle":
      case "move":
      case "delete":
      case "come back":
        this.#change(step);
        return;
      case "deliver":
        await this.#deliver(step.which);
        return;
      case "lose": {
        const next = this.#events.find(({ isDelivered }) => !isDelivered);
        if (next) next.isDelivered = true;
        return;
      }
      case "forge":
        await this.#forge(step);
        return;
      case "rotate the secret":
        this.#isLeaked = false;
        vi.stubEnv("CLERK_WEBHOOK_SECRET", NEW_SECRET);
        return;
      case "write own field":
        await this.#writeColor(step.who);
        return;
      case "lose row":
        await this.#loseRow(step.who);
        return;
      case "run": {
        const { mode, dryRun, maxDeletions, pageSize, inOneGo } = step;
        await this.#call({ mode, dryRun, maxDeletions, pageSize });
        if (inOneGo) await this.#proceed(this.#gate.actors.length - 1, 600);
        return;
      }
      case "tick":
        await this.#call({ mode: "due" });
        return;
      case "repair": {
        const clerkId = this.#pick(step.who);
        if (clerkId === undefined) return;
        await this.#arrival(
          this.#t.action(internal.clerk.reconcile.user, { clerkId }).catch(() => undefined),
        );
        return;
      }
      case "proceed":
        await this.#proceed(step.actor, step.places);
        return;
      case "finish":
        await this.#proceed(step.actor, 600);
        return;
      case "race a deletion":
        await this.#race(step.actor);
        return;
      case "overtake":
        await this.#overtake(step);
        return;
      case "kill":
        this.#kill(step.actor);
        return;
      case "hear of a ghost":
        await this.#haunt(step.places);
        return;
      case "leave unheard":
        this.#leaveUnheard(step.who);
        await this.#wait(6 * MINUTE);
        await this.#call({ pageSize: 4 });
        await this.#proceed(this.#gate.actors.length - 1, step.places);
        return;
      case "leave for good":
        await this.#leaveForGood(step);
        return;
      case "cancel":
        await this.#t.mutation(internal.clerk.reconcile.cancel, {});
        await this.#oracle.look("sync");
        return;
      case "refuse": {
        const id = this.#pick(step.who) ?? "";
        if (!appChoice.refused.delete(id)) appChoice.refused.add(id);
        return;
      }
      case "wait":
        await this.#wait(step.ms);
        return;
      case "fault":
        this.#order(step);
        return;
      case "heal":
        this.#heal();
        return;
      case "fall behind":
        this.#fallBehind(step.byMs);
        return;
      case "catch up":
        this.#catchUp();
        return;
      case "use the key of another instance":
        // Before an instance is pinned, nobody can know which one is meant.
        if (this.#sight.runs.size > 0 && (await this.#isPinned())) {
          vi.stubEnv("CLERK_SECRET_KEY", this.#other.secretKey);
        }
        return;
      case "sign in unseen":
        await this.#signInUnseen(step.on);
        return;
      case "leave in doubt":
        await this.#leaveInDoubt(step);
        return;
      case "refuse a newcomer": {
        appChoice.refused.add(this.#create(null));
        const event = this.#events.at(-1);
        if (event !== undefined) await this.#deliverThis(event);
        return;
      }
      case "restore the table alone":
        await this.#restore();
        return;
      case "shorten pages":
        if (step.to !== "all") this.#oracle.meet("short pages");
        this.clerk.limitFallsBackTo = step.to === "one" ? 1 : null;
        this.clerk.dropsFromPage =
          step.to === "one fewer" ? (users) => users.slice(0, users.length > 1 ? -1 : 1) : null;
        return;
      case "limit": {
        const { requests } = step;
        this.clerk.allows = requests === null ? null : { requests, inMs: 40 * SECOND };
        if (requests !== null) this.#oracle.meet("few requests at a time");
        return;
      }
      case "deploy erase":
        appChoice.erases = step.isThere;
        await this.#oracle.look("app");
        return;
      case "miscount":
        this.#miscount(step.by);
        return;
      case "list an odd entry":
        this.#listOdd(step.created);
        return;
      case "move to another instance":
        if (await this.#isPinned()) await this.#move();
        return;
      case "type an older next":
        await this.#typeNext(step.which);
    }
  }

  /**
   * Somebody signs up and in at once, so that the app has a row before Clerk's API shows them: a new one,
   * or one that it found by their name, as it finds somebody who signs up anew.
   */
  async #signInUnseen(on: StepTo<"sign in unseen">["on"]): Promise<void> {
    this.#past.push({ at: Date.now(), users: new Map(this.clerk.users) });
    if (this.#laggingSince === null) this.#fallBehind(0);
    // Until a first full run has met the app's rows, a person who allows deletions has to know them.
    const mayTake = await this.#hasRun();
    const taken = this.#sight.users.find(({ name, clerkCreatedAt }) =>
      on === "an old row" ? name === "Old row" : clerkCreatedAt !== undefined,
    );
    const isTaken = on !== "a new row" && mayTake && taken !== undefined;
    // Of a row that was mirrored nothing but the id tells that it is another one's.
    const isMirrored = isTaken && on === "a mirrored row";
    const id = isMirrored ? clerkIdAt(this.#clerkNow, this.#looks) : undefined;
    const clerkId = this.#create(null, false, id);
    await this.#t.run(async (ctx) => {
      if (isMirrored) await ctx.db.patch("users", taken._id, { clerkId });
      else if (isTaken) await ctx.db.patch("users", taken._id, { clerkId, name: undefined });
      else {
        const id = appChoice.isKeyed ? tokenOf(clerkId) : clerkId;
        const rowId = await ctx.db.insert("users", { clerkId: id, color: "signed in" });
        this.#oracle.colored(rowId, "signed in");
      }
    });
    this.#oracle.meet("a row of the app's before Clerk shows its user");
    this.#oracle.disturbed();
    await this.#oracle.look("app");
  }

  async #leaveInDoubt({ who, places }: StepTo<"leave in doubt">): Promise<void> {
    await this.#call({ pageSize: 4 });
    await this.#proceed(this.#gate.actors.length - 1, 600);
    const user = [...this.clerk.users.values()][who % this.clerk.users.size];
    if (user === undefined) return;
    const index = [...this.clerk.users.keys()].indexOf(user.id);
    for (const atEqualVersion of [false, true]) {
      this.#change({ do: "update", who: index, atEqualVersion });
      const event = this.#events.at(-1);
      if (event !== undefined) await this.#deliverThis(event);
    }
    this.#leaveUnheard(index);
    await this.#wait(1);
    await this.#proceed(this.#gate.actors.length - 1, 600);
    await this.#wait(6 * MINUTE);
    await this.#proceed(this.#gate.actors.length - 1, places);
  }

  async #hasRun(): Promise<boolean> {
    const state = await this.#t.run(async (ctx) => await ctx.db.query("clerkSyncState").unique());
    return state?.lastFullRunStartedAt !== undefined;
  }

  async #restore(): Promise<void> {
    // Whoever restores a table has the right key.
    vi.stubEnv("CLERK_SECRET_KEY", this.clerk.secretKey);
    await this.#wait(6 * MINUTE);
    await this.#t.run(async ({ db }) => {
      for (const table of SYNC_TABLES) {
        for (const { _id } of await db.query(table).take(5000)) await db.delete(table, _id);
      }
    });
    this.#isAway = false;
    this.#oracle.restored();
    await this.#oracle.look("app");
  }

  #miscount(by: StepTo<"miscount">["by"]): void {
    this.#oracle.meet("a count that is wrong");
    this.#oracle.disturbed();
    if (by === "a user too many") {
      this.clerk.countsTooMany = 1;
      return;
    }
    const since = Date.now() - Number(by);
    const past = this.#past.findLast(({ at }) => at <= since) ?? this.#past[0];
    if (past !== undefined) this.clerk.countFrom(past.users);
  }

  /** One without an id, one without a time, or several in a row whose time is not shown, more than a page holds. */
  #listOdd(created: number): void {
    const kind = (["no id", "no time", "hidden times"] as const)[created % 3];
    for (let i = 0; i < (kind === "hidden times" ? 5 : 1); i += 1) {
      const id = kind === "no id" ? `user_import-${this.#looks}` : `user_odd${this.#looks}`;
      const created_at = kind === "no time" ? (null as never) : START + created + i * MINUTE;
      this.#looks += 1;
      this.clerk.createUser({ id, created_at, updated_at: this.#clerkNow });
      if (kind === "hidden times") this.clerk.hidesCreationOf.add(id);
      this.#odd.add(id);
      this.#oracle.changed(id, this.#looks);
      this.#oracle.placed();
    }
    this.#oracle.meet("an odd entry");
  }

  async #move(): Promise<void> {
    this.#isAway = !this.#isAway;
    const { instanceId, secretKey } = this.#isAway ? this.#other : this.clerk;
    vi.stubEnv("CLERK_SECRET_KEY", secretKey);
    await this.#t.mutation(internal.clerk.reconcile.pinInstance, { instanceId });
    this.#oracle.movedTo(this.#isAway ? this.#other : this.clerk);
    await this.#oracle.look("sync");
  }

  /** What a Report said some time ago may fit no longer. */
  async #typeNext(which: number): Promise<void> {
    const held = [...this.#sight.runs.values()].filter(({ state }) => state.kind === "held");
    const run = held[which % held.length];
    if (run === undefined) return;
    this.#oracle.meet("the next of an older report");
    await this.#call({ maxDeletions: await this.#deletionsAllowedBy(run), pageSize: 3 });
  }

  async #deletionsAllowedBy(run: Run): Promise<number | undefined> {
    const { next } = (await this.#report(run)) ?? {};
    const args = JSON.parse(/'(.*)'/.exec(next ?? "")?.[1] ?? "{}") as { maxDeletions?: number };
    return args.maxDeletions;
  }

  get #clerkNow(): number {
    return Date.now() + this.#skewMs;
  }

  #nextLook(): string {
    this.#looks += 1;
    return `look${this.#looks}`;
  }

  #create(created: number | null, inOneMoment = false, id?: string): string {
    // Every change takes Clerk a moment, unless two are in the same one.
    if (!inOneMoment) vi.setSystemTime(Date.now() + 1);
    const now = this.#clerkNow;
    const created_at = created === null ? now : START + created;
    const { event, user } = this.clerk.createUser({
      ...(id !== undefined && { id }),
      created_at,
      updated_at: now,
      first_name: this.#nextLook(),
    });
    this.#oracle.changed(user.id, this.#looks);
    this.#emit(event);
    this.#oracle.placed();
    return user.id;
  }

  #change(step: Change): void {
    vi.setSystemTime(Date.now() + 1);
    if (step.do === "come back") {
      const gone = this.#oracle.dead.filter((id) => /^user_\w+$/.test(id));
      const id = gone[step.who % gone.length];
      if (id !== undefined) this.#comeBack(id);
      return;
    }
    const ids = [...this.clerk.users.keys()];
    const id = ids[step.who % ids.length];
    const user = this.clerk.users.get(id ?? "");
    if (id === undefined || user === undefined) return;
    if (step.do === "delete") {
      this.#oracle.died(id, user.created_at);
      this.#emit(this.clerk.deleteUser(id, this.#clerkNow));
      return;
    }
    const change = changeOf(step, user, this.#nextLook());
    this.#oracle.changed(id, this.#looks);
    this.#emit(this.clerk.updateUser(id, change, this.#clerkNow));
    this.#oracle.keptVersion(id, step.do === "update" && step.atEqualVersion);
    if (step.do === "move") this.#oracle.placed();
  }

  #comeBack(id: string): void {
    if (this.clerk.users.has(id)) return;
    this.#oracle.revived(id);
    // Nothing tells of a return but Clerk's own answers, so these are no older.
    this.#catchUp();
    this.#create(null, false, id);
    this.#returnedAt = Date.now();
  }

  /** A change was made in Clerk. */
  #emit(event: UserEvent): void {
    this.#past.push({ at: Date.now(), users: new Map(this.clerk.users) });
    this.#events.push({ event, isDelivered: false });
  }

  async #deliver(which: number | null): Promise<void> {
    const delivery =
      which === null
        ? this.#events.find(({ isDelivered }) => !isDelivered)
        : this.#events[which % this.#events.length];
    if (delivery !== undefined) await this.#deliverThis(delivery);
  }

  async #deliverThis(delivery: { event: UserEvent; isDelivered: boolean }): Promise<void> {
    delivery.isDelivered = true;
    const { event } = delivery;
    const { id } = event.data as { id: string };
    const { kind, version } = this.#sight.versions.get(id) ?? {};
    const isLate = kind === "tombstone";
    const { updated_at, first_name } = event.data as Partial<ClerkUserJSON>;
    const row = this.#sight.users.find(({ clerkId }) => clerkId === id);
    if (version !== undefined && version === updated_at && row?.firstName !== first_name) {
      this.#oracle.meet("two events of one version");
    }
    if (appChoice.refused.has(id) && row === undefined && event.type !== "user.deleted") {
      this.#oracle.meet("an event that the app refuses");
    }
    // Events of another instance than the mirrored one are not heard.
    if (!this.#isAway) this.#oracle.named(id, event.type === "user.deleted");
    if (isLate && event.type !== "user.deleted") {
      this.#oracle.meet("a tombstone met by a late event");
    }
    const status = await this.#post(event, this.#isLeaked ? LEAKED_SECRET : NEW_SECRET);
    demand("a genuine event is accepted", status === 200, status);
    await this.#oracle.look("event");
  }

  async #forge({ type, who, aheadMs }: StepTo<"forge">): Promise<void> {
    const id = this.#pick(who) ?? "user_forged";
    const at = Date.now() + aheadMs;
    const user = this.clerk.users.get(id) ?? {
      ...this.#other.users.get("user_other0"),
      id,
      created_at: at,
    };
    const data =
      type === "user.deleted"
        ? deletedUser(id)
        : { ...user, updated_at: at, first_name: `forged${this.#looks}` };
    const { instanceId } = this.clerk;
    if (this.#isLeaked) this.#oracle.tainted(id);
    if (this.#isLeaked && !this.#isAway) this.#oracle.named(id);
    const status = await this.#post(userEvent(type, data, { instanceId, at }), LEAKED_SECRET);
    demand("a retired secret is refused", status === (this.#isLeaked ? 200 : 400), status);
    await this.#oracle.look(this.#isLeaked ? "forged" : "event");
  }

  async #post(event: UserEvent, secret: string): Promise<number> {
    const { body, headers } = signedEvent(event, { secret, id: "msg_1" });
    return (await this.#t.fetch("/clerk-users-webhook", { method: "POST", body, headers })).status;
  }

  async #writeColor(who: number): Promise<void> {
    const { users } = this.#sight;
    const row = users[who % users.length];
    if (row === undefined) return;
    this.#looks += 1;
    const color = `color${this.#looks}`;
    this.#oracle.colored(row._id, color);
    await this.#t.run(async (ctx) => {
      await ctx.db.patch("users", row._id, { color });
    });
    await this.#say(row._id, color);
    await this.#oracle.look("app");
  }

  /** What the app keeps of a user, in tables of its own. */
  async #say(author: Doc<"users">["_id"], body: string): Promise<void> {
    await this.#t.run(async (ctx) => {
      for (let i = 0; i < 2; i += 1) await ctx.db.insert("messages", { author, body });
    });
  }

  async #loseRow(who: number): Promise<void> {
    const rows = this.#sight.users.filter(({ clerkId }) => clerkId !== undefined);
    const row = rows[who % rows.length];
    if (row?.clerkId === undefined) return;
    this.#oracle.disturbed();
    await this.#t.run(async (ctx) => {
      await ctx.db.delete("users", row._id);
    });
    await this.#oracle.look("app");
  }

  #pick(who: number): string | undefined {
    const ids = [
      ...new Set([
        ...this.clerk.users.keys(),
        ...this.#sight.users.flatMap(({ clerkId }) => clerkId ?? []),
        ...this.#sight.versions.keys(),
      ]),
    ];
    return ids[who % ids.length];
  }

  #order({ kind, times }: StepTo<"fault">): void {
    if (kind === "repeat") this.#oracle.meet("a page that comes again");
    if (kind === "forbid one" || kind === "gone for good") {
      this.#oracle.meet("an id that Clerk does not answer about");
    }
    this.#isFalsified ||= !TRUTHFUL.includes(kind);
    const [path, fault] = FAULTS[kind];
    this.clerk.order(path, typeof fault === "function" ? fault() : fault, times);
  }

  #heal(): void {
    this.clerk.heal();
    this.clerk.dropsFromPage = null;
    this.clerk.limitFallsBackTo = null;
    this.clerk.countsTooMany = 0;
    this.clerk.countFrom(null);
    for (const id of this.#odd) {
      const user = this.clerk.users.get(id);
      if (this.clerk.users.delete(id)) this.#oracle.died(id, user?.created_at ?? 0);
    }
    this.#odd.clear();
    this.clerk.hidesCreationOf.clear();
    this.#isFalsified = false;
    this.#catchUp();
    appChoice.refused.clear();
    this.clerk.allows = null;
    vi.stubEnv("CLERK_SECRET_KEY", (this.#isAway ? this.#other : this.clerk).secretKey);
  }

  #fallBehind(byMs: number): void {
    const since = Math.max(Date.now() - byMs, this.#returnedAt);
    const past = this.#past.findLast(({ at }) => at <= since) ?? this.#past[0];
    if (past === undefined) return;
    this.clerk.fallBehind(past.users);
    this.#laggingSince = since;
  }

  #catchUp(): void {
    this.clerk.catchUp();
    this.#laggingSince = null;
  }

  async #wait(ms: number): Promise<void> {
    const lagEnds = (this.#laggingSince ?? Infinity) + MAX_LAG_MS;
    if (Date.now() + ms > lagEnds) this.#catchUp();
    vi.advanceTimersByTime(ms);
    await macrotask();
  }

  // Runs and repairs.

  async #call(args: FunctionArgs<typeof internal.clerk.reconcile.run>): Promise<void> {
    const isUnderWay = this.#gate.actors.some(({ args: other }) => "mode" in other);
    if (isUnderWay) this.#oracle.meet("two overlapping runs");
    await this.#arrival(this.#t.action(internal.clerk.reconcile.run, args));
  }

  /** Comes back once an action that was called waits at its start, or was refused. */
  async #arrival(call: Promise<unknown>): Promise<void> {
    const { length } = this.#gate.actors;
    const state = { hasReturned: false };
    const end = () => (state.hasReturned = true);
    call.then(end, end);
    while (this.#gate.actors.length === length && !state.hasReturned) await macrotask();
  }

  #kill(which: number): void {
    const { actors } = this.#gate;
    const actor = actors[which % actors.length];
    if (actor === undefined) return;
    if (actor.next !== "start") this.#oracle.meet("a crash");
    this.#gate.actors = actors.filter((other) => other !== actor);
  }

  async #proceed(which: number, places: number): Promise<void> {
    const { actors } = this.#gate;
    const actor = actors[which % actors.length];
    if (actor === undefined) return;
    for (let i = 0; i < places && actor.next !== "nothing"; i += 1) await this.#step(actor);
  }

  /** A run comes to the point of deleting, and then the events of the deletions come in. */
  async #race(which: number): Promise<void> {
    const { actors } = this.#gate;
    const actor = actors[which % actors.length];
    const isDeleting = ({ state }: Run) =>
      state.kind === "running" && state.phase.kind === "delete";
    while (actor !== undefined && actor.next !== "nothing") {
      if (actor.next === "mutation" && [...this.#sight.runs.values()].some(isDeleting)) break;
      await this.#step(actor);
    }
    for (const delivery of this.#events) {
      const { event, isDelivered } = delivery;
      if (!isDelivered && event.type === "user.deleted") await this.#deliverThis(delivery);
    }
  }

  /** Somebody came and went unheard, and is heard of while a run walks. */
  async #haunt(places: number): Promise<void> {
    this.#create(null);
    const birth = this.#events.at(-1);
    this.#leaveUnheard(this.clerk.users.size - 1);
    await this.#wait(6 * MINUTE);
    await this.#call({ pageSize: 2 });
    await this.#proceed(this.#gate.actors.length - 1, places);
    if (birth !== undefined) await this.#deliverThis(birth);
  }

  async #leaveForGood({ who, comesBack, places }: StepTo<"leave for good">): Promise<void> {
    const ids = [...this.clerk.users.keys()];
    const id = ids[who % ids.length];
    if (id === undefined) return;
    const row = this.#sight.users.find(({ clerkId }) => clerkId === id);
    if (row !== undefined) await this.#say(row._id, "farewell");
    this.#change({ do: "delete", who });
    const death = this.#events.at(-1);
    if (death !== undefined) await this.#deliverThis(death);
    if (comesBack === "before") this.#comeBack(id);
    await this.#wait((appChoice.purgeAfterMs ?? 0) + 6 * MINUTE);
    await this.#call({ pageSize: 4 });
    await this.#proceed(this.#gate.actors.length - 1, places);
    if (comesBack === "meanwhile") this.#comeBack(id);
  }

  #leaveUnheard(who: number): void {
    this.#change({ do: "delete", who });
    const death = this.#events.at(-1);
    if (death?.event.type === "user.deleted") death.isDelivered = true;
  }

  /** An action is so slow that another call goes on with its run; then it comes to life. */
  async #overtake({ actor: which, places }: StepTo<"overtake">): Promise<void> {
    const { actors } = this.#gate;
    const slow = actors[which % actors.length];
    if (slow === undefined || "clerkId" in slow.args) return;
    for (let i = 0; i < places && slow.next !== "nothing"; i += 1) await this.#step(slow);
    while (!["mutation", "nothing"].includes(slow.next)) await this.#step(slow);
    const run = [...this.#sight.runs.values()].find(({ state }) => state.kind === "running");
    if (slow.next === "nothing" || run === undefined) return;
    await this.#wait(LEASE_MS);
    const { mode, dryRun, maxDeletions, pageSize } = run;
    if (mode === "doubts") return;
    await this.#call({ mode, dryRun, maxDeletions, pageSize });
    const next = this.#gate.actors.at(-1);
    for (let i = 0; i < 2 * places && next && next.next !== "nothing"; i += 1) {
      await this.#step(next);
    }
    await this.#step(slow);
  }

  async #step(actor: Actor): Promise<void> {
    const { next } = actor;
    if (actor.isAhead) this.#oracle.meet("requests under way beside a transaction");
    await actor.proceed();
    if (next === "mutation") await this.#oracle.look("sync", actor);
    if (actor.next === "nothing") await macrotask();
  }

  /** Everything that is under way or scheduled comes to its end. */
  async #finishAll(): Promise<void> {
    for (let steps = 0; steps < 2000; steps += 1) {
      const [actor] = this.#gate.actors;
      if (actor !== undefined) await this.#step(actor);
      else if ((await this.#nextJobAt()) === null) return;
      else {
        vi.advanceTimersToNextTimer();
        await macrotask();
      }
    }
    throw new Violation("what is scheduled comes to its end: it does not");
  }

  async #nextJobAt(): Promise<number | null> {
    const jobs = await this.#t.run(
      async (ctx) => await ctx.db.system.query("_scheduled_functions").take(1000),
    );
    const times = jobs.flatMap(({ state, scheduledTime }) =>
      state.kind === "pending" ? scheduledTime : [],
    );
    return times.length === 0 ? null : Math.min(...times);
  }

  get #isUnderWay(): boolean {
    return [...this.#sight.runs.values()].some(
      ({ mode, state }) => mode !== "doubts" && state.kind === "running",
    );
  }

  async #runInPeace(args: { maxDeletions?: number; dryRun?: boolean }): Promise<Run> {
    const startedAt = Date.now();
    await this.#finishAll();
    await this.#call(args);
    await this.#finishAll();
    const run = [...this.#sight.runs.values()].findLast(({ mode }) => mode !== "doubts");
    if (run === undefined) throw new Violation("a run begins: there is none");
    // A dead run was taken to its end first.
    return run.startedAt < startedAt ? await this.#runInPeace(args) : run;
  }

  async #isPinned(): Promise<boolean> {
    const state = await this.#t.run(async (ctx) => await ctx.db.query("clerkSyncState").unique());
    return state?.instanceId !== undefined;
  }

  /** Peace: five quiet minutes and one full run, then one more. */
  async #end(): Promise<void> {
    this.#heal();
    this.#isLeaked = false;
    // While a run takes minutes, the worker, which it wakes, repairs what a dry run has found before it.
    this.#answerMs = ANSWER_MS;
    vi.stubEnv("CLERK_WEBHOOK_SECRET", NEW_SECRET);
    await this.#finishAll();
    await this.#wait(5 * MINUTE + 1);
    if (this.#isAway) await this.#move();
    if (!(await this.#isPinned())) {
      // A run rightly refuses to pin an instance that knows few of the rows: a person has to.
      const { instanceId } = this.clerk;
      await this.#t.mutation(internal.clerk.reconcile.pinInstance, { instanceId });
    }
    // A run that somebody left dead is to be taken up by the run that follows, not closed.
    const rehearsed = this.#isUnderWay ? null : await this.#runInPeace({ dryRun: true });
    let run = await this.#runInPeace({});
    if (rehearsed !== null) {
      const [foretold, done] = [rehearsed, run].map(({ state: { kind }, counts }) =>
        JSON.stringify([
          kind,
          counts.drift,
          counts.held,
          counts.setAside,
          counts.postponed,
          counts.purged ?? 0,
        ]),
      );
      demand("a dry run says what the next run does", foretold === done, { foretold, done });
    }
    // A row of the app's that is met for the first time is judged five minutes later.
    for (let i = 0; i < 4 && (run.state.kind === "held" || run.counts.postponed > 0); i += 1) {
      await this.#wait(5 * MINUTE + 1);
      const maxDeletions =
        run.state.kind === "held" ? await this.#deletionsAllowedBy(run) : undefined;
      run = await this.#runInPeace({ maxDeletions });
    }
    const { counts, state } = run;
    demand("a run in peace completes", state.kind === "completed", state);
    const left = counts.setAside + counts.postponed + counts.unlisted;
    demand("a run in peace leaves nobody", left === 0, counts);
    const shown = this.#sight.users.flatMap(({ clerkId, firstName, clerkCreatedAt, banned }) =>
      clerkId === undefined ? [] : [clerkId, firstName, clerkCreatedAt, banned].join(),
    );
    const people = [...this.clerk.users.values()].map(({ id, first_name, created_at, banned }) =>
      [id, first_name, created_at, banned].join(),
    );
    const isEqual = shown.sort().join(" ") === people.sort().join(" ");
    demand("after a full run the table equals Clerk", isEqual, { shown, people });

    if (appChoice.purgeAfterMs !== null) {
      // Of whom it was too early to tell, the next run does.
      await this.#wait(5 * MINUTE + 1);
      await this.#runInPeace({});
    }
    const before = JSON.stringify([this.#sight.users, [...this.#sight.versions]]);
    const { drift } = (await this.#runInPeace({})).counts;
    const isSilent = drift.missing + drift.stale + drift.orphaned === 0;
    demand("the next run finds nothing", isSilent, drift);
    const after = JSON.stringify([this.#sight.users, [...this.#sight.versions]]);
    demand("the next run writes nothing", before === after);
    await this.#outlast();
  }

  /** The time of all marks goes by. */
  async #outlast(): Promise<void> {
    const { purgeAfterMs } = appChoice;
    if (purgeAfterMs === null) return;
    await this.#wait(purgeAfterMs + 5 * MINUTE + 1);
    await this.#runInPeace({});
    await this.#oracle.look("sync");
    const { marked, leaving, versions } = this.#sight;
    // Of a table restored alone nobody knows any more who marked it.
    const known = marked.filter(({ clerkId = "" }) => versions.get(clerkId)?.kind === "tombstone");
    demand("what is marked goes in the end", known.length === 0, known);
    demand("what is being erased goes in the end", leaving.length === 0, leaving);
  }

  async #report({ _id: runId }: Run) {
    return await this.#t.query(internal.clerk.reconcile.report, { runId });
  }

  async #see(): Promise<Sight> {
    const { rows, versions, runs, entries, ...others } = await this.#t.run(async ({ db }) => ({
      rows: await db.query("users").take(1000),
      messages: await db.query("messages").take(1000),
      erasures: await db.query("clerkErasures").take(1000),
      versions: await db.query("clerkVersions").take(1000),
      runs: await db.query("clerkRuns").take(1000),
      entries: await db.query("clerkDriftEntries").take(5000),
    }));
    // Without `erase` they are rows like others again.
    const erasures = appChoice.erases ? others.erasures : [];
    const leaving = new Set(erasures.map(({ userId }) => userId));
    const users = rows.filter(({ _id }) => !leaving.has(_id));
    return {
      users: users.filter((row) => row.deletedAt === undefined && !isOwn(row)),
      marked: users.filter(({ deletedAt }) => deletedAt !== undefined),
      leaving: rows.filter(({ _id }) => leaving.has(_id)),
      begun: new Set(erasures.flatMap((each) => (each.hasErased ? each.userId : []))),
      authors: new Set(others.messages.map(({ author }) => author)),
      own: users.filter(isOwn),
      entries,
      versions: new Map(versions.map((version) => [version.clerkId, version])),
      runs: new Map(runs.map((run) => [run._id, run])),
    };
  }
}

/** Whether a row has an id that is none of Clerk's. */
function isOwn({ clerkId }: Doc<"users">): boolean {
  return clerkId !== undefined && !clerkId.startsWith("user_");
}

function changeOf(
  step: Exclude<Change, { do: "delete" | "come back" }>,
  { banned, updated_at }: ClerkUserJSON,
  look: string,
): Partial<ClerkUserJSON> {
  // It leaves the look as it is: twice toggled is as before.
  if (step.do === "toggle") return { banned: !banned };
  if (step.do === "move") return { first_name: look, created_at: START + step.created };
  return { first_name: look, ...(step.atEqualVersion && { updated_at }) };
}

type Kind = StepTo<"fault">["kind"];
const LIST = /^\/v1\/users\?/;
const BY_ID = /user_id=/;
const ONE = /^\/v1\/users\/user_/;
const ANY = /^/;

function changeList(change: (users: unknown[]) => unknown[]): Fault {
  return { kind: "change", change: (json) => (Array.isArray(json) ? change(json) : json) };
}

const TRUTHFUL: Kind[] = [
  "status",
  "slow down",
  "reset",
  "hang",
  "html",
  "string",
  "forbid one",
  "gone for good",
];

/** The answer to the list before, instead of the right one. */
function repeated(): Fault {
  let last: unknown;
  return {
    kind: "change",
    change: (json) => {
      const before = last ?? json;
      last = json;
      return before;
    },
  };
}

const FAULTS: Record<Kind, [path: RegExp, fault: Fault | (() => Fault)]> = {
  "forbid one": [ONE, { kind: "status", status: 403, code: "authorization_invalid" }],
  "gone for good": [ONE, { kind: "status", status: 410, code: "resource_gone" }],
  repeat: [/^\/v1\/users\?(?!.*user_id)/, repeated],
  status: [ANY, { kind: "status", status: 500 }],
  "slow down": [ANY, { kind: "status", status: 429, retryAfter: 7 }],
  reset: [ANY, { kind: "reset" }],
  hang: [ANY, { kind: "hang" }],
  html: [ANY, { kind: "body", body: "<html>", contentType: "text/html" }],
  string: [ANY, { kind: "body", body: '"ok"' }],
  empty: [LIST, changeList(() => [])],
  short: [LIST, changeList((users) => users.slice(0, -1))],
  reversed: [LIST, changeList((users) => users.toReversed())],
  "every second": [
    LIST,
    changeList((users) =>
      users.filter((user) => Number((user as { id: string }).id.slice(-1)) % 2),
    ),
  ],
  "nobody by id": [BY_ID, changeList(() => [])],
};
