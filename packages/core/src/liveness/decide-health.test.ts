import { expect, test } from "vitest";
import { instant, timingsFor, DAY_MS } from "../time.ts";
import { CLOSED_BREAKER, viewBreaker } from "../breaker/breaker.ts";
import { decideHealth, type HealthFacts } from "./decide-health.ts";

const timings = timingsFor(30_000);
const NOW = 1_800_000_000_000;
const at = (agoMs: number) => instant(NOW - agoMs);
type Patch = { host?: Partial<HealthFacts["host"]> } & Partial<Omit<HealthFacts, "host">>;
const facts = ({ host, ...rest }: Patch = {}): HealthFacts => ({
  host: { name: "web-01", status: "active", statusBecause: undefined, schedulable: true, lastProbe: undefined, createdAt: at(DAY_MS), enrolledAt: at(DAY_MS), decommissionedAt: undefined, ...host },
  liveness: { lastHeartbeatAt: at(5_000), phase: "ready" },
  report: { resources: { disk_bytes: 100, disk_free_bytes: 50 }, observedError: undefined, boot: undefined, receivedAt: at(5_000) },
  reachability: { state: "reachable", changedAt: at(DAY_MS), lastError: undefined, consecutiveFailures: 0, flapping: false },
  circuit: viewBreaker(CLOSED_BREAKER, 0),
  cert: { notBefore: at(DAY_MS), notAfter: instant(NOW + 29 * DAY_MS) },
  placements: { total: 1, running: 1, degraded: 0, failed: 0, unknown: 0 },
  listeningSince: at(DAY_MS),
  now: instant(NOW),
  timings,
  ...rest,
});
const codes = (patch: Patch) => decideHealth(facts(patch)).reasons.map((reason) => reason.code);

test("a host that beats on time is healthy and has nothing to explain", () => {
  expect(decideHealth(facts())).toEqual({ health: "healthy", ageMs: 5_000, missed: 0, reasons: [] });
});

test.each<[string, Patch, string, string]>([
  ["a late beat", { host: { status: "suspect" }, liveness: { lastHeartbeatAt: at(61_000), phase: "ready" } }, "degraded", "heartbeat_late"],
  ["a way that works in one direction only", { host: { status: "suspect", lastProbe: { at: at(1_000), ok: true } }, liveness: { lastHeartbeatAt: at(100_000), phase: "ready" } }, "degraded", "heartbeat_lost_but_reachable"],
  ["a silent host", { host: { status: "unreachable", lastProbe: { at: at(1_000), ok: false, error: "refused" } }, liveness: { lastHeartbeatAt: at(100_000), phase: "ready" } }, "unhealthy", "unreachable"],
  ["a host that was never heard", { host: { status: "enrolled" }, liveness: undefined }, "unknown", "never_heard"],
  ["a bundle nobody redeemed", { host: { status: "pending" }, liveness: undefined }, "unknown", "not_enrolled"],
  ["a tombstone", { host: { status: "decommissioned", decommissionedAt: at(1) } }, "unknown", "decommissioned"],
  ["an agent that boots", { liveness: { lastHeartbeatAt: at(1), phase: "booting" } }, "degraded", "agent_booting"],
  ["a foundation that blocks", { liveness: { lastHeartbeatAt: at(1), phase: "booting" }, report: { resources: undefined, observedError: undefined, receivedAt: at(1), boot: { stage: "base", state: "blocked", members: [{ name: "dns", healthy: false, error: "disk not there" }], alerts: 1 } } }, "degraded", "boot_blocked"],
  ["a boot that went on without a member", { report: { resources: undefined, observedError: undefined, receivedAt: at(1), boot: { stage: null, state: "degraded", members: [{ name: "web", healthy: false }], alerts: 0 } } }, "degraded", "boot_degraded"],
  ["an agent that cannot look", { report: { resources: undefined, observedError: "EACCES", boot: undefined, receivedAt: at(1) } }, "degraded", "observation_failed"],
  ["a full disk", { report: { resources: { disk_bytes: 100, disk_free_bytes: 9 }, observedError: undefined, boot: undefined, receivedAt: at(1) } }, "degraded", "disk_low"],
  ["failed placements", { placements: { total: 2, running: 0, degraded: 0, failed: 2, unknown: 0 } }, "degraded", "placements_failed"],
  ["a certificate that did not renew", { cert: { notBefore: at(29 * DAY_MS), notAfter: instant(NOW + DAY_MS) } }, "degraded", "cert_expiring"],
  ["a certificate that has ended", { cert: { notBefore: at(30 * DAY_MS), notAfter: at(1) } }, "degraded", "cert_expired"],
  ["a way that is closed from the master to the host", { reachability: { state: "unreachable", changedAt: at(60_000), lastError: "no answer within 5000 ms", consecutiveFailures: 4, flapping: false } }, "degraded", "network_unreachable"],
  ["a way that comes and goes", { reachability: { state: "reachable", changedAt: at(60_000), lastError: undefined, consecutiveFailures: 0, flapping: true } }, "degraded", "flapping"],
  ["an open circuit", { circuit: { state: "open", consecutiveFailures: 5, openedForMs: 1_000, retryInMs: 59_000, cause: "failures", because: "connection failed (ECONNREFUSED)" } }, "degraded", "circuit_open"],
  ["a stranger at its address", { circuit: { state: "open", consecutiveFailures: 1, openedForMs: 1_000, retryInMs: undefined, cause: "identity", because: "cert_mismatch" } }, "degraded", "circuit_open"],
  ["a cordon, which is no illness", { host: { schedulable: false } }, "healthy", "cordoned"],
])("%s", (_name, patch, health, code) => {
  expect(codes(patch)).toContain(code);
  expect(decideHealth(facts(patch)).health).toBe(health);
});

