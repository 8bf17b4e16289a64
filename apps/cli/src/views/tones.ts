/** One colour for one meaning, wherever a state is shown. */
import { toned, type Toned, type Tone } from "../text/line.ts";

const TONE: Readonly<Record<string, Tone>> = {
  active: "good", running: "good", passed: "good", done: "good", succeeded: "good", healthy: "good", reachable: "good", drained: "good", info: "dim", delivered: "good",
  suspect: "warn", lost: "warn", degraded: "warn", pending: "warn", deploying: "warn", tearing_down: "warn", paused: "warn", skipped: "warn", waiting: "dim", open: "warn", enrolled: "warn", cancelled: "warn", superseded: "warn", warning: "warn", unknown: "warn", backoff: "warn", draining: "warn", moving: "warn", to_move: "warn", to_stop: "warn", leaving: "warn", starting: "warn", stopping: "warn",
  unreachable: "bad", failed: "bad", unhealthy: "bad", rolling_back: "bad", rolled_back: "bad", refused: "bad", left: "bad", teardown_failed: "bad", error: "bad", dead: "bad", blocked: "bad", returning: "bad",
  decommissioned: "dim", torn_down: "dim", stopped: "dim", absent: "dim", revoked: "dim",
};

export const state = (word: string): Toned => toned(word, TONE[word] ?? "bold");

const CIRCUIT_TONE: Readonly<Record<string, Tone>> = { closed: "good", half_open: "warn", open: "bad" };
/** An open circuit is bad, where an open rollout is only not over. */
export const circuitWord = (word: string): Toned => toned(word, CIRCUIT_TONE[word] ?? "bold");
