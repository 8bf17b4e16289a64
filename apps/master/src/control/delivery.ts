/** The job as the agent receives it: the same body whether it is pushed or offered in a heartbeat's reply. */
import type { Delivery } from "@skep/core";
import type { PendingJob } from "@skep/protocol";

/** `traceparent`: of the span that hands it out. `undefined` when the row has no spec to deliver, which only a damaged ledger can cause. */
export function pendingJobOf({ row, host, placement, generation }: Delivery, traceparent: string | undefined): PendingJob | undefined {
  const target = {
    job_id: row.id,
    placement_id: row.placementId,
    deployment: row.deployment,
    epoch: row.epoch,
    generation: row.generation,
    // A host that never registered (the seed's own agent) has no session to name.
    ...(host.sessionEpoch === 0 ? {} : { session_epoch: host.sessionEpoch }),
    timeout_s: row.timeoutS,
    ...(traceparent === undefined ? {} : { traceparent }),
  };
  if (row.operation === "teardown") return { operation: "teardown", ...target, ...(row.options.removeVolumes === true ? { remove_volumes: true } : {}) };
  if (generation === undefined) return undefined;
  const wanted = {
    spec: structuredClone(generation.spec) as Extract<PendingJob, { operation: "deploy" }>["spec"],
    spec_hash: generation.specHash,
    desired: placement.desired === "stopped" ? ("stopped" as const) : ("running" as const),
  };
  if (row.operation === "deploy") return { operation: "deploy", ...target, ...wanted };
  return { operation: "mutate", ...target, ...wanted, base_generation: row.baseGeneration ?? row.generation, ...(row.options.components === undefined ? {} : { components: [...row.options.components] }) };
}
