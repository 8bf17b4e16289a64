/** Looking through all drivers at once. A look that fails rejects: half a truth would read as "the rest is gone". */
import { DriverError, SkepError, type Clock, type Driver } from "@skep/core";
import { isAlive, type Seen } from "./plan.ts";
import { STOP_GRACE_MS } from "./stop-one.ts";
import { withinMs } from "./verbs.ts";

/** Longest look. Too short: a loaded host cannot observe; too long: beats and jobs wait for a hung driver. */
const LOOK_LIMIT_MS = 10_000;

export interface Eyes {
  all(): Promise<Seen[]>;
  placement(placementId: string): Promise<Seen[]>;
  driver(name: string): Driver;
  logs(placementId: string, component: string, offset: number, limit: number): Promise<{ data: Uint8Array; nextOffset: number }>;
  /** Stops everything alive, all at once. Returns what could not be stopped. */
  stopAll(timeoutMsOf: (placementId: string, component: string) => number): Promise<string[]>;
}

export function createEyes(drivers: readonly Driver[], clock: Clock): Eyes {
  const all = async (): Promise<Seen[]> => {
    const lists = await Promise.all(drivers.map(async (driver) => (await withinMs(clock, `observe ${driver.name}`, LOOK_LIMIT_MS, () => driver.observe())).map((component) => ({ driver, component }))));
    return lists.flat();
  };
  return {
    all,
    placement: async (placementId) => (await all()).filter((seen) => seen.component.labels.placementId === placementId),
    driver: (name) => {
      const driver = drivers.find((one) => one.name === name);
      if (driver === undefined) throw new DriverError("driver_unknown", `this host has no ${name} driver`);
      return driver;
    },
    logs: async (placementId, component, offset, limit) => {
      const seen = (await all()).find((item) => item.component.labels.placementId === placementId && item.component.labels.component === component);
      // Removed components keep their logs, and no driver lists them any more: ask each.
      for (const driver of seen === undefined ? drivers : [seen.driver]) {
        try {
          return await withinMs(clock, "read logs", LOOK_LIMIT_MS, () => driver.logs(placementId, component, offset, limit));
        } catch (error) {
          if (seen !== undefined && error instanceof DriverError && error.code === "hung") throw new SkepError("unavailable_observation", error.message);
        }
      }
      throw new SkepError("logs_not_found", `there are no logs of ${component} on this host`);
    },
    stopAll: async (timeoutMsOf) => {
      const failed: string[] = [];
      await Promise.all((await all()).filter(isAlive).map(async ({ driver, component: { labels } }) => {
        const timeoutMs = timeoutMsOf(labels.placementId, labels.component);
        await withinMs(clock, `stop ${labels.component}`, timeoutMs + STOP_GRACE_MS, () => driver.stop(labels, timeoutMs)).catch(() => failed.push(labels.component));
      }));
      return failed;
    },
  };
}
