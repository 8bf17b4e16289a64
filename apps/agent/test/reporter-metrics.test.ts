/** What the reporter tells of its beats, up to the last one: over a channel that answers as the test says. */
import { expect, test } from "vitest";
import { createLogger } from "@skep/runtime";
import { seededRng } from "@skep/core";
import { createReporter } from "../src/reporter/create-reporter.ts";
import type { Answer } from "../src/reporter/channel.ts";
import { rig } from "./kit/executor-kit.ts";

async function watched(last: Answer): Promise<string[]> {
  const { executor, clock, idle } = await rig();
  const told: string[] = [];
  const ok = (status: number, json?: unknown): Answer => ({ kind: "answer", status, json, code: "", detail: "", retryAfterMs: undefined });
  const reporter = createReporter({
    executor, clock, rng: seededRng(1), logger: createLogger({ level: "silent", name: "test" }), agentVersion: "0.1.0", hostBootId: "boot",
    link: () => ({
      hostId: "h", cert: { sha256: "0".repeat(64), not_after: "2026-02-01T00:00:00.000Z" },
      channel: {
        post: async (path) => (path === "/swarm/register" ? ok(200, { session_epoch: 1, floors: [], server_time: "2026-01-01T00:00:00.000Z", interval_ms: 30_000 }) : executor.phase() === "stopping" ? last : ok(204)),
        close: async () => undefined,
      },
    }),
    agentUrl: () => undefined, reloadIdentity: async () => undefined, rotate: async () => undefined, rotateIfDue: async () => undefined, onAccepted: () => undefined,
    capabilities: () => [], boot: () => undefined, resources: async () => ({}),
    observe: { onRegistered: () => void told.push("registered"), onHeartbeat: (status) => void told.push(status), onDeregistered: () => void told.push("deregistered") },
  });
  reporter.start();
  await idle();
  executor.stop();
  await reporter.stop(1_000);
  return told;
}

test("a last beat that is taken says that silence is meant", async () => {
  expect(await watched({ kind: "answer", status: 204, json: undefined, code: "", detail: "", retryAfterMs: undefined })).toEqual(["registered", "ok", "ok", "deregistered"]);
});

test("one that is refused or lost on the way does not", async () => {
  expect(await watched({ kind: "answer", status: 503, json: undefined, code: "overloaded", detail: "", retryAfterMs: undefined })).toEqual(["registered", "ok", "refused"]);
  expect(await watched({ kind: "failed", because: "cut" })).toEqual(["registered", "ok", "failed"]);
});
