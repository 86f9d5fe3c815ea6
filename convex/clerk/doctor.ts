/** What is set up wrongly, and how to mend it. */
import { type Infer, v } from "convex/values";
import { internal } from "../_generated/api.js";
import { type ActionCtx, internalAction, internalQuery } from "../_generated/server.js";
import { Clerk } from "./api/api.js";
import { ClerkError } from "./api/request.js";
import { isMirrored } from "./mirror/rows.js";
import { deploymentFlag, runCommand } from "./report/report.js";
import { describeDead, OVERDUE_MS, type Status, timeOf, vVerdict } from "./report/status.js";
import { sampleTable, whyUnfit } from "./run/firstDay.js";
import { reasonOf } from "./run/run.js";
import { whyNotIssuer } from "./shared/addresses.js";
import { clock, HOUR, SECOND } from "./shared/clock.js";
import { environment, HEALTH_PATH, PATH_HEADER, WEBHOOK_PATH } from "./shared/environment.js";
import { signingSecrets } from "./shared/secrets.js";
import { Webhook } from "./shared/svix.js";

const TIMEOUT_MS = 10 * SECOND;
/** A schedule that has been silent for so long is taken for none; its ticks are minutes apart. */
const SILENCE_MS = 2 * HOUR;
const MAX_SURVEY_MS = 60 * SECOND;
const ADDRESS = "CLERK_API_URL";
const MAX_NAMED = 20;

const vCheck = v.object({
  check: v.string(),
  ok: v.boolean(),
  found: v.string(),
  /** What to do about it; null where nothing is to be done. */
  mend: v.nullable(v.string()),
});
type Check = Infer<typeof vCheck>;

const vExamined = v.object({ verdict: vVerdict, summary: v.string(), checks: v.array(vCheck) });

/**
 * Examines the deployment it runs on: variables, Clerk's key and instance, the webhook's route and secret, the
 * schedule, what webhooks were missed, duplicates, rows without a creation time. It changes nothing.
 * @returns each point, with how to mend it; the secrets are nowhere in it
 * @example npx convex run clerk/doctor:check
 */
export const check = internalAction({
  args: {},
  returns: vExamined,
  handler: async (ctx): Promise<Infer<typeof vExamined>> => {
    const status: Status = await ctx.runQuery(internal.clerk.reconcile.status, {});
    const flag = await deploymentFlag(ctx);
    const checks = [
      ...(await checkClerk(status.instanceId, flag)),
      ...(await orTell("table", async () => [await checkTable(ctx, status, flag)])),
      checkEvents(status),
      ...(await checkWebhook(flag)),
      checkIssuer(flag),
      checkSchedule(status),
      checkFullRun(status, flag),
      checkLastRun(status),
      checkFindings(status, flag),
      checkDeliveries(status),
      ...(await orTell("rows", async () => await checkRows(ctx, flag))),
    ];
    // What no point of these is about, `status` knows all the same.
    if (checks.every(({ ok }) => ok)) checks.push(...status.reasons.map(checkReason));
    const wrong = checks.filter(({ ok }) => !ok);
    const names = wrong.map((each) => each.check).join(", ");
    return {
      verdict: wrong.length === 0 ? "healthy" : "attention",
      summary:
        wrong.length === 0
          ? `All ${checks.length} points are as they should be.`
          : `${wrong.length} of ${checks.length} points need attention: ${names}.`,
      checks,
    };
  },
});

function healthy(name: string, found: string): Check {
  return { check: name, ok: true, found, mend: null };
}

function wrong(name: string, found: string, mend: string): Check {
  return { check: name, ok: false, found, mend };
}

async function checkClerk(pinned: string | null, flag: string): Promise<Check[]> {
  const key = "CLERK_SECRET_KEY";
  try {
    const { id, environment } = await new Clerk().instance();
    const accepted = healthy(key, `Clerk accepts it, for the ${environment} instance ${id}.`);
    return [accepted, checkPin(pinned, id, flag)];
  } catch (error) {
    if (!(error instanceof ClerkError)) throw error;
    if (error.message.startsWith(ADDRESS)) {
      return [wrong(ADDRESS, error.message, `npx convex env remove${flag} ${ADDRESS}`)];
    }
    if (error.whatNext !== "give up") {
      return [wrong(key, error.message, "Clerk can't be asked just now: ask the doctor again.")];
    }
    const mend = `npx convex env set${flag} ${key} with the key from Clerk's dashboard → API keys → Secret keys. Leave CLERK_API_URL unset.`;
    return [wrong(key, error.message, mend)];
  }
}

