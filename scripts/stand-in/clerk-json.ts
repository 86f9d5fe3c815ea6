/** Clerk's JSON as its OpenAPI documents have it: users of the Backend API, and webhook events. */
import type { UserJSON, UserWebhookEvent } from "@clerk/backend";

/** The SDK's type requires two fields that no document has. */
export type ClerkUserJSON = Omit<UserJSON, "timezone" | "organization_memberships">;
export type UserEventType = UserWebhookEvent["type"];
export type UserEvent = {
  object: "event";
  type: UserEventType;
  timestamp: number;
  instance_id: string;
  data: unknown;
};

const BASE_62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** An id as Clerk makes it at a time (ms): a KSUID. @param serial tells ids of one second apart */
export function clerkIdAt(at: number, serial: number): string {
  let value = (BigInt(Math.floor(at / 1000) - 1_400_000_000) << 128n) + BigInt(serial);
  let digits = "";
  for (let i = 0; i < 27; i += 1) {
    digits = (BASE_62[Number(value % 62n)] ?? "") + digits;
    value /= 62n;
  }
  return `user_${digits}`;
}

type Chosen = Partial<Omit<ClerkUserJSON, "object" | "email_addresses">> & {
  id: string;
  created_at: number;
  /** Makes a primary, verified address. */
  email?: string;
};

/** A user with every field that the schema `User` requires; those chosen replace the defaults. */
export function clerkUser({ email, ...chosen }: Chosen): ClerkUserJSON {
  const emails = email === undefined ? [] : [emailAddress(`idn_${chosen.id}`, email)];
  const user = {
    object: "user" as const,
    external_id: null,
    primary_email_address_id: emails[0]?.id ?? null,
    primary_phone_number_id: null,
    primary_web3_wallet_id: null,
    username: null,
    first_name: null,
    last_name: null,
    locale: null,
    profile_image_url: "https://img.clerk.com/default",
    image_url: "https://img.clerk.com/default",
    has_image: false,
    public_metadata: {},
    private_metadata: {},
    unsafe_metadata: {},
    email_addresses: emails,
    phone_numbers: [],
    web3_wallets: [],
    passkeys: [],
    password_enabled: true,
    two_factor_enabled: false,
    totp_enabled: false,
    backup_code_enabled: false,
    mfa_enabled_at: null,
    mfa_disabled_at: null,
    password_last_updated_at: null,
    external_accounts: [],
    saml_accounts: [],
    enterprise_accounts: [],
    last_sign_in_at: null,
    banned: false,
    locked: false,
    deprovisioned: false,
    lockout_expires_in_seconds: null,
    verification_attempts_remaining: null,
    updated_at: chosen.created_at,
    delete_self_enabled: true,
    create_organization_enabled: true,
    create_organizations_limit: null,
    last_active_at: null,
    legal_accepted_at: null,
  };
  return { ...user, ...chosen };
}

/** A verified address as `EmailAddress` has it. */
export function emailAddress(
  id: string,
  address: string,
): ClerkUserJSON["email_addresses"][number] {
  const times = { created_at: 1700000000000, updated_at: 1700000000000 };
  const verification = {
    object: "verification_otp" as const,
    status: "verified" as const,
    strategy: "email_code",
    attempts: 1,
    expire_at: null,
  };
  const entry = {
    id,
    object: "email_address" as const,
    email_address: address,
    reserved: false,
    verification,
    linked_to: [],
    matches_sso_connection: false,
    ...times,
  };
  return entry as unknown as ClerkUserJSON["email_addresses"][number];
}

export function userEvent(
  type: UserEventType,
  data: unknown,
  { instanceId, at }: { instanceId: string; at: number },
): UserEvent {
  return { object: "event", type, timestamp: at, instance_id: instanceId, data };
}

/** The data of `user.deleted`, as `DeletedObject` has it. */
export function deletedUser(id: string) {
  return { object: "user", id, deleted: true };
}
