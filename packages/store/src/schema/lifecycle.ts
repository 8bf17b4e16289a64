/** Lifecycle rows: one attempt at one operation on one placement. */
import type {
  CancelReason, DeploymentId, FailureCode, HostId, JobId, LifecyclePhase, LifecycleStatus, Operation, PlacementId, StepResult,
} from "@skep/core";
import { integer, pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, freeText, json } from "./columns.ts";

export const lifecycle = pgTable("lifecycle", {
  id: uuid("id").$type<JobId>().primaryKey(),
  placementId: uuid("placement_id").$type<PlacementId>().notNull(),
  deploymentId: uuid("deployment_id").$type<DeploymentId>().notNull(),
  deployment: text("deployment").notNull(),
  hostId: uuid("host_id").$type<HostId>().notNull(),
  operation: text("operation").$type<Operation>().notNull(),
  status: text("status").$type<LifecycleStatus>().notNull().default("pending"),
  phase: text("phase").$type<LifecyclePhase>().notNull().default("queued"),
  generation: counter("generation").notNull(),
  baseGeneration: counter("base_generation"),
  epoch: counter("epoch").notNull(),
  timeoutS: integer("timeout_s").notNull(),
  dispatchDeadline: at("dispatch_deadline").notNull(),
  dispatchAttempts: integer("dispatch_attempts").notNull().default(0),
  nextDispatchAt: at("next_dispatch_at").notNull().default(NOW),
  claimExpiresAt: at("claim_expires_at"),
  sentAt: at("sent_at"),
  acceptedOpSeq: counter("accepted_op_seq"),
  acceptedBootId: freeText("accepted_boot_id"),
  cancelRequestedAt: at("cancel_requested_at"),
  cancelReason: text("cancel_reason").$type<CancelReason>(),
  failureCode: text("failure_code").$type<FailureCode>(),
  error: freeText("error"),
  because: freeText("because"),
  steps: json<readonly StepResult[]>("steps").notNull().default([]),
  retryOf: uuid("retry_of").$type<JobId>(),
  createdAt: at("created_at").notNull().default(NOW),
  runningAt: at("running_at"),
  updatedAt: at("updated_at").notNull().default(NOW),
  completedAt: at("completed_at"),
  agentCompletedAt: at("agent_completed_at"),
  version: counter("version").notNull().default(1),
});
