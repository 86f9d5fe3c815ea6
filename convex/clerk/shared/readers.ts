/** Readers of columns, for `fields.ts`. */
import type { ClerkUser } from "../types.js";

/** The address that Clerk names as the primary one, which need not be the first; null where it names none. */
export function primaryEmail(user: ClerkUser): string | null {
  return named(user.email_addresses, user.primary_email_address_id)?.email_address ?? null;
}

/** Whether the primary address is verified; null where there is none. */
export function isEmailVerified(user: ClerkUser): boolean | null {
  const email = named(user.email_addresses, user.primary_email_address_id);
  return email === null ? null : email.verification?.status === "verified";
}

/** The number that Clerk names as the primary one; null where it names none. */
export function primaryPhone(user: ClerkUser): string | null {
  return named(user.phone_numbers, user.primary_phone_number_id)?.phone_number ?? null;
}

/** First and last name in one; null where there is neither. */
export function fullName(user: ClerkUser): string | null {
  return [user.first_name, user.last_name].filter(Boolean).join(" ") || null;
}

/** Metadata, for a column that is absent where there is none. */
export function unlessEmpty<Metadata extends object>(
  metadata: Metadata | null | undefined,
): Metadata | null {
  return metadata && Object.keys(metadata).length > 0 ? metadata : null;
}

function named<Entry extends { id: string }>(entries: Entry[], id: string | null): Entry | null {
  return entries.find((entry) => typeof id === "string" && entry.id === id) ?? null;
}
