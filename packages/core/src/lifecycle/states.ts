/** Every state a lifecycle row can be in, spelt once. SQL checks, schemas, docs and colours derive from here. */
export const OPERATIONS = ["deploy", "mutate", "teardown"] as const;
export type Operation = (typeof OPERATIONS)[number];

export const OPEN_STATUSES = ["pending", "running", "lost"] as const;
export const TERMINAL_STATUSES = ["succeeded", "failed", "cancelled", "superseded"] as const;
export const LIFECYCLE_STATUSES = [...OPEN_STATUSES, ...TERMINAL_STATUSES] as const;
export type OpenStatus = (typeof OPEN_STATUSES)[number];
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];
export type LifecycleStatus = OpenStatus | TerminalStatus;

export const isTerminal = (status: LifecycleStatus): status is TerminalStatus =>
  (TERMINAL_STATUSES as readonly string[]).includes(status);

/** Finer than the status, for people: where an open row is on its way. */
export const LIFECYCLE_PHASES = ["queued", "sent", "accepted", "working"] as const;
export type LifecyclePhase = (typeof LIFECYCLE_PHASES)[number];

export const FAILURE_CODES = [
  "dispatch_failed",
  "agent_error",
  "interrupted",
  "host_lost",
  "timeout",
  "rejected",
  "swept_unknown",
] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];

/** What each failure code means, for docs and `explain`. */
export const FAILURE_MEANINGS: Readonly<Record<FailureCode, string>> = {
  dispatch_failed: "It never reached the host before its dispatch deadline; nothing was started.",
  agent_error: "The agent did the work and it failed; the error and steps are the agent's own.",
  interrupted: "The agent was restarted in the middle and found the work not done.",
  host_lost: "An operator decided, or a decommission implied, that the host will never answer.",
  timeout: "It ran past its time limit and the agent confirmed that it was cancelled.",
  rejected: "The agent refused it; the refusal is in the error.",
  swept_unknown: "The agent confirmed that it does not know this job and will never run it.",
};
