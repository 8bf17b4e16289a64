/**
 * The master's operations, free of HTTP: listeners and loops call these and nothing else writes to the ledger.
 * The simulator runs the very same functions over a store in memory.
 */
import type { Bundle } from "@skep/protocol";
import type {
  acceptedOperation, bundleRequest, CertReply, createHostRequest, DeployRequest, DrainJson, DrainPlanJson, DrainRequest, EnrolRequest, HeartbeatReply, HeartbeatRequest, MutateRequest,
  MoveJson, operationPlan, rebalanceRequest, RebalanceReply, redeployRequest, RegisterReply, RegisterRequest, rollbackRequest, RolloutReply, teardownRequest,
} from "@skep/protocol";
import type { HostId, HostRecord, LifecycleRow, Pin, Retained } from "@skep/core";
import type { z } from "zod";
import type { OperatorContext, Reply } from "../ports.ts";
import type { ExecControl } from "./exec.ts";
import type { WebhookControl } from "./webhooks.ts";

export type AcceptedOrPlan = z.infer<typeof acceptedOperation> | z.infer<typeof operationPlan>;

/** Refusals are thrown as SkepError; a returned Reply is always a success. */
export interface DeploymentControl {
  deploy(request: DeployRequest, context: OperatorContext): Promise<Reply<AcceptedOrPlan>>;
  mutate(deployment: string, request: MutateRequest, context: OperatorContext): Promise<Reply<AcceptedOrPlan>>;
  redeploy(deployment: string, request: z.infer<typeof redeployRequest>, context: OperatorContext): Promise<Reply<AcceptedOrPlan>>;
  rollback(deployment: string, request: z.infer<typeof rollbackRequest>, context: OperatorContext): Promise<Reply<AcceptedOrPlan>>;
  teardown(deployment: string, request: z.infer<typeof teardownRequest>, context: OperatorContext): Promise<Reply<AcceptedOrPlan>>;
}

export interface LifecycleControl {
  /** A row that was never sent ends at once; otherwise the agent is told, now and in every beat, until it confirms. */
  cancel(id: string, context: OperatorContext): Promise<Reply<{ id: string; status: LifecycleRow["status"]; because: string }>>;
  /** An operator's decision that a lost row's host will never answer. */
  resolveLost(id: string, note: string | undefined, context: OperatorContext): Promise<Reply<{ id: string; status: LifecycleRow["status"]; because: string }>>;
}

/** A person's word on the open rollout of a deployment; `rollout_not_open` where there is none. */
export interface RolloutControl {
  /** What is under way ends; no further wave opens. */
  pauseRollout(deployment: string, context: OperatorContext): Promise<Reply<RolloutReply>>;
  resumeRollout(deployment: string, context: OperatorContext): Promise<Reply<RolloutReply>>;
  /** Goes back now; `failed` where nothing else ever ran. */
  abortRollout(deployment: string, context: OperatorContext): Promise<Reply<RolloutReply>>;
}

/** Emptying hosts, and placements on their way from one host to another. */
export interface MoveControl {
  /** Cordons it and moves what is there; asked again while it is draining, the same drain goes on. */
  drainHost(host: string, request: DrainRequest, context: OperatorContext): Promise<Reply<DrainJson | DrainPlanJson>>;
  /** Nothing more moves; a move whose old copy still runs is taken back, any other goes to its end. The host stays cordoned. */
  cancelDrain(host: string, context: OperatorContext): Promise<Reply<DrainJson>>;
  cancelMove(id: string, context: OperatorContext): Promise<Reply<MoveJson>>;
  rebalance(request: z.infer<typeof rebalanceRequest>, context: OperatorContext): Promise<Reply<RebalanceReply>>;
}

export interface AgentControl {
  register(hostId: HostId, request: RegisterRequest): Promise<RegisterReply>;
  /** Resolves after the beat is committed. `undefined` = nothing to say: 204. Beats of many hosts are committed together. */
  beat(hostId: HostId, request: HeartbeatRequest): Promise<HeartbeatReply | undefined>;
}

/** One pass each; every master may run them at the same time. They return what they did, for logs, metrics and tests. */
export interface Passes {
  dispatchOnce(): Promise<{ sent: number; accepted: number; putOff: number; ended: number }>;
  sweepOnce(): Promise<{ looked: number; changed: number; asked: number; cancelled: number; stale: number }>;
  livenessOnce(): Promise<{ changed: number; probed: number }>;
  /** Claims the hosts whose probe is due and asks them, without waiting for their answers. */
  probeOnce(): Promise<{ asked: number }>;
  reconcileOnce(): Promise<{ opened: number; gaveUp: number }>;
  rolloutOnce(): Promise<{ looked: number; stepped: number }>;
  alertOnce(): Promise<{ events: number; alerts: number; notices: number }>;
  /** Resolves when everything that was due is on its way, and does not wait for the answers. */
  deliverOnce(): Promise<{ started: number }>;
  /** Moves and drains. */
  drainOnce(): Promise<{ looked: number; stepped: number }>;
  /** Deletes what is kept no longer. */
  retainOnce(): Promise<Retained & { readonly deadLetters: number }>;
}

export interface Control extends DeploymentControl, RolloutControl, MoveControl, LifecycleControl, ExecControl, AgentControl, WebhookControl, Passes {
  /** When this master began to listen (database time): silence before it says nothing. */
  readonly listeningSince: () => number;
  /** This master could not hear hosts for a reason of its own: what was not heard meanwhile proves nothing. */
  wentDeaf(): void;
  /** Wakes the dispatcher; carries no facts. Set by the loop runner. */
  onWorkDue(listener: () => void): void;
  /** The same for the rollout pass. */
  onRolloutDue(listener: () => void): void;
  /** The same for the prober: a lane that was full has room again. */
  onProbeDue(listener: () => void): void;
  /** The same for the delivery pass. */
  onDeliveryDue(listener: () => void): void;
  /** The same for moves and drains. */
  onMoveDue(listener: () => void): void;
  /** Gives up probes under way; resolves when every beat and every probe's result taken in is committed or refused. */
  drain(): Promise<void>;
  /** Resolves when no webhook delivery is on its way. */
  drainDeliveries(): Promise<void>;
}

/** Hosts and their identities: enrolment, rotation, decommission. */
export interface IdentityControl {
  createHost(request: z.infer<typeof createHostRequest>, context: OperatorContext): Promise<Reply<{ host: HostRecord; bundle: Bundle }>>;
  createBundle(host: string, request: z.infer<typeof bundleRequest>, context: OperatorContext): Promise<Reply<{ host: HostRecord; bundle: Bundle }>>;
  requestRotation(host: string, context: OperatorContext): Promise<Reply<{ host: HostRecord }>>;
  /** Refuses with `host_not_empty` unless forced; with force, open rows end as host_lost and placements are dropped. */
  decommission(host: string, force: boolean, context: OperatorContext): Promise<Reply<{ host: HostRecord }>>;
  redeem(tokenId: string, request: EnrolRequest): Promise<CertReply>;
  rotate(hostId: HostId, csrPem: string): Promise<CertReply>;
  /** The pin of a fingerprint, from memory that Postgres feeds; throws `overloaded` when that memory is too old to trust. */
  pinOf(fingerprint: string): Pin | undefined;
  /** Database time as this process knows it. */
  now(): number;
}
