/**
 * Time as data. Core never reads a clock: every function that depends on time takes `now`.
 * An `Instant` is Unix milliseconds of the database's clock unless a name says otherwise (rulings 1, faults I12).
 */
import type { Brand } from "./ids.ts";

export type Instant = Brand<number, "Instant">;
export const instant = (ms: number): Instant => ms as Instant;
export const addMs = (at: Instant, ms: number): Instant => (at + ms) as Instant;
export const SECOND_MS = 1_000;
export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** RFC 3339 UTC with milliseconds, the only time format on the wire. */
export const toIso = (at: Instant): string => new Date(at).toISOString();

/**
 * Every liveness time is a multiple of the heartbeat interval, so that a test at 200 ms and a fleet at 30 s run
 * the same rules. Too small an interval makes noise look like death; too large makes death look like noise.
 */
export interface Timings {
  readonly heartbeatIntervalMs: number;
  /** Silence after which a host is `suspect`: no new placements. */
  readonly suspectAfterMs: number;
  /** Silence after which one failed probe makes a host `unreachable`. */
  readonly unreachableAfterMs: number;
  /** Silence after which a host is `unreachable` whatever the probe says. */
  readonly hardLimitMs: number;
  /** How long a master listens before it demotes anybody or closes anything by silence. */
  readonly warmUpMs: number;
  readonly sweepIntervalMs: number;
}

export const MIN_HEARTBEAT_INTERVAL_MS = 200;
export const MAX_HEARTBEAT_INTERVAL_MS = 300_000;
export const DEFAULT_HEARTBEAT_INTERVAL_MS = 30_000;

export function timingsFor(heartbeatIntervalMs: number): Timings {
  return {
    heartbeatIntervalMs,
    suspectAfterMs: heartbeatIntervalMs * 1.5,
    unreachableAfterMs: heartbeatIntervalMs * 3,
    hardLimitMs: heartbeatIntervalMs * 6,
    warmUpMs: heartbeatIntervalMs * 3,
    sweepIntervalMs: heartbeatIntervalMs * 0.5,
  };
}
