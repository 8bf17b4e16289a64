/**
 * Every route there is, with who may call it. The listeners register from this table and refuse to start on a route
 * that is not in it; the matrices of the tests walk it, so that a new route without an identity check cannot land.
 */
import type { Role } from "@skep/core";

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** `public` needs nothing · `role` a bearer token of at least that role · `host`/`master` that mTLS identity, pinned. */
export type Access = { readonly kind: "public" } | { readonly kind: "role"; readonly role: Role } | { readonly kind: "host" } | { readonly kind: "master" };

export interface Route {
  readonly id: string;
  readonly method: Method;
  readonly path: string;
  readonly access: Access;
  readonly summary: string;
}

const open = { kind: "public" } as const;
const viewer = { kind: "role", role: "viewer" } as const;
const operator = { kind: "role", role: "operator" } as const;
const admin = { kind: "role", role: "admin" } as const;
const host = { kind: "host" } as const;
const master = { kind: "master" } as const;

export const OPERATOR_ROUTES = [
  { id: "getHealthz", method: "GET", path: "/healthz", access: open, summary: "The process is alive" },
  { id: "getReadyz", method: "GET", path: "/readyz", access: open, summary: "The master can do its work; 503 when not" },
  { id: "getMetrics", method: "GET", path: "/metrics", access: viewer, summary: "This master's metrics, in Prometheus' text format" },
  { id: "getVersion", method: "GET", path: "/v1/version", access: viewer, summary: "Version and the settings agents are told" },
  { id: "createHost", method: "POST", path: "/v1/hosts", access: admin, summary: "Create a host and its enrolment bundle" },
  { id: "listHosts", method: "GET", path: "/v1/hosts", access: viewer, summary: "List hosts" },
  { id: "checkHosts", method: "POST", path: "/v1/hosts/check", access: operator, summary: "Ask hosts directly, now; changes no liveness" },
  { id: "getHost", method: "GET", path: "/v1/hosts/:host", access: viewer, summary: "One host" },
  { id: "updateHost", method: "PATCH", path: "/v1/hosts/:host", access: operator, summary: "Change labels, notes, address, or cordon" },
  { id: "getHostHealth", method: "GET", path: "/v1/hosts/:host/health", access: viewer, summary: "Health with reasons" },
  { id: "resetBreaker", method: "POST", path: "/v1/hosts/:host/breaker/reset", access: operator, summary: "Call the host again at once, from every master" },
  { id: "listHeartbeats", method: "GET", path: "/v1/hosts/:host/heartbeats", access: viewer, summary: "The last 64 beats" },
  { id: "getHostMetrics", method: "GET", path: "/v1/hosts/:host/metrics", access: viewer, summary: "The metrics of the host's agent, asked of it now: for a Prometheus that cannot reach it" },
  { id: "listHostCerts", method: "GET", path: "/v1/hosts/:host/certs", access: viewer, summary: "Pinned certificates" },
  { id: "createBundle", method: "POST", path: "/v1/hosts/:host/bundle", access: admin, summary: "A new bundle for a host, for example after a rebuild" },
  { id: "rotateHost", method: "POST", path: "/v1/hosts/:host/rotate", access: admin, summary: "Tell the agent to rotate its certificate" },
  { id: "deleteHost", method: "DELETE", path: "/v1/hosts/:host", access: admin, summary: "Decommission; effective on the next request" },
  { id: "drainHost", method: "POST", path: "/v1/hosts/:host/drain", access: operator, summary: "Cordon it and move its placements to other hosts; a plan with dry_run" },
  { id: "cancelDrain", method: "POST", path: "/v1/hosts/:host/drain/cancel", access: operator, summary: "Move nothing more; what is there stays, the host stays cordoned" },
  { id: "getDrain", method: "GET", path: "/v1/hosts/:host/drain", access: viewer, summary: "The open drain of a host, or its last one, placement by placement" },
  { id: "listMoves", method: "GET", path: "/v1/moves", access: viewer, summary: "Placements on their way from one host to another, newest first" },
  { id: "cancelMove", method: "POST", path: "/v1/moves/:move/cancel", access: operator, summary: "Leave the placement where it is, while the old copy is still there" },
  { id: "rebalanceFleet", method: "POST", path: "/v1/fleet/rebalance", access: operator, summary: "Even out how many placements hosts carry; a plan with dry_run" },
  { id: "getFleetHealth", method: "GET", path: "/v1/fleet/health", access: viewer, summary: "Counts over the fleet" },
  { id: "listHostHealth", method: "GET", path: "/v1/fleet/hosts", access: viewer, summary: "Hosts with their health, many at once: by name, or the worst first" },
  { id: "createDeployment", method: "POST", path: "/v1/deployments", access: operator, summary: "Deploy; 202 with lifecycle rows, or a plan with dry_run" },
  { id: "listDeployments", method: "GET", path: "/v1/deployments", access: viewer, summary: "List deployments" },
  { id: "getDeployment", method: "GET", path: "/v1/deployments/:deployment", access: viewer, summary: "One deployment with its placements" },
  { id: "mutateDeployment", method: "POST", path: "/v1/deployments/:deployment/mutate", access: operator, summary: "Change a deployment in place" },
  { id: "redeployDeployment", method: "POST", path: "/v1/deployments/:deployment/redeploy", access: operator, summary: "Apply the present spec again" },
  { id: "rollbackDeployment", method: "POST", path: "/v1/deployments/:deployment/rollback", access: operator, summary: "Apply an earlier generation's spec as a new generation" },
  { id: "pauseRollout", method: "POST", path: "/v1/deployments/:deployment/rollout/pause", access: operator, summary: "Open no further wave until resumed" },
  { id: "resumeRollout", method: "POST", path: "/v1/deployments/:deployment/rollout/resume", access: operator, summary: "Go on, after a pause or after the canary" },
  { id: "abortRollout", method: "POST", path: "/v1/deployments/:deployment/rollout/abort", access: operator, summary: "Go back to the generation before, now" },
  { id: "listRollouts", method: "GET", path: "/v1/rollouts", access: viewer, summary: "Rollouts, newest first" },
  { id: "getRollout", method: "GET", path: "/v1/rollouts/:rollout", access: viewer, summary: "One rollout, and what it waits for" },
  { id: "teardownDeployment", method: "POST", path: "/v1/deployments/:deployment/teardown", access: operator, summary: "Stop and remove it everywhere" },
  { id: "deleteDeployment", method: "DELETE", path: "/v1/deployments/:deployment", access: operator, summary: "The same as teardown" },
  { id: "getDeploymentLogs", method: "GET", path: "/v1/deployments/:deployment/logs", access: viewer, summary: "Captured output; follow=true streams" },
  { id: "followDeploymentLogs", method: "POST", path: "/v1/deployments/:deployment/logs/follow", access: viewer, summary: "Captured output as a stream from given positions, for ever or until it is caught up" },
  { id: "execDeployment", method: "POST", path: "/v1/deployments/:deployment/exec", access: admin, summary: "Run a command in a running component; its output as a stream of frames" },
  { id: "listServices", method: "GET", path: "/v1/services", access: viewer, summary: "Deployments as their callers see them" },
  { id: "getService", method: "GET", path: "/v1/services/:service", access: viewer, summary: "One service with every endpoint, and why it is healthy or not" },
  { id: "resolveService", method: "GET", path: "/v1/services/:service/resolve", access: viewer, summary: "Healthy endpoints in order, of the service or of its fallbacks; 503 with reasons when there is none" },
  { id: "listPrometheusTargets", method: "GET", path: "/v1/sd/prometheus", access: viewer, summary: "Targets for a Prometheus, in its own format for HTTP service discovery" },
  { id: "listPlacements", method: "GET", path: "/v1/placements", access: viewer, summary: "Placements: desired beside observed" },
  { id: "listDrift", method: "GET", path: "/v1/drift", access: viewer, summary: "Placements that differ from what is desired, what is done about each, and what hosts run that nobody placed there" },
  { id: "listLifecycle", method: "GET", path: "/v1/lifecycle", access: viewer, summary: "Lifecycle rows" },
  { id: "getLifecycle", method: "GET", path: "/v1/lifecycle/:id", access: viewer, summary: "One lifecycle row" },
  { id: "cancelLifecycle", method: "POST", path: "/v1/lifecycle/:id/cancel", access: operator, summary: "Ask for a confirmed stop" },
  { id: "resolveLifecycle", method: "POST", path: "/v1/lifecycle/:id/resolve", access: operator, summary: "Decide that a lost row's host will never answer" },
  { id: "listEvents", method: "GET", path: "/v1/events", access: viewer, summary: "Events as JSON, or as a stream with Accept: text/event-stream" },
  { id: "listAlerts", method: "GET", path: "/v1/alerts", access: viewer, summary: "Alerts, newest first; the firing ones unless asked otherwise" },
  { id: "acknowledgeAlert", method: "POST", path: "/v1/alerts/:id/acknowledge", access: operator, summary: "Somebody has seen it: no reminders until it resolves" },
  { id: "createWebhook", method: "POST", path: "/v1/webhooks", access: admin, summary: "Tell a receiver of alerts; its signing secret is shown once" },
  { id: "listWebhooks", method: "GET", path: "/v1/webhooks", access: operator, summary: "List webhooks, without their secrets" },
  { id: "updateWebhook", method: "PATCH", path: "/v1/webhooks/:webhook", access: admin, summary: "Enable, disable, or change the URL or the filter" },
  { id: "deleteWebhook", method: "DELETE", path: "/v1/webhooks/:webhook", access: admin, summary: "Remove a webhook and its deliveries" },
  { id: "testWebhook", method: "POST", path: "/v1/webhooks/:webhook/test", access: operator, summary: "Send it a test delivery" },
  { id: "listWebhookDeliveries", method: "GET", path: "/v1/webhooks/:webhook/deliveries", access: operator, summary: "What was sent to it, newest first" },
  { id: "retryWebhookDelivery", method: "POST", path: "/v1/webhooks/:webhook/deliveries/:delivery/retry", access: operator, summary: "Send a delivery that was given up again" },
  { id: "listAudit", method: "GET", path: "/v1/audit", access: admin, summary: "The audit log, newest first" },
  { id: "explain", method: "GET", path: "/v1/explain/:kind/:id", access: viewer, summary: "Why something is as it is" },
  { id: "createToken", method: "POST", path: "/v1/tokens", access: admin, summary: "Make an API token; shown once" },
  { id: "listTokens", method: "GET", path: "/v1/tokens", access: admin, summary: "List API tokens" },
  { id: "deleteToken", method: "DELETE", path: "/v1/tokens/:id", access: admin, summary: "Revoke an API token at once" },
] as const satisfies readonly Route[];

