/**
 * Looking through all drivers at once, each by itself: one that cannot look is named and blinds nobody else. Invariant:
 * what a blind driver runs is unknown, never gone; so a caller that must know gets an error, not half a truth.
 */
import { DriverError, RUNTIME_UNAVAILABLE, SkepError, type Clock, type Driver, type LogChunk, type ObservedComponent } from "@skep/core";
import { wordsOf } from "./job-context.ts";
import { LOOK_LIMIT_MS, STOP_GRACE_MS } from "./limits.ts";
import { isAlive, type Seen } from "./plan.ts";
import { withinMs } from "./verbs.ts";

/** A driver that a placement does not need gets this long in a job's look. Longer: a dead engine slows foreign jobs; shorter: leftovers are missed. */
const BYSTANDER_LIMIT_MS = 2_000;

export interface Blind {
  readonly driver: Driver;
  readonly because: string;
  readonly error: unknown;
}
export interface Sight {
  readonly seen: readonly Seen[];
  readonly blind: readonly Blind[];
  /** How many drivers could look. */
  readonly sighted: number;
}

/** A driver could not look or be asked: nothing is known of what it runs. */
export class RuntimeAway extends DriverError {
  readonly driver: Driver;
  constructor(driver: Driver, because: string) {
    super(RUNTIME_UNAVAILABLE, `${runtimeName(driver)} cannot be asked: ${because}`);
    this.driver = driver;
  }
}

export const runtimeName = (driver: Driver): string => (driver.name === "docker" ? "the docker engine" : `the ${driver.name} driver`);

export interface Eyes {
  /** A new look through every driver. */
  all(): Promise<Sight>;
  /** For beats: a look of a driver that is still going on is shared, and one that has gone on too long is not waited for. */
  glance(limitMs: number): Promise<Sight>;
  /** Rejects with `RuntimeAway` when one of the needed drivers cannot look; the others are seen if they can be. */
  placement(placementId: string, needed: readonly string[] | "all"): Promise<Seen[]>;
  canLook(driver: Driver): Promise<boolean>;
  driver(name: string): Driver;
  logs(placementId: string, component: string, offset: number, limit: number): Promise<{ data: Uint8Array; nextOffset: number }>;
  /** Stops everything alive, all at once. Returns what could not be stopped. */
  stopAll(timeoutMsOf: (placementId: string, component: string) => number): Promise<string[]>;
}

export function createEyes(drivers: readonly Driver[], clock: Clock): Eyes {
  const glancing = new Map<Driver, { readonly sinceMs: number; readonly look: Promise<readonly ObservedComponent[]> }>();

  async function through(looks: readonly { readonly driver: Driver; readonly look: () => Promise<readonly ObservedComponent[]> }[]): Promise<Sight> {
    const seen: Seen[] = [];
    const blind: Blind[] = [];
    await Promise.all(looks.map(async ({ driver, look }) => {
      try {
        for (const component of await look()) seen.push({ driver, component });
      } catch (error) {
        blind.push({ driver, because: wordsOf(error), error });
      }
    }));
    return { seen, blind, sighted: looks.length - blind.length };
  }
  const fresh = (driver: Driver, limitMs: number) => ({ driver, look: () => withinMs(clock, `observe ${driver.name}`, limitMs, () => driver.observe()) });
  const all = (): Promise<Sight> => through(drivers.map((driver) => fresh(driver, LOOK_LIMIT_MS)));

  function shared(driver: Driver): { readonly sinceMs: number; readonly look: Promise<readonly ObservedComponent[]> } {
    const going = glancing.get(driver);
    if (going !== undefined) return going;
    const made = { sinceMs: clock.mono(), look: driver.observe().finally(() => glancing.delete(driver)) };
    made.look.catch(() => undefined);
    glancing.set(driver, made);
    return made;
  }

  const glance = (limitMs: number): Promise<Sight> => through(drivers.map((driver) => ({
    driver,
    look: () => {
      const going = shared(driver);
      const ageMs = clock.mono() - going.sinceMs;
      const leftMs = Math.min(limitMs, LOOK_LIMIT_MS) - ageMs;
      if (leftMs <= 0) throw new DriverError("hung", `observe ${driver.name}: it does not answer`);
      return withinMs(clock, `observe ${driver.name}`, leftMs, () => going.look);
    },
  })));

  return {
    all,
    glance,
    placement: async (placementId, needed) => {
      const isNeeded = (driver: Driver): boolean => needed === "all" || needed.includes(driver.name);
      const { seen, blind } = await through(drivers.map((driver) => fresh(driver, isNeeded(driver) ? LOOK_LIMIT_MS : BYSTANDER_LIMIT_MS)));
      const missing = blind.find((one) => isNeeded(one.driver));
      if (missing !== undefined) throw new RuntimeAway(missing.driver, missing.because);
      return seen.filter((item) => item.component.labels.placementId === placementId);
    },
    canLook: (driver) => fresh(driver, LOOK_LIMIT_MS).look().then(() => true, () => false),
    driver: (name) => {
      const driver = drivers.find((one) => one.name === name);
      if (driver === undefined) throw new DriverError("driver_unknown", `this host has no ${name} driver`);
      return driver;
    },
    logs: async (placementId, component, offset, limit) => {
      const found: { readonly driver: Driver; readonly chunk: LogChunk }[] = [];
      let broken: unknown;
      // Removed components keep their logs and no driver lists them any more; so each is asked, and none is looked through.
      for (const driver of drivers) {
        try {
          found.push({ driver, chunk: await withinMs(clock, "read logs", LOOK_LIMIT_MS, () => driver.logs(placementId, component, offset, limit)) });
        } catch (error) {
          if (!(error instanceof SkepError) || error.code !== "logs_not_found") broken ??= error;
        }
      }
      if (found.length > 1) {
        // It was moved from one driver to another under the same name: the present one's output is meant.
        const { seen } = await glance(BYSTANDER_LIMIT_MS);
        const present = seen.find((item) => item.component.labels.placementId === placementId && item.component.labels.component === component)?.driver;
        return (found.find((item) => item.driver === present) ?? found[0]!).chunk;
      }
      if (found[0] !== undefined) return found[0].chunk;
      // "Not found" is said only by those who could look: a reader would begin anew on it.
      if (broken !== undefined) throw new SkepError("unavailable_observation", `the logs of ${component} cannot be read: ${wordsOf(broken)}`);
      throw new SkepError("logs_not_found", `there are no logs of ${component} on this host`);
    },
    stopAll: async (timeoutMsOf) => {
      const { seen, blind } = await all();
      const failed = blind.map((one) => `whatever ${runtimeName(one.driver)} runs (${one.because})`);
      await Promise.all(seen.filter(isAlive).map(async ({ driver, component: { labels } }) => {
        const timeoutMs = timeoutMsOf(labels.placementId, labels.component);
        await withinMs(clock, `stop ${labels.component}`, timeoutMs + STOP_GRACE_MS, () => driver.stop(labels, timeoutMs)).catch(() => failed.push(labels.component));
      }));
      return failed;
    },
  };
}
