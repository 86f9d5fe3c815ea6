/**
 * A world in which a generated history happens, and what must hold in it after every step. What is
 * right is told by the stand-in's own table and by what the world did itself, never by the sync.
 */
import { convexTest } from "convex-test";
import type { FunctionArgs } from "convex/server";
import { vi } from "vitest";
import { internal } from "../convex/_generated/api";
import type { Doc } from "../convex/_generated/dataModel";
import { MINUTE } from "../convex/clerk/clock";
import schema from "../convex/schema";
import { ClerkStandIn, type Fault } from "../scripts/clerk-stand-in";
import { userEvent, deletedUser, type ClerkUserJSON, type UserEvent } from "../scripts/clerk-json";
import { signedEvent } from "../scripts/signed-event";
import { newGate, type Actor, type Gate } from "./gate";
import { appChoice, type History } from "./history-steps";

type Step = History["steps"][number];
type StepTo<Do extends Step["do"]> = Extract<Step, { do: Do }>;
type Change =
  | Pick<StepTo<"update">, "do" | "who" | "atEqualVersion">
  | Pick<StepTo<"toggle">, "do" | "who">
  | Pick<StepTo<"move">, "do" | "who" | "created">
  | Pick<StepTo<"delete">, "do" | "who">;
type Run = Doc<"reconcileRuns">;
type User = Doc<"users">;
/** Who writes: a run or a repair, an event (`forged` with a secret that leaked), or the app. */
type By = "sync" | "event" | "forged" | "app";

export const FEATURES = [
  "a crash",
  "a deletion by a run",
  "a hold",
  "two overlapping runs",
  "a crowd",
  "a tombstone met by a late event",
] as const;

/** What a completed run must show happened so long before it began. */
const LAG_MS = 5 * MINUTE;
/** So few as these worlds have may lose so many unasked. */
const MAX_DELETIONS = 10;

/** What is left of a row that is marked as removed. */
const MARKED_FIELDS = "_creationTime,_id,clerkId,color,deletedAt";

const modules = import.meta.glob("../convex/**/*.ts");
const START = 1_700_000_000_000;
const LEAKED_SECRET = `whsec_${btoa("a secret that leaked")}`;
const NEW_SECRET = `whsec_${btoa("a secret that did not")}`;
const REQUEST_MS = 10;
/** By then a run that does not go on is taken for dead. */
const LEASE_MS = 4 * MINUTE;
/** Within so long Clerk's answers show a change. */
const MAX_LAG_MS = 4 * MINUTE;

const realSetTimeout = globalThis.setTimeout;
const macrotask = async () => {
  await new Promise((resolve) => realSetTimeout(resolve, 0));
};

/** Something that must hold, and did not. */
export class Violation extends Error {}

function demand(property: string, holds: boolean, details: unknown = ""): void {
  if (!holds) throw new Violation(`${property}: ${JSON.stringify(details)}`);
}

/** What the database holds of the sync. */
type Sight = {
  /** Rows, but those marked as removed. */
  users: User[];
  marked: User[];
  versions: Map<string, Doc<"clerkVersions">>;
  runs: Map<string, Run>;
  entries: Doc<"driftEntries">[];
};

/** What the world remembers of a run, for what must hold once it has ended. */
type Witnessed = {
  usersAtFirst: number;
  fewestUsers: number;
  /** Users created, or moved to another creation time, since it began. */
  placed: number;
  /** Whether its answers may have been false, or another hand was in the table. */
  isDisturbed: boolean;
  /** The serial numbers of looks given while it looked back, which it need not show. */
  lookedBackAt: number;
};

