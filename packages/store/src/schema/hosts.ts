/** Hosts, and what is heard from them. `host_liveness` is all that an unchanged beat writes, besides its ring slot. */
import type { AgentPhase, BootReport, HostId, HostStatus, Instant, ReachabilityState, ReportedPlacement } from "@skep/core";
import { boolean, integer, pgTable, primaryKey, smallint, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, freeText, json } from "./columns.ts";

export const hosts = pgTable("hosts", {
  id: uuid("id").$type<HostId>().primaryKey(),
  name: text("name").notNull(),
  status: text("status").$type<HostStatus>().notNull().default("pending"),
  statusBecause: freeText("status_because"),
  schedulable: boolean("schedulable").notNull().default(true),
  labels: json<Readonly<Record<string, string>>>("labels").notNull().default({}),
  notes: freeText("notes"),
  address: freeText("address"),
  agentPort: integer("agent_port").notNull(),
  agentUrl: freeText("agent_url"),
  allowedCidr: freeText("allowed_cidr"),
  agentVersion: freeText("agent_version"),
  sessionEpoch: counter("session_epoch").notNull().default(0),
  sessionBootId: freeText("session_boot_id"),
  rotationWanted: boolean("rotation_wanted").notNull().default(false),
  lastProbeAt: at("last_probe_at"),
  lastProbeOk: boolean("last_probe_ok"),
  lastProbeError: freeText("last_probe_error"),
  breakerResets: counter("breaker_resets").notNull().default(0),
  createdAt: at("created_at").notNull().default(NOW),
  enrolledAt: at("enrolled_at"),
  decommissionedAt: at("decommissioned_at"),
  version: counter("version").notNull().default(1),
});

/** What the prober sees. `transitions` holds Unix milliseconds. */
export const hostReachability = pgTable("host_reachability", {
  hostId: uuid("host_id").$type<HostId>().primaryKey(),
  state: text("state").$type<ReachabilityState>().notNull().default("unknown"),
  consecutiveFailures: counter("consecutive_failures").notNull().default(0),
  consecutiveSuccesses: counter("consecutive_successes").notNull().default(0),
  changedAt: at("changed_at"),
  lastProbeAt: at("last_probe_at"),
  lastOkAt: at("last_ok_at"),
  lastError: freeText("last_error"),
  transitions: json<readonly Instant[]>("transitions").notNull().default([]),
  flapping: boolean("flapping").notNull().default(false),
  dueAt: at("due_at").notNull().default(NOW),
  version: counter("version").notNull().default(1),
});

export const hostLiveness = pgTable("host_liveness", {
  hostId: uuid("host_id").$type<HostId>().primaryKey(),
  lastHeartbeatAt: at("last_heartbeat_at").notNull(),
  /** The newest full beat that was taken: the time of everything in the report. */
  snapshotAt: at("snapshot_at"),
  /** The newest one that could observe its placements. */
  observedAt: at("observed_at"),
  seq: counter("seq").notNull(),
  opSeq: counter("op_seq"),
  taken: boolean("taken").notNull(),
  changed: boolean("changed").notNull(),
  bootId: freeText("boot_id"),
  phase: text("phase").$type<AgentPhase>(),
  snapshotHash: freeText("snapshot_hash"),
});

export const hostReports = pgTable("host_reports", {
  hostId: uuid("host_id").$type<HostId>().primaryKey(),
  bootId: freeText("boot_id").notNull(),
  opSeq: counter("op_seq").notNull(),
  receivedAt: at("received_at").notNull(),
  sinceSeq: counter("since_seq").notNull(),
  jobIds: json<readonly string[]>("job_ids"),
  jobsTruncated: boolean("jobs_truncated").notNull(),
  resources: json<Readonly<Record<string, number>>>("resources"),
  capabilities: json<readonly string[]>("capabilities").notNull(),
  observedError: freeText("observed_error"),
  certSha256: text("cert_sha256"),
  certNotAfter: at("cert_not_after"),
  boot: json<BootReport>("boot"),
  orphans: json<readonly ReportedPlacement[]>("orphans"),
});

export const hostHeartbeats = pgTable(
  "host_heartbeats",
  {
    hostId: uuid("host_id").$type<HostId>().notNull(),
    slot: smallint("slot").notNull(),
    changed: boolean("changed").notNull(),
    receivedAt: at("received_at").notNull(),
    seq: counter("seq").notNull(),
    phase: text("phase").$type<AgentPhase>(),
  },
  (table) => [primaryKey({ columns: [table.hostId, table.slot] })],
);

export const hostSessions = pgTable(
  "host_sessions",
  {
    hostId: uuid("host_id").$type<HostId>().notNull(),
    sessionEpoch: counter("session_epoch").notNull(),
    bootId: freeText("boot_id").notNull(),
    hostBootId: freeText("host_boot_id").notNull(),
    agentVersion: freeText("agent_version").notNull(),
    agentUrl: freeText("agent_url"),
    openedAt: at("opened_at").notNull().default(NOW),
    closedAt: at("closed_at"),
  },
  (table) => [primaryKey({ columns: [table.hostId, table.sessionEpoch] })],
);
