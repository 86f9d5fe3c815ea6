/** The chat room on a real Convex deployment, with Clerk's own sign-in. */
import { ClerkProvider, Show, SignInButton, useAuth, UserButton } from "@clerk/react";
import { ConvexReactClient } from "convex/react";
import { ConvexProviderWithClerk } from "convex/react-clerk";
import { ChatRoom } from "./chat-room";

const {
  VITE_CLERK_PUBLISHABLE_KEY: publishableKey,
  VITE_CONVEX_URL: convexUrl,
}: Partial<Record<string, string>> = import.meta.env;

const convex = convexUrl ? new ConvexReactClient(convexUrl) : null;

export function Page() {
  if (!publishableKey) {
    return (
      <SetUp>
        Set <code>VITE_CLERK_PUBLISHABLE_KEY=pk_…</code> in <code>.env.local</code>: Clerk’s
        dashboard shows it under API keys.
      </SetUp>
    );
  }
  if (convex === null) {
    return (
      <SetUp>
        <code>VITE_CONVEX_URL</code> is missing in <code>.env.local</code>: <code>npm run dev</code>{" "}
        writes it there. Where there is a <code>CONVEX_URL</code> already, give it this name.
      </SetUp>
    );
  }
  return (
    <ClerkProvider publishableKey={publishableKey}>
      <ConvexProviderWithClerk client={convex} useAuth={useAuth}>
        <ChatRoom account={<Account />} />
      </ConvexProviderWithClerk>
    </ClerkProvider>
  );
}

function Account() {
  return (
    <>
      <Show when="signed-out">
        <SignInButton mode="modal">
          <button>Sign in or sign up</button>
        </SignInButton>
      </Show>
      <Show when="signed-in">
        <UserButton />
      </Show>
    </>
  );
}

function SetUp({ children }: { children: React.ReactNode }) {
  return (
    <main className="set-up">
      <h1>One step is missing</h1>
      <p>{children}</p>
    </main>
  );
}
