/**
 * Whether an agent takes a command. Everything that makes a delivery safe to repeat, reorder or replay is decided
 * here, from durable facts only: the journal's entry for the job, the tombstones, and the floors of the placement.
 */
import type { Operation } from "../lifecycle/states.ts";
import type { ErrorCode } from "../errors.ts";
import type { Policy } from "../policy.ts";

export const JOB_STATUSES = ["accepted", "running", "succeeded", "failed", "cancelled"] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];

export const AGENT_PHASES = ["booting", "ready", "draining", "stopping"] as const;
export type AgentPhase = (typeof AGENT_PHASES)[number];

export interface CommandFacts {
  readonly jobId: string;
  readonly operation: Operation;
  readonly sessionEpoch: number | undefined;
  readonly epoch: number;
  readonly generation: number;
  readonly baseGeneration: number | undefined;
}

export interface AdmissionFacts {
  readonly phase: AgentPhase;
  readonly sessionEpoch: number;
  /** The journal's word on this job id: its entry or its tombstone. */
  readonly known: JobStatus | undefined;
  /** The highest epoch and generation this host has ever taken for the placement. */
  readonly floor: { readonly epoch: number; readonly generation: number } | undefined;
  /** The generation applied now; undefined = nothing is deployed. */
  readonly appliedGeneration: number | undefined;
  readonly queued: number;
}

export const MAX_QUEUED_JOBS = 32;

export type Admission =
  | { readonly kind: "accept" }
  | { readonly kind: "duplicate"; readonly status: JobStatus }
  | { readonly kind: "refuse"; readonly code: ErrorCode; readonly detail: string };

export function decideAdmission(command: CommandFacts, facts: AdmissionFacts, policy: Policy): Admission {
  const refuse = (code: ErrorCode, detail: string): Admission => ({ kind: "refuse", code, detail });
  // A known job is answered before anything else can refuse it: the master must learn the truth even while booting.
  if (facts.known !== undefined && policy.jobDedupe) return { kind: "duplicate", status: facts.known };
  if (facts.phase === "booting") return refuse("agent_booting", "the boot sequence is not done");
  if (facts.phase !== "ready") return refuse("agent_draining", `the agent is ${facts.phase}`);
  if (command.sessionEpoch !== undefined && command.sessionEpoch !== facts.sessionEpoch) {
    return refuse("session_stale", `the command names session ${command.sessionEpoch}, the open one is ${facts.sessionEpoch}`);
  }
  if (policy.generationCheck && facts.floor !== undefined) {
    if (command.epoch < facts.floor.epoch) return refuse("stale_epoch", `epoch ${command.epoch} is below ${facts.floor.epoch}`);
    // The same generation may come again under a new job id (a retry); an older one never may.
    if (command.generation < facts.floor.generation) {
      return refuse("stale_generation", `generation ${command.generation} is below ${facts.floor.generation}`);
    }
  }
  if (command.operation === "mutate" && command.baseGeneration !== undefined) {
    if (facts.appliedGeneration === undefined) return refuse("no_active_deployment", "nothing is deployed on this placement");
    if (facts.appliedGeneration !== command.baseGeneration && facts.appliedGeneration !== command.generation) {
      return refuse("generation_conflict", `the host is at generation ${facts.appliedGeneration}, not ${command.baseGeneration}`);
    }
  }
  if (facts.queued >= MAX_QUEUED_JOBS) return refuse("busy", `${facts.queued} jobs are queued`);
  return { kind: "accept" };
}
