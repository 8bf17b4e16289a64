/**
 * One table is the lifecycle state machine, and every edge has its owners. SQL predicates, the trigger that
 * freezes terminal rows, docs/lifecycle.md and the dashboard's colours all derive from it.
 */
import type { LifecycleStatus } from "./states.ts";

export const ACTORS = ["operator", "dispatcher", "agent", "sweep"] as const;
/**
 * `operator` a person's decision, decommission included · `dispatcher` the master's reading of an agent's direct
 * answer · `agent` a delta or a job's own report · `sweep` the master closing on evidence.
 */
export type Actor = (typeof ACTORS)[number];

export interface Transition {
  readonly from: LifecycleStatus;
  readonly to: LifecycleStatus;
  readonly by: readonly Actor[];
  readonly when: string;
}

export const TRANSITIONS = [
  { from: "pending", to: "running", by: ["dispatcher", "agent", "sweep"], when: "the agent answered 202, reported the job, or was asked and has it" },
  { from: "pending", to: "succeeded", by: ["agent", "dispatcher", "sweep"], when: "the outcome arrived before the acceptance" },
  { from: "pending", to: "failed", by: ["agent", "dispatcher", "sweep", "operator"], when: "refused; failed before the acceptance arrived; never sent by its deadline; or its host was given up" },
  { from: "pending", to: "cancelled", by: ["operator", "agent", "dispatcher", "sweep"], when: "cancelled before it was ever sent, or the agent confirmed it" },
  { from: "pending", to: "superseded", by: ["dispatcher"], when: "the agent knows a newer generation or epoch, and so does the master" },
  { from: "pending", to: "lost", by: ["sweep"], when: "sent, past its deadline, and the host cannot be asked" },
  { from: "running", to: "succeeded", by: ["agent", "dispatcher", "sweep"], when: "the agent's word" },
  { from: "running", to: "failed", by: ["agent", "dispatcher", "sweep", "operator"], when: "the agent's word, proven absence, a confirmed cancel after a timeout, or its host was given up" },
  { from: "running", to: "cancelled", by: ["agent", "dispatcher", "sweep"], when: "the agent confirmed the cancel" },
  { from: "running", to: "lost", by: ["sweep"], when: "the host fell silent: the outcome is unknown" },
  { from: "lost", to: "running", by: ["agent", "sweep"], when: "the host is back and still working on it" },
  { from: "lost", to: "succeeded", by: ["agent", "dispatcher", "sweep"], when: "late truth" },
  { from: "lost", to: "failed", by: ["agent", "dispatcher", "sweep", "operator"], when: "late truth, proven absence, or its host was given up" },
  { from: "lost", to: "cancelled", by: ["agent", "dispatcher", "sweep"], when: "the agent confirmed the cancel" },
  { from: "lost", to: "superseded", by: ["operator"], when: "a newer request took the placement over" },
] as const satisfies readonly Transition[];

export function isLegal(from: LifecycleStatus, to: LifecycleStatus, by: Actor): boolean {
  return TRANSITIONS.some((edge) => edge.from === from && edge.to === to && (edge.by as readonly Actor[]).includes(by));
}
