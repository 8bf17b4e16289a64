/**
 * Delivery: claims committed rows, pushes them, and records what the agent answered. Any number of masters may run
 * it; the claim saves work, the job id makes repetition harmless. Rows are marked sent before they are pushed.
 */
import { NO_TRACES, SkepError, decideDispatch, traceFacts, type Delivery, type DispatchAnswer, type RowChange } from "@skep/core";
import type { ControlDeps } from "../ports.ts";
import { applyChanges } from "./outcome.ts";
import { pendingJobOf } from "./delivery.ts";
import { createGroupCommit } from "./group-commit.ts";

/** Rows claimed at once; more would hold claims longer than they last on a slow fleet. */
const CLAIM_LIMIT = 256;
/** A claim outlives the longest push (15 s) so that a healthy master is never raced by another. */
const CLAIM_MS = 20_000;

export function createDispatch(deps: ControlDeps): { dispatchOnce(): Promise<{ sent: number; accepted: number; putOff: number; ended: number }> } {
  const { tracer = NO_TRACES } = deps;
  // What an answer means is decided where it is written, with one look at the database's clock for all of them: a look
  // per delivery is more than the pool takes in when a deploy goes to a few dozen hosts, and the answers were lost.
  const records = createGroupCommit<{ delivery: Delivery; answer: DispatchAnswer }, RowChange>({
    clock: deps.clock, maxItems: 200, windowMs: 0, lanes: 2,
    flush: async (items) => {
      deps.failpoint("before_record");
      return deps.store.transaction(async (tx) => {
        const now = await tx.now();
        const changes = items.map(({ delivery: { row, placement }, answer }) => ({
          row, needsDecision: false,
          change: decideDispatch(row, answer, { generation: placement.generation, epoch: placement.epoch }, now, deps.rng, deps.policy),
        }));
        await applyChanges(tx, changes);
        return changes.map(({ change }) => change);
      }, { pool: "background" });
    },
  });

  const push = async (delivery: Delivery, traceparent: string | undefined): Promise<DispatchAnswer> => {
    const { row, host } = delivery;
    const job = pendingJobOf(delivery, traceparent);
    if (job === undefined) {
      return { kind: "refused", status: 404, code: "generation_not_found", detail: `the ledger holds no spec for generation ${row.generation}` };
    }
    deps.failpoint("before_push");
    const answer = await deps.agents.deliver(host, job);
    deps.failpoint("after_push");
    return answer;
  };

  /** Its span is below the one that opened the row, whichever master opened it and however often it was tried before. */
  const deliverOne = async (delivery: Delivery): Promise<DispatchAnswer> => {
    const { row, host } = delivery;
    const span = tracer.startSpan("dispatch", {
      parent: row.traceparent, kind: "client",
      attributes: { deployment: row.deployment, host: host.name, operation: row.operation, generation: row.generation, lifecycleId: row.id, attempt: row.dispatchAttempts },
    });
    const answer = await push(delivery, span.traceparent);
    const code = answer.kind === "refused" ? answer.code : answer.kind === "unreachable" ? "host_unreachable" : undefined;
    span.end({ error: code, attributes: { status: answer.kind } });
    deps.logger.debug({ lifecycle_id: row.id, host_id: host.id, answer: answer.kind, ...(code === undefined ? {} : { code }), ...traceFacts(span.traceparent) }, "a job was handed to its agent");
    return answer;
  };

  return {
    async dispatchOnce() {
      const counts = { sent: 0, accepted: 0, putOff: 0, ended: 0 };
      for (;;) {
        const deliveries = await deps.store.claimDispatchable(CLAIM_LIMIT, CLAIM_MS);
        if (deliveries.length > 0) deps.failpoint("after_claim");
        await Promise.all(deliveries.map(async (delivery) => {
          const answer = await deliverOne(delivery);
          counts.sent += 1;
          try {
            const change = await records.add({ delivery, answer }, true);
            if (change.status === "running") counts.accepted += 1;
            else if (change.status === undefined) counts.putOff += 1;
            else counts.ended += 1;
            deps.observe?.onDispatch(change.status === "running" ? "accepted" : change.status === undefined ? "put_off" : "ended");
          } catch (error) {
            // The claim expires and the row is delivered again; the agent answers with what it already knows.
            if (!(error instanceof SkepError)) throw error;
            deps.observe?.onDispatch("unrecorded");
            deps.logger.warn({ code: error.code, lifecycle_id: delivery.row.id, ...traceFacts(delivery.row.traceparent) }, "the outcome of a delivery could not be recorded");
          }
        }));
        if (deliveries.length < CLAIM_LIMIT) return counts;
      }
    },
  };
}
