/** The chat room of Clerk's blog post: it shows "No Clerk User" until the row is there. */
import { useMutation, useQuery } from "convex/react";
import { ConvexError } from "convex/values";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { api } from "../../convex/_generated/api";
import { COLORS } from "../../convex/clerk/app";
import { useCurrentUser } from "./use-current-user";
import { useDraft } from "./use-draft";

/** In the words of Clerk's blog post. */
const BADGES = {
  loading: "Loading",
  "signed out": "No JWT Token",
  syncing: "No Clerk User",
  removed: "No Clerk User",
  banned: "Banned",
  ready: "Logged In",
};

type Message = (typeof api.messages.list)["_returnType"][number];

/** @param account what lets one sign in and out */
export function ChatRoom({ account }: { account: ReactNode }) {
  const current = useCurrentUser(api.account.current, api.account.ensureSynced);
  return (
    <div className="chat-room">
      <header>
        <h1>Chat room</h1>
        <p role="status" className="badge">
          {BADGES[current.status]}
        </p>
        <div className="account">{account}</div>
      </header>
      <main>
        {current.status === "signed out" && <p className="notice">Sign in to enter.</p>}
        {current.status === "syncing" && <Waiting />}
        {current.status === "removed" && <p className="notice">Your account was removed.</p>}
        {current.status === "banned" && <p className="notice">You are banned from this room.</p>}
        {current.status === "ready" && <Room key={current.user._id} color={current.user.color} />}
      </main>
    </div>
  );
}

/** Clerk knows the user, the table does not yet. */
function Waiting() {
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
