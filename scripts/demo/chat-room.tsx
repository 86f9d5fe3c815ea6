/** The chat room of Clerk's blog post: it shows "No Clerk User" until the row is there. */
import { useConvexAuth, useMutation, useQuery } from "convex/react";
import { ConvexError } from "convex/values";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { api } from "../../convex/_generated/api";
import { COLORS } from "../../convex/clerk/app";
import { useDraft } from "./use-draft";

/** How long to wait for the webhook before asking for a repair, ms. */
const PATIENCE_MS = 5000;
/** How often to ask again, ms: once in 30 s is allowed. */
const ASK_AGAIN_MS = 31_000;

type Message = (typeof api.messages.list)["_returnType"][number];

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
        {login?.status === "Banned" && <p className="notice">You are banned from this room.</p>}
        {login?.status === "Logged In" && <Room key={login.user._id} color={login.user.color} />}
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
    let again: ReturnType<typeof setInterval> | undefined;
    const first = setTimeout(() => {
      ask();
      again = setInterval(ask, ASK_AGAIN_MS);
    }, PATIENCE_MS);
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

function Room({ color }: { color: string }) {
  const messages = useQuery(api.messages.list);
  const log = useRef<HTMLDivElement>(null);
  const newest = messages?.at(-1)?._id;
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [newest]);
  return (
    <>
      <ColorChoice color={color} />
      <div role="log" aria-label="Messages" tabIndex={0} ref={log}>
        {messages?.length === 0 && <p className="notice">Nobody has said anything yet.</p>}
        <ol>
          {messages?.map((message) => (
            <MessageItem key={message._id} message={message} />
          ))}
        </ol>
      </div>
      <Composer />
    </>
  );
}

function MessageItem({ message }: { message: Message }) {
  const { author, body, sentAt } = message;
  const isDeleted = author === "deleted user";
  const sent = new Date(sentAt);
  return (
    <li className="message">
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
  const [problem, setProblem] = useState<string | null>(null);
  const colors = COLORS.includes(color) ? COLORS : [color, ...COLORS];
  const choose = async (newColor: string) => {
    setChosen(newColor);
    setProblem(null);
    try {
      await setColor({ color: newColor });
    } catch (error) {
      setChosen(color);
      setProblem(sentenceOf(error));
    }
  };
  return (
    <label className="color">
      Your colour
      <span className="dot" style={{ background: color }} aria-hidden="true" />
      <select value={chosen} onChange={(event) => void choose(event.target.value)}>
        {colors.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
      {problem !== null && <span role="alert">{problem}</span>}
    </label>
  );
}

/** What a person can do about an error: what the function said, if it said anything. */
function sentenceOf(error: unknown): string {
  return error instanceof ConvexError ? String(error.data) : "That did not work. Try again.";
}

function Composer() {
  const send = useMutation(api.messages.send);
  const [problem, setProblem] = useState<string | null>(null);
  const [body, setBody] = useState("");
  const [isSending, setIsSending] = useState(false);
  const submit = async () => {
    setIsSending(true);
    try {
      await send({ body });
      setBody((entered) => (entered === body ? "" : entered));
      setProblem(null);
    } catch (error) {
      setProblem(sentenceOf(error));
    }
    setIsSending(false);
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isSending) void submit();
      }}
    >
      <label htmlFor="body">Message</label>
      <input
        id="body"
        value={body}
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
