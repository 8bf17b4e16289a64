/** What a master counts, in the words of those who tell it. Nobody but this folder knows names, labels or the library. */
import type { CallOutcome, CircuitState } from "@skep/core";
import type { ControlObserver } from "../ports.ts";

/** One request to an agent, whoever made it. */
export interface AgentCall {
  readonly hostId: string;
  readonly hostName: string;
  readonly outcome: CallOutcome;
  readonly ms: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export interface BreakerTransition {
  readonly hostId: string;
  readonly hostName: string;
  readonly to: CircuitState;
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
