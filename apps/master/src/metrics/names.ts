/**
 * Every metric a master has of its own; what Node itself tells comes beside them (registry.ts). Names and labels are a
 * promise to dashboards and alert rules: a test holds them against the list they were promised in. No histogram has a
 * host label: at 5,000 hosts one would be 65,000 series.
 */
import type { MetricRow } from "@skep/protocol";

const REQUEST_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15] as const;

export const MASTER_METRICS = {
  buildInfo: { name: "master_build_info", type: "gauge", labels: ["version", "node"], help: "Always 1; what this master is built of." },

  // What the ledger says, the same from every master: aggregate with max, not with sum.
  hosts: { name: "master_hosts", type: "gauge", labels: ["liveness"], help: "Hosts by liveness status." },
  hostsLate: { name: "master_hosts_late", type: "gauge", labels: [], help: "Active and suspect hosts whose last heartbeat is older than two intervals." },
  hostsReachability: { name: "master_hosts_reachability", type: "gauge", labels: ["state"], help: "Enrolled hosts by whether masters get an answer when they ask them." },
  hostsAgentVersion: { name: "master_hosts_agent_version", type: "gauge", labels: ["version"], help: "Hosts by the version of their agent; the 50 most common ones." },
  hostsVersionSkewed: { name: "master_hosts_version_skewed", type: "gauge", labels: [], help: "Hosts whose agent is more than one minor version away from this master." },
  hostCertExpiry: { name: "master_host_cert_expiry_timestamp_seconds", type: "gauge", labels: [], help: "When the first certificate that a host uses now runs out, in Unix time." },
  lifecycleOpen: { name: "master_lifecycle_open", type: "gauge", labels: ["operation"], help: "Lifecycle rows that have not ended." },
  rolloutsOpen: { name: "master_rollouts_open", type: "gauge", labels: ["status"], help: "Rollouts that have not ended." },
  rolloutStalled: { name: "master_rollout_stalled_seconds", type: "gauge", labels: [], help: "How long the open rollout that is not paused and has waited longest has not moved; 0 when there is none." },

  // What this master did, each its own: aggregate with sum.
  heartbeats: { name: "master_heartbeats_total", type: "counter", labels: ["result"], help: "Heartbeats by what was answered: ok, or the code of the refusal (docs/errors.md)." },
  heartbeatDuration: { name: "master_heartbeat_duration_seconds", type: "histogram", labels: [], help: "From a heartbeat's body until its commit.", buckets: REQUEST_S },
  deltas: { name: "master_deltas_total", type: "counter", labels: ["result"], help: "Outcomes that agents reported, by what became of them in the ledger." },
  lifecycleEnded: { name: "master_lifecycle_total", type: "counter", labels: ["operation", "status"], help: "Lifecycle rows that this master ended, by how." },
  dispatches: { name: "master_dispatches_total", type: "counter", labels: ["result"], help: "Deliveries of jobs to agents: accepted, put_off (tried again later), ended (refused for good), unrecorded (the database was away)." },
  sweepRows: { name: "master_sweep_rows_total", type: "counter", labels: ["reason"], help: "Lifecycle rows that the sweep changed: adopted from the agent's answer, lost, a failure code, or the reason of a confirmed cancel." },
  sweepDuration: { name: "master_sweep_duration_seconds", type: "histogram", labels: [], help: "One pass over all open rows, with its questions to agents.", buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60] },
  probes: { name: "master_probes_total", type: "counter", labels: ["result"], help: "Probes of hosts by what came of them: reachable, unreachable, or withheld (the circuit to the host is open)." },
  probeDuration: { name: "master_probe_duration_seconds", type: "histogram", labels: [], help: "One probe of one host.", buckets: REQUEST_S },
  agentRequests: { name: "master_agent_requests_total", type: "counter", labels: ["host", "outcome"], help: "Requests to agents: success, failure, identity (another answered than the pinned host), or aborted before an answer." },
  agentBytes: { name: "master_agent_bytes_total", type: "counter", labels: ["host", "direction"], help: "Bytes of bodies sent to agents and received from them." },
  agentRequestDuration: { name: "master_agent_request_duration_seconds", type: "histogram", labels: [], help: "Requests to agents, whatever came of them.", buckets: REQUEST_S },
  breakerState: { name: "master_breaker_state", type: "gauge", labels: ["host"], help: "Circuit breakers that are not closed: 1 half-open, 2 open. A closed one has no series." },
  breakers: { name: "master_breakers", type: "gauge", labels: ["state"], help: "Circuit breakers of the hosts that this master has called, by state." },
  breakerTransitions: { name: "master_breaker_transitions_total", type: "counter", labels: ["to"], help: "Changes of a circuit breaker's state." },
  hostsFolded: { name: "master_metrics_hosts_folded", type: "gauge", labels: [], help: "Hosts beyond the bound on host labels (SKEP_METRICS_MAX_HOSTS), told of together as host=\"other\"." },
  failovers: { name: "master_failovers_total", type: "counter", labels: ["strategy", "result"], help: "Deployments moved because their host was lost. There are no failovers yet." },
  dependencyChecks: { name: "master_dependency_checks_total", type: "counter", labels: ["result"], help: "Checks of what a task depends on. There are no tasks yet." },
  dependencyWait: { name: "master_dependency_wait_duration_seconds", type: "histogram", labels: [], help: "How long tasks waited for what they depend on. There are no tasks yet.", buckets: [1, 5, 10, 30, 60, 120, 300, 600] },

  // How this process is.
  caExpiry: { name: "master_ca_expiry_timestamp_seconds", type: "gauge", labels: [], help: "When the fleet's CA certificate runs out, in Unix time." },
  heartbeatInterval: { name: "master_heartbeat_interval_seconds", type: "gauge", labels: [], help: "The interval that agents are told to beat at." },
  poolWaiting: { name: "master_db_pool_waiting", type: "gauge", labels: ["pool"], help: "Callers that wait for a database connection." },
  poolConnections: { name: "master_db_pool_connections", type: "gauge", labels: ["pool", "state"], help: "Database connections, busy and idle." },
  scrapeErrors: { name: "master_scrape_errors_total", type: "counter", labels: [], help: "Scrapes for which the database did not answer in time: what the ledger says is left out of them." },
} as const satisfies Readonly<Record<string, MetricRow>>;
