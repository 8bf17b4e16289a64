/** Hosts, their health and their identity. */
import { AGENT_PHASES, CERT_STATUSES, CIRCUIT_STATES, HOST_STATUSES, REACHABILITY_STATES } from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, idSchema, labelsSchema, listOf, nameSchema, pageQuery, refSchema } from "../common.ts";
import { bootReport } from "../boot.ts";
import { bundleSchema } from "../enrol.ts";
import { time, timeOrNull } from "./time.ts";

export const hostView = z.object({
  id: idSchema,
  name: z.string(),
  status: z.enum(HOST_STATUSES),
  status_because: z.string().nullable(),
  schedulable: z.boolean(),
  labels: z.record(z.string(), z.string()),
  notes: z.string().nullable(),
  address: z.string().nullable(),
  agent_port: z.int(),
  agent_url: z.string().nullable(),
  agent_version: z.string().nullable(),
  session_epoch: counterSchema,
  last_heartbeat_at: timeOrNull,
  /** What masters see of it over the network; null = an older master does not say. */
  reachability: z.enum(REACHABILITY_STATES).nullable().default(null),
  created_at: time,
  enrolled_at: timeOrNull,
  decommissioned_at: timeOrNull,
  /** How the agent's boot sequence stood with its last beat; null = it has none, or an older master does not say. */
  boot: bootReport.nullable().default(null),
});
export type HostJson = z.infer<typeof hostView>;
export const hostList = listOf(hostView);
export const createHostRequest = z.strictObject({
  name: nameSchema,
  address: cleanText(255).min(1).optional(),
  agent_port: z.int().min(0).max(65535).default(8444),
  labels: labelsSchema.default({}),
  notes: cleanText(2000).optional(),
  allowed_cidr: z.union([z.cidrv4(), z.cidrv6()]).optional(),
  mode: z.enum(["csr", "with_key"]).default("csr"),
  /** How long the bundle's token is good, seconds. */
  ttl_s: z.int().min(10).max(86_400).default(900),
});
export const createHostReply = z.object({ host: hostView, bundle: bundleSchema });
export const bundleRequest = z.strictObject({ mode: z.enum(["csr", "with_key"]).default("csr"), ttl_s: z.int().min(10).max(86_400).default(900) });
export const updateHostRequest = z.strictObject({ schedulable: z.boolean().optional(), labels: labelsSchema.optional(), notes: cleanText(2000).optional(), address: cleanText(255).min(1).optional(), agent_port: z.int().min(0).max(65535).optional() });
export const deleteHostQuery = z.strictObject({ force: z.stringbool().default(false) });
/** `label=name=value`, once or several times; all must hold. */
const labelFilter = z.union([z.string().max(320), z.array(z.string().max(320)).max(16)]).optional();
export const hostListQuery = z.strictObject({ ...pageQuery, status: z.enum(HOST_STATUSES).optional(), label: labelFilter });

/** The other direction than liveness: whether masters get an answer when they ask the host. */
export const reachabilityView = z.object({
  state: z.enum(REACHABILITY_STATES),
  /** Since when; null = it never was anything else. */
  since: timeOrNull.default(null),
  last_probe_at: timeOrNull,
  last_ok_at: timeOrNull,
  consecutive_failures: z.int().nullable(),
  last_error: z.string().nullable(),
  flapping: z.boolean().default(false),
});
/** Of the master that answers: each one has its own. */
export const breakerView = z.object({
  state: z.enum(CIRCUIT_STATES),
  consecutive_failures: z.int(),
  opened_at: timeOrNull,
  /** When the next call may go; null while it is closed, and where only a reset, a new pin or a new address helps. */
  retry_at: timeOrNull,
  cause: z.enum(["failures", "identity"]).nullable(),
  because: z.string().nullable(),
});
/** Calls of the master that answers to this host, over the last `window_s` seconds. Always this shape. */
export const callMetricsView = z.object({
  window_s: z.number(),
  total_requests: z.int(),
  failed_requests: z.int(),
  error_rate: z.number(),
  avg_latency_ms: z.number().nullable(),
  /** At most 2 % above the true nearest-rank value. */
  p50_latency_ms: z.number().nullable(),
  p99_latency_ms: z.number().nullable(),
  bytes_sent: z.int(),
  bytes_received: z.int(),
  /** Bodies both ways, as a total and per second. */
  throughput_bytes: z.int(),
  throughput_bps: z.number(),
});
export const breakerReply = z.object({ host_id: idSchema, name: z.string(), breaker: breakerView });

export const HEALTH_SUMMARIES = ["healthy", "degraded", "unhealthy", "unknown"] as const;
export const hostHealth = z.object({
  host_id: idSchema,
  name: z.string(),
  health: z.enum(HEALTH_SUMMARIES),
  status: z.enum(HOST_STATUSES),
  liveness: z.object({ last_heartbeat_at: timeOrNull, age_ms: z.number().nullable(), missed: z.int(), boot_id: z.string().nullable(), agent_version: z.string().nullable(), phase: z.enum(AGENT_PHASES).nullable() }),
  reachability: reachabilityView,
  /** Null from masters of before these were measured; ours always says. */
  breaker: breakerView.nullable(),
  metrics: callMetricsView.nullable(),
  resources: z.record(z.string(), z.number()).nullable(),
  /** `total`: all that are placed there, of which the others are some; null from a master that does not say. */
  placements: z.object({ total: z.int().nullable().default(null), running: z.int(), degraded: z.int(), failed: z.int(), unknown: z.int() }),
  cert: z.object({ sha256: z.string(), not_after: time }).nullable(),
  boot: bootReport.nullable().default(null),
  /** The most telling first. `since`: null where nobody knows. */
  reasons: z.array(z.object({ code: z.string(), message: z.string(), next: z.string(), since: timeOrNull.default(null) })),
});
export type HostHealthJson = z.infer<typeof hostHealth>;
/** A page may hold fewer than `limit` hosts, even none, while there is a `next_cursor`: health is judged, not stored. */
export const hostHealthList = listOf(hostHealth);
export const HOST_HEALTH_ORDERS = ["name", "attention"] as const;
export const hostHealthListQuery = z.strictObject({
  ...pageQuery,
  health: z.enum(HEALTH_SUMMARIES).optional(),
  /** Without it: all but the decommissioned ones. */
  status: z.enum(HOST_STATUSES).optional(),
  label: labelFilter,
  /** `attention`: the worst first. */
  sort: z.enum(HOST_HEALTH_ORDERS).default("name"),
});
export const heartbeatRing = z.object({ items: z.array(z.object({ received_at: time, seq: counterSchema, phase: z.enum(AGENT_PHASES).nullable(), changed: z.boolean() })) });
export const certList = z.object({ items: z.array(z.object({ sha256: z.string(), status: z.enum(CERT_STATUSES), not_before: time, not_after: time, retire_at: timeOrNull })) });
export const checkReply = z.object({ items: z.array(z.object({ host_id: idSchema, name: z.string(), ok: z.boolean(), ms: z.number(), error: z.string().nullable() })) });
export const checkRequest = z.strictObject({ hosts: z.array(refSchema).max(200).optional() });
export const fleetHealth = z.object({
  hosts: z.record(z.string(), z.int()),
  open_rows: z.record(z.string(), z.int()),
  deployments: z.record(z.string(), z.int()),
  listening_since: time,
  warm: z.boolean(),
});