test("a boot's reasons name the stage and its members; a complete one says nothing", () => {
  const boot = (patch: object) => ({ report: { resources: undefined, observedError: undefined, receivedAt: at(1), boot: { stage: "base", state: "blocked" as const, members: [{ name: "dns", healthy: false, error: "disk not there" }, { name: "ca", healthy: true }], alerts: 1, ...patch } } });
  const booting = { liveness: { lastHeartbeatAt: at(1), phase: "booting" as const } };
  const messages = (patch: Patch) => decideHealth(facts(patch)).reasons.map((reason) => reason.message);
  expect(messages({ ...booting, ...boot({}) })).toEqual(["Its boot waits at stage base, a foundation: dns: disk not there."]);
  expect(messages({ ...booting, ...boot({ state: "starting" }) })).toEqual(["The agent is booting, at stage base (dns: disk not there), and takes no commands yet."]);
  expect(messages(boot({ stage: null, state: "complete", members: [] }))).toEqual([]);
});

test("the boundaries: exactly the share that is still fine says nothing", () => {
  expect(codes({ report: { resources: { disk_bytes: 100, disk_free_bytes: 10 }, observedError: undefined, boot: undefined, receivedAt: at(1) } })).toEqual([]);
  expect(codes({ cert: { notBefore: at(20 * DAY_MS), notAfter: instant(NOW + 10 * DAY_MS) } })).toEqual([]);
  expect(codes({ liveness: { lastHeartbeatAt: at(45_000), phase: "ready" } })).toEqual([]);
});

test("missed counts whole intervals, and a clock behind the beat counts none", () => {
  expect(decideHealth(facts({ host: { status: "suspect" }, liveness: { lastHeartbeatAt: at(89_999), phase: "ready" } })).missed).toBe(2);
  expect(decideHealth(facts({ liveness: { lastHeartbeatAt: at(-5_000), phase: "ready" } }))).toMatchObject({ missed: 0, ageMs: 0 });
});

test("a master that has just started says so before it calls a host late", () => {
  expect(codes({ liveness: { lastHeartbeatAt: at(100_000), phase: "ready" }, listeningSince: at(10_000) })[0]).toBe("warming_up");
});

test("what masters see over the network takes no part in whether the host is heard, and of a host that is nowhere there is nothing to see", () => {
  const cutOff = { reachability: { state: "unreachable" as const, changedAt: at(60_000), lastError: "no answer", consecutiveFailures: 40, flapping: false } };
  expect(decideHealth(facts(cutOff))).toMatchObject({ missed: 0, ageMs: 5_000 });
  expect(decideHealth(facts(cutOff)).reasons).toMatchObject([{ code: "network_unreachable", next: expect.stringContaining("Queued work still reaches it") as string }]);
  for (const status of ["pending", "decommissioned"] as const) expect(codes({ ...cutOff, host: { status }, liveness: undefined })).not.toContain("network_unreachable");
});

test("a circuit says when it tries again, or who must decide", () => {
  const next = (circuit: HealthFacts["circuit"]) => decideHealth(facts({ circuit })).reasons[0]!.next;
  expect(next({ state: "open", consecutiveFailures: 5, openedForMs: 1_000, retryInMs: 59_000, cause: "failures", because: "x" })).toContain("in 59.0 s");
  expect(next({ state: "open", consecutiveFailures: 1, openedForMs: 1_000, retryInMs: undefined, cause: "identity", because: "x" })).toContain("Find out who answers");
});

test("a probe older than the last beat explains nothing about now", () => {
  const patch: Patch = { host: { status: "suspect", lastProbe: { at: at(500_000), ok: true } }, liveness: { lastHeartbeatAt: at(61_000), phase: "ready" } };
  expect(codes(patch)).toEqual(["heartbeat_late"]);
});

test("every reason says what to do next", () => {
  const sick = facts({ host: { status: "unreachable", schedulable: false }, liveness: { lastHeartbeatAt: at(900_000), phase: "draining" }, placements: { total: 1, running: 0, degraded: 0, failed: 1, unknown: 0 } });
  for (const reason of decideHealth(sick).reasons) expect(reason.next).not.toBe("");
});
