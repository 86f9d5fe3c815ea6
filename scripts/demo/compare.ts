/** Compares the table with Clerk, independently of the code that is shown. */
import type { Doc } from "../../convex/_generated/dataModel";
import type { ClerkUserJSON } from "../stand-in/clerk-json";

/** Clerk ids by what is wrong with their rows. */
export type Difference = { missing: string[]; stale: string[]; orphaned: string[] };

type Looks = (string | null | undefined)[];

export function compare(
  people: ReadonlyMap<string, ClerkUserJSON>,
  rows: Doc<"users">[],
): Difference {
  const rowOf = new Map(rows.map((row) => [row.clerkId, row]));
  const isStale = (user: ClerkUserJSON) => {
    const row = rowOf.get(user.id);
    return row !== undefined && !areEqual(looksOfRow(row), looksOfUser(user));
  };
  return {
    missing: [...people.keys()].filter((id) => !rowOf.has(id)),
    stale: [...people.values()].filter(isStale).map(({ id }) => id),
    orphaned: rows.flatMap(({ clerkId }) =>
      clerkId === undefined || people.has(clerkId) ? [] : clerkId,
    ),
  };
}

function looksOfRow({ firstName, lastName, username, email, imageUrl }: Doc<"users">): Looks {
  return [firstName, lastName, username, email, imageUrl];
}

function looksOfUser(user: ClerkUserJSON): Looks {
  const { first_name, last_name, username, email_addresses, image_url } = user;
  return [first_name, last_name, username, email_addresses[0]?.email_address, image_url];
}

/** Null in Clerk is absent in Convex. */
function areEqual(one: Looks, other: Looks): boolean {
  return one.every((value, i) => (value ?? null) === (other[i] ?? null));
}
