/** A random history: what happens in Clerk, and what becomes of each webhook. */
import fc from "fast-check";

type Delivery = "once" | "twice" | "late" | "lost";
/** `who`: index of a user who was there before; for a creation, of a newcomer. */
export type Change = { kind: "create" | "update" | "delete"; who: number; delivery: Delivery };

const SHARE_CHANGED = 5;
const FEWEST_CHANGES = 12;

const delivery: fc.Arbitrary<Delivery> = fc.constantFrom("once", "once", "twice", "late", "lost");

/**
 * A history of one change for every five users, the same for the same seed. Nobody is deleted
 * unheard who was heard of before: a run rightly waits five minutes before it judges such a user,
 * and nobody wants to watch that.
 */
export function historyOf({ users, seed }: { users: number; seed: number }): Change[] {
  const changes = Math.max(FEWEST_CHANGES, Math.floor(users / SHARE_CHANGED));
  const deleted = Math.max(1, Math.floor(Math.min(users / 3, changes / 5)));
  const kinds = fc.constantFrom("create" as const, "update" as const, "update" as const);
  const others = fc.array(fc.record({ kind: kinds, who: fc.nat(), delivery }), {
    minLength: changes - deleted,
    maxLength: changes - deleted,
  });
  const deletions = fc.array(delivery, { minLength: deleted, maxLength: deleted });
  const histories = fc
    .tuple(others, deletions, fc.infiniteStream(fc.nat()))
    .map(([rest, ends, places]) => {
      let newcomers = 0;
      const history: Change[] = rest.map(({ kind, who, delivery: how }) =>
        kind === "create"
          ? { kind, who: newcomers++, delivery: how }
          : { kind, who: deleted + (who % (users - deleted)), delivery: how },
      );
      // The first users are those to be deleted; whoever is deleted with a word had news before.
      for (const [who, how] of ends.entries()) {
        const place = places.next().value % (history.length + 1);
        const end: Change = { kind: "delete", who, delivery: how };
        const news: Change = { kind: "update", who, delivery: "late" };
        history.splice(place, 0, ...(how === "lost" ? [end] : [news, end]));
      }
      return history;
    });
  const [history = []] = fc.sample(histories, { seed, numRuns: 1 });
  return history;
}
