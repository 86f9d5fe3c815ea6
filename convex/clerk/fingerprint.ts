/** Pure: what tells whether columns, or how they are read, were changed since a run; and the hash that it takes. */
import { READERS } from "./profile.js";

/**
 * The columns of `fields.ts`, each with a hash of its reader's own text, in an order that does not depend on the file's.
 * What a reader calls is not told by it.
 */
export const FINGERPRINTS: string[] = READERS.map(([name, read]) => fingerprint(name, read)).sort();

/** Whether all of some columns have come, or got another reader, since these fingerprints were taken. */
export function areChanged(names: string[], since: string[]): boolean {
  return names.every((name) =>
    FINGERPRINTS.some((each) => each.startsWith(`${name} `) && !since.includes(each)),
  );
}

function fingerprint(name: string, read: unknown): string {
  return `${name} ${hashOf(String(read))}`;
}

/** FNV-1a, 32 bits, in hexadecimal. */
export function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return hash.toString(16).padStart(8, "0");
}
