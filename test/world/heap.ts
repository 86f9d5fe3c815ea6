/**
 * A child process with a heap of 64 MB, like an action's: walks through heavy users with as many pages requested
 * ahead as a production instance allows. Prints how many users, and how many requests were under way at most.
 */
import { Ahead } from "../../convex/clerk/run/ahead";
import { Clerk } from "../../convex/clerk/api/api";
import { keyOf } from "../../convex/clerk/shared/user";
import { START } from "../../convex/clerk/run/places";
import { usersBetween, windowOf } from "../../convex/clerk/run/sweep";

const PAGE_SIZE = 500;
const ORDER = "+created_at";
const clerk = new Clerk();
await clerk.instance();
const expected = await clerk.countUsers();
const ahead = new Ahead(clerk, PAGE_SIZE);

let settled = START;
let users = 0;
for (;;) {
  const from = settled === START ? null : settled.key;
  const taken = await ahead.take(settled, from);
  const page = taken?.users ?? (await clerk.listByCreation({ from, limit: PAGE_SIZE }));
  const window = windowOf(page, settled, ORDER);
  const rest = usersBetween(page, settled, null, ORDER);
  const last = rest.at(-1);
  if (window === null || window.until === null || last === undefined) {
    users += rest.length;
    break;
  }
  if (page.length === PAGE_SIZE) ahead.request(keyOf(last, ORDER), expected - users - rest.length);
  users += window.users.length;
  settled = window.until;
  // So that all that was requested comes meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 200));
}
await ahead.end();
console.log(users);