function checkPin(pinned: string | null, id: string, flag: string): Check {
  const name = "instance";
  if (pinned === null) return healthy(name, `None is pinned yet: the first full run pins ${id}.`);
  if (pinned === id) return healthy(name, `The table mirrors ${pinned}, as the key has it.`);
  return wrong(
    name,
    `The key belongs to ${id}, but the table mirrors ${pinned}: runs stop, and nothing is changed.`,
    `Set the secret key of ${pinned}; or, to move on purpose: ${runCommand(flag, "reconcile:pinInstance", { instanceId: id })}`,
  );
}

async function checkTable(ctx: ActionCtx, { instanceId }: Status, flag: string): Promise<Check> {
  const name = "table";
  const isPinned = instanceId !== null;
  const fault = whyUnfit(await sampleTable(ctx, clerkOrNull()), flag, { isPinned });
  if (fault !== null) return wrong(name, fault.reason, fault.next);
  const found = isPinned ? "No row has Clerk's id elsewhere." : "A first run can begin on it.";
  return healthy(name, found);
}

function clerkOrNull(): Clerk | null {
  try {
    return new Clerk();
  } catch {
    // That its variables are wrong is a point of its own.
    return null;
  }
}

/** A point that can't be looked at, as an index is being built for instance, is told as one. */
async function orTell(name: string, look: () => Promise<Check[]>): Promise<Check[]> {
  try {
    return await look();
  } catch (error) {
    return [wrong(name, reasonOf(error), "When that is mended, ask the doctor again.")];
  }
}

function checkReason(reason: string): Check {
  return wrong("status", reason, "Do as it says.");
}

function checkEvents({ instanceId, eventInstanceId }: Status): Check {
  const name = "instance of the events";
  if (eventInstanceId === null) return healthy(name, "None has come yet that names one.");
  if (instanceId === null || eventInstanceId === instanceId) {
    return healthy(name, `The newest one is of ${eventInstanceId}.`);
  }
  return wrong(
    name,
    `The newest one is of ${eventInstanceId}, but the table mirrors ${instanceId}: such events are ignored.`,
    `Give this deployment's address to an endpoint of ${instanceId} alone, and set its signing secret.`,
  );
}

function checkLastRun({ lastRun }: Status): Check {
  const name = "last run";
  if (lastRun === null) return healthy(name, "None has ended yet.");
  const found = `That of ${timeOf(lastRun.startedAt)}: ${lastRun.summary}`;
  if (lastRun.status !== "failed") return healthy(name, found);
  return wrong(name, found, `Mend what it says, and then: ${lastRun.next ?? "run again"}`);
}

function checkIssuer(flag: string): Check {
  const name = "CLERK_JWT_ISSUER_DOMAIN";
  const issuer = environment("CLERK_JWT_ISSUER_DOMAIN");
  const fault = whyNotIssuer(issuer);
  if (fault !== null) {
    return wrong(
      name,
      fault,
      `npx convex env set${flag} ${name} with the Frontend API URL, which Clerk shows under API keys.`,
    );
  }
  if (issuer !== undefined) return healthy(name, "It has the form of an issuer.");
  return healthy(name, "It is not set: auth.config.ts reads another one, or nobody signs in here.");
}

async function checkWebhook(flag: string): Promise<Check[]> {
  const { secrets, fault } = signingSecrets();
  // The variable that is at fault is the first word of the sentence.
  const [name] = /^CLERK_\w+/.exec(fault ?? "") ?? ["CLERK_WEBHOOK_SECRET"];
  const mend = `npx convex env set${flag} ${name} with the signing secret (whsec_…) of your endpoint in Clerk's dashboard → Webhooks.`;
  const found = secrets.length === 1 ? "It is set." : `There are ${secrets.length} secrets.`;
  const secret = fault === null ? healthy(name, found) : wrong(name, fault, mend);
  const path = (await send(HEALTH_PATH))?.headers.get(PATH_HEADER) ?? WEBHOOK_PATH;
  const route = await checkRoute(path, !secret.ok);
  if (!secret.ok || !route.ok) return [secret, route];
  return [secret, route, await checkSigned(path, secrets)];
}

