/** The end of a trace: what became of each delta, told once it is committed, as a span and as a log line. */
import { NO_TRACES, continued, traceFacts, type HostId, type Instant, type LifecycleRow } from "@skep/core";
import type { Delta } from "@skep/protocol";
import type { ControlDeps } from "../ports.ts";
import type { Ack } from "./beat-parts.ts";

export interface ToldDelta {
  readonly delta: Delta;
  readonly ack: Ack;
  /** As it was before; undefined when it is not open, or not there. */
  readonly row: LifecycleRow | undefined;
}

export function traceDeltas(deps: Pick<ControlDeps, "tracer" | "logger">, hostId: HostId, startedAt: Instant, told: readonly ToldDelta[]): void {
  const { tracer = NO_TRACES, logger } = deps;
  for (const { delta, ack, row } of told) {
    const parent = continued(row?.traceparent, delta.traceparent);
    // Of a row that is not open nothing was applied; the log line says what was said instead.
    const span = row === undefined ? undefined : tracer.startSpan("apply delta", {
      parent, kind: "consumer", startedAt,
      attributes: { deployment: row.deployment, host: hostId, operation: row.operation, generation: row.generation, lifecycleId: row.id, status: delta.status },
    });
    span?.end(ack.result === "rejected" ? { error: "rejected" } : {});
    const facts = { lifecycle_id: delta.job_id, host_id: hostId, status: delta.status, result: ack.result, ...(ack.because === undefined ? {} : { because: ack.because }), ...traceFacts(span?.traceparent ?? parent) };
    // An outcome is said once; that a job runs, and what was said before, is for whoever looks closely.
    if (delta.status === "running" || ack.result === "duplicate") logger.debug(facts, "a delta was taken");
    else logger.info(facts, "a delta was taken");
  }
}

/** Which delta each acknowledgement is for. */
export function toldDeltas(deltas: readonly Delta[], acks: readonly Ack[], rows: readonly LifecycleRow[]): ToldDelta[] {
  const byId = new Map(acks.map((ack) => [ack.delta_id, ack]));
  return deltas.flatMap((delta) => {
    const ack = byId.get(delta.delta_id);
    return ack === undefined ? [] : [{ delta, ack, row: rows.find((row) => row.id === delta.job_id) }];
  });
}
