/** Who may be called: every single piece of evidence counts, and nothing unhealthy is ever handed out. */
import { seedFromEnv } from "@skep/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  COMPONENT_STATES, HOST_STATUSES, OBSERVED_STATES, REACHABILITY_STATES, SERVICE_STRATEGIES, instant, orderEndpoints, ownFallbacks, publishes, resolveService, type HostView, type Reachability, type ResolveOptions, type Resolution, type Service,
} from "../src/index.ts";
import { CLOSED, NOW, SUSPECT_MS, aService, type Place } from "./services-rig.ts";

const seed = seedFromEnv();
const ORDERED: ResolveOptions = { strategy: "ordered", turn: 0 };
const judged = (place: Omit<Place, "host">, rest: object = {}) => aService({ places: [{ host: "a", ...place }], ...rest }).endpoints[0]!;
const hostsOf = (resolution: Resolution): string[] => (resolution.kind === "resolved" ? resolution.endpoints.map((endpoint) => endpoint.host) : []);
const seen = (patch: Partial<Reachability>): Partial<HostView> => ({
  reachability: { hostId: "a" as never, state: "unknown", consecutiveFailures: 0, consecutiveSuccesses: 0, changedAt: undefined, lastProbeAt: undefined, lastOkAt: undefined, lastError: undefined, transitions: [], flapping: false, dueAt: NOW, version: 1, ...patch },
});

