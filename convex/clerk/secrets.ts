/**
 * Pure: what a value pasted into an environment variable can be. Whatever is said of a value names its
 * variable and its kind, and holds no piece of it.
 */

/** Bytes of a signing secret: Standard Webhooks has 24 to 64 (https://www.standardwebhooks.com). */
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;
/** What repeats so many characters of a secret is not told. */
const PIECE_LENGTH = 8;

const DEFAULT_API_URL = "https://api.clerk.com";

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

/** Why a value can't be a secret key of Clerk's Backend API, in a sentence; null where it can. */
export function whyNotSecretKey(value: string): string | null {
  const mend = "set the secret key of your instance, from Clerk's dashboard under API keys.";
  if (value === "") return `CLERK_SECRET_KEY is not set on this deployment: ${mend}`;
  const [, body = ""] = /^(?:sk_)?(?:test|live)_([\w-]+)$/.exec(value) ?? [];
  const isExample = /^(x+|your?_.*)$/i.test(body);
  if (body !== "" && !isExample) return null;
  const isBroken = !isExample && kindOf(value) === "a secret key";
  const kind = isExample
    ? "an example of a key"
    : isBroken
      ? "the beginning of a key with nothing right behind it"
      : kindOf(value);
  return `CLERK_SECRET_KEY holds ${kind}, not a secret key (sk_…): ${mend}`;
}

/** Whether a value can be a signing secret: base64 of 24 to 64 bytes, with or without `whsec_`. */
export function isSigningSecret(value: string): boolean {
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

/** Where Clerk's Backend API answers by a value, or why it can't, in a sentence. */
export function apiUrlOf(value: string): { url: string } | { fault: string } {
  if (value === "") return { url: DEFAULT_API_URL };
  const fault = (what: string) => ({
    fault: `CLERK_API_URL holds ${what}: unset it, or set it to an https address with nothing behind the name.`,
  });
  const kind = kindOf(value);
  if (kind !== "an address" || !URL.canParse(value)) {
    const isBare = kind === "a text of another form";
    return fault(isBare ? "no address, or one without https in front" : kind);
  }
  const url = new URL(value);
  const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback)) {
    return fault("an address that is not https, which would send the key in the clear");
  }
  if (url.username !== "" || url.password !== "") return fault("an address with a password");
  if (/^\/v\d+\/*$/.test(url.pathname)) return fault("an address with the API's version behind it");
  if (/[^/]/.test(url.pathname)) return fault("an address with a path");
  if (url.search !== "" || url.hash !== "") return fault("an address with a query");
  if (isOtherThanBackend(url.hostname)) {
    return fault("the address of another part of Clerk, not that of the Backend API");
  }
  return { url: url.origin };
}

/** Addresses of Clerk's that have no Backend API: the Frontend API of an instance, the dashboard. */
function isOtherThanBackend(host: string): boolean {
  if (/(^|\.)accounts\.dev$/.test(host)) return true;
  return /(^|\.)clerk\.(com|dev)$/.test(host) && !/^api\.clerk\.(com|dev)$/.test(host);
}

/** Why a value can't be the issuer of Clerk's tokens, in a sentence; null where it can, or is not set. */
export function whyNotIssuer(value: string | undefined): string | null {
  if (value === undefined) return null;
  const mend =
    "set the Frontend API URL as Clerk shows it under API keys, from https to the end of the name.";
  const fault = (what: string) =>
    `CLERK_JWT_ISSUER_DOMAIN holds ${what}, so nobody can sign in: ${mend}`;
  if (value !== value.trim()) return fault("white space around an address");
  const kind = kindOf(value);
  if (kind !== "an address" || !URL.canParse(value)) {
    const isBare = kind === "a text of another form";
    return fault(isBare ? "an address without https in front" : kind);
  }
  const url = new URL(value);
  if (url.protocol !== "https:") return fault("an address that is not https");
  if (/jwks/.test(url.pathname)) return fault("the address of the key set (JWKS), not the issuer");
  if (/^\/+$/.test(url.pathname) && value.endsWith("/")) {
    return fault("an address with a slash at its end");
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    return fault("an address with something behind the name");
  }
  if (url.username !== "") return fault("an address with a user name");
  if (/^(api|dashboard)\.clerk\.(com|dev)$/.test(url.hostname)) {
    return fault("the address of Clerk itself, not that of your instance");
  }
  return null;
}

/**
 * Whether a text repeats a piece of a secret, so that it must not be told.
 * @param length characters of a piece
 */
export function holdsPieceOf(text: string, secrets: string[], length = PIECE_LENGTH): boolean {
  const [said, known] = [text.toLowerCase(), secrets.map((secret) => secret.toLowerCase())];
  for (let from = 0; from + length <= said.length; from += 1) {
    const piece = said.slice(from, from + length);
    if (known.some((secret) => secret.includes(piece))) return true;
  }
  return false;
}

/** Whether a text is one character over and over, as in examples. */
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
