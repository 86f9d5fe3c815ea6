/** A child process with a heap of 64 MB, like an action's: lists pages of heavy users. Prints how many. */
import { Clerk } from "../convex/clerk/api";

const clerk = new Clerk();
let users = 0;
for (let page = 0; page < 5; page += 1) {
  const listed = await clerk.listByCreation(null, 500);
  users += listed.length;
}
console.log(users);