export class World {
  readonly clerk = new ClerkStandIn();
  readonly features = new Set<(typeof FEATURES)[number]>();
  readonly #t = convexTest({ schema, modules, transactionLimits: true });
  readonly #gate: Gate = newGate();
  readonly #other = new ClerkStandIn();
  readonly #skewMs: number;
  readonly #events: { event: UserEvent; isDelivered: boolean }[] = [];
  readonly #colors = new Map<string, string>();
  readonly #newestLook = new Map<string, { look: number; at: number }>();
  /** What Clerk showed in its last answer to each action. */
  readonly #answers = new Map<Actor, { askedAt: number; looks: Map<string, string | null> }>();
  readonly #tainted = new Set<string>();
  readonly #witnessed = new Map<string, Witnessed>();
  /** Ids whose last change kept their version, so that a look-back can't find it. */
  readonly #unversioned = new Set<string>();
  /** Clerk's users as they were after each change. */
  readonly #past: { at: number; users: ReadonlyMap<string, ClerkUserJSON> }[] = [];
  /** The serial number of the last change of each user, and when those who are gone went. */
  readonly #changes = new Map<string, number>();
  readonly #deletedAt = new Map<string, number>();
  /** When the last tombstone of each id was written, also of those that were pruned. */
  readonly #tombstonedAt = new Map<string, number>();
  /** The action that took the last step. */
  #writer: Actor | null = null;
  /** False in the peace before and after, where nothing interleaves. */
  #isEventful = false;
  #isLeaked = true;
  #looks = 0;
  #laggingSince: number | null = null;
  #isFalsified = false;
  #sight: Sight = { users: [], marked: [], versions: new Map(), runs: new Map(), entries: [] };

  constructor(history: History) {
    this.#skewMs = history.skewMs;
    this.clerk.createdAtAfterIsInclusive = history.createdAtAfterIsInclusive;
    this.#other.instanceId = "ins_other";
    this.#other.secretKey = "sk_test_other";
    for (let i = 0; i < 3; i += 1) {
      const id = `user_other${i}`;
      this.#other.createUser({ id, created_at: START + i, first_name: "other" });
    }
    this.clerk.onRequest = () => {
      for (const witnessed of this.#witnessed.values()) {
        witnessed.fewestUsers = Math.min(witnessed.fewestUsers, this.clerk.shown.size);
        witnessed.isDisturbed ||= this.#isFalsified || this.#laggingSince !== null;
      }
    };
  }

