/**
 * How many jobs work at once, counted for each driver by itself: jobs that hang in one runtime never keep another's
 * waiting. A job that waits for its runtime holds none.
 */
export interface Slots {
  free(driver: string): boolean;
  take(driver: string): void;
  /** To whoever waits for it first. */
  give(driver: string): void;
  /** Resolves with a slot taken. */
  wait(driver: string): Promise<void>;
}

export function createSlots(each: number, onFree: () => void): Slots {
  const held = new Map<string, number>();
  const waiting = new Map<string, (() => void)[]>();
  const count = (driver: string): number => held.get(driver) ?? 0;
  const take = (driver: string): void => void held.set(driver, count(driver) + 1);
  return {
    free: (driver) => count(driver) < each,
    take,
    give: (driver) => {
      const next = waiting.get(driver)?.shift();
      if (next !== undefined) return next();
      held.set(driver, count(driver) - 1);
      onFree();
    },
    wait: (driver) => {
      if (count(driver) < each) {
        take(driver);
        return Promise.resolve();
      }
      return new Promise((resolve) => waiting.set(driver, [...(waiting.get(driver) ?? []), resolve]));
    },
  };
}
