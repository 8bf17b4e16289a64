/**
 * The pins in memory: asked on every request of every agent, so asking must cost nothing, and a revocation must reach
 * it within a second. Fed by the store's signal (which may be lost) and by a poll of a version counter (which may not).
 * Invariant: memory older than `MAX_AGE_MS` admits nobody; an unreachable database must not keep a revoked
 * certificate alive (faults F15).
 */
import { instant, SkepError, type Clock, type HostId, type Instant, type Logger, type Pin, type Store } from "@skep/core";

/** Above this age the pins are no longer trusted: a little less than three polls. */
export const MAX_AGE_MS = 15_000;
export const POLL_MS = 5_000;

export interface PinCache {
  /** Throws `overloaded` while memory is too old. */
  pinOf(fingerprint: string): Pin | undefined;
  /** Fingerprints the master accepts of that host's own listener; empty while memory is too old. */
  pinsOf(hostId: string): ReadonlySet<string>;
  rotationWanted(hostId: HostId): boolean;
  /** Database time, carried on by this machine's monotonic clock. */
  now(): Instant;
  /** True while memory may be trusted. */
  isFresh(): boolean;
  /** Reads all pins. Concurrent calls share one read. */
  refresh(): Promise<void>;
  /** Asks for the version and reads all pins only when it moved. */
  poll(): Promise<void>;
  /** Called after pins changed, with the hosts whose pins did. */
  onChange(listener: (hostIds: ReadonlySet<HostId>) => void): void;
}

export async function createPinCache(deps: { readonly store: Store; readonly clock: Clock; readonly logger: Logger }): Promise<PinCache> {
  const { store, clock } = deps;
  let byFingerprint: ReadonlyMap<string, Pin> = new Map();
  let byHost: ReadonlyMap<string, readonly Pin[]> = new Map();
  let version = -1;
  let freshAt = Number.NEGATIVE_INFINITY;
  /** Database time minus monotonic time. */
  let offsetMs = 0;
  let reading: Promise<void> | undefined;
  let readAgain = false;
  const listeners: ((hostIds: ReadonlySet<HostId>) => void)[] = [];

  const now = (): Instant => instant(offsetMs + clock.mono());
  const isFresh = (): boolean => clock.mono() - freshAt <= MAX_AGE_MS;

  const readVersion = async (): Promise<number> => {
    const before = clock.mono();
    const seen = await store.pinVersion();
    // The answer was true at some moment between asking and hearing.
    offsetMs = seen.now - (before + clock.mono()) / 2;
    return seen.version;
  };

  const load = async (): Promise<void> => {
    const asked = clock.mono();
    await readVersion();
    const loaded = await store.loadPins();
    const changed = differing(byHost, loaded.pins);
    byFingerprint = new Map(loaded.pins.map((pin) => [pin.fingerprint, pin]));
    byHost = groupByHost(loaded.pins);
    version = loaded.version;
    // As old as the question, not as the answer.
    freshAt = asked;
    if (changed.size > 0) for (const listener of listeners) listener(changed);
  };

  const refresh = (): Promise<void> => {
    // A read under way may have begun before the change that we were told of: one more follows it.
    if (reading !== undefined) {
      readAgain = true;
      return reading;
    }
    reading = (async () => {
      do {
        readAgain = false;
        await load();
      } while (readAgain);
    })().finally(() => {
      reading = undefined;
    });
    return reading;
  };

  const cache: PinCache = {
    pinOf: (fingerprint) => {
      if (!isFresh()) throw new SkepError("overloaded", "the certificate pins could not be read from the database lately; nobody is admitted on old ones", { retryAfterMs: POLL_MS });
      return byFingerprint.get(fingerprint);
    },
    pinsOf: (hostId) => {
      if (!isFresh()) return new Set();
      const at = now();
      const good = (byHost.get(hostId) ?? []).filter((pin) => servesUnder(pin, at));
      return new Set(good.map((pin) => pin.fingerprint));
    },
    rotationWanted: (hostId) => (byHost.get(hostId) ?? []).some((pin) => pin.rotationWanted === true),
    now,
    isFresh,
    refresh,
    poll: async () => {
      const asked = clock.mono();
      if ((await readVersion()) === version) freshAt = asked;
      else await refresh();
    },
    onChange: (listener) => void listeners.push(listener),
  };
  await cache.refresh();
  return cache;
}

/** The pins under which a host may serve the master's calls; a pending credential serves nothing. */
const servesUnder = (pin: Pin, now: Instant): boolean =>
  pin.hostStatus !== "decommissioned" && now < pin.notAfter && (pin.status === "active" || (pin.status === "retiring" && (pin.retireAt === undefined || now < pin.retireAt)));

function groupByHost(pins: readonly Pin[]): Map<string, readonly Pin[]> {
  const groups = new Map<string, Pin[]>();
  for (const pin of pins) {
    const group = groups.get(pin.hostId);
    if (group === undefined) groups.set(pin.hostId, [pin]);
    else group.push(pin);
  }
  return groups;
}

/** Hosts whose set of pins, or a pin's standing, is not what it was. */
function differing(before: ReadonlyMap<string, readonly Pin[]>, pins: readonly Pin[]): ReadonlySet<HostId> {
  const standing = (list: readonly Pin[]): string =>
    list.map((pin) => `${pin.fingerprint} ${pin.status} ${pin.retireAt ?? ""} ${pin.hostStatus === "decommissioned"}`).sort().join();
  const after = groupByHost(pins);
  const changed = new Set<HostId>();
  for (const hostId of new Set([...before.keys(), ...after.keys()])) {
    if (standing(before.get(hostId) ?? []) !== standing(after.get(hostId) ?? [])) changed.add(hostId as HostId);
  }
  return changed;
}
