/**
 * Every metric an agent has of its own; what Node itself tells comes beside them (registry.ts). Names and labels are a
 * promise to dashboards and alert rules: a test holds them against the list they were promised in. Those of tickets,
 * tasks and leases are here already and stay empty until there are such things.
 */
import type { MetricRow } from "@skep/protocol";

const TASK_S = [1, 5, 10, 30, 60, 120, 300, 600] as const;

export const AGENT_METRICS = {
  buildInfo: { name: "worker_agent_build_info", type: "gauge", labels: ["version", "node"], help: "Always 1; what this agent is built of." },
  startup: { name: "worker_agent_startup_total", type: "counter", labels: [], help: "Starts of the agent in this process." },
  registered: { name: "worker_agent_registered_total", type: "counter", labels: [], help: "Sessions that a master opened for this agent." },
  heartbeat: { name: "worker_agent_heartbeat_total", type: "counter", labels: ["status"], help: "Heartbeats: ok, refused by the master, or failed on the way." },
  deregistered: { name: "worker_agent_deregistered_total", type: "counter", labels: [], help: "Last heartbeats, by which the master knows that silence is meant." },
  ready: { name: "worker_agent_ready", type: "gauge", labels: [], help: "1 while it takes commands, else 0." },
  certExpiry: { name: "worker_agent_cert_expiry_timestamp_seconds", type: "gauge", labels: [], help: "When the agent's certificate runs out, in Unix time; absent while it is not enrolled." },
  outboxSize: { name: "worker_agent_outbox_size", type: "gauge", labels: [], help: "Outcomes of jobs that no master has acknowledged yet." },
  outboxOldest: { name: "worker_agent_outbox_oldest_seconds", type: "gauge", labels: [], help: "Age of the oldest outcome in the outbox; 0 when it is empty." },
  jobs: { name: "worker_agent_jobs_total", type: "counter", labels: ["operation", "status"], help: "Jobs that ended, by how." },
  bootStageState: { name: "worker_agent_boot_stage_state", type: "gauge", labels: ["stage"], help: "Boot stages: 0 waiting, 1 starting, 2 blocked, 3 degraded, 4 complete." },
  leaseExpires: { name: "worker_agent_lease_expires_seconds", type: "gauge", labels: ["deployment"], help: "Time until a deployment's lease runs out. There are no leases yet." },

  ticketsConsumed: { name: "worker_agent_tickets_consumed_total", type: "counter", labels: ["task_type"], help: "Tickets taken from the queue. There are no tickets yet." },
  ticketsProcessing: { name: "worker_agent_tickets_processing_total", type: "counter", labels: ["task_type"], help: "Tickets whose processing began. There are no tickets yet." },
  ticketsCompleted: { name: "worker_agent_tickets_completed_total", type: "counter", labels: ["task_type"], help: "Tickets that succeeded. There are no tickets yet." },
  ticketsFailed: { name: "worker_agent_tickets_failed_total", type: "counter", labels: ["task_type", "error_type"], help: "Tickets that failed. There are no tickets yet." },
  activeTasks: { name: "worker_agent_active_tasks", type: "gauge", labels: [], help: "Tasks under way. There are no tasks yet." },
  taskDuration: { name: "worker_agent_task_duration_seconds", type: "histogram", labels: ["task_type"], help: "From a task's start to its end. There are no tasks yet.", buckets: TASK_S },
  dependencyChecks: { name: "worker_agent_dependency_checks_total", type: "counter", labels: ["result"], help: "Checks of what a task depends on by this agent: none, the master makes them (master_dependency_checks_total)." },
  dependencyWait: { name: "worker_agent_dependency_wait_duration_seconds", type: "histogram", labels: [], help: "Waits for what a task depends on by this agent: none, the master waits (master_dependency_wait_duration_seconds).", buckets: TASK_S },
  taskRetries: { name: "worker_agent_task_retries_total", type: "counter", labels: ["task_type", "attempt"], help: "Tasks tried again, by attempt, at most 10. There are no tasks yet." },
  tasksCancelled: { name: "worker_agent_tasks_cancelled_total", type: "counter", labels: ["reason"], help: "Tasks that were cancelled. There are no tasks yet." },
  ticketApiCalls: { name: "worker_agent_ticket_api_calls_total", type: "counter", labels: ["method", "status"], help: "Calls to the ticket API. There is none yet." },
  resultsPublished: { name: "worker_agent_results_published_total", type: "counter", labels: ["status"], help: "Results of tasks that were published. There are no tasks yet." },
} as const satisfies Readonly<Record<string, MetricRow>>;
