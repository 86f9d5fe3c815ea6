/** Time and sleep of the sync: the one place that tests replace. */

export const clock = {
  /** Ms since 1970. In a mutation, the time at which it began. */
  now: (): number => Date.now(),
  /** Actions only. */
  sleep: async (ms: number): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, ms));
  },
};

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