/** Nothing unsigned may be let in; without a secret the route answers 500. */
async function checkRoute(path: string, isUnconfigured: boolean): Promise<Check> {
  const name = "webhook route";
  const status = (await send(path, "{}"))?.status ?? null;
  const address = `POST ${path} of this deployment`;
  if (status === 400 || (isUnconfigured && status === 500)) {
    return healthy(name, `${address} answers, and refuses what is unsigned.`);
  }
  const mount = "Call addClerkRoutes(http) in convex/http.ts, and deploy.";
  if (status === 404) return wrong(name, `${address} is not there (404).`, mount);
  if (status === null) return wrong(name, `${address} can't be reached.`, mount);
  return wrong(
    name,
    `${address} answers an unsigned request with ${status}, not 400: something else handles it.`,
    `${mount} Remove the other handler of that path.`,
  );
}

/** An event that is none about a user changes nothing, and is accepted if its signature is. */
async function checkSigned(path: string, secrets: string[]): Promise<Check> {
  const name = "signed event";
  const body = JSON.stringify({ object: "event", type: "doctor.check", data: {} });
  const id = "msg_doctor_check";
  for (const secret of secrets) {
    const at = new Date(clock.now());
    const answer = await send(path, body, {
      "svix-id": id,
      "svix-timestamp": String(Math.floor(at.getTime() / SECOND)),
      "svix-signature": new Webhook(secret).sign(id, at, body),
    });
    if (answer?.status === 200) continue;
    return wrong(
      name,
      `An event signed with CLERK_WEBHOOK_SECRET is answered with ${answer?.status ?? "nothing"}, not 200.`,
      "The route checks another secret: mount addClerkRoutes(http) of convex/clerk/routes.ts there, and no handler of an older sync.",
    );
  }
  return healthy(name, "An event signed with CLERK_WEBHOOK_SECRET is accepted.");
}

async function send(
  path: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Response | null> {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const url = `${environment("CONVEX_SITE_URL")}${path}`;
    const method = body === undefined ? "GET" : "POST";
    return await fetch(url, { method, body, headers, signal });
  } catch {
    return null;
  }
}

function checkSchedule({ lastTickAt }: Status): Check {
  const name = "schedule";
  const mend = `In convex/crons.ts: crons.interval("reconcile users with Clerk", { minutes: 15 }, internal.clerk.reconcile.run, { mode: "due" }); then deploy.`;
  if (lastTickAt === null) return wrong(name, "It has never run.", mend);
  const found = `It last ran at ${timeOf(lastTickAt)}.`;
  return clock.now() - lastTickAt <= SILENCE_MS ? healthy(name, found) : wrong(name, found, mend);
}

function checkFullRun({ lastFullRunStartedAt }: Status, flag: string): Check {
  const name = "full run";
  const mend = `${runCommand(flag, "reconcile:run")} and read what it says.`;
  if (lastFullRunStartedAt === null) return wrong(name, "None has completed yet.", mend);
  const found = `The last one that went through began at ${timeOf(lastFullRunStartedAt)}.`;
  const isRecent = clock.now() - lastFullRunStartedAt <= OVERDUE_MS;
  return isRecent ? healthy(name, found) : wrong(name, found, mend);
}

function checkFindings({ lastFullRun }: Status, flag: string): Check {
  const name = "findings";
  if (lastFullRun === null) return healthy(name, "No full run has gone through yet.");
  const { runId, status, held, setAside, unlisted, summary, next } = lastFullRun;
  const read = runCommand(flag, "reconcile:report", { runId });
  if (status === "held") {
    return wrong(name, summary, `${read} shows whom it holds; if they are to go: ${next}`);
  }
  if (held + setAside + unlisted === 0) return healthy(name, "It left nothing to a person.");
  return wrong(name, summary, `${read} shows whom, and why.`);
}