export const SWARM_ROUTES = [
  { id: "register", method: "POST", path: "/swarm/register", access: host, summary: "Open a session" },
  { id: "heartbeat", method: "POST", path: "/swarm/heartbeat", access: host, summary: "Beat, deltas, inventory" },
  { id: "rotate", method: "POST", path: "/swarm/rotate", access: host, summary: "A new certificate for a key made on the host" },
] as const satisfies readonly Route[];

export const ENROL_ROUTES = [
  { id: "enrol", method: "POST", path: "/enrol/:token_id", access: open, summary: "Redeem a token with a CSR" },
] as const satisfies readonly Route[];

export const AGENT_ROUTES = [
  { id: "agentDeploy", method: "POST", path: "/deploy", access: master, summary: "Take a deploy job; 202" },
  { id: "agentMutate", method: "POST", path: "/mutate", access: master, summary: "Take a mutate job; 202" },
  { id: "agentTeardown", method: "POST", path: "/teardown", access: master, summary: "Take a teardown job; 202" },
  { id: "agentGetJob", method: "GET", path: "/jobs/:job_id", access: master, summary: "What became of a job" },
  { id: "agentCancelJob", method: "POST", path: "/jobs/:job_id/cancel", access: master, summary: "Stop a job for certain" },
  { id: "agentStatus", method: "GET", path: "/status", access: master, summary: "The snapshot a beat carries" },
  { id: "agentHealth", method: "GET", path: "/health", access: master, summary: "Alive, and in which phase" },
  { id: "agentMetrics", method: "GET", path: "/metrics", access: master, summary: "The agent's metrics, in Prometheus' text format" },
  { id: "agentLogs", method: "GET", path: "/logs/:placement_id/:component", access: master, summary: "Captured output from an offset" },
  { id: "agentExec", method: "POST", path: "/exec/:placement_id/:component", access: master, summary: "Run a command in a running component; frames until its end" },
] as const satisfies readonly Route[];

/** Plain HTTP on loopback only. */
export const AGENT_LOCAL_ROUTES = [
  { id: "localHealth", method: "GET", path: "/health", access: open, summary: "Alive, and in which phase" },
  { id: "localMetrics", method: "GET", path: "/metrics", access: open, summary: "The agent's metrics, in Prometheus' text format; before it is enrolled, too" },
  { id: "localReady", method: "GET", path: "/ready", access: open, summary: "200 when it takes commands, else 503" },
] as const satisfies readonly Route[];

export type OperatorRouteId = (typeof OPERATOR_ROUTES)[number]["id"];
export type SwarmRouteId = (typeof SWARM_ROUTES)[number]["id"];
export type AgentRouteId = (typeof AGENT_ROUTES)[number]["id"];