describe("one endpoint", () => {
  test("is healthy where everything between a caller and the program is seen to be in order", () => {
    expect(judged({})).toMatchObject({ healthy: true, address: "10.0.0.1", port: 20_000, component: "web", portName: "http", protocol: "tcp", host: "a", state: "running", because: "its host reports it running" });
  });

  test.each<readonly [string, Omit<Place, "host">, RegExp]>([
    ["it is to be gone", { placement: { desired: "absent" } }, /torn down/],
    ["a teardown is open", { openRow: { operation: "teardown" } }, /torn down/],
    ["its host tears it down", { observed: { state: "tearing_down" } }, /torn down/],
    ["it is stopped", { placement: { desired: "stopped" } }, /waits for `skep mutate web --start`/],
    ["its host is suspect", { hostPatch: { status: "suspect", statusBecause: "no heartbeat for 50.0 s" } }, /a is suspect \(no heartbeat for 50.0 s\): it waits for the host's next heartbeat/],
    ["its host is unreachable", { hostPatch: { status: "unreachable" } }, /waits for the host's next heartbeat/],
    ["its host is decommissioned", { hostPatch: { status: "decommissioned" } }, /a is decommissioned/],
    ["its host is gone", { gone: true }, /a is gone/],
    ["no master reaches it", { view: seen({ state: "unreachable", lastError: "connect ETIMEDOUT" }) }, /no master reaches a \(connect ETIMEDOUT\): it waits for a probe/],
    ["the circuit is open", { circuit: { ...CLOSED, state: "open", retryInMs: 12_000, because: "5 failures" } }, /circuit to a is open \(5 failures\): it waits for a call that succeeds, the next in 12.0 s/],
    ["the circuit is open for good", { circuit: { ...CLOSED, state: "open", retryInMs: undefined, cause: "identity" } }, /waits for `skep host breaker-reset a` or a new pin/],
    ["it was never reported", { observed: null }, /waits for its first report/],
    ["its host was never heard", { view: { liveness: undefined } }, /waits for its first heartbeat/],
    ["its host's beat is old, although nobody has called it suspect yet", { heardAgoMs: SUSPECT_MS + 1 }, /last heard 45.0 s ago: it waits for its next heartbeat/],
    ["its host beats and cannot look", { observed: { observedAt: instant(NOW - SUSPECT_MS - 1) } }, /could not look at it/],
    ["its runtime is away", { observed: { state: "unknown" } }, /waits for its runtime/],
    ["it is not there", { observed: { state: "absent", components: [], generation: 0 } }, /waits for its deploy/],
    ["a generation nobody gave it", { observed: { generation: 4 } }, /generation 4, which was never given to it/],
    ["an epoch of another holder", { observed: { epoch: 2 } }, /reports epoch 2: it waits for epoch 1/],
    ["the component is not there", { observed: { components: [] } }, /waits for its deploy/],
    ["it is starting", { component: { state: "starting", error: "not healthy yet: probe failed: ECONNREFUSED" } }, /starting \(not healthy yet: probe failed: ECONNREFUSED\): it waits for its probe/],
    ["its probe fails", { component: { state: "unhealthy", error: "probe failed: 500" } }, /unhealthy \(probe failed: 500\): it waits for its probe/],
    ["it has died", { component: { state: "backoff" } }, /waits for its restart/],
    ["it has ended", { component: { state: "exited" } }, /waits for a redeploy/],
    ["it has failed", { component: { state: "failed", error: "exit code 1" } }, /failed \(exit code 1\): it waits for a redeploy/],
    ["it has no port yet", { component: { ports: {} } }, /waits for one to be allocated/],
    ["nobody knows where the host is", { hostPatch: { address: undefined } }, /no address of a is known: it waits/],
  ])("is not healthy where %s, and says what it waits for", (_what, place, because) => {
    const endpoint = judged(place);
    expect([endpoint.healthy, endpoint.because]).toEqual([false, expect.stringMatching(because)]);
  });

  test.each<readonly [string, Omit<Place, "host">]>([
    ["the prober has not asked yet", { view: seen({ state: "unknown" }) }],
    ["nobody asks the host", { view: { reachability: undefined } }],
    ["the circuit lets one call out", { circuit: { ...CLOSED, state: "half_open" } }],
    ["an older generation still serves during a change", { observed: { generation: 2 }, openRow: { operation: "mutate", status: "running" } }],
    ["the host takes no new work", { hostPatch: { schedulable: false } }],
    ["the beat is exactly as old as it may be", { heardAgoMs: SUSPECT_MS }],
  ])("is healthy although %s", (_what, place) => {
    expect(judged(place).because).toBe("its host reports it running");
  });

  test("is where the operator says the host is, or else its pinned registration; a report can move nobody", () => {
    const agentUrl = "https://10.9.9.9:8444";
    expect(judged({ hostPatch: { agentUrl } }).address).toBe("10.0.0.1");
    expect(judged({ hostPatch: { address: undefined, agentUrl } }).address).toBe("10.9.9.9");
    expect(judged({ hostPatch: { address: undefined, agentUrl: "https://[fd00::1]:8444" } }).address).toBe("fd00::1");
    expect(judged({ hostPatch: { address: "[fd00::2]" } }).address).toBe("fd00::2");
    // A port that the spec fixes, reported as another one.
    expect(judged({}, { ports: [{ name: "http", protocol: "tcp", host: 80 }] })).toMatchObject({ healthy: false, because: expect.stringContaining("it waits for 80, which the spec fixes") });
    // A port that no spec declares is nobody's.
    expect(aService({ places: [{ host: "a", component: { ports: { http: 1, ssh: 22 } } }] }).endpoints.map((endpoint) => endpoint.portName)).toEqual(["http"]);
  });

  test("published on one address it is called there, and on loopback by nobody else", () => {
    const on = (host_ip: string, address = "10.0.0.1") => judged({ hostPatch: { address } }, { ports: [{ name: "http", protocol: "tcp", host_ip }] });
    expect(on("0.0.0.0")).toMatchObject({ healthy: true, address: "10.0.0.1" });
    expect(on("10.0.0.7")).toMatchObject({ healthy: true, address: "10.0.0.7" });
    expect(on("127.0.0.1")).toMatchObject({ healthy: false, address: undefined, because: expect.stringContaining("waits for another host_ip") });
    expect(on("127.0.0.1", "127.0.0.1")).toMatchObject({ healthy: true, address: "127.0.0.1" });
    expect(aService({ ports: [{ name: "http", protocol: "tcp", publish: false }], places: [{ host: "a" }] })).toMatchObject({ ports: [], endpoints: [] });
  });

  test("old beats just after a master's start are said to be the master's own", () => {
    expect(judged({ heardAgoMs: 300_000 }, { listeningSince: NOW - 2_000 }).because).toContain("this master has listened for only 2.0 s");
    expect(judged({ heardAgoMs: 300_000 }).because).not.toContain("this master");
  });
});

describe("order", () => {
  const three: readonly Place[] = [{ host: "c" }, { host: "a" }, { host: "b" }];
  const order = (service: Service, strategy: ResolveOptions["strategy"], turn = 0) => hostsOf(resolveService(service, [], { strategy, turn }));

  test("ordered: as the placement names hosts, by name or id; otherwise by name", () => {
    expect(order(aService({ places: three }), "ordered")).toEqual(["a", "b", "c"]);
    expect(order(aService({ places: three, deployment: { placement: { hosts: ["b", "c"] } } }), "ordered")).toEqual(["b", "c", "a"]);
  });
  test("round_robin: each placement begins in its turn; two ports of one are one turn", () => {
    const service = aService({ places: three, ports: [{ name: "http", protocol: "tcp" }, { name: "admin", protocol: "tcp" }].map((port) => ({ ...port, protocol: "tcp" as const })) });
    const both = three.map((place) => ({ ...place, component: { ports: { http: 1, admin: 2 } } }));
    expect([0, 1, 2, 3].map((turn) => order(aService({ places: three }), "round_robin", turn).join(""))).toEqual(["abc", "bca", "cab", "abc"]);
    expect(order(aService({ places: both, ports: service.ports.map(({ name, protocol }) => ({ name, protocol })) }), "round_robin", 1)).toEqual(["b", "b", "c", "c", "a", "a"]);
  });
  test("least_loaded: fewest placements, then the load per processor, then the name; who says nothing comes last", () => {
    const load = (load1: number, cpus: number): Partial<HostView> => ({ report: { resources: { load1, cpu_millicores: cpus * 1_000 } } as unknown as NonNullable<HostView["report"]> });
    const places: readonly Place[] = [{ host: "a", running: 2 }, { host: "b", running: 1 }, { host: "c", running: 1, view: load(8, 16) }, { host: "d", running: 1, view: load(1, 1) }, { host: "e", running: 1 }];
    expect(order(aService({ places }), "least_loaded")).toEqual(["c", "d", "b", "e", "a"]);
    expect(order(aService({ places: [{ host: "a", view: load(9, 1) }, { host: "b" }] }), "least_loaded")).toEqual(["a", "b"]);
    expect(order(aService({ places: [{ host: "a" }, { host: "b", view: load(9, 1) }] }), "least_loaded")).toEqual(["b", "a"]);
  });
  test("the same facts, the same order, whatever order they came in", () => {
    fc.assert(fc.property(fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e", "f"), { minLength: 1 }), fc.constantFrom(...SERVICE_STRATEGIES), fc.nat(), (names, strategy, turn) => {
      const places = names.map((host, index): Place => ({ host, running: index % 2 }));
      const byName = [...places].sort((a, b) => (a.host < b.host ? -1 : 1));
      expect(order(aService({ places }), strategy, turn)).toEqual(order(aService({ places: byName }), strategy, turn));
      expect(orderEndpoints(aService({ places }), [], strategy, turn)).toEqual([]);
    }), { seed });
  });
});

describe("resolution", () => {
  const up = (name: string, ...hosts: readonly string[]) => aService({ name, places: hosts.map((host) => ({ host })) });
  const down = (name: string, ...hosts: readonly string[]) => aService({ name, places: hosts.map((host) => ({ host, component: { state: "backoff" } })) });

  test("the primary while it has one healthy endpoint, then the fallbacks in their order, and back", () => {
    const [marco, polo] = [up("marco", "x"), up("polo", "y")];
    const declared = [{ ref: "marco", service: marco }, { ref: "polo", service: polo }];
    const half = aService({ places: [{ host: "a", component: { state: "unhealthy" } }, { host: "b" }] });
    expect(resolveService(half, declared, ORDERED)).toMatchObject({ kind: "resolved", via: "primary", fallback: undefined, endpoints: [{ host: "b" }], rejected: [{ deployment: "web", host: "a" }] });
    expect(resolveService(down("web", "a"), declared, ORDERED)).toMatchObject({ via: "fallback", fallback: "marco", endpoints: [{ host: "x", deployment: "marco" }] });
    expect(resolveService(down("web", "a"), [{ ref: "marco", service: down("marco", "x") }, declared[1]!], ORDERED)).toMatchObject({ via: "fallback", fallback: "polo", endpoints: [{ host: "y" }] });
    expect(resolveService(up("web", "a"), declared, ORDERED)).toMatchObject({ via: "primary", endpoints: [{ host: "a" }] });
  });

  test("nothing healthy anywhere: everybody's reasons, and a missing fallback among them", () => {
    const resolution = resolveService(down("web", "a", "b"), [{ ref: "nobody", service: undefined }, { ref: "marco", service: down("marco", "x") }], ORDERED);
    expect(resolution).toMatchObject({ kind: "none", rejected: [{ deployment: "web", host: "a" }, { deployment: "web", host: "b" }, { deployment: "nobody", because: "there is no deployment nobody: it waits for one to be deployed" }, { deployment: "marco", host: "x" }] });
    expect(resolveService(aService({ places: [] }), [], ORDERED)).toMatchObject({ kind: "none", rejected: [{ host: undefined, because: expect.stringContaining("runs nowhere") }] });
    expect(resolveService(aService({ places: [{ host: "a" }], ports: [] }), [], ORDERED)).toMatchObject({ rejected: [{ because: "it publishes no port: it waits for a spec that does" }] });
  });

  test("fallbacks of fallbacks are not followed, and nobody is a fallback of its own", () => {
    const web = down("web", "a");
    const marco = aService({ name: "marco", places: [{ host: "x", component: { state: "failed" } }], deployment: { failover: { fallbacks: ["polo"] } } });
    expect(resolveService(web, [{ ref: "marco", service: marco }], ORDERED).kind).toBe("none");
    expect(resolveService(web, [{ ref: "web", service: up("web", "a") }], ORDERED).kind).toBe("none");
    expect(ownFallbacks(["a", "web", "id-1"], { id: "id-1", name: "web" })).toEqual([1, 2]);
  });

  test("component, port and labels narrow it down, in the fallback too", () => {
    const web = aService({ places: [{ host: "a", labels: { zone: "eu" } }, { host: "b", labels: { zone: "us" } }] });
    expect(hostsOf(resolveService(web, [], { ...ORDERED, labels: { zone: "us" } }))).toEqual(["b"]);
    expect(resolveService(web, [], { ...ORDERED, labels: { zone: "mars" } })).toMatchObject({ kind: "none", rejected: [{ host: "a", because: "the label zone of a is eu, and mars is asked for" }, { host: "b" }] });
    expect(resolveService(web, [], { ...ORDERED, labels: { rack: "1" } })).toMatchObject({ kind: "none", rejected: [{ because: expect.stringContaining("is not set") }, {}] });
    expect(resolveService(down("web", "a"), [{ ref: "marco", service: up("marco", "x") }], { ...ORDERED, port: "grpc" })).toMatchObject({ kind: "none", rejected: [{}, { deployment: "marco", because: "it publishes no port of the name grpc: it waits for a spec that does" }] });
    expect([publishes(web, {}), publishes(web, { component: "web", port: "http" }), publishes(web, { port: "grpc" }), publishes(web, { component: "db" })]).toEqual([true, true, false, false]);
  });

  const place = fc.record({
    status: fc.constantFrom(...HOST_STATUSES), reach: fc.constantFrom(...REACHABILITY_STATES), circuit: fc.constantFrom("closed", "open", "half_open"), component: fc.constantFrom(...COMPONENT_STATES), state: fc.constantFrom(...OBSERVED_STATES),
    heardAgoMs: fc.constantFrom(0, SUSPECT_MS, SUSPECT_MS + 1), desired: fc.constantFrom("running", "stopped", "absent"), generation: fc.integer({ min: 2, max: 4 }), epoch: fc.integer({ min: 0, max: 2 }), reported: fc.boolean(), port: fc.boolean(),
  });
  const anyPlace = fc.oneof({ weight: 1, arbitrary: place }, { weight: 1, arbitrary: place.map((one) => ({ ...one, status: "active", reach: "unknown", circuit: "closed", component: "running", state: "running", heardAgoMs: 0, desired: "running", generation: 3, epoch: 1, reported: true, port: true } as typeof one)) });
  type Facts = typeof place extends fc.Arbitrary<infer T> ? T : never;
  const placeOf = (facts: Facts, index: number): Place => ({
    host: `h${index}`, hostPatch: { status: facts.status }, view: seen({ state: facts.reach }), circuit: { ...CLOSED, state: facts.circuit as "open" }, component: { state: facts.component, ports: facts.port ? { http: 1 } : {} },
    observed: facts.reported ? { state: facts.state, generation: facts.generation, epoch: facts.epoch } : null, heardAgoMs: facts.heardAgoMs, placement: { desired: facts.desired as "running" },
  });
  /** Written a second time, and differently: what must hold of an endpoint somebody is sent to. */
  const callable = (facts: Facts): boolean =>
    [facts.reported, facts.port, facts.status === "active", facts.reach !== "unreachable", facts.circuit !== "open", facts.component === "running", !["tearing_down", "unknown", "absent"].includes(facts.state), facts.heardAgoMs <= SUSPECT_MS, facts.desired === "running", facts.generation <= 3, facts.epoch === 1].every(Boolean);

  test("whatever the fleet is like: all that is healthy, nothing that is not, and a fallback only without a primary", () => {
    fc.assert(fc.property(fc.array(anyPlace, { maxLength: 4 }), fc.array(anyPlace, { maxLength: 4 }), fc.constantFrom(...SERVICE_STRATEGIES), fc.nat({ max: 9 }), (mine, theirs, strategy, turn) => {
      const [web, marco] = [aService({ places: mine.map(placeOf) }), aService({ name: "marco", places: theirs.map(placeOf) })];
      const resolution = resolveService(web, [{ ref: "marco", service: marco }], { strategy, turn });
      const [good, others] = [mine, theirs].map((facts) => facts.flatMap((one, index) => (callable(one) ? [`h${index}`] : [])));
      const expected = good!.length > 0 ? good! : others!;
      expect(hostsOf(resolution).sort()).toEqual(expected);
      expect(resolution.kind === "resolved" ? resolution.via : "none").toBe(good!.length > 0 ? "primary" : others!.length > 0 ? "fallback" : "none");
      for (const { because } of resolution.rejected) expect(because).toMatch(/waits for|torn down|decommissioned/);
      if (resolution.kind === "none") expect(resolution.rejected.length).toBeGreaterThan(0);
    }), { seed, numRuns: 1_000 });
  });
});
