/** The side panel of the demo: Clerk, its webhooks and the reconciler, to play with. */
import { useRef, useState } from "react";
import type { CommandName, Given, Person, Scene } from "./backstage";
import { command } from "./backstage-client";
import { useDraft } from "./use-draft";

/** @param onSignUp is told the Clerk id of who signed up here */
export function Panel({ scene, onSignUp }: { scene: Scene; onSignUp: (clerkId: string) => void }) {
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setIsBusy] = useState(false);
  const people = useRef<HTMLHeadingElement>(null);
  const [isDelivering, setIsDelivering] = useDraft(scene.isDelivering);
  /** One command at a time: the second click of two is not another one. Undefined when it did not work. */
  const act = async (name: CommandName, given: Given = {}): Promise<unknown> => {
    if (isBusy) return undefined;
    setIsBusy(true);
    setProblem(null);
    try {
      return await command(name, given);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      return undefined;
    } finally {
      setIsBusy(false);
    }
  };
  const signUp = async (name: string) => {
    const person = (await act("signUp", { name })) as Person | undefined;
    if (person !== undefined) onSignUp(person.id);
    return person;
  };
  const remove = async (id: string) => {
    // The button that has the focus goes with the person.
    if ((await act("remove", { id })) !== undefined) people.current?.focus();
  };
  const deliver = async (isOn: boolean) => {
    setIsDelivering(isOn);
    if ((await act("deliver", { isOn })) === undefined) setIsDelivering(!isOn);
  };
  const { drift, held, log } = scene;
  return (
    <aside className="panel" aria-label="Backstage">
      <h2>Backstage</h2>
      {problem !== null && <p role="alert">{problem}</p>}

      <section aria-labelledby="clerk">
        <h3 id="clerk" tabIndex={-1} ref={people}>
          Clerk (a stand-in)
        </h3>
        <NameForm label="First name" button="Sign up" onSubmit={signUp} />
        <ul>
          {scene.people.map(({ id, name, isBanned }) => (
            <li key={id}>
              <NameForm
                label={`New name of ${name}`}
                name={name}
                button="Rename"
                onSubmit={async (newName) => await act("rename", { id, name: newName })}
              />
              <button
                aria-label={`${isBanned ? "Unban" : "Ban"} ${name}`}
                onClick={() => void act("ban", { id, isOn: !isBanned })}
              >
                {isBanned ? "Unban" : "Ban"}
              </button>
              <button aria-label={`Delete ${name}`} onClick={() => void remove(id)}>
                Delete
              </button>
            </li>
          ))}
        </ul>
      </section>

      <section aria-labelledby="sync">
        <h3 id="sync">The sync</h3>
        <label className="switch">
          <input
            type="checkbox"
            role="switch"
            checked={isDelivering}
            onChange={(event) => void deliver(event.target.checked)}
          />
          Webhooks arrive
        </label>
        <ul className="drift" aria-label="Drift">
          {Object.entries(drift).map(([kind, ids]) => (
            <li key={kind}>
              {kind} {ids.length}
            </li>
          ))}
        </ul>
        <button aria-disabled={isBusy} onClick={() => void act("reconcile")}>
          Reconcile
        </button>
        {held > 0 && (
          <button onClick={() => void act("reconcile", { maxDeletions: held })}>
            Delete the {held} who are held
          </button>
        )}
        <p className="hint">
          The demo’s clock is set six minutes forward first: what changed in the last five, a run
          leaves to the webhooks.
        </p>
      </section>

      <section aria-labelledby="log">
        <h3 id="log">Log</h3>
        <ol className="log" tabIndex={0} aria-labelledby="log">
          {log.map((line, i) => (
            <LogLine key={i} line={line} />
          ))}
        </ol>
      </section>
    </aside>
  );
}

function NameForm({
  label,
  name = "",
  button,
  onSubmit,
}: {
  label: string;
  name?: string;
  button: string;
  /** Undefined when it did not work. */
  onSubmit: (name: string) => Promise<unknown>;
}) {
  const [entered, setEntered] = useDraft(name);
  const submit = async () => {
    const result = await onSubmit(entered);
    if (result !== undefined && name === "") setEntered("");
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <input
        aria-label={label}
        placeholder={label}
        value={entered}
        required
        onChange={(event) => {
          setEntered(event.target.value);
        }}
      />
      <button aria-label={name && `${button} ${name}`}>{button}</button>
    </form>
  );
}

/** A line of the log: the event, and what a person reads of it. */
function LogLine({ line }: { line: string }) {
  const { event, summary, ...details } = JSON.parse(line) as Record<string, unknown>;
  const text = Object.entries(details).map(([name, value]) => `${name} ${textOf(value)}`);
  return (
    <li>
      <strong>{textOf(event)}</strong> {summary === undefined ? text.join(", ") : textOf(summary)}
    </li>
  );
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
