/**
 * The body of a beat. `heartbeatRequest` of the protocol is what counts; it costs 30–55 µs, a third of a beat's CPU
 * (performance P1), so a body that is plainly good is recognised by hand and everything else is left to zod.
 * Invariant: the short way accepts only what zod accepts and returns what zod returns; a test compares them.
 */
import { AGENT_PHASES } from "@skep/core";
import { heartbeatRequest, MAX_DELTAS, type HeartbeatRequest } from "@skep/protocol";
import { parseBody } from "./parse-body.ts";

/** Throws SkepError `invalid_request` when the envelope is malformed. */
export function parseHeartbeat(body: unknown): HeartbeatRequest {
  return isPlainlyGood(body) ? body : parseBody(heartbeatRequest, body);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const PRINTABLE = /^[\x20-\x7e]*$/;
const HASH = /^[0-9a-f]{64}$/;

const text = (value: unknown, min: number, max: number): boolean => typeof value === "string" && value.length >= min && value.length <= max;
const printable = (value: unknown, min: number, max: number): boolean => text(value, min, max) && PRINTABLE.test(value as string);
const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const record = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const list = (value: unknown, max: number): boolean => Array.isArray(value) && value.length <= max;
const anything = (): boolean => true;

/** One test a field; a field that is not here is one that zod would drop, and zod does it. */
const FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  host_uuid: (value) => typeof value === "string" && UUID.test(value),
  agent_version: (value) => printable(value, 1, 64),
  protocol: Number.isSafeInteger,
  boot_id: (value) => text(value, 1, 64),
  host_boot_id: (value) => text(value, 0, 64),
  session_epoch: count,
  seq: count,
  op_seq: count,
  sent_at: (value) => text(value, 0, 40),
  phase: (value) => (AGENT_PHASES as readonly unknown[]).includes(value),
  interval_ms: Number.isSafeInteger,
  status: record,
  jobs: (value) => value === null || list(value, 1000),
  jobs_truncated: (value) => typeof value === "boolean",
  lifecycle: (value) => list(value, MAX_DELTAS),
  topology: anything,
  labels: anything,
  resources: (value) => record(value) && Object.entries(value).every(([key, item]) => key.length <= 63 && Number.isFinite(item)),
  capabilities: (value) => list(value, 100) && (value as unknown[]).every((item) => printable(item, 0, 63)),
  cert: (value) => record(value) && Object.keys(value).length === 2 && typeof value["sha256"] === "string" && HASH.test(value["sha256"]) && text(value["not_after"], 0, 40),
};

export function isPlainlyGood(body: unknown): body is HeartbeatRequest {
  if (!record(body) || body["host_uuid"] === undefined || body["agent_version"] === undefined || body["status"] === undefined) return false;
  for (const key in body) {
    if (!Object.hasOwn(FIELDS, key) || !FIELDS[key]!(body[key])) return false;
  }
  return true;
}
