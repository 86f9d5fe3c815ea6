/** The page's way to what happens behind the demo. */
import { useEffect, useState } from "react";
import type { CommandName, Given, Scene } from "./backstage";

const POLL_MS = 300;

/** @throws Error with a sentence to show when the command made no sense */
export async function command(name: CommandName, given: Given): Promise<unknown> {
  const response = await fetch(`/backstage/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(given),
  });
  const json: unknown = await response.json();
  if (!response.ok) throw new Error(String(json));
  return json;
}

/** The scene as it is, null before it is known. While the demo does not answer, it stays. */
export function useScene(): Scene | null {
  const [scene, setScene] = useState<Scene | null>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;
    const look = async () => {
      const response = await fetch("/backstage");
      setScene((await response.json()) as Scene);
    };
    // One at a time, so that none overtakes another.
    const lookAgain = () => {
      look()
        .catch(() => undefined)
        .finally(() => {
          if (!isOver) timer = setTimeout(lookAgain, POLL_MS);
        });
    };
    lookAgain();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, []);
  return scene;
}
