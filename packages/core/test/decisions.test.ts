/** Liveness, pins, admission, settlement, dispatch, scheduling, reconciling: each decision with its neighbour. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CERT_STATUSES, ERRORS, HOST_STATUSES, PRODUCTION_POLICY, aggregateState, backoffMs, canonicalJson, decideAdmission, decideDispatch, decideHost, decidePin,
  decideReconcile, decideSettle, deploymentStatus, fullBucket, instant, isUuid, patchSpec, place, planDeploy, planMutate, planTeardown, reconcileDelayMs, seededRng,
  takeToken, timingsFor, uuidv7, visiblePlacement, type AdmissionFacts, type Candidate, type CommandFacts, type Fingerprint, type HostEvidence, type HostId,
  type ObservedRecord, type Pin, type PlacementRecord, type ReconcileCase, type Spec,
} from "../src/index.ts";
import { aRow } from "./rows.ts";

const timings = timingsFor(30_000);

describe("liveness", () => {
  const host = (patch: Partial<HostEvidence>): HostEvidence => ({ status: "active", lastHeartbeatAt: instant(1_000_000), probe: undefined, ...patch });
  const at = (age: number) => instant(1_000_000 + age);
  const since = instant(0);
  test("age alone: active, suspect, probe, hard limit", () => {
    expect(decideHost(host({}), since, at(45_000), timings).status).toBe("active");
    expect(decideHost(host({}), since, at(45_001), timings).status).toBe("suspect");
    expect(decideHost(host({ status: "suspect" }), since, at(90_000), timings)).toMatchObject({ status: "suspect", wantsProbe: true });
    expect(decideHost(host({ status: "suspect", probe: { at: at(90_000), ok: false } }), since, at(90_001), timings).status).toBe("unreachable");
    expect(decideHost(host({ status: "suspect", probe: { at: at(90_000), ok: true } }), since, at(90_001), timings)).toMatchObject({ status: "suspect", because: expect.stringContaining("heartbeat_lost_but_reachable") });
    expect(decideHost(host({ status: "suspect", probe: { at: at(90_000), ok: true } }), since, at(180_000), timings).status).toBe("unreachable");
  });
  test("a probe from before the silence is no probe", () => {
    expect(decideHost(host({ probe: { at: instant(999_999), ok: false } }), since, at(90_000), timings).wantsProbe).toBe(true);
  });
  test("a master that has not listened long demotes nobody; the control does", () => {
    expect(decideHost(host({}), at(500_000), at(500_001 + 89_000), timings).status).toBe("active");
    expect(decideHost(host({}), at(500_000), at(500_001 + 90_000), timings).status).toBe("unreachable");
  });
  test("for any age and history, only a heartbeat promotes an unreachable host", () => {
    fc.assert(fc.property(fc.integer({ min: 45_001, max: 10_000_000 }), fc.option(fc.boolean(), { nil: undefined }), (age, ok) => {
      const verdict = decideHost(host({ status: "unreachable", probe: ok === undefined ? undefined : { at: at(age), ok } }), since, at(age), timings);
      expect(verdict.status).toBe("unreachable");
    }));
  });
  test("hosts that never spoke and tombstones are not judged", () => {
    for (const status of ["pending", "enrolled", "decommissioned"] as const) expect(decideHost(host({ status }), since, at(9_999_999), timings).status).toBe(status);
    expect(HOST_STATUSES).toHaveLength(6);
  });
});

describe("pins", () => {
  const hostId = "11111111-1111-4111-8111-111111111111" as HostId;
  const pin: Pin = { fingerprint: "f" as Fingerprint, hostId, hostStatus: "active", status: "active", notAfter: instant(1_000), retireAt: undefined };
  const cert = { fingerprint: "f" as Fingerprint, identity: { role: "host" as const, hostId } };
  const code = (...args: Parameters<typeof decidePin>) => {
    const verdict = decidePin(...args);
    return verdict.kind === "admit" ? "admit" : verdict.code;
  };
  test("each way to be refused, beside the one way in", () => {
    expect(code(cert, pin, hostId, "report", instant(999))).toBe("admit");
    expect(code(undefined, pin, hostId, "report", instant(0))).toBe("cert_missing");
    expect(code({ ...cert, identity: undefined }, pin, hostId, "report", instant(0))).toBe("wrong_role");
    expect(code({ ...cert, identity: { role: "master" } }, pin, hostId, "report", instant(0))).toBe("wrong_role");
    expect(code(cert, undefined, hostId, "report", instant(0))).toBe("cert_mismatch");
    expect(code(cert, { ...pin, hostId: "other" as HostId }, hostId, "report", instant(0))).toBe("cert_mismatch");
    expect(code(cert, { ...pin, hostStatus: "decommissioned" }, hostId, "report", instant(0))).toBe("host_decommissioned");
    expect(code(cert, { ...pin, status: "revoked" }, hostId, "report", instant(0))).toBe("cert_mismatch");
    expect(code(cert, pin, hostId, "report", instant(1_000))).toBe("cert_expired");
    expect(code(cert, { ...pin, status: "retiring", retireAt: instant(500) }, hostId, "report", instant(499))).toBe("admit");
    expect(code(cert, { ...pin, status: "retiring", retireAt: instant(500) }, hostId, "report", instant(500))).toBe("cert_mismatch");
    expect(code(cert, { ...pin, status: "pending" }, hostId, "report", instant(0))).toBe("rotation_required");
    expect(code(cert, { ...pin, status: "pending" }, hostId, "rotate", instant(0))).toBe("admit");
    expect(code(cert, pin, "another", "report", instant(0))).toBe("cert_mismatch");
    expect(CERT_STATUSES).toHaveLength(4);
  });
});

describe("admission", () => {
  const command: CommandFacts = { jobId: "j", operation: "deploy", sessionEpoch: 4, epoch: 2, generation: 5, baseGeneration: undefined };
  const facts: AdmissionFacts = { phase: "ready", sessionEpoch: 4, known: undefined, floor: { epoch: 2, generation: 5 }, appliedGeneration: 4, queued: 0 };
  const refused = (c: Partial<CommandFacts>, f: Partial<AdmissionFacts>, policy = PRODUCTION_POLICY) => {
    const admission = decideAdmission({ ...command, ...c }, { ...facts, ...f }, policy);
    return admission.kind === "refuse" ? admission.code : admission.kind;
  };
  test("each refusal beside its acceptance", () => {
    expect(refused({}, {})).toBe("accept");
    expect(refused({}, { phase: "booting" })).toBe("agent_booting");
    expect(refused({}, { phase: "stopping" })).toBe("agent_draining");
    expect(refused({ sessionEpoch: 3 }, {})).toBe("session_stale");
    expect(refused({ sessionEpoch: undefined }, {})).toBe("accept");
    expect(refused({ epoch: 1 }, {})).toBe("stale_epoch");
    expect(refused({ generation: 4 }, {})).toBe("stale_generation");
    expect(refused({ generation: 4 }, {}, { ...PRODUCTION_POLICY, generationCheck: false })).toBe("accept");
    expect(refused({ operation: "mutate", baseGeneration: 4 }, {})).toBe("accept");
    expect(refused({ operation: "mutate", baseGeneration: 3 }, {})).toBe("generation_conflict");
    expect(refused({ operation: "mutate", baseGeneration: 4 }, { appliedGeneration: undefined })).toBe("no_active_deployment");
    expect(refused({}, { queued: 32 })).toBe("busy");
    expect(refused({}, { queued: 31 })).toBe("accept");
  });
  test("a known job is a duplicate whatever else holds: booting, stale session, full queue", () => {
    expect(refused({ sessionEpoch: 1, generation: 1, epoch: 1 }, { known: "succeeded", phase: "booting", queued: 99 })).toBe("duplicate");
    expect(refused({}, { known: "succeeded" }, { ...PRODUCTION_POLICY, jobDedupe: false })).toBe("accept");
  });
  test("every code it can utter is a refusal the dispatcher understands", () => {
    for (const code of ["agent_booting", "agent_draining", "session_stale", "busy"] as const) expect(ERRORS[code].retryable).toBe(true);
  });
});

describe("settlement after a restart", () => {
  const job = { operation: "deploy" as const, begun: true, desired: "running" as const, wanted: { web: "h2", db: "h1" } };
  const seen = (component: string, componentHash: string, state: "running" | "failed" | "starting" = "running") => ({ component, componentHash, state });
  test("looks before it speaks", () => {
    expect(decideSettle({ ...job, begun: false }, []).kind).toBe("run");
    expect(decideSettle(job, [seen("web", "h2"), seen("db", "h1")]).kind).toBe("succeeded");
    expect(decideSettle(job, [seen("web", "h1"), seen("db", "h1")]).kind).toBe("interrupted");
    expect(decideSettle(job, [seen("web", "h2", "starting"), seen("db", "h1")]).kind).toBe("interrupted");
    expect(decideSettle(job, [seen("web", "h2"), seen("db", "h1"), seen("old", "h0")]).kind).toBe("interrupted");
    expect(decideSettle({ ...job, operation: "teardown" }, [seen("web", "h2", "failed")]).kind).toBe("succeeded");
    expect(decideSettle({ ...job, operation: "teardown" }, [seen("web", "h2")]).kind).toBe("interrupted");
    expect(decideSettle({ ...job, desired: "stopped" }, []).kind).toBe("succeeded");
  });
});

describe("dispatch answers", () => {
  const row = aRow({ sentAt: instant(1) });
  const decide = (status: number, code: string, newest = { generation: 3, epoch: 1 }) => decideDispatch(row, { kind: "refused", status, code, detail: "d" }, newest, instant(10), seededRng(1), PRODUCTION_POLICY);
  test("an open circuit ends nothing: the row stays due, soon enough for another master or the next trial, and says how it gets there", () => {
    const change = decideDispatch({ ...row, dispatchAttempts: 30 }, { kind: "circuit_open", detail: "the circuit is open", retryAfterMs: 59_000 }, { generation: 3, epoch: 1 }, instant(10), seededRng(1), PRODUCTION_POLICY);
    expect(change).toMatchObject({ releaseClaim: true, because: expect.stringContaining("next heartbeat") as string });
    expect(change.status).toBeUndefined();
    expect(change.nextDispatchAt).toBeLessThanOrEqual(10 + 15_000);
  });
  test("only a refusal that can never become an acceptance ends a row", () => {
    for (const status of [400, 404, 413, 422]) expect(decide(status, "x")).toMatchObject({ status: "failed", failureCode: "rejected" });
    expect(decide(409, "generation_conflict")).toMatchObject({ status: "failed" });
    for (const [status, code] of [[409, "busy"], [409, "session_stale"], [401, "x"], [403, "wrong_role"], [408, "x"], [425, "x"], [429, "x"], [500, "x"], [503, "agent_booting"], [507, "disk_full"]] as const) {
      expect(decide(status, code).status).toBeUndefined();
      expect(decide(status, code).nextDispatchAt).toBeGreaterThan(10);
    }
  });
  test("stale is superseded only if the master has something newer", () => {
    expect(decide(409, "stale_generation", { generation: 4, epoch: 1 })).toMatchObject({ status: "superseded" });
    expect(decide(409, "stale_generation")).toMatchObject({ status: "failed", failureCode: "rejected" });
  });
});

describe("scheduling", () => {
  const spec: Spec = { driver: "process", components: [] };
  const host = (name: string, patch: Partial<Candidate> = {}): Candidate => ({ id: name as HostId, name, status: "active", schedulable: true, labels: {}, load: 0, holds: false, capabilities: [], ...patch });
  test("spreads by load then name, and explains every rejection", () => {
    const outcome = place([host("c", { load: 1 }), host("b"), host("a"), host("d", { status: "suspect" }), host("e", { schedulable: false }), host("f", { labels: { zone: "eu" } })], { replicas: 2, spec });
    expect(outcome).toMatchObject({ kind: "placed", hosts: [{ name: "a" }, { name: "b" }] });
    expect(outcome.rejected.map((item) => item.host)).toEqual(["d", "e"]);
  });
  test("an explicit host is checked like any other", () => {
    expect(place([host("a", { schedulable: false })], { named: ["a" as HostId], spec })).toMatchObject({ kind: "no_eligible_host", rejected: [{ because: "cordoned" }] });
    expect(place([host("a", { status: "unreachable", holds: true })], { named: ["a" as HostId], spec }).kind).toBe("placed");
  });
  test("constraints are hard", () => {
    expect(place([host("a", { labels: { zone: "eu" } }), host("b")], { replicas: 1, constraints: { zone: "eu" }, spec })).toMatchObject({ kind: "placed", hosts: [{ name: "a" }] });
    expect(place([host("b")], { replicas: 1, constraints: { zone: "eu" }, spec }).kind).toBe("no_eligible_host");
  });
});

const placement = (patch: Partial<PlacementRecord> = {}): PlacementRecord => ({
  id: "p" as PlacementRecord["id"], deploymentId: "d" as PlacementRecord["deploymentId"], deployment: "web", hostId: "a" as HostId, desired: "running", epoch: 1, generation: 2,
  appliedGeneration: 1, reconcileAttempts: 0, reconcileNotBefore: undefined, createdAt: instant(0), removedAt: undefined, version: 1, ...patch,
});

describe("planning a change", () => {
  test("only lost rows are taken over", () => {
    const existing = [{ placement: placement(), openRow: aRow({ status: "running" }) }];
    expect(planMutate(existing, "running").kind).toBe("operation_in_progress");
    expect(planTeardown([{ placement: placement(), openRow: aRow({ status: "pending" }) }]).kind).toBe("operation_in_progress");
    expect(planMutate([{ placement: placement(), openRow: undefined }], "running")).toMatchObject({ kind: "plan", placements: [{ row: { operation: "mutate", baseGeneration: 1 } }] });
    // What a lost row left behind is unknown: the change that takes it over carries everything.
    expect(planMutate([{ placement: placement(), openRow: aRow({ status: "lost" }) }], "running")).toMatchObject({ kind: "plan", placements: [{ row: { operation: "deploy", baseGeneration: undefined, supersedes: { status: "lost" } } }] });
  });
  test("a deploy over other hosts tears down where it leaves", () => {
    const plan = planDeploy([{ placement: placement(), openRow: undefined }], ["b" as HostId], "running");
    expect(plan).toMatchObject({ kind: "plan", placements: [{ hostId: "b", row: { operation: "deploy" } }, { hostId: "a", desired: "absent", row: { operation: "teardown" } }] });
  });
  test("nothing applied yet is deployed, not mutated", () => {
    expect(planMutate([{ placement: placement({ appliedGeneration: undefined }), openRow: undefined }], "running")).toMatchObject({ placements: [{ row: { operation: "deploy" } }] });
  });
});

describe("reconciling", () => {
  const observed = (patch: Partial<ObservedRecord> = {}): ObservedRecord => ({ placementId: "p" as ObservedRecord["placementId"], hostId: "a" as HostId, state: "failed", generation: 2, epoch: 1, specHash: "", components: [], observedAt: instant(100), changedAt: instant(90), ...patch });
  const item = (patch: Partial<ReconcileCase> = {}): ReconcileCase => ({
    placement: placement(), deployment: { reconcile: "auto" } as ReconcileCase["deployment"], hostName: "web-01", hostStatus: "active", observed: observed(), lastRow: aRow({ status: "succeeded", completedAt: instant(50) }), rollout: undefined, ...patch,
  });
  test("waits, retries when due, backs off and gives up in a crash loop", () => {
    expect(decideReconcile(item(), instant(200))).toMatchObject({ kind: "wait", notBefore: 10_200 });
    expect(decideReconcile(item({ placement: placement({ reconcileNotBefore: instant(10_200) }) }), instant(10_199)).kind).toBe("leave");
    expect(decideReconcile(item({ placement: placement({ reconcileNotBefore: instant(10_200) }) }), instant(10_200))).toMatchObject({ kind: "retry", attempts: 1, operation: "deploy" });
    expect(decideReconcile(item({ placement: placement({ reconcileAttempts: 5, reconcileNotBefore: instant(200) }) }), instant(200)).kind).toBe("give_up");
    expect(decideReconcile(item({ placement: placement({ reconcileAttempts: 6, reconcileNotBefore: instant(200) }) }), instant(99_000_000)).kind).toBe("leave");
    expect([0, 1, 2, 3, 9].map(reconcileDelayMs)).toEqual([10_000, 20_000, 40_000, 80_000, 600_000]);
  });
  test("leaves alone what it must: report mode, other hosts, cancelled, refused, old observations", () => {
    expect(decideReconcile(item({ deployment: { reconcile: "report" } as ReconcileCase["deployment"] }), instant(200)).kind).toBe("leave");
    expect(decideReconcile(item({ hostStatus: "suspect" }), instant(200)).kind).toBe("leave");
    expect(decideReconcile(item({ lastRow: aRow({ status: "cancelled" }) }), instant(200)).kind).toBe("leave");
    expect(decideReconcile(item({ lastRow: aRow({ status: "failed", failureCode: "rejected" }) }), instant(200)).kind).toBe("leave");
    expect(decideReconcile(item({ lastRow: aRow({ status: "succeeded", completedAt: instant(100) }) }), instant(200)).kind).toBe("leave");
    expect(decideReconcile(item({ observed: observed({ state: "running" }) }), instant(200)).kind).toBe("leave");
  });
});

describe("what a person sees", () => {
  const facts = { placement: placement(), observed: { state: "running" as const, generation: 2 }, hostStatus: "active" as const, openRow: undefined };
  test("running comes from observation and only from a host that can be believed", () => {
    expect(visiblePlacement(facts).state).toBe("running");
    expect(visiblePlacement({ ...facts, observed: undefined }).state).toBe("unknown");
    expect(visiblePlacement({ ...facts, hostStatus: "unreachable" }).state).toBe("unknown");
    expect(visiblePlacement({ ...facts, observed: { state: "running", generation: 1 } }).state).toBe("degraded");
    expect(visiblePlacement({ ...facts, openRow: aRow({ status: "lost" }) }).state).toBe("unknown");
    expect(visiblePlacement({ ...facts, openRow: aRow({ status: "running", operation: "teardown" }) }).state).toBe("tearing_down");
  });
  test("a deployment is active only if every placement is", () => {
    expect(deploymentStatus("running", [facts, facts])).toBe("active");
    expect(deploymentStatus("running", [facts, { ...facts, observed: { state: "failed", generation: 2 } }])).toBe("degraded");
    expect(deploymentStatus("running", [{ ...facts, observed: { state: "failed", generation: 2 } }])).toBe("failed");
    expect(deploymentStatus("absent", [])).toBe("torn_down");
    expect(deploymentStatus("absent", [{ ...facts, placement: placement({ desired: "absent" }) }])).toBe("teardown_failed");
  });
  test("components add up", () => {
    expect(aggregateState(2, ["running", "running"], "running")).toBe("running");
    expect(aggregateState(2, ["running", "failed"], "running")).toBe("degraded");
    expect(aggregateState(2, ["running"], "running")).toBe("degraded");
    expect(aggregateState(1, ["failed"], "running")).toBe("failed");
    expect(aggregateState(1, [], "stopped")).toBe("stopped");
  });
});

describe("small things everything stands on", () => {
  test("canonical JSON ignores key order and undefined, and nothing else", () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const shuffled = Object.fromEntries(Object.entries(value).reverse());
      expect(canonicalJson(shuffled)).toBe(canonicalJson(value));
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }));
    expect(canonicalJson({ a: undefined, b: 1 })).toBe('{"b":1}');
  });
  test("UUIDv7 sorts by time and is well formed", () => {
    const rng = seededRng(7);
    const ids = [1, 2, 1_700_000_000_000, 1_700_000_000_001].map((ms) => uuidv7(instant(ms), rng));
    expect([...ids].sort()).toEqual(ids);
    expect(ids.every(isUuid)).toBe(true);
    expect(ids.every((id) => id[14] === "7")).toBe(true);
  });
  test("back-off stays under its cap and above its floor, and is jittered", () => {
    const rng = seededRng(3);
    const delays = Array.from({ length: 200 }, (_, attempt) => backoffMs(attempt % 12, { baseMs: 100, capMs: 5_000, floorMs: 10 }, rng));
    expect(Math.max(...delays)).toBeLessThanOrEqual(5_000);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(10);
    expect(new Set(delays).size).toBeGreaterThan(100);
  });
  test("a token bucket refuses past its burst and refills at its rate", () => {
    const limits = { perMinute: 60, burst: 2 };
    let bucket = fullBucket(limits, 0);
    const take = (mono: number) => {
      const taken = takeToken(bucket, limits, mono);
      bucket = taken.bucket;
      return taken.ok;
    };
    expect([take(0), take(0), take(0), take(999), take(1_001)]).toEqual([true, true, false, false, true]);
  });
  test("a patch changes what it names and nothing else", () => {
    const spec: Spec = { driver: "noop", components: [{ name: "web", command: [], env: { A: "1", B: "2" }, ports: [], restart: { policy: "always" }, depends_on: [], stop_timeout_s: 1 }] };
    expect(patchSpec(spec, { env: { A: null, C: "3" } })).toMatchObject({ kind: "patched", spec: { components: [{ env: { B: "2", C: "3" } }] } });
    expect(patchSpec(spec, { components: { nope: {} } })).toEqual({ kind: "unknown_component", names: ["nope"] });
    expect(patchSpec(spec, { restart: true })).toMatchObject({ spec: { restart_count: 1 } });
    expect(patchSpec(spec, {})).toEqual({ kind: "patched", spec });
  });
});
