/**
 * One span for the sending of each delta: from the first beat that carries it to its acknowledgement, however many beats
 * that takes. The master's part of the trace hangs below it, the same for every repetition.
 */
import { traceFacts, type DeltaResult, type Logger, type Span, type Tracer } from "@skep/core";
import type { Delta } from "@skep/protocol";

export interface SendTraces {
  /** The outbox as it stands, each delta under the span that sends it. What is not in it any more was superseded. */
  sending(outbox: readonly Delta[]): readonly Delta[];
  acked(results: readonly { readonly delta_id: string; readonly result: DeltaResult }[]): void;
}

export function createSendTraces({ tracer, logger }: { readonly tracer: Tracer; readonly logger: Logger }): SendTraces {
  const open = new Map<string, { readonly span: Span; readonly delta: Delta }>();

  const spanOf = (delta: Delta): Span => {
    const known = open.get(delta.delta_id);
    if (known !== undefined) return known.span;
    const { deployment, operation, generation, status } = delta;
    const span = tracer.startSpan("send delta", { parent: delta.traceparent, kind: "producer", attributes: { deployment, operation, generation, lifecycleId: delta.job_id, status } });
    open.set(delta.delta_id, { span, delta });
    return span;
  };

  return {
    sending(outbox) {
      const ids = new Set(outbox.map((delta) => delta.delta_id));
      for (const [id, { span }] of open) {
        if (ids.has(id)) continue;
        open.delete(id);
        span.end({ error: "superseded" });
      }
      // A job that came without a trace (an older master's, or of an older journal) goes without one.
      return outbox.map((delta) => (delta.traceparent === undefined ? delta : { ...delta, traceparent: spanOf(delta).traceparent }));
    },
    acked(results) {
      for (const { delta_id: id, result } of results) {
        const sent = open.get(id);
        if (sent === undefined) continue;
        open.delete(id);
        sent.span.end(result === "rejected" ? { error: "rejected" } : { attributes: { code: result } });
        logger.debug({ jobId: sent.delta.job_id, status: sent.delta.status, result, ...traceFacts(sent.span.traceparent) }, "the master took a delta");
      }
    },
  };
}
