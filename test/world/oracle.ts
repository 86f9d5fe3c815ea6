/**
 * What must hold in a world, after every step of it. What is right is told by the stand-in's own table
 * and by what the world says that it did, never by the sync.
 */
import type { Doc } from "../../convex/_generated/dataModel";
import { DAY, MINUTE } from "../../convex/clerk/shared/clock";
import type { ClerkStandIn } from "../../scripts/stand-in/clerk-stand-in";
import type { Actor } from "./gate";
import { appChoice, tokenOf } from "./history-steps";

export type Run = Doc<"clerkRuns">;
type User = Doc<"users">;
/** Who writes: a run or a repair, an event (`forged` with a secret that leaked), or the app. */
export type By = "sync" | "event" | "forged" | "app";

export const FEATURES = [
  "a crash",
  "a deletion by a run",
  "a deletion by the worker",
  "a hold",
  "two overlapping runs",
  "a crowd",
  "a tombstone met by a late event",
  "a row of the app's before Clerk shows its user",
  "a table restored without what the sync knew",
  "short pages",
  "few requests at a time",
  "a page that comes again",
  "users who share a time in another order with each page",
  "a count that is wrong",
  "an odd entry",
  "an id that Clerk does not answer about",
  "an event that the app refuses",
  "two events of one version",
  "a move to another instance",
  "the next of an older report",
  "requests under way beside a transaction",
  "a row that the app knows by its key",
  "a purge",
  "a return to a marked row",
  "a row that is erased in parts",
] as const;
export type Feature = (typeof FEATURES)[number];

/** What a completed run must show happened so long before it began. */
const LAG_MS = 5 * MINUTE;
/** So few as these worlds have may lose so many unasked. */
const MAX_DELETIONS = 10;
/** So long what an event said, and what the app made at a sign-in, stand against Clerk's 404. */
const FRESH_MS = 5 * MINUTE;

/** Rows of the app's own, with and without a name. */
const OWN_FIELDS = ["_creationTime,_id,color,name"];
/** What is left of a row that is marked as removed. */
const MARKED_FIELDS = "_creationTime,_id,clerkId,color,deletedAt";

/** Something that must hold, and did not. */
export class Violation extends Error {}

export function demand(property: string, holds: boolean, details: unknown = ""): void {
  if (!holds) throw new Violation(`${property}: ${JSON.stringify(details)}`);
}

/** How long an id stays known as gone. */
const TOMBSTONE_MS = 30 * DAY;

