/**
 * Convex's HTTP API (https://docs.convex.dev/http-api/) for what runs in this process: public queries
 * and mutations, as `ConvexHttpClient` calls them. Internal functions are not to be reached.
 */
import type { TestConvex } from "convex-test";
import { ConvexError, convexToJson, jsonToConvex, type JSONValue } from "convex/values";
import type schema from "../../convex/schema";
import { ISSUER } from "../stand-in/clerk-stand-in";
import { callFunction, findFunction, type Modules } from "./functions";

/** Convex's status code for a function that threw. */
const FUNCTION_FAILED = 560;

type Answer = { status: number; json: unknown };

export class PublicApi {
  constructor(
    readonly t: TestConvex<typeof schema>,
    readonly modules: Modules,
  ) {}

  /**
   * @param url `/api/query` or `/api/mutation`
   * @param authorization `Bearer` and the Clerk id of who is signed in: the stand-in for a signed
   *   session token, so whoever reaches this may be anybody
   */
  async answer(url: string, body: string, authorization: string | undefined): Promise<Answer> {
    const kind = /^\/api\/(query|mutation)$/.exec(url)?.[1];
    if (kind === undefined) return { status: 404, json: "Only queries and mutations are here." };
    const { path, args } = JSON.parse(body) as { path: string; args: [JSONValue] };
    const found = await findFunction(this.modules, path);
    if (found?.kind !== kind || !found.isPublic) {
      return { status: 404, json: `Could not find public function for '${path}'.` };
    }
    const subject = authorization?.replace(/^Bearer /, "");
    const identity = { subject, issuer: ISSUER, tokenIdentifier: `${ISSUER}|${subject}` };
    const caller = subject === undefined ? this.t : this.t.withIdentity(identity);
    const given = jsonToConvex(args[0]) as Record<string, unknown>;
    try {
      const value = await callFunction(caller, found.kind, path, given);
      return { status: 200, json: { status: "success", value: convexToJson(value as null) } };
    } catch (error) {
      const errorMessage = error instanceof Error ? error.message : String(error);
      const errorData: unknown = error instanceof ConvexError ? error.data : undefined;
      return { status: FUNCTION_FAILED, json: { status: "error", errorMessage, errorData } };
    }
  }
}