function checkDeliveries({ webhooks, eventInstanceId }: Status): Check {
  const name = "webhooks";
  if (eventInstanceId === null && webhooks.every(({ lastEventAt }) => lastEventAt === null)) {
    return wrong(
      name,
      "No event about a user has ever come.",
      "In Clerk's dashboard → Webhooks, add an endpoint with this deployment's address and all three user.* events; then create, rename and delete a test user there.",
    );
  }
  const dead = describeDead(webhooks);
  if (dead !== null) return wrong(name, dead.found, dead.mend);
  return healthy(name, "None was missed since the last one came.");
}

async function checkRows(ctx: ActionCtx, flag: string): Promise<Check[]> {
  const { duplicates, rows, undated, isAll } = await surveyRows(ctx);
  const looked = `${rows} rows${isAll ? "" : ", as many as a minute allows,"} were looked at`;
  return [checkDuplicates(duplicates, looked), checkUndated(undated, looked, flag)];
}

function checkDuplicates(ids: string[], looked: string): Check {
  const name = "duplicates";
  if (ids.length === 0) return healthy(name, `No clerkId is on two rows: ${looked}.`);
  const named = ids.slice(0, MAX_NAMED).join(", ");
  return wrong(
    name,
    `${ids.length} clerkIds are on more than one row, ${looked}: ${named}${ids.length > MAX_NAMED ? ", …" : ""}.`,
    "The oldest row of each is mirrored. Move what refers to the others to it, then delete them.",
  );
}

function checkUndated(undated: number, looked: string, flag: string): Check {
  const name = "creation times";
  if (undated === 0) return healthy(name, `Every row with a clerkId has one: ${looked}.`);
  return wrong(
    name,
    `${undated === 1 ? "1 row with a clerkId lacks" : `${undated} rows with a clerkId lack`} a creation time, ${looked}: no run has found their users in Clerk.`,
    `${runCommand(flag, "reconcile:run")} fills them in; whom Clerk does not know, it names in its report, and holds.`,
  );
}

async function surveyRows(ctx: ActionCtx) {
  const endsAt = clock.now() + MAX_SURVEY_MS;
  const duplicates: string[] = [];
  let [rows, undated] = [0, 0];
  let next: string | null = "";
  while (next !== null && clock.now() < endsAt) {
    const found: Survey = await ctx.runQuery(internal.clerk.doctor.survey, { from: next });
    duplicates.push(...found.duplicates);
    rows += found.rows;
    undated += found.undated;
    ({ next } = found);
  }
  return { duplicates, rows, undated, isAll: next === null };
}

// What one query looks at, rows with all that the app keeps on them.
const MAX_ROWS = 2000;
const MAX_BYTES = 4 * 1024 * 1024;

const vSurvey = v.object({
  duplicates: v.array(v.string()),
  rows: v.number(),
  undated: v.number(),
  next: v.nullable(v.string()),
});
type Survey = Infer<typeof vSurvey>;

/** Looks at the mirror's rows by `clerkId`, from one on, as many as a query should. `next`: where to go on, or null. */
export const survey = internalQuery({
  args: { from: v.string() },
  returns: vSurvey,
  handler: async (ctx, { from }): Promise<Survey> => {
    const duplicates = new Set<string>();
    let [rows, undated, last] = [0, 0, ""];
    const found = (next: string | null) => ({ duplicates: [...duplicates], rows, undated, next });
    const mirror = ctx.db.query("users").withIndex("by_clerkId", (q) => q.gte("clerkId", from));
    for await (const row of mirror) {
      const { clerkId = "" } = row;
      const { bytesRead, documentsRead } = await ctx.meta.getTransactionMetrics();
      const isEnough = documentsRead.used > MAX_ROWS || bytesRead.used >= MAX_BYTES;
      if (isEnough && clerkId !== last) return found(clerkId);
      if (!isMirrored(row)) continue;
      if (clerkId === last) duplicates.add(clerkId);
      if (row.clerkCreatedAt === undefined) undated += 1;
      [rows, last] = [rows + 1, clerkId];
    }
    return found(null);
  },
});
