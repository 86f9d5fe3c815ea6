/** What a value pasted into a variable can be. What is said of one is its variable and kind, and no piece of it.
 * `addresses.ts` is apart: the webhook, which is to load little, needs none of it.
 */
import { environment } from "./environment.js";

/** Bytes of a signing secret: Standard Webhooks has 24 to 64 (https://www.standardwebhooks.com). */
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;
/** What repeats so many characters of a secret is not told. */
const PIECE_LENGTH = 8;

/** What a value looks like, as it reads after "it holds", the first that fits. */
const KINDS: [form: RegExp, kind: string][] = [
  [/^$/, "nothing"],
  [/^(export\s+)?[A-Z][A-Z0-9]*(_[A-Z0-9]+)+\s*[=:]/, "a variable's name in front of its value"],
  [/["'`\u2018-\u201f]/, "quotes"],
  [/[\u2022\u2026\u25cf]|[*\u00b7]{3}|\.{3}/, "a masked value, as a dashboard shows it"],
  [/[^\s!-~]/, "a character that can't be seen, or that no key has"],
  [/^-----BEGIN/, "a public or private key in PEM form"],
  [/^Bearer\s/i, 'the word "Bearer" in front of a key'],
  [/\s/, "more than one value, or a blank within"],
  [/^<.*>$|^\[.*\]$|^\{.*\}$/, "brackets around a value"],
  [/^whsec_[^,]*,/, "several values with a comma between them"],
  [/^whsec_/, "a webhook's signing secret"],
  [/^pk_/, "a publishable key"],
  [/^sk_/, "a secret key"],
  [/^(test|live)_/, "a secret key of the old form"],
  [/^ak_/, "an API key of a user"],
  [/^mch_|^mt_/, "a key or token of a machine"],
  [/^oat_/, "an OAuth token"],
  [/^ins_/, "the id of an instance"],
  [/^user_/, "the id of a user"],
  [/^(ep|app|msg)_/, "an id from the webhook's dashboard"],
  [/^eyJ/, "a token (JWT)"],
  [/^[a-z][a-z+.-]*:\/\//i, "an address"],
];

/** What a value seems to be, in words that fit every secret alike. */
export function kindOf(value: string): string {
  return KINDS.find(([form]) => form.test(value))?.[1] ?? "a text of another form";
}

/** A value without the white space around it, which pasting brings. */
export function given(value: string | undefined): string {
  return value?.trim() ?? "";
}

/** Whether a value can be a signing secret: base64 of 24 to 64 bytes, with or without `whsec_`. */
function isSigningSecret(value: string): boolean {
  const body = value.replace(/^whsec_/, "");
  if (isRepeated(body.replace(/=+$/, ""))) return false;
  const bytes = bytesOf(body);
  return bytes !== null && bytes >= MIN_SECRET_BYTES && bytes <= MAX_SECRET_BYTES;
}

/** The signing secrets in a variable, separated by white space. */
export function signingSecretsIn(value: string | undefined): string[] {
  return given(value).split(/\s+/).filter(Boolean);
}

/** Why a variable does not hold signing secrets alone, in a sentence; null where it does, or is not set. */
export function whyNotSigningSecrets(name: string, value: string | undefined): string | null {
  const wrong = signingSecretsIn(value).find((secret) => !isSigningSecret(secret));
  if (wrong === undefined) return null;
  const kinds = [given(value), wrong].map(kindOf);
  const isNear = kinds.every((kind) => /signing secret$|another form$|blank within$/.test(kind));
  const kind = isNear
    ? `something that no signing secret is (base64 of ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} bytes, not one character over and over)`
    : kinds.find((each) => !/blank within$/.test(each));
  return `${name} holds ${kind}, not a webhook's signing secret (whsec_…; several are separated by spaces): set that of your endpoint, from Clerk's dashboard under Webhooks.`;
}

/** Whether a text repeats a piece, so many characters, of a secret, so that it must not be told. */
export function holdsPieceOf(text: string, secrets: string[], length = PIECE_LENGTH): boolean {
  const [said, known] = [text.toLowerCase(), secrets.map((secret) => secret.toLowerCase())];
  for (let from = 0; from + length <= said.length; from += 1) {
    const piece = said.slice(from, from + length);
    if (known.some((secret) => secret.includes(piece))) return true;
  }
  return false;
}

/** Examples of secrets are one character over and over. */
function isRepeated(text: string): boolean {
  return /^(.)\1+$/.test(text);
}

/** How many bytes a text is the base64 of; null where it is none. */
function bytesOf(text: string): number | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  try {
    return atob(text).length;
  } catch {
    return null;
  }
}

/** The endpoint's signing secrets, of both variables. `fault`: a sentence, where there is none, or one can't be one. */
export function signingSecrets(): { secrets: string[]; fault: string | null } {
  const variables = {
    CLERK_WEBHOOK_SECRET: environment("CLERK_WEBHOOK_SECRET"),
    CLERK_WEBHOOK_SIGNING_SECRET: environment("CLERK_WEBHOOK_SIGNING_SECRET"),
  };
  const secrets = [...new Set(Object.values(variables).flatMap(signingSecretsIn))];
  const missing =
    "CLERK_WEBHOOK_SECRET is not set on this deployment: set the signing secret (whsec_…) of your endpoint in Clerk's dashboard.";
  const [fault] = Object.entries(variables).flatMap(
    ([name, value]) => whyNotSigningSecrets(name, value) ?? [],
  );
  return { secrets, fault: fault ?? (secrets.length === 0 ? missing : null) };
}