/** What the database holds of the sync. */
export type Sight = {
  /** Rows, but those marked as removed, and those with an id of the app's own. */
  users: User[];
  marked: User[];
  own: User[];
  /** Rows that are being erased, those of which something is, and whose messages there are. */
  leaving: User[];
  begun: Set<string>;
  authors: Set<string>;
  versions: Map<string, Doc<"clerkVersions">>;
  runs: Map<string, Run>;
  entries: Doc<"clerkDriftEntries">[];
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

/** Rows that were marked, and are gone, or on their way out. */
function purgedIn(before: Sight, now: Sight): User[] {
  const kept = new Set([...now.users, ...now.marked].map(({ _id }) => _id));
  return before.marked.filter(({ _id }) => !kept.has(_id));
}

/** Looks at the database after every step, remembers, and throws Violation where something does not hold. */
export class Oracle {
  readonly features = new Set<Feature>();
  sight: Sight = {
    users: [],
    marked: [],
    own: [],
    leaving: [],
    begun: new Set(),
    authors: new Set(),
    versions: new Map(),
    runs: new Map(),
    entries: [],
  };
  /** False in the peace before and after, where nothing interleaves. */
  isEventful = false;
  readonly #clerk: ClerkStandIn;
  readonly #see: () => Promise<Sight>;
  readonly #mayBeFalse: () => boolean;
  readonly #colors = new Map<string, string>();
  readonly #newestLook = new Map<string, { look: number; at: number }>();
  /** What Clerk showed in its last answers to each action, the newest first. */
  readonly #answers = new Map<Actor, { askedAt: number; looks: Map<string, string | null> }[]>();
  readonly #tainted = new Set<string>();
  readonly #witnessed = new Map<string, Witnessed>();
  /** Ids whose last change kept their version, so that a look-back can't find it. */
  readonly #unversioned = new Set<string>();
  /** The serial number of the last change of each user, and when those who are gone went. */
  readonly #changes = new Map<string, number>();
  readonly #deletedAt = new Map<string, number>();
  readonly #revivedAt = new Map<string, number>();
  readonly #saidGoneAt = new Map<string, number>();
  /** When somebody last went of those who share a creation time. */
  readonly #thinnedAt = new Map<number, number>();
  /** When the last tombstone of each id was written, also of those that were pruned. */
  readonly #tombstonedAt = new Map<string, number>();
  #lastChange = 0;
  /** When an event last named each id. */
  readonly #named = new Map<string, number>();
  /** The instance that is mirrored, and whether it was moved since a full run completed. */
  #mirrored: ClerkStandIn;
  #isMoved = false;
  /** Whom a run holds, until a person says otherwise, or a full run completes. */
  readonly #held = new Set<string>();
  #removedByDoubts = 0;
  readonly #removedByRun = new Map<string, number>();
  /** Whether the last completed full run met nobody. */
  #metNobody = false;

  /**
   * @param see looks at the database
   * @param mayBeFalse whether Clerk's answers may now be false, or old
   */
  constructor(
    clerk: ClerkStandIn,
    { see, mayBeFalse }: { see: () => Promise<Sight>; mayBeFalse: () => boolean },
  ) {
    this.#clerk = clerk;
    this.#mirrored = clerk;
    this.#see = see;
    this.#mayBeFalse = mayBeFalse;
    clerk.onRequest = () => {
      for (const witnessed of this.#witnessed.values()) {
        witnessed.fewestUsers = Math.min(witnessed.fewestUsers, clerk.shown.size);
        witnessed.isDisturbed ||= mayBeFalse();
      }
    };
  }

  // What the world says that it did.

  /** One of the dangers was met. */
  meet(feature: Feature): void {
    if (this.isEventful) this.features.add(feature);
  }

  /** A user was created, or changed. @param look the serial number of the change */
  changed(id: string, look: number): void {
    this.#changes.set(id, look);
    this.#lastChange = look;
  }

  /** The last change kept the user's version, or did not. */
  keptVersion(id: string, isKept: boolean): void {
    if (isKept) this.#unversioned.add(id);
    else this.#unversioned.delete(id);
  }

  /** A user has come to another place in the list. */
  placed(): void {
    for (const witnessed of this.#witnessed.values()) witnessed.placed += 1;
  }

  /** A user was deleted in Clerk. */
  died(id: string, createdAt: number): void {
    this.#deletedAt.set(id, Date.now());
    this.#thinnedAt.set(createdAt, Date.now());
  }

  /** Whoever was deleted. */
  get dead(): string[] {
    return [...this.#deletedAt.keys()];
  }

  /** A user who was deleted is there again. */
  revived(id: string): void {
    this.#deletedAt.delete(id);
    this.#revivedAt.set(id, Date.now());
  }

  /** Whether a row is of somebody who was there when Clerk was asked last; nobody can know who came back since. */
  #isLive({ clerkId = "" }: User, writer: Actor | null): boolean {
    const [answer] = (writer && this.#answers.get(writer)) ?? [];
    const revivedAt = this.#revivedAt.get(clerkId) ?? -Infinity;
    return this.#mirrored.users.has(clerkId) && revivedAt <= (answer?.askedAt ?? Infinity);
  }

  /** The app wrote its own field. */
  colored(rowId: string, color: string): void {
    this.#colors.set(rowId, color);
  }

  /** An event about this id was forged with a secret that was valid: what is right is unknown. */
  tainted(id: string): void {
    this.#tainted.add(id);
  }

  /** Another hand was in the table. */
  disturbed(): void {
    for (const witnessed of this.#witnessed.values()) witnessed.isDisturbed = true;
  }

  /** An event named an id. @param isDeath Clerk's own word that it is gone, however old: it came back meanwhile, if it is there */
  named(id: string, isDeath = false): void {
    this.#named.set(id, Date.now());
    if (isDeath) this.#saidGoneAt.set(id, Date.now());
  }

  /** The mirror was moved to an instance on purpose. */
  movedTo(instance: ClerkStandIn): void {
    this.meet("a move to another instance");
    this.#mirrored = instance;
    this.#isMoved = true;
    this.disturbed();
  }

  /** The rows are there as they were, and all that the sync knew is gone. */
  restored(): void {
    this.meet("a table restored without what the sync knew");
    this.#mirrored = this.#clerk;
    this.#isMoved = false;
    this.#metNobody = false;
    this.#removedByDoubts = 0;
    this.#held.clear();
    this.#newestLook.clear();
    this.#tombstonedAt.clear();
    this.#witnessed.clear();
  }

  /** Clerk answered an action. */
  answered(actor: Actor, askedAt: number, looks: Map<string, string | null>): void {
    const answers = [{ askedAt, looks }, ...(this.#answers.get(actor) ?? [])];
    // What is settled may be of an answer before: of a page's, of those ahead, and whether the list ends with it.
    this.#answers.set(actor, answers.slice(0, 16));
  }

  // What must hold.

  /** @param writer the action that took the last step */
  async look(by: By, writer: Actor | null = null): Promise<void> {
    const before = this.sight;
    const now = await this.#see();
    this.sight = now;
    const rowOf = (sight: Sight) => new Map(sight.users.map((row) => [row._id, row]));
    const [rowsBefore, rowsNow] = [rowOf(before), rowOf(now)];
    const removed = before.users.filter(({ _id }) => !rowsNow.has(_id));
    const takenOver = this.#checkOwnRows(before, now, by);
    const isTakenOver = (row: User) => takenOver.includes(row);
    const created = now.users.filter((row) => !rowsBefore.has(row._id) && !isTakenOver(row));
    const changed = now.users.filter((row) => {
      const old = rowsBefore.get(row._id);
      const isOther = old !== undefined && JSON.stringify(old) !== JSON.stringify(row);
      return isOther || isTakenOver(row);
    });

    const ids = now.users.flatMap(({ clerkId }) => clerkId ?? []);
    demand("never two rows for one user", new Set(ids).size === ids.length, ids);
    const foreign = created.filter(({ clerkId = "" }) => clerkId.startsWith("user_other"));
    const isHere = this.#mirrored === this.#clerk;
    demand("nothing is mirrored from another instance", !isHere || foreign.length === 0, foreign);
    this.#checkMarked(before, now, by);
    this.#checkLeaving(before, now, by);
    this.#checkOwnFields(now, created, by);
    if (by === "app") return;
    const isMarked = new Set(now.marked.map(({ _id }) => _id));
    const gone = removed.filter(({ _id }) => isMarked.has(_id) !== (appChoice.removal === "mark"));
    demand("a row is removed as the app wants it", gone.length === 0, gone);
    this.#checkDead(before, created);
    this.#checkLooks([...created, ...changed], by, writer);
    if (by !== "sync") return;
    const live = removed.filter((row) => this.#isLive(row, writer));
    demand("no live user's row is removed by a run", live.length === 0, live);
    this.#checkAccounts(before, now, { removed, created, changed }, writer);
    this.#checkPurges(before, now, writer);
    this.#checkRuns(before, now);
  }

  /**
   * A row with an id of the app's own stays as it is, but one that the app knows by its key, of a user whom Clerk has,
   * or had.
   * @returns the rows that were taken over
   */
  #checkOwnRows(before: Sight, now: Sight, by: By): User[] {
    for (const { _id, color } of now.own) {
      if (!this.#colors.has(_id)) this.#colors.set(_id, color);
    }
    const own = new Map(now.own.map((row) => [row._id, row]));
    const users = new Map([...now.users, ...now.marked].map((row) => [row._id, row]));
    const takenOver = before.own.flatMap((row) => {
      const isAsItWas = JSON.stringify(own.get(row._id)) === JSON.stringify(row);
      if (isAsItWas || by === "app") return [];
      const user = users.get(row._id);
      const isTheirs = appChoice.isKeyed && row.clerkId === tokenOf(user?.clerkId ?? "");
      demand("a row of the app's own is left as it is", isTheirs, { row, user });
      this.meet("a row that the app knows by its key");
      return user === undefined ? [] : [user];
    });
    const tokens = new Set(now.own.map(({ clerkId }) => clerkId));
    const twins = now.users.filter(({ clerkId = "" }) => tokens.has(tokenOf(clerkId)));
    demand("nobody whom the app knows gets a second row", twins.length === 0, twins);
    return takenOver;
  }

  /** A marked row keeps its place until its user comes back to it, and shows nothing of them. */
  #checkMarked(before: Sight, now: Sight, by: By): void {
    // Where the app has `erase` again, what it had begun to erase goes on.
    const goesOn = new Set(by === "app" ? now.leaving.map(({ _id }) => _id) : []);
    const purged = by === "sync" ? [] : purgedIn(before, now);
    const lost = purged.filter(({ _id }) => !goesOn.has(_id));
    demand("a marked row stays", lost.length === 0, lost);
    const ids = new Map(now.users.map(({ _id, clerkId }) => [_id, clerkId]));
    const back = before.marked.filter(({ _id, clerkId }) => ids.get(_id) === clerkId);
    if (back.length > 0 && appChoice.purgeAfterMs !== null) this.meet("a return to a marked row");
    const shown = now.marked.filter((row) => Object.keys(row).sort().join() !== MARKED_FIELDS);
    demand("a marked row shows nothing of its user", shown.length === 0, shown);
    const markedIds = new Map(before.marked.map(({ clerkId, _id }) => [clerkId, _id]));
    const twins = now.users.filter(({ clerkId, _id }) => (markedIds.get(clerkId) ?? _id) !== _id);
    demand("who comes back gets the marked row back", twins.length === 0, twins);
  }

  /** A row that is being erased goes once nothing hangs on it, and nobody comes back to what is left, or beside it. */
  #checkLeaving(before: Sight, now: Sight, by: By): void {
    const rows = [...now.users, ...now.marked, ...now.leaving];
    const kept = new Set(rows.map(({ _id }) => _id));
    const gone = before.leaving.filter(({ _id }) => !kept.has(_id));
    const left = gone.filter(({ _id }) => now.authors.has(_id));
    demand("what hangs on a row goes before it", left.length === 0, left);
    if (now.leaving.some(({ _id }) => now.authors.has(_id))) {
      this.meet("a row that is erased in parts");
    }
    if (by === "app") return;
    const leaving = new Set(now.leaving.map(({ _id }) => _id));
    const begun = before.leaving.filter(({ _id }) => before.begun.has(_id));
    const back = begun.filter(({ _id }) => kept.has(_id) && !leaving.has(_id));
    demand("nobody comes back to a row that is being erased", back.length === 0, back);
    const ids = new Set(now.leaving.map(({ clerkId }) => clerkId));
    const beside = now.users.filter(({ clerkId }) => ids.has(clerkId));
    demand("nobody comes back beside a row that is being erased", beside.length === 0, beside);
    const silenced = [...before.authors].filter(
      (id) => !now.authors.has(id) && now.users.some(({ _id }) => _id === id),
    );
    demand("nothing of a row that stays is erased", silenced.length === 0, silenced);
  }

  /** What lets a marked row go: its time, Clerk's answer about that very id, its freshness, a full run that holds nobody. */
  #checkPurges(before: Sight, now: Sight, writer: Actor | null): void {
    const purged = purgedIn(before, now);
    const countOf = ({ runs }: Sight) =>
      [...now.runs.keys()].reduce((sum, id) => sum + (runs.get(id)?.counts.purged ?? 0), 0);
    const ran = [...now.runs.values()].filter(
      ({ _id, counts }) => counts.purged !== before.runs.get(_id)?.counts.purged,
    );
    const dry = ran.filter(({ dryRun }) => dryRun).length > 0;
    const counted = countOf(now) - countOf(before);
    const ids = [...new Set(purged.map(({ clerkId }) => clerkId))];
    const isCounted = dry ? purged.length === 0 : counted === ids.length;
    demand("the reports account for every purge", isCounted, { counted, purged });
    if (purged.length === 0) return;
    this.meet("a purge");
    const known = new Set(before.entries.map(({ _id }) => _id));
    const listed = now.entries.filter(({ _id, action }) => !known.has(_id) && action === "purged");
    const isListed = String(listed.map(({ clerkId }) => clerkId).sort()) === String(ids.sort());
    demand("the reports name every purge", isListed, { listed, purged });
    const [run] = ran;
    const isFull = run?.mode === "full" && ran.length === 1;
    demand("nobody but a full run purges", isFull, ran);
    const [answer] = (writer && this.#answers.get(writer)) ?? [];
    for (const row of purged) {
      const { clerkId = "", deletedAt = Infinity } = row;
      const isOver = deletedAt <= Date.now() - (appChoice.purgeAfterMs ?? Infinity);
      demand("a purge does not come early", isOver, row);
      demand("a purge has Clerk's word for it", answer?.looks.has(clerkId) === false, row);
      const namedAt = this.#named.get(clerkId) ?? -Infinity;
      demand("a purge is fresh", namedAt <= Date.now() - FRESH_MS, { row, namedAt });
    }
    const live = purged.filter((row) => this.#isLive(row, writer));
    demand("no live user's row is purged", live.length === 0, live);
    demand("nobody is purged after a move", !this.#isMoved, purged);
    const { maxDeletions = Infinity, counts } = run ?? {};
    const removed = (counts?.repaired.deleted ?? 0) + (counts?.purged ?? 0);
    demand("a run removes only as many as a person allows", removed <= maxDeletions, run);
  }

  #checkOwnFields({ users, marked }: Sight, created: User[], by: By): void {
    for (const { _id, color } of created) {
      if (!this.#colors.has(_id)) this.#colors.set(_id, color);
    }
    const rows = [...users, ...marked];
    const wrong = rows.filter(({ _id, color }) => color !== this.#colors.get(_id));
    demand("the app's own fields are as it left them", wrong.length === 0, { by, wrong });
    const guests = users.filter(({ clerkId }) => clerkId === undefined);
    const isGuest = guests.filter(({ name }) => name === "Guest").length === 1;
    const isOwn = guests.every((row) => OWN_FIELDS.includes(Object.keys(row).sort().join()));
    demand("a row without a clerkId is not touched", isGuest && isOwn, guests);
  }

  #checkDead({ versions }: Sight, created: User[]): void {
    for (const { kind, clerkId, appliedAt, appliedBy } of versions.values()) {
      if (kind !== "tombstone") continue;
      this.#tombstonedAt.set(clerkId, appliedAt);
      // By Clerk's own word a hold is over: who comes back is held by none.
      if (appliedBy === "event") this.#held.delete(clerkId);
    }
    // A tombstone from before the death was a forgery, and Clerk's answer may be from before it too.
    const risen = created.filter(({ clerkId = "" }) => {
      const diedAt = this.#deletedAt.get(clerkId) ?? -Infinity;
      const wasKnown = diedAt <= (this.#tombstonedAt.get(clerkId) ?? -Infinity);
      const isAlive = this.#clerk.users.has(clerkId) || this.#mirrored.users.has(clerkId);
      const since = Date.now() - (this.#tombstonedAt.get(clerkId) ?? Infinity);
      // Nobody knows any more whom somebody who has the secret makes up anew.
      const isForgotten = this.#tainted.has(clerkId) && since > TOMBSTONE_MS;
      return wasKnown && this.#tombstonedAt.has(clerkId) && !isAlive && !isForgotten;
    });
    demand("no dead user rises", risen.length === 0, risen);
  }

  #checkLooks(rows: User[], by: By, writer: Actor | null): void {
    for (const { clerkId = "", firstName = "" } of rows) {
      const look = Number(/^look(\d+)$/.exec(firstName)?.[1] ?? NaN);
      if (by === "forged" || this.#tainted.has(clerkId) || Number.isNaN(look)) continue;
      const newest = this.#newestLook.get(clerkId) ?? { look: 0, at: -Infinity };
      const isEvidence =
        by === "sync" && this.#isNewerEvidence(clerkId, firstName, newest.at, writer);
      const isRight = look >= newest.look || isEvidence;
      demand("no row goes back to an older look", isRight, { clerkId, look, newest, by });
      this.#newestLook.set(clerkId, { look, at: Date.now() });
    }
  }

  /** Whether Clerk shows that look now, or did to the one who writes it, asked since the last write. */
  #isNewerEvidence(
    clerkId: string,
    firstName: string,
    since: number,
    writer: Actor | null,
  ): boolean {
    if (this.#clerk.shown.get(clerkId)?.first_name === firstName) return true;
    const answers = (writer && this.#answers.get(writer)) ?? [];
    return answers.some(
      ({ askedAt, looks }) => askedAt >= since && looks.get(clerkId) === firstName,
    );
  }

  /** Every write of a run is counted and listed; what no run counts is a repair of one user. */
  #checkAccounts(
    before: Sight,
    now: Sight,
    { removed, created, changed }: Record<"removed" | "created" | "changed", User[]>,
    writer: Actor | null,
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
    // A run may wake the worker, whose own run changes then, too.
    const [ran] = [...now.runs.values()]
      .filter((run) => JSON.stringify(run) !== JSON.stringify(before.runs.get(run._id)))
      .sort((a, b) => Number(a.mode === "doubts") - Number(b.mode === "doubts"));
    const writes = created.length + changed.length + removed.length;
    demand("a report accounts for every repair", ran !== undefined || writes === 0, writes);
    if (ran === undefined) return;
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
    if (removed.length > 0) this.#checkDeletions(before, ran, removed, writer);
  }

  /** What allowed each removal: Clerk's answer about that very id, its freshness, and no ground to hold. */
  #checkDeletions(
    { versions, runs }: Sight,
    ran: Run,
    removed: User[],
    writer: Actor | null,
  ): void {
    this.meet("a deletion by a run");
    const now = Date.now();
    const [answer] = (writer && this.#answers.get(writer)) ?? [];
    for (const row of removed) {
      const { clerkId = "", clerkCreatedAt, _creationTime } = row;
      const isGone = answer?.looks.has(clerkId) === false;
      demand("a removal has Clerk's word for it", isGone, row);
      const namedAt = this.#named.get(clerkId) ?? -Infinity;
      const isOwn = clerkCreatedAt === undefined;
      const isFresh = namedAt <= now - FRESH_MS && (!isOwn || _creationTime <= now - FRESH_MS);
      demand("a removal is fresh", isFresh, { row, namedAt, now });
    }
    const isPerson = writer !== null && "clerkId" in writer.args;
    const { maxDeletions, mode, counts } = ran;
    if (isPerson) {
      const isNamed = removed.every(({ clerkId }) => clerkId === writer.args.clerkId);
      demand("a person's repair removes whom it names", isNamed, removed);
      return;
    }
    demand("a recent run deletes nobody", mode !== "recent", ran);
    if (maxDeletions !== undefined) {
      const isAllowed = counts.repaired.deleted <= maxDeletions;
      demand("a run deletes only what its rules allow", isAllowed, { maxDeletions, removed });
      return;
    }
    demand("nobody is removed unasked after a move", !this.#isMoved, removed);
    const strangers = removed.filter(({ clerkId = "", clerkCreatedAt }) => {
      const known = versions.get(clerkId);
      return (known === undefined || known.kind === "met") && clerkCreatedAt === undefined;
    });
    demand("nobody unconfirmed is removed unasked", strangers.length === 0, strangers);
    const held = removed.filter(({ clerkId = "" }) => this.#held.has(clerkId));
    demand("nobody held is removed unasked", held.length === 0, held);
    // Of whom Clerk's newest word stands, which the app did not let through, no number is too many.
    const completedAt = [...runs.values()]
      .filter((run) => run.mode === "full" && !run.dryRun && run.state.kind === "completed")
      .reduce((newest, { startedAt }) => Math.max(newest, startedAt), 0);
    const untold = removed.filter(({ clerkId = "" }) => {
      const { kind, appliedAt, eventAt, deletedEventAt = 0 } = versions.get(clerkId) ?? {};
      const isNewest = deletedEventAt === eventAt && deletedEventAt >= completedAt;
      return !isNewest || (kind === "live" && (appliedAt ?? 0) >= deletedEventAt);
    });
    if (mode === "full") {
      // Of a first run, whoever only this instance's events had made is no sign of another instance.
      const isFirst = ![...runs.values()].some(
        ({ mode: other, dryRun, state }) =>
          other === "full" && !dryRun && (state.kind === "completed" || state.kind === "held"),
      );
      const isByEvents = removed.every(({ clerkId = "" }) => {
        const known = versions.get(clerkId);
        const isOurs = known?.instanceId === this.#mirrored.instanceId;
        return known?.kind === "live" && known.appliedBy === "event" && isOurs;
      });
      const isConfirmed = counts.confirmed > 0 || this.#metNobody || (isFirst && isByEvents);
      const unasked = (this.#removedByRun.get(ran._id) ?? 0) + untold.length;
      this.#removedByRun.set(ran._id, unasked);
      const isAllowed = unasked <= MAX_DELETIONS && (isConfirmed || untold.length === 0);
      demand("a run deletes only what its rules allow", isAllowed, { counts, removed });
      return;
    }
    this.#removedByDoubts += untold.length;
    this.meet("a deletion by the worker");
    const isFew = this.#removedByDoubts <= MAX_DELETIONS;
    demand("repairs remove no more than a run may", isFew, this.#removedByDoubts);
    const others = [...runs.values()].filter((run) => run.mode === "full" && !run.dryRun);
    const isUnderWay = others.some(({ state }) => state.kind === "running");
    demand("no repair removes while a full run is under way", !isUnderWay, removed);
    const last = others
      .filter(({ state }) => state.kind === "completed" || state.kind === "held")
      .sort((a, b) => endOf(a) - endOf(b))
      .at(-1);
    demand("no repair removes while the last full run is held", last?.state.kind === "completed");
  }

  #checkRuns(before: Sight, now: Sight): void {
    for (const run of now.runs.values()) {
      const old = before.runs.get(run._id);
      if (old === undefined) this.#witness(run);
      const { state } = run;
      if (state.kind === "running" && "crowd" in state.phase && state.phase.crowd) {
        this.meet("a crowd");
        if (this.#clerk.shufflesTies && state.phase.crowd.met > 1) {
          this.meet("users who share a time in another order with each page");
        }
      }
      const witnessed = this.#witnessed.get(run._id);
      if (state.kind === "running") {
        const isLookBack = state.phase.kind === "lookBack";
        if (isLookBack && old?.state.kind === "running" && old.state.phase.kind !== "lookBack") {
          if (witnessed) witnessed.lookedBackAt = this.#lastChange;
        }
        continue;
      }
      const isHeld = state.kind === "held" && !run.dryRun;
      demand("a run that is held purges nobody", !isHeld || (run.counts.purged ?? 0) === 0, run);
      this.#witnessed.delete(run._id);
      if (old?.state.kind === "running") this.#noteEnd(run, now);
      if (state.kind === "held") this.meet("a hold");
      if (witnessed && run.mode === "full") this.#checkEnd(run, witnessed);
    }
  }

  /** What a full run's end means for who is held. */
  #noteEnd({ _id, mode, dryRun, maxDeletions, state, counts }: Run, { entries }: Sight): void {
    if (mode !== "full" || dryRun) return;
    if (state.kind === "completed") {
      this.#metNobody = counts.scanned === 0;
      const left = entries.filter(
        ({ runId, action }) => runId === _id && (action === "postponed" || action === "setAside"),
      );
      const unjudged = new Set(left.map(({ clerkId }) => clerkId));
      for (const id of this.#held) if (!unjudged.has(id)) this.#held.delete(id);
      this.#isMoved = false;
      this.#removedByDoubts = 0;
    } else if (state.kind === "held" && maxDeletions === undefined) {
      for (const { runId, action, clerkId } of entries) {
        if (runId === _id && action === "held") this.#held.add(clerkId);
      }
    }
  }

  #witness(run: Run): void {
    const count = this.#clerk.shown.size;
    this.#witnessed.set(run._id, {
      usersAtFirst: this.#clerk.users.size,
      fewestUsers: count,
      placed: 0,
      isDisturbed: this.#mayBeFalse(),
      lookedBackAt: 0,
    });
  }

  #checkEnd({ _id, startedAt, state, counts, dryRun }: Run, witnessed: Witnessed): void {
    const { usersAtFirst, fewestUsers, placed, isDisturbed, lookedBackAt } = witnessed;
    const most = usersAtFirst + placed;
    const isOnce = isDisturbed || counts.scanned <= most;
    demand("a run counts nobody twice", isOnce, { counts, most });
    if (state.kind !== "completed" && state.kind !== "held") return;
    // Who changed in the run's time, or just before it, may have been met by the look-back alone.
    const changed = [...this.#clerk.users.values()].filter(
      ({ updated_at }) => updated_at >= startedAt - MINUTE,
    );
    const listed = counts.scanned + placed + changed.length;
    const isTold = isDisturbed || listed + counts.unlisted >= fewestUsers;
    demand("whom a list lacks the report counts", isTold, { counts, fewestUsers, placed });
    if (dryRun || isDisturbed || state.kind === "held") return;
    const left = new Set(
      this.sight.entries
        .filter(({ runId, action }) => runId === _id && /^(postponed|setAside)$/.test(action))
        .map(({ clerkId }) => clerkId),
    );
    const rowOf = new Map(this.sight.users.map((row) => [row.clerkId, row]));
    const missed = [...this.#clerk.users.values()].filter((user) => {
      const { id } = user;
      // An entry without a usable id has no row.
      const isOdd = !/^user_\w+$/.test(id);
      // Where the order changes from page to page, nobody can tell who was met and is gone from who was not.
      const thinnedAt = this.#thinnedAt.get(user.created_at) ?? -Infinity;
      const isBlurred = this.#clerk.shufflesTies && thinnedAt >= startedAt;
      // Behind the walk, it takes the row that the walk has made.
      const isSaidGone = (this.#saidGoneAt.get(id) ?? -Infinity) >= startedAt;
      const isLeft =
        left.has(id) || this.#tainted.has(id) || this.#unversioned.has(id) || isSaidGone;
      const isExempt = isOdd || isLeft || isBlurred;
      const isMet = (this.#changes.get(id) ?? 0) <= lookedBackAt;
      const row = rowOf.get(id);
      const isShown = row?.firstName === user.first_name && row.banned === user.banned;
      return !isExempt && isMet && !isShown;
    });
    demand("a completed run shows what changed while it walked", missed.length === 0, missed);
    const ghosts = this.sight.users.filter(({ clerkId = "" }) => {
      const wentAt = this.#deletedAt.get(clerkId) ?? Infinity;
      const isExempt = left.has(clerkId) || this.#tainted.has(clerkId);
      return !isExempt && wentAt < startedAt - LAG_MS;
    });
    demand("a completed run leaves nobody who was gone before it", ghosts.length === 0, ghosts);
  }
}

function endOf({ state }: Run): number {
  return state.kind === "running" ? Infinity : state.finishedAt;
}
