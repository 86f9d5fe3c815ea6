/**
 * Which columns of `users` mirror Clerk, beside `clerkId` and `clerkCreatedAt`, and how each is read from Clerk's user.
 * To mirror one more, add it to `schema.ts` and here. null clears an optional column, undefined leaves it as it is, a
 * required one must get a value.
 */
import {
  fullName,
  isEmailVerified,
  primaryEmail,
  primaryPhone,
  unlessEmpty,
} from "./shared/readers.js";
import type { Fields } from "./types.js";

export const fields = {
  username: (user) => user.username,
  firstName: (user) => user.first_name,
  lastName: (user) => user.last_name,
  name: fullName,
  email: primaryEmail,
  emailVerified: isEmailVerified,
  phoneNumber: primaryPhone,
  imageUrl: (user) => user.image_url || null,
  clerkExternalId: (user) => user.external_id,
  publicMetadata: (user) => unlessEmpty(user.public_metadata),
  banned: (user) => user.banned,
  locked: (user) => user.locked,
} satisfies Fields;
