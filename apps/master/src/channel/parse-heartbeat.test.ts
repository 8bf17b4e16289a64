/** The short way accepts only what zod accepts, and what it returns is what zod returns. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { AGENT_PHASES } from "@skep/core";
import { heartbeatRequest } from "@skep/protocol";
import { isPlainlyGood, parseHeartbeat } from "./parse-heartbeat.ts";

const ID = "01990000-0000-7000-8000-000000000000";
const FULL = {
  host_uuid: ID, agent_version: "0.1.0", protocol: 1, boot_id: "b", host_boot_id: "h", session_epoch: 1, seq: 7, op_seq: 3, sent_at: "2026-01-01T00:00:00Z", phase: "ready", interval_ms: 30_000,
  status: { deployed: true, placements: [] }, jobs: [], lifecycle: [], resources: { load1: 0.5 }, capabilities: ["process"], cert: { sha256: "a".repeat(64), not_after: "2026-02-01T00:00:00Z" },
};

test("a full beat and the seed's minimal one take the short way", () => {
  expect(isPlainlyGood(FULL)).toBe(true);
  expect(isPlainlyGood({ host_uuid: ID, agent_version: "0.4.2", status: { deployed: false } })).toBe(true);
});

test("control: an unknown field goes to zod, which drops it", () => {
  const body = { ...FULL, later: 1 };
  expect(isPlainlyGood(body)).toBe(false);
  expect(parseHeartbeat(body)).toEqual(FULL);
});

/** Values at and around every edge the schema has, of right and wrong types, JSON as a parser makes it. */
const odd = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(null, "", "x".repeat(40), "x".repeat(41), "x".repeat(63), "x".repeat(64), "x".repeat(65), "é", "a\u0000", "a\nb", "a\u007f", -1, 0, 1.5, 2 ** 53 - 1, 2 ** 53, Infinity, true, [], {}, ID, ID.toUpperCase(),
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "01990000-0000-0000-8000-000000000000", { a: 1 }, { a: Infinity }, { ["k".repeat(64)]: 1 }, ["x".repeat(64)], [1], ["a\u0001"],
    Array.from({ length: 101 }, () => "c"), Array.from({ length: 501 }, () => 1), Array.from({ length: 1_001 }, () => 1), { sha256: "a".repeat(64), not_after: "x", more: 1 }, { sha256: "A".repeat(64), not_after: "x" }, { sha256: "a".repeat(64) }, ...AGENT_PHASES),
);

test("for bodies with any one to three fields replaced, dropped or added, both ways agree", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(...Object.keys(FULL), "topology", "labels", "jobs_truncated", "unknown", "toString", "constructor"), fc.option(odd, { nil: undefined })), { minLength: 1, maxLength: 3 }), (changes) => {
      const body: Record<string, unknown> = { ...FULL };
      for (const [key, value] of changes) {
        if (value === undefined) delete body[key];
        else body[key] = value;
      }
      const slow = heartbeatRequest.safeParse(body);
      if (isPlainlyGood(body)) {
        expect(slow.success).toBe(true);
        expect(body).toEqual(slow.data);
      }
      if (slow.success) expect(parseHeartbeat(body)).toEqual(slow.data);
      else expect(() => parseHeartbeat(body)).toThrow();
    }),
    { numRuns: 3_000 },
  );
});
