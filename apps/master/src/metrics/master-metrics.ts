/** What a master counts, in the words of those who tell it. Nobody but this folder knows names, labels or the library. */
import type { ControlObserver } from "../ports.ts";

export const BREAKER_STATES = ["closed", "half_open", "open"] as const;
export type BreakerState = (typeof BREAKER_STATES)[number];

/** One request to an agent, whoever made it. */
export interface AgentCall {
  readonly hostId: string;
  readonly hostName: string;
  /** What was asked: the agent's route, or a word for it. */
  readonly kind: string;
  readonly outcome: "ok" | "failure" | "aborted";
  readonly ms: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export interface BreakerTransition {
  readonly hostId: string;
  readonly hostName: string;
  readonly to: BreakerState;
}

export interface MasterMetrics extends ControlObserver {
  /** `result`: "ok", or the code of the refusal. */
  onHeartbeat(result: string): void;
  /** Of a heartbeat that was taken: until its commit. */
  onHeartbeatCommitted(ms: number): void;
  onCall(call: AgentCall): void;
  onTransition(transition: BreakerTransition): void;
  /** The host was decommissioned: its series end and its place among the labels is free. */
  forgetHost(hostId: string): void;
  /** All metrics in Prometheus' text format. Never rejects and never hangs, whatever the database does. */
  render(): Promise<string>;
}
