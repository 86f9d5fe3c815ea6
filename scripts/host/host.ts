/** Where the demo's Convex functions run: its story needs no more of Convex than this. */
import type { Doc, TableNames } from "../../convex/_generated/dataModel";

type WebhookRequest = { body: string; headers: Record<string, string> };

export interface Host {
  /** How to say where the functions run. */
  readonly name: string;
  /** Sets an environment variable of the deployment. */
  setVariable(name: string, value: string): Promise<void>;
  /** Runs a function, as `npx convex run name args` does. */
  run(name: string, args: Record<string, unknown>): Promise<unknown>;
  /** Posts to the mounted webhook over HTTP. @returns the status code */
  postWebhook(request: WebhookRequest): Promise<number>;
  readTable<Table extends TableNames>(table: Table): Promise<Doc<Table>[]>;
  /** The functions' log lines since this was last called. */
  takeLog(): string[];
  stop(): Promise<void>;
}
