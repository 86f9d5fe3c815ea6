/** The chat room on the demo's own process, with the side panel. */
import { ConvexProviderWithAuth } from "convex/react";
import { createContext, useCallback, useContext, useMemo, useState } from "react";
import type { Person } from "./backstage";
import { useScene } from "./backstage-client";
import { ChatRoom } from "./chat-room";
import { Panel } from "./panel";
import { PollingClient } from "./polling-client";

const convex = new PollingClient(location.origin);
/** Each window is somebody else. */
const SESSION = "clerkId";

type Session = { clerkId: string | null; signIn: (clerkId: string | null) => void };

const SessionContext = createContext<Session>({ clerkId: null, signIn: () => undefined });

/** Stands in for Clerk's hook: the session token is the id itself. */
function useAuth() {
  const { clerkId } = useContext(SessionContext);
  return useMemo(
    () => ({
      isLoading: false,
      isAuthenticated: clerkId !== null,
      fetchAccessToken: async () => await Promise.resolve(clerkId),
    }),
    [clerkId],
  );
}

export function Page() {
  const [clerkId, setClerkId] = useState(() => sessionStorage.getItem(SESSION));
  const signIn = useCallback((id: string | null) => {
    if (id === null) sessionStorage.removeItem(SESSION);
    else sessionStorage.setItem(SESSION, id);
    setClerkId(id);
  }, []);
  const session = useMemo(() => ({ clerkId, signIn }), [clerkId, signIn]);
  const scene = useScene();
  return (
    <SessionContext value={session}>
      <div className="beside">
        <ConvexProviderWithAuth client={convex} useAuth={useAuth}>
          <ChatRoom account={<Account people={scene?.people ?? []} />} />
        </ConvexProviderWithAuth>
        {scene && <Panel scene={scene} onSignUp={signIn} />}
      </div>
    </SessionContext>
  );
}

/** Clerk's sign-in, simplified: one says who one is. */
function Account({ people }: { people: Person[] }) {
  const { clerkId, signIn } = useContext(SessionContext);
  const isGone = clerkId !== null && !people.some(({ id }) => id === clerkId);
  return (
    <label>
      Signed in as{" "}
      <select
        value={clerkId ?? ""}
        onChange={(event) => {
          signIn(event.target.value || null);
        }}
      >
        <option value="">nobody</option>
        {people.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
        {isGone && <option value={clerkId}>somebody deleted</option>}
      </select>
    </label>
  );
}