  /** Lives through a history, and through the peace after it. */
  static async live(history: History): Promise<World> {
    vi.clearAllTimers();
    vi.setSystemTime(START + 1_000_000);
    appChoice.removal = history.removal;
    appChoice.refused.clear();
    const world = new World(history);
    vi.stubEnv("CLERK_SECRET_KEY", world.clerk.secretKey);
    vi.stubEnv("CLERK_WEBHOOK_SECRET", LEAKED_SECRET);
    vi.stubGlobal("fetch", async (...args: Parameters<typeof fetch>) => {
      const askedAt = Date.now();
      await world.#gate.request();
      vi.setSystemTime(Date.now() + REQUEST_MS);
      const key = new Request(...args).headers.get("authorization");
      const instance = key === "Bearer sk_test_other" ? world.#other : world.clerk;
      const answer = await instance.fetch(...args);
      const looks = new Map([...instance.shown].map(([id, user]) => [id, user.first_name]));
      if (world.#gate.current) world.#answers.set(world.#gate.current, { askedAt, looks });
      // On its way back.
      await world.#gate.request();
      return answer;
    });
    await world.#begin(history);
    world.#isEventful = true;
    for (const step of history.steps) await world.#take(step);
    world.#isEventful = false;
    await world.#end();
    return world;
  }

  async #begin({ before, isSynced }: History): Promise<void> {
    for (let i = 0; i < before.known + before.unknown; i += 1) this.#create(i % 5);
    const known = [...this.clerk.users.values()].slice(0, before.known);
    // Nothing tells the sync how old they are: a person who allows a deletion in their first minutes
    // has to know.
    await this.#wait(6 * MINUTE);
    await this.#t.run(async (ctx) => {
      // As an app has them from before: nothing but what it wrote itself.
      await ctx.db.insert("users", { name: "Guest", color: "guest" });
      for (const { id, first_name: firstName } of known) {
        const name = firstName ?? undefined;
        await ctx.db.insert("users", { clerkId: id, firstName: name, color: "before" });
      }
      for (let i = 0; i < before.gone; i += 1) {
        await ctx.db.insert("users", { clerkId: `user_gone${i}`, color: "before" });
      }
    });
    await this.#look("app");
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
        // It believes Clerk at once: a person who asks while Clerk is behind gets what Clerk shows.
        const clerkId = this.#pick(step.who);
        if (clerkId === undefined || this.#laggingSince !== null) return;
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
      case "cancel":
        await this.#t.mutation(internal.clerk.reconcile.cancel, {});
        await this.#look("sync");
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
        if (this.#gate.actors.some(({ args }) => "clerkId" in args && !("instanceId" in args))) {
          return;
        }
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
    }
  }

  #meet(feature: (typeof FEATURES)[number]): void {
    if (this.#isEventful) this.features.add(feature);
  }

  get #clerkNow(): number {
    return Date.now() + this.#skewMs;
  }

  #nextLook(): string {
    this.#looks += 1;
    return `look${this.#looks}`;
  }

  #create(created: number | null, inOneMoment = false): void {
    // Every change takes Clerk a moment, unless two are in the same one.
    if (!inOneMoment) vi.setSystemTime(Date.now() + 1);
    const now = this.#clerkNow;
    const created_at = created === null ? now : START + created;
    const { event, user } = this.clerk.createUser({
      created_at,
      updated_at: now,
      first_name: this.#nextLook(),
    });
    this.#changes.set(user.id, this.#looks);
    this.#emit(event);
    for (const witnessed of this.#witnessed.values()) witnessed.placed += 1;
  }

  #change(step: Change): void {
    vi.setSystemTime(Date.now() + 1);
    const ids = [...this.clerk.users.keys()];
    const id = ids[step.who % ids.length];
    const user = this.clerk.users.get(id ?? "");
    if (id === undefined || user === undefined) return;
    if (step.do === "delete") {
      this.#deletedAt.set(id, Date.now());
      this.#emit(this.clerk.deleteUser(id, this.#clerkNow));
      return;
    }
    const change = changeOf(step, user, this.#nextLook());
    this.#changes.set(id, this.#looks);
    this.#emit(this.clerk.updateUser(id, change, this.#clerkNow));
    if (step.do === "update" && step.atEqualVersion) this.#unversioned.add(id);
    else this.#unversioned.delete(id);
    if (step.do === "move") {
      for (const witnessed of this.#witnessed.values()) witnessed.placed += 1;
    }
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
    const isLate = this.#sight.versions.get(id)?.kind === "tombstone";
    if (isLate && event.type !== "user.deleted") {
      this.#meet("a tombstone met by a late event");
    }
    const status = await this.#post(event, this.#isLeaked ? LEAKED_SECRET : NEW_SECRET);
    demand("a genuine event is accepted", status === 200, status);
    await this.#look("event");
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
    if (this.#isLeaked) this.#tainted.add(id);
    const status = await this.#post(userEvent(type, data, { instanceId, at }), LEAKED_SECRET);
    demand("a retired secret is refused", status === (this.#isLeaked ? 200 : 400), status);
    await this.#look(this.#isLeaked ? "forged" : "event");
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
    this.#colors.set(row._id, color);
    await this.#t.run(async (ctx) => {
      await ctx.db.patch("users", row._id, { color });
    });
    await this.#look("app");
  }

  async #loseRow(who: number): Promise<void> {
    const rows = this.#sight.users.filter(({ clerkId }) => clerkId !== undefined);
    const row = rows[who % rows.length];
    if (row?.clerkId === undefined) return;
    this.#disturb();
    await this.#t.run(async (ctx) => {
      await ctx.db.delete("users", row._id);
    });
    await this.#look("app");
  }

  #disturb(): void {
    for (const witnessed of this.#witnessed.values()) witnessed.isDisturbed = true;
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
    this.#isFalsified ||= !["status", "slow down", "reset", "hang", "html", "string"].includes(
      kind,
    );
    const [path, fault] = FAULTS[kind];
    this.clerk.order(path, fault, times);
  }

  #heal(): void {
    this.clerk.heal();
    this.#isFalsified = false;
    this.#catchUp();
    appChoice.refused.clear();
    vi.stubEnv("CLERK_SECRET_KEY", this.clerk.secretKey);
  }

  #fallBehind(byMs: number): void {
    const since = Date.now() - byMs;
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
    const isUnderWay = this.#gate.actors.some((actor) => !("clerkId" in actor.args));
    if (isUnderWay) this.#meet("two overlapping runs");
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
    if (actor.next !== "start") this.#meet("a crash");
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
    await this.#call({ mode, dryRun, maxDeletions, pageSize });
    const next = this.#gate.actors.at(-1);
    for (let i = 0; i < 2 * places && next && next.next !== "nothing"; i += 1) {
      await this.#step(next);
    }
    await this.#step(slow);
  }

  async #step(actor: Actor): Promise<void> {
    const { next } = actor;
    await actor.proceed(this.#gate);
    this.#writer = actor;
    if (next === "mutation") await this.#look("sync");
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
    return [...this.#sight.runs.values()].some(({ state }) => state.kind === "running");
  }

  async #runInPeace(args: { maxDeletions?: number; dryRun?: boolean }): Promise<Run> {
    const startedAt = Date.now();
    await this.#finishAll();
    await this.#call(args);
    await this.#finishAll();
    const run = [...this.#sight.runs.values()].at(-1);
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
    vi.stubEnv("CLERK_WEBHOOK_SECRET", NEW_SECRET);
    await this.#finishAll();
    await this.#wait(5 * MINUTE + 1);
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
        JSON.stringify([kind, counts.drift, counts.setAside]),
      );
      demand("a dry run says what the next run does", foretold === done, { foretold, done });
    }
    if (run.state.kind === "held") {
      const { next } = (await this.#report(run)) ?? {};
      const { maxDeletions } = JSON.parse(/'(.*)'/.exec(next ?? "")?.[1] ?? "{}") as {
        maxDeletions?: number;
      };
      run = await this.#runInPeace({ maxDeletions });
    }
    const { counts, state } = run;
    demand("a run in peace completes", state.kind === "completed", state);
    demand("a run in peace leaves nobody", counts.setAside + counts.postponed === 0, counts);
    const shown = this.#sight.users.flatMap(({ clerkId, firstName, clerkCreatedAt, banned }) =>
      clerkId === undefined ? [] : [clerkId, firstName, clerkCreatedAt, banned].join(),
    );
    const people = [...this.clerk.users.values()].map(({ id, first_name, created_at, banned }) =>
      [id, first_name, created_at, banned].join(),
    );
    const isEqual = shown.sort().join(" ") === people.sort().join(" ");
    demand("after a full run the table equals Clerk", isEqual, { shown, people });

    const before = JSON.stringify([this.#sight.users, [...this.#sight.versions]]);
    const { drift } = (await this.#runInPeace({})).counts;
    const isSilent = drift.missing + drift.stale + drift.orphaned === 0;
    demand("the next run finds nothing", isSilent, drift);
    const after = JSON.stringify([this.#sight.users, [...this.#sight.versions]]);
    demand("the next run writes nothing", before === after);
  }

  async #report({ _id: runId }: Run) {
    return await this.#t.query(internal.clerk.reconcile.report, { runId });
  }

  // What must hold.

  async #see(): Promise<Sight> {
    const { users, versions, runs, entries } = await this.#t.run(async ({ db }) => ({
      users: await db.query("users").take(1000),
      versions: await db.query("clerkVersions").take(1000),
      runs: await db.query("reconcileRuns").take(1000),
      entries: await db.query("driftEntries").take(5000),
    }));
    return {
      users: users.filter(({ deletedAt }) => deletedAt === undefined),
      marked: users.filter(({ deletedAt }) => deletedAt !== undefined),
      entries,
      versions: new Map(versions.map((version) => [version.clerkId, version])),
      runs: new Map(runs.map((run) => [run._id, run])),
    };
  }

  async #look(by: By): Promise<void> {
    const before = this.#sight;
    const now = await this.#see();
    this.#sight = now;
    const rowOf = (sight: Sight) => new Map(sight.users.map((row) => [row._id, row]));
    const [rowsBefore, rowsNow] = [rowOf(before), rowOf(now)];
    const removed = before.users.filter(({ _id }) => !rowsNow.has(_id));
    const created = now.users.filter(({ _id }) => !rowsBefore.has(_id));
    const changed = now.users.filter((row) => {
      const old = rowsBefore.get(row._id);
      return old !== undefined && JSON.stringify(old) !== JSON.stringify(row);
    });

    const ids = now.users.flatMap(({ clerkId }) => clerkId ?? []);
    demand("never two rows for one user", new Set(ids).size === ids.length, ids);
    const foreign = ids.filter((id) => id.startsWith("user_other"));
    demand("nothing is mirrored from another instance", foreign.length === 0, foreign);
    this.#checkMarked(before, now);
    this.#checkOwnFields(now, created, by);
    if (by === "app") return;
    const isMarked = new Set(now.marked.map(({ _id }) => _id));
    const gone = removed.filter(({ _id }) => isMarked.has(_id) !== (appChoice.removal === "mark"));
    demand("a row is removed as the app wants it", gone.length === 0, gone);
    this.#checkDead(before, created);
    this.#checkLooks([...created, ...changed], by);
    if (by !== "sync") return;
    const live = removed.filter(({ clerkId = "" }) => this.clerk.users.has(clerkId));
    demand("no live user's row is removed by a run", live.length === 0, live);
    this.#checkAccounts(before, now, { removed, created, changed });
    this.#checkRuns(before, now);
  }

  /** A marked row keeps its place until its user comes back to it, and shows nothing of them. */
  #checkMarked(before: Sight, now: Sight): void {
    const kept = new Set([...now.users, ...now.marked].map(({ _id }) => _id));
    const lost = before.marked.filter(({ _id }) => !kept.has(_id));
    demand("a marked row stays", lost.length === 0, lost);
    const shown = now.marked.filter((row) => Object.keys(row).sort().join() !== MARKED_FIELDS);
    demand("a marked row shows nothing of its user", shown.length === 0, shown);
    const markedIds = new Map(before.marked.map(({ clerkId, _id }) => [clerkId, _id]));
    const twins = now.users.filter(({ clerkId, _id }) => (markedIds.get(clerkId) ?? _id) !== _id);
    demand("who comes back gets the marked row back", twins.length === 0, twins);
  }

  #checkOwnFields({ users, marked }: Sight, created: User[], by: By): void {
    for (const { _id, color } of created) {
      if (!this.#colors.has(_id)) this.#colors.set(_id, color);
    }
    const rows = [...users, ...marked];
    const wrong = rows.filter(({ _id, color }) => color !== this.#colors.get(_id));
    demand("the app's own fields are as it left them", wrong.length === 0, { by, wrong });
    const guests = users.filter(({ clerkId }) => clerkId === undefined);
    const isGuest = guests.length === 1 && guests[0]?.name === "Guest";
    demand("a row without a clerkId is not touched", isGuest, guests);
  }

  #checkDead({ versions }: Sight, created: User[]): void {
    for (const { kind, clerkId, appliedAt } of versions.values()) {
      if (kind === "tombstone") this.#tombstonedAt.set(clerkId, appliedAt);
    }
    // A tombstone from before the death was a forgery, and Clerk's answer may be from before it too.
    const risen = created.filter(({ clerkId = "" }) => {
      const diedAt = this.#deletedAt.get(clerkId) ?? -Infinity;
      const wasKnown = diedAt <= (this.#tombstonedAt.get(clerkId) ?? -Infinity);
      return wasKnown && this.#tombstonedAt.has(clerkId) && !this.clerk.users.has(clerkId);
    });
    demand("no dead user rises", risen.length === 0, risen);
  }

  #checkLooks(rows: User[], by: By): void {
    for (const { clerkId = "", firstName = "" } of rows) {
      const look = Number(/^look(\d+)$/.exec(firstName)?.[1] ?? NaN);
      if (by === "forged" || this.#tainted.has(clerkId) || Number.isNaN(look)) continue;
      const newest = this.#newestLook.get(clerkId) ?? { look: 0, at: -Infinity };
      const isEvidence = by === "sync" && this.#isNewerEvidence(clerkId, firstName, newest.at);
      const isRight = look >= newest.look || isEvidence;
      demand("no row goes back to an older look", isRight, { clerkId, look, newest, by });
      this.#newestLook.set(clerkId, { look, at: Date.now() });
    }
  }

  /** Whether Clerk shows that look now, or did to the one who writes it, asked since the last write. */
  #isNewerEvidence(clerkId: string, firstName: string, since: number): boolean {
    if (this.clerk.shown.get(clerkId)?.first_name === firstName) return true;
    const answer = this.#writer && this.#answers.get(this.#writer);
    return answer ? answer.askedAt >= since && answer.looks.get(clerkId) === firstName : false;
  }

  /** Every write of a run is counted and listed; what no run counts is a repair of one user. */
  #checkAccounts(
    before: Sight,
    now: Sight,
    { removed, created, changed }: Record<"removed" | "created" | "changed", User[]>,
  ): void {
    const sumOf = (sight: Sight, kind: "created" | "updated" | "deleted") =>
      [...now.runs.keys()].reduce(
        (sum, id) => sum + (sight.runs.get(id)?.counts.repaired[kind] ?? 0),
        0,
      );
    const counted = {
      created: sumOf(now, "created") - sumOf(before, "created"),
      updated: sumOf(now, "updated") - sumOf(before, "updated"),
      deleted: sumOf(now, "deleted") - sumOf(before, "deleted"),
    };
    const [ran] = [...now.runs.values()].filter(
      (run) => JSON.stringify(run) !== JSON.stringify(before.runs.get(run._id)),
    );
    const writes = created.length + changed.length + removed.length;
    if (ran === undefined) {
      demand("a repair writes one user", writes <= 1, writes);
      return;
    }
    const done = { created: created.length, updated: changed.length, deleted: removed.length };
    const isCounted = JSON.stringify(counted) === JSON.stringify(done);
    demand("the reports account for every repair", isCounted, { counted, done });
    const known = new Set(before.entries.map(({ _id }) => _id));
    const listed = now.entries
      .filter(({ _id, action }) => !known.has(_id) && /^(created|updated|deleted)$/.test(action))
      .map(({ clerkId, action }) => `${action} ${clerkId}`);
    const made = [
      ...created.map(({ clerkId }) => `created ${clerkId}`),
      ...changed.map(({ clerkId }) => `updated ${clerkId}`),
      ...removed.map(({ clerkId }) => `deleted ${clerkId}`),
    ];
    const isListed = listed.sort().join() === made.sort().join();
    demand("the reports name every repair", isListed, { listed, made });
    demand("a dry run writes nothing", !ran.dryRun || writes === 0, made);
    if (removed.length > 0) this.#checkDeletions(before, ran, removed);
  }

  #checkDeletions({ versions }: Sight, ran: Run, removed: User[]): void {
    this.#meet("a deletion by a run");
    demand("a recent run deletes nobody", ran.mode === "full", ran);
    const { maxDeletions } = ran;
    const isAllowed =
      maxDeletions === undefined
        ? removed.every(({ clerkId = "" }) => versions.has(clerkId)) &&
          ran.counts.repaired.deleted <= MAX_DELETIONS &&
          ran.counts.confirmed > 0
        : ran.counts.repaired.deleted <= maxDeletions;
    demand("a run deletes only what its rules allow", isAllowed, { maxDeletions, removed });
  }

  #checkRuns(before: Sight, now: Sight): void {
    for (const run of now.runs.values()) {
      const old = before.runs.get(run._id);
      if (old === undefined) this.#witness(run);
      const { state } = run;
      if (state.kind === "running" && state.phase.kind === "walk" && state.phase.crowd) {
        this.#meet("a crowd");
      }
      const witnessed = this.#witnessed.get(run._id);
      if (state.kind === "running") {
        const isLookBack = state.phase.kind === "lookBack";
        if (isLookBack && old?.state.kind === "running" && old.state.phase.kind !== "lookBack") {
          if (witnessed) witnessed.lookedBackAt = this.#looks;
        }
        continue;
      }
      this.#witnessed.delete(run._id);
      if (state.kind === "held") this.#meet("a hold");
      if (witnessed && run.mode === "full") this.#checkEnd(run, witnessed);
    }
  }

  #witness(run: Run): void {
    const count = this.clerk.shown.size;
    this.#witnessed.set(run._id, {
      usersAtFirst: this.clerk.users.size,
      fewestUsers: count,
      placed: 0,
      isDisturbed: this.#isFalsified || this.#laggingSince !== null,
      lookedBackAt: 0,
    });
  }

  #checkEnd({ _id, startedAt, state, counts, dryRun }: Run, witnessed: Witnessed): void {
    const { usersAtFirst, fewestUsers, placed, isDisturbed, lookedBackAt } = witnessed;
    const most = usersAtFirst + placed;
    const isOnce = counts.scanned <= most;
    demand("a run counts nobody twice", isDisturbed || isOnce, { counts, most });
    if (state.kind !== "completed" && state.kind !== "held") return;
    // Who changed in the run's time, or just before it, may have been met by the look-back alone.
    const changed = [...this.clerk.users.values()].filter(
      ({ updated_at }) => updated_at >= startedAt - MINUTE,
    );
    const isEnough = counts.scanned + placed + changed.length >= fewestUsers;
    demand("a list with users missing judges nobody", isEnough, { counts, fewestUsers, placed });
    if (dryRun || isDisturbed || state.kind === "held") return;
    const left = new Set(
      this.#sight.entries
        .filter(({ runId, action }) => runId === _id && /^(postponed|setAside)$/.test(action))
        .map(({ clerkId }) => clerkId),
    );
    const rowOf = new Map(this.#sight.users.map((row) => [row.clerkId, row]));
    const missed = [...this.clerk.users.values()].filter((user) => {
      const { id } = user;
      const isExempt = left.has(id) || this.#tainted.has(id) || this.#unversioned.has(id);
      const isMet = (this.#changes.get(id) ?? 0) <= lookedBackAt;
      const row = rowOf.get(id);
      const isShown = row?.firstName === user.first_name && row.banned === user.banned;
      return !isExempt && isMet && !isShown;
    });
    demand("a completed run shows what changed while it walked", missed.length === 0, missed);
    const ghosts = this.#sight.users.filter(({ clerkId = "" }) => {
      const wentAt = this.#deletedAt.get(clerkId) ?? Infinity;
      const isExempt = left.has(clerkId) || this.#tainted.has(clerkId);
      return !isExempt && wentAt < startedAt - LAG_MS;
    });
    demand("a completed run leaves nobody who was gone before it", ghosts.length === 0, ghosts);
  }
}

function changeOf(
  step: Exclude<Change, { do: "delete" }>,
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
const ANY = /^/;

function changeList(change: (users: unknown[]) => unknown[]): Fault {
  return { kind: "change", change: (json) => (Array.isArray(json) ? change(json) : json) };
}

const FAULTS: Record<Kind, [path: RegExp, fault: Fault]> = {
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
