/** The secret key and the addresses in environment variables. What is said of one holds no piece of it. */
import { kindOf } from "./secrets.js";

const DEFAULT_API_URL = "https://api.clerk.com";

function urlOf(value: string): URL | null {
  try {
    return new URL(value);
  } catch {
    return null;
  }
}

/** Where Clerk's Backend API answers by a value of CLERK_API_URL, or why it can't (`fault`), in a sentence. */
export function apiUrlOf(value: string): { url: string } | { fault: string } {
  if (value === "") return { url: DEFAULT_API_URL };
  const fault = (what: string) => ({
    fault: `CLERK_API_URL holds ${what}: unset it, or set it to an https address with nothing behind the name.`,
  });
  const kind = kindOf(value);
  const url = urlOf(value);
  if (kind !== "an address" || url === null) {
    const isBare = kind === "a text of another form";
    return fault(isBare ? "no address, or one without https in front" : kind);
  }
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

/** Why a value can't be a secret key of Clerk's Backend API, in a sentence; null where it can. */
export function whyNotSecretKey(value: string): string | null {
  const mend = "set the secret key of your instance, from Clerk's dashboard under API keys.";
  if (value === "") return `CLERK_SECRET_KEY is not set on this deployment: ${mend}`;
  const [, body = ""] = /^(?:sk_)?(?:test|live)_([\w-]+)$/.exec(value) ?? [];
  const isExample = /^(x+|your?_.*)$/i.test(body);
  const isTwice = /^(sk|pk|whsec)_/.test(body);
  if (body !== "" && !isExample && !isTwice) return null;
  const isKey = kindOf(value) === "a secret key";
  const isBroken = isKey && /^sk_(test|live)?_?$|^sk_(?!test_|live_)/.test(value);
  const kind = isExample
    ? "an example of a key"
    : isBroken
      ? "the beginning of a key with nothing right behind it"
      : isKey
        ? "a key with something in it that no key has"
        : kindOf(value);
  return `CLERK_SECRET_KEY holds ${kind}, not a secret key (sk_…): ${mend}`;
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
  const url = urlOf(value);
  if (kind !== "an address" || url === null) {
    const isBare = kind === "a text of another form";
    return fault(isBare ? "an address without https in front" : kind);
  }
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
