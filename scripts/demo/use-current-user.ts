/** The person who is signed in, and their row as it comes and changes. */
import { useConvexAuth, useMutation, useQuery } from "convex/react";
import type { FunctionReference } from "convex/server";
import { useEffect } from "react";

/** A webhook on its way needs no help; after this long, ms, it is taken for lost. Each further wait is twice as long. */
const PATIENCE_MS = 2000;
const MAX_PATIENCE_MS = 300_000;

type NoArgs = Record<string, never>;
type Found<User> =
  { status: "signed out" | "syncing" | "removed" | "banned" } | { status: "ready"; user: User };

/**
 * While the row is missing, or lets nobody in, it has Clerk asked: after 2 s, then less and less often.
 * @param currentUser what `query(currentUserQuery())` registered
 * @param ensureSynced what `mutation(ensureSyncedMutation())` registered
 * @returns `loading`, `signed out`, `syncing` (no row yet), `ready` with the row, or, while a token still lives of
 *   somebody who has no access any more, `removed` or `banned`
 */
export function useCurrentUser<User>(
  currentUser: FunctionReference<"query", "public", NoArgs, Found<User>>,
  ensureSynced: FunctionReference<"mutation", "public", NoArgs, null>,
): Found<User> | { status: "loading" } {
  const { isLoading, isAuthenticated } = useConvexAuth();
  const found = useQuery(currentUser, isAuthenticated ? {} : "skip");
  const ask = useMutation(ensureSynced);
  const status = found?.status ?? "loading";
  const isMissing = isAuthenticated && !["loading", "signed out", "ready"].includes(status);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const askAfter = (ms: number) => {
      timer = setTimeout(() => {
        ask({}).catch(console.error);
        askAfter(Math.min(2 * ms, MAX_PATIENCE_MS));
      }, ms);
    };
    if (isMissing) askAfter(PATIENCE_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [isMissing, status, ask]);
  if (!isLoading && !isAuthenticated) return { status: "signed out" };
  return isLoading || found === undefined ? { status: "loading" } : found;
}
