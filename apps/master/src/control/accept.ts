/** Accepting an operator's request: idempotency, the change and its audit entry commit together or not at all. */
import { SkepError, type SkepError as SkepErrorType, type Tx } from "@skep/core";
import type { ControlDeps, OperatorContext, Reply } from "../ports.ts";

export async function accept<T>(
  deps: Pick<ControlDeps, "store" | "policy" | "failpoint">,
  context: OperatorContext,
  work: (tx: Tx) => Promise<{ status: number; body: T }>,
): Promise<Reply<T>> {
  const key = deps.policy.idempotency ? context.idempotency : undefined;
  const reply = await deps.store.transaction(async (tx): Promise<Reply<T>> => {
    if (key !== undefined) {
      const claim = await tx.claimIdempotency(key);
      switch (claim.kind) {
        case "claimed":
          break;
        case "replay":
          return { status: claim.status, body: claim.body as T, replayed: true };
        case "reused":
          throw new SkepError("idempotency_key_reused");
        case "in_progress":
          throw new SkepError("request_in_progress", undefined, { retryAfterMs: 1_000 });
      }
    }
    const result = await work(tx);
    if (key !== undefined) await tx.completeIdempotency(key, result.status, result.body);
    deps.failpoint("before_commit");
    return { ...result, replayed: false };
  });
  deps.failpoint("after_commit");
  return reply;
}

export const refusal = (code: SkepErrorType["code"], detail?: string): SkepError => new SkepError(code, detail);
