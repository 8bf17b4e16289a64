/**
 * The protective rules, as a value. Production has one, frozen and out of reach of any configuration; the
 * ablation gate of the simulator switches one rule off at a time and must then see an invariant break. A rule
 * whose removal nobody notices is either untested or not needed.
 */
export interface Policy {
  /** One accepted operation per (token, route, idempotency key). */
  readonly idempotency: boolean;
  /** Rows that were not delivered are offered again: by the dispatch loop and in heartbeat replies. */
  readonly dispatcherLoop: boolean;
  /** The agent runs a job id once, however often it arrives. */
  readonly jobDedupe: boolean;
  /** The agent's journal is durable before it says 202. */
  readonly journal: boolean;
  /** The agent refuses generations and epochs below its floors. */
  readonly generationCheck: boolean;
  /** Every write to a row says which version it believed in; terminal rows are frozen. */
  readonly compareAndSet: boolean;
  /** Silence makes a row `lost`, never `failed`. */
  readonly lostIsNotFailed: boolean;
  /** A lost row accepts its late outcome. */
  readonly lateSuccess: boolean;
  /** Deltas stay in the outbox until acknowledged, and beats list the journal's jobs. */
  readonly outboxAndInventory: boolean;
  /** `dispatch_failed` only for what was never sent; what was sent is asked about first. */
  readonly sentBeforeFailed: boolean;
  /** No wave of a rollout opens before every placement of the one before has passed. */
  readonly rolloutGate: boolean;
}

export const PRODUCTION_POLICY: Policy = Object.freeze({
  idempotency: true,
  dispatcherLoop: true,
  jobDedupe: true,
  journal: true,
  generationCheck: true,
  compareAndSet: true,
  lostIsNotFailed: true,
  lateSuccess: true,
  outboxAndInventory: true,
  sentBeforeFailed: true,
  rolloutGate: true,
});

export type PolicyRule = keyof Policy;
export const POLICY_RULES = Object.keys(PRODUCTION_POLICY) as PolicyRule[];
