/** What who operates the sync does and sees. */
import { expect } from "vitest";
import { HOUR } from "../../convex/clerk/shared/clock";
import { signUp } from "./people";
import { complete, internal, pass, type Setting } from "./setting";

/** Call it once a file, beside `useSetting`. */
export function operatorOf(setting: Setting) {
  /** What the query and the health route say, which must not differ. */
  const status = async () => {
    const { t } = setting;
    const health = await t.fetch("/clerk-users-health", { method: "GET" });
    const answer = await t.query(internal.clerk.reconcile.status, {});
    expect(await health.text()).toBe("");
    expect(health.status).toBe(answer.verdict === "healthy" ? 200 : 503);
    expect(answer.verdict).toBe(answer.reasons.length === 0 ? "healthy" : "attention");
    return answer;
  };
  const reasons = async () => (await status()).reasons;
  const tick = async () => await complete(setting.t, { mode: "due" });
  /** Lets a schedule of hourly ticks go by. */
  const live = async (hours: number) => {
    for (let i = 0; i < hours; i++) {
      pass(HOUR);
      await tick();
    }
  };
  /** Users who signed up, and are mirrored since an hour. @returns their ids */
  const backfilled = async (count: number) => {
    const ids = signUp(setting, count);
    await tick();
    pass(HOUR);
    return ids;
  };
  const lines = (event: string) => setting.log.filter((line) => line.event === event);
  return { status, reasons, tick, live, backfilled, lines };
}
