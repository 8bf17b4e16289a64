/** A heartbeat of some 1.5 KB: three placements of one component each, resources, a job list, as an agent sends it. */
import { DEFAULT_HEARTBEAT_INTERVAL_MS } from "@skep/core";

export interface BeatAgent {
  readonly hostId: string;
  readonly bootId: string;
  readonly sessionEpoch: number;
  readonly placements: readonly { readonly id: string; readonly deployment: string }[];
}

const SPEC_HASH = "c0ffee".padEnd(64, "0");

/** `change` is in every part that counts for the snapshot's hash; the same number is the same snapshot. */
export function beatBody(agent: BeatAgent, seq: number, change: number, deltas: readonly unknown[] = []): string {
  return JSON.stringify({
    host_uuid: agent.hostId, agent_version: "0.1.0", protocol: 1, boot_id: agent.bootId, host_boot_id: agent.bootId, session_epoch: agent.sessionEpoch, seq, op_seq: 1,
    sent_at: "2026-11-20T00:00:00.000Z", phase: "ready", interval_ms: DEFAULT_HEARTBEAT_INTERVAL_MS,
    status: {
      placements: agent.placements.map(({ id, deployment }) => ({
        placement_id: id, deployment, epoch: 1, generation: 1, spec_hash: SPEC_HASH, state: "running",
        components: [{ name: "web", state: "running", restarts: change, ports: { http: 31_000 }, since: "2026-11-20T00:00:00.000Z" }],
      })),
    },
    jobs: [], jobs_truncated: false, lifecycle: deltas, resources: { cpu_count: 8, memory_bytes: 16_000_000_000, disk_free_bytes: 100_000_000_000 - change }, capabilities: ["process", "noop"],
  });
}
