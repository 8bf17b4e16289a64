/**
 * What an agent's answer to a delivery means for the row (rulings 11). Only a refusal that can never become an
 * acceptance ends a row; everything else leaves it open and due again, which is safe because the job id dedupes.
 */
import type { LifecycleRow, RowChange } from "../lifecycle/row.ts";
import type { Policy } from "../policy.ts";
import { backoffMs } from "../retry/backoff.ts";
import type { Rng } from "../rng.ts";
import { addMs, type Instant } from "../time.ts";

export type DispatchAnswer =
  | { readonly kind: "accepted"; readonly opSeq: number; readonly bootId: string; readonly duplicate: boolean }
  | { readonly kind: "refused"; readonly status: number; readonly code: string; readonly detail: string }
  | { readonly kind: "unreachable"; readonly detail: string }
  /** Not even tried: this master's last calls to the host failed. Its beats carry the job all the same. */
  | { readonly kind: "circuit_open"; readonly detail: string; readonly retryAfterMs: number | undefined };

/** 409s that say something about this request; every other 409 says something about the moment. */
const FINAL_CONFLICTS = new Set(["generation_conflict", "stale_epoch", "stale_generation"]);
const FINAL_STATUSES = new Set([400, 404, 413, 422]);

export function decideDispatch(
  row: LifecycleRow,
  answer: DispatchAnswer,
  newest: { readonly generation: number; readonly epoch: number },
  now: Instant,
  rng: Rng,
  policy: Policy,
): RowChange {
  const base = { id: row.id, expectedVersion: row.version, releaseClaim: true };
  switch (answer.kind) {
    case "accepted":
      return {
        ...base,
        status: "running",
        phase: "accepted",
        acceptedOpSeq: answer.opSeq,
        acceptedBootId: answer.bootId,
        because: answer.duplicate ? "the agent had accepted it before" : "the agent accepted it",
      };
    case "refused":
      if (FINAL_STATUSES.has(answer.status) || (answer.status === 409 && FINAL_CONFLICTS.has(answer.code))) {
        const stale = answer.code === "stale_epoch" || answer.code === "stale_generation";
        if (stale && (newest.generation > row.generation || newest.epoch > row.epoch)) {
          return { ...base, status: "superseded", because: `the host holds something newer (${answer.code})` };
        }
        return { ...base, status: "failed", failureCode: "rejected", error: `${answer.code}: ${answer.detail}`, because: `the agent refused it: ${answer.code}` };
      }
      return again(`the agent put it off: ${answer.code}`);
    case "unreachable":
      return again(`not delivered: ${answer.detail}`);
    case "circuit_open":
      // Another master may reach the host, so it is not put off for the whole of our cool-down.
      return again(`not pushed: ${answer.detail}; it is offered with the host's next heartbeat`);
  }

  function again(because: string): RowChange {
    const delay = policy.dispatcherLoop ? backoffMs(row.dispatchAttempts, { baseMs: 500, capMs: 15_000, floorMs: 100 }, rng) : Number.MAX_SAFE_INTEGER / 4;
    return { ...base, nextDispatchAt: addMs(now, delay), because };
  }
}
