/** The chat room of Clerk's blog post: it shows "No Clerk User" until the row is there. */
import { useConvexAuth, useMutation, useQuery } from "convex/react";
import { ConvexError } from "convex/values";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { api } from "../../convex/_generated/api";
import { useDraft } from "./use-draft";

/** How long to wait for the webhook before asking for a repair, ms. */
const PATIENCE_MS = 5000;
/** How often to ask again, ms: once in 30 s is allowed. */
const ASK_AGAIN_MS = 31_000;
const MAX_BODY_LENGTH = 2000;
const COLORS = ["tomato", "goldenrod", "seagreen", "teal", "royalblue", "slateblue", "orchid"];

type Message = (typeof api.messages.list)["_returnType"][number];
type Author = Exclude<Message["author"], string>;

/** @param account what lets one sign in and out */
export function ChatRoom({ account }: { account: ReactNode }) {
  const { isLoading } = useConvexAuth();
  const login = useQuery(api.users.loginStatus, isLoading ? "skip" : {});
  return (
    <div className="chat-room">
      <header>
        <h1>Chat room</h1>
        <p role="status" className="badge">
          {login?.status ?? "Loading"}
        </p>
        <div className="account">{account}</div>
      </header>
      <main>
        {login?.status === "No JWT Token" && <p className="notice">Sign in to enter.</p>}
        {login?.status === "No Clerk User" && <Waiting />}
        {login?.status === "Logged In" && <Room user={login.user} />}
      </main>
    </div>
  );
}

/** Clerk knows the user, the table does not yet. */
function Waiting() {
  const ensureSynced = useMutation(api.account.ensureSynced);
  useEffect(() => {
    const ask = () => {
      ensureSynced().catch(console.error);
    };
    const first = setTimeout(ask, PATIENCE_MS);
    const again = setInterval(ask, ASK_AGAIN_MS);
    return () => {
      clearTimeout(first);
      clearInterval(again);
    };
  }, [ensureSynced]);
  return (
    <p className="notice">
      You are signed in with Clerk. Your row in the <code>users</code> table comes with Clerk’s
      webhook.
    </p>
  );
}

function Room({ user }: { user: Author }) {
  const messages = useQuery(api.messages.list);
  const end = useRef<HTMLDivElement>(null);
  const newest = messages?.at(-1)?._id;
  useEffect(() => {
    end.current?.scrollIntoView({ block: "nearest" });
  }, [newest]);
  return (
    <>
      <ColorChoice color={user.color} />
      <div role="log" aria-label="Messages" tabIndex={0}>
        {messages?.length === 0 && <p className="notice">Nobody has said anything yet.</p>}
        <ol>
          {messages?.map((message) => (
            <MessageItem key={message._id} message={message} isOwn={isBy(user, message)} />
          ))}
        </ol>
        <div ref={end} />
      </div>
      <Composer />
    </>
  );
}

function isBy(user: Author, { author }: Message): boolean {
  return author !== "deleted user" && author._id === user._id;
}

function MessageItem({ message, isOwn }: { message: Message; isOwn: boolean }) {
  const { author, body, sentAt } = message;
  const isDeleted = author === "deleted user";
  const sent = new Date(sentAt);
  return (
    <li className={isOwn ? "message own" : "message"}>
      <p className="byline">
        <span
          className="dot"
          style={{ background: isDeleted ? undefined : author.color }}
          aria-hidden="true"
        />
        <strong className={isDeleted ? "deleted" : undefined}>
          {isDeleted ? author : author.name}
        </strong>
        <time dateTime={sent.toISOString()}>
          {sent.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}
        </time>
      </p>
      <p className="body">{body}</p>
    </li>
  );
}

function ColorChoice({ color }: { color: string }) {
  const setColor = useMutation(api.account.setColor);
  const [chosen, setChosen] = useDraft(color);
  const colors = COLORS.includes(color) ? COLORS : [color, ...COLORS];
  return (
    <label className="color">
      Your colour
      <span className="dot" style={{ background: color }} aria-hidden="true" />
      <select
        value={chosen}
        onChange={(event) => {
          setChosen(event.target.value);
          setColor({ color: event.target.value }).catch(() => {
            setChosen(color);
          });
        }}
      >
        {colors.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
    </label>
  );
}

function Composer() {
  const send = useMutation(api.messages.send);
  const [problem, setProblem] = useState<string | null>(null);
  const [body, setBody] = useState("");
  const submit = async () => {
    try {
      await send({ body });
      setBody("");
      setProblem(null);
    } catch (error) {
      setProblem(error instanceof ConvexError ? String(error.data) : "It could not be sent.");
    }
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <label htmlFor="body">Message</label>
      <input
        id="body"
        value={body}
        maxLength={MAX_BODY_LENGTH}
        autoComplete="off"
        onChange={(event) => {
          setBody(event.target.value);
        }}
      />
      <button>Send</button>
      {problem !== null && <p role="alert">{problem}</p>}
    </form>
  );
}
