/**
 * Waiting for a runtime that cannot be asked. However many jobs wait for one, one look at a time tries it; a driver's
 * own wake-up shortens the pause. It ends by sight only: hoping is no evidence.
 */
import type { AbortSignalLike, Clock, Driver } from "@skep/core";

/** Between looks: doubles from the first to the cap. Shorter: a sick engine is hammered; longer: jobs start late after its return. */
const FIRST_PAUSE_MS = 500;
const PAUSE_CAP_MS = 10_000;

export interface RuntimeWatch {
  /** Resolves when `driver` can observe again, or when `leave` or the halt aborts: the caller looks at the signals. */
  until(driver: Driver, leave: AbortSignalLike | undefined): Promise<void>;
}

export function createRuntimeWatch(drivers: readonly Driver[], clock: Clock, halt: AbortSignalLike, canLook: (driver: Driver) => Promise<boolean>): RuntimeWatch {
  const tries = new Map<Driver, Promise<void>>();
  const naps = new Map<Driver, AbortController>();
  for (const driver of drivers) driver.onChange(() => naps.get(driver)?.abort());

  async function tryUntilSeen(driver: Driver): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS; !halt.aborted; pauseMs = Math.min(PAUSE_CAP_MS, pauseMs * 2)) {
      // The first part of every pause cannot be cut short: a driver that cries all the time must not be looked at all the time.
      await clock.sleep(FIRST_PAUSE_MS, halt);
      const nap = new AbortController();
      naps.set(driver, nap);
      const leave = (): void => nap.abort();
      halt.addEventListener("abort", leave, { once: true });
      await clock.sleep(pauseMs - FIRST_PAUSE_MS, nap.signal);
      halt.removeEventListener("abort", leave);
      naps.delete(driver);
      if (!halt.aborted && (await canLook(driver))) return;
    }
  }

  return {
    until: async (driver, leave) => {
      if (leave?.aborted === true) return;
      const seen = tries.get(driver) ?? tryUntilSeen(driver).finally(() => tries.delete(driver));
      tries.set(driver, seen);
      if (leave === undefined) return seen;
      let go = (): void => {};
      const left = new Promise<void>((resolve) => (go = resolve));
      leave.addEventListener("abort", go, { once: true });
      await Promise.race([seen, left]);
      leave.removeEventListener("abort", go);
    },
  };
}
