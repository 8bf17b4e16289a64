/** From the beat that carries a port to the caller that is sent there; and the same list for a Prometheus. */
import { CLOSED_BREAKER, SkepError, viewBreaker, type DeploymentId, type HostId, type HostRecord, type ReportedComponent, type ReportedPlacement, type Store } from "@skep/core";
import { problemSchema, sdTargets } from "@skep/protocol";
import { afterEach, describe, expect, test } from "vitest";
import { startHarness } from "./harness.ts";
import { useApi } from "./use-api.ts";

const api = useApi();
const PORTS = [{ name: "http" }, { name: "stats", protocol: "udp" }] as const;
let hosts = 0;

const specOf = (ports: readonly object[] = PORTS.slice(0, 1)) => ({ driver: "noop", components: [{ name: "web", ports }] });

async function speaker(labels: Record<string, string> = {}) {
  const host = await api.activeHost(`svc-${(hosts += 1)}`);
  await api.call("PATCH", `/v1/hosts/${host.name}`, { body: { labels } });
  const { session_epoch } = await api.control.register(host.id as HostId, { boot_id: `boot-${host.name}`, host_boot_id: "kernel", agent_version: "1.0.0", op_seq: 0, agent_url: "https://127.0.0.1:8444" });
  let seq = 0;
  const beat = (placements: readonly ReportedPlacement[], load1 = 1) => api.control.beat(host.id as HostId, {
    host_uuid: host.id, agent_version: "1.0.0", boot_id: `boot-${host.name}`, session_epoch, seq: (seq += 1), op_seq: seq, status: { placements: [...placements] }, jobs: [], lifecycle: [], resources: { load1, cpu_millicores: 2_000 },
  });
  return { host, beat };
}
type Speaker = Awaited<ReturnType<typeof speaker>>;

const deploy = async (name: string, at: readonly HostRecord[], extra: object = {}, spec: object = specOf()) => {
  const made = await api.call("POST", "/v1/deployments", { body: { name, spec, placement: { hosts: at.map((host) => host.name) }, ...extra } });
  expect(made.status, made.text).toBe(202);
  return made.json as { deployment_id: string; warnings: string[]; placements: { placement_id: string; host: string }[] };
};

/** A deployment whose placements say what they are told to. */
async function running(name: string, speakers: readonly Speaker[], extra: object = {}, spec?: object) {
  const made = await deploy(name, speakers.map(({ host }) => host), extra, spec);
  const report = (which: number, patch: Partial<ReportedComponent> = {}): ReportedPlacement => ({
    placement_id: made.placements.find((placement) => placement.host === speakers[which]!.host.name)!.placement_id, deployment: name, epoch: 1, generation: 1, spec_hash: "a".repeat(64), state: "running",
    components: [{ name: "web", state: "running", restarts: 0, ports: { http: 8_000 + which, stats: 9_000 + which }, ...patch }],
  });
  const say = async (which: number, patch?: Partial<ReportedComponent>, load1?: number): Promise<void> => void (await speakers[which]!.beat([report(which, patch)], load1));
  for (const which of speakers.keys()) await say(which);
  return { ...made, say, report };
}
const resolve = (name: string, query = "") => api.call("GET", `/v1/services/${name}/resolve${query}`, { role: "viewer" });
const hostsOf = (answer: { json: any }): string[] => answer.json.endpoints.map((endpoint: { host: string }) => endpoint.host);

afterEach(() => {
  api.agents.circuit = () => viewBreaker(CLOSED_BREAKER, 0);
});

describe("resolution", () => {
  test("a healthy endpoint is where the operator says the host is and where the port was observed, by name and by id", async () => {
    const one = await speaker();
    const made = await running("plain", [one]);
    const answer = await resolve("plain");
    expect([answer.status, answer.json]).toEqual([200, {
      service: "plain", via: "primary", fallback: null,
      endpoints: [{ deployment: "plain", placement_id: made.placements[0]!.placement_id, host_id: one.host.id, host: one.host.name, component: "web", port_name: "http", protocol: "tcp", address: "127.0.0.1", port: 8_000 }],
    }]);
    expect((await resolve(made.deployment_id)).json).toEqual(answer.json);
    expect((await api.call("GET", `/v1/services/${made.deployment_id}`)).json).toEqual((await api.call("GET", "/v1/services/plain")).json);
    expect((await resolve("nobody")).json).toMatchObject({ status: 404, code: "service_not_found" });
    expect((await api.call("GET", "/v1/services/nobody")).json.code).toBe("service_not_found");
  });

  test("primary, fallback, back again by itself, and 503 with everybody's reasons", async () => {
    const [one, two] = [await speaker(), await speaker()];
    const build = await deploy("build-ai", [one.host], { failover: { fallbacks: ["marco-ai"] } });
    expect(build.warnings).toEqual(["its fallback marco-ai is not deployed: until it is, nobody answers there instead"]);
    const nothing = await resolve("build-ai");
    expect([nothing.status, nothing.json.code, nothing.headers["retry-after"]]).toEqual([503, "no_healthy_endpoint", "30"]);
    expect(nothing.json.errors).toEqual([{ pointer: "/build-ai/" + one.host.name + "/web/http", message: expect.stringContaining("waits for") }, { pointer: "/marco-ai", message: "there is no deployment marco-ai: it waits for one to be deployed" }]);
    expect(problemSchema.safeParse(nothing.json).error).toBeUndefined();

    const marco = await running("marco-ai", [two], { failover: { fallbacks: ["build-ai"] } });
    expect(marco.warnings).toEqual([]);
    expect((await resolve("build-ai")).json).toMatchObject({ service: "build-ai", via: "fallback", fallback: "marco-ai", endpoints: [{ deployment: "marco-ai", host: two.host.name }] });
    const up = async (state: ReportedComponent["state"]) => one.beat([{ placement_id: build.placements[0]!.placement_id, deployment: "build-ai", epoch: 1, generation: 1, spec_hash: "a".repeat(64), state: "running", components: [{ name: "web", state, restarts: 0, ports: { http: 80 }, ...(state === "running" ? {} : { error: "probe failed: 500" }) }] }]);
    await up("running");
    expect((await resolve("build-ai")).json).toMatchObject({ via: "primary", fallback: null, endpoints: [{ host: one.host.name, port: 80 }] });
    await up("unhealthy");
    expect((await resolve("build-ai")).json).toMatchObject({ via: "fallback" });
    await marco.say(0, { state: "backoff" });
    const both = await resolve("build-ai");
    expect([both.status, both.json.errors.map((error: { message: string }) => error.message)]).toEqual([503, ["it is unhealthy (probe failed: 500): it waits for its probe to pass", "it has died: it waits for its restart"]]);
    expect(both.json.detail).toContain(`build-ai on ${one.host.name}: it is unhealthy`);
    await up("running");
    expect((await resolve("build-ai")).json.via).toBe("primary");
  });

  test("what this master sees of the network counts: an open circuit, and a host that is not active", async () => {
    const one = await speaker();
    await running("netted", [one]);
    api.agents.circuit = (host) => (host.id === one.host.id ? { ...viewBreaker(CLOSED_BREAKER, 0), state: "open", retryInMs: 9_000, because: "timed out" } : viewBreaker(CLOSED_BREAKER, 0));
    expect((await resolve("netted")).json).toMatchObject({ status: 503, errors: [{ message: expect.stringContaining("circuit to") }] });
    api.agents.circuit = () => viewBreaker(CLOSED_BREAKER, 0);
    expect((await resolve("netted")).status).toBe(200);
    await api.store.transaction((tx) => tx.casHostStatus(one.host.id, "active", "suspect", "no heartbeat for 50.0 s"));
    expect((await resolve("netted")).json).toMatchObject({ status: 503, errors: [{ message: expect.stringContaining("suspect (no heartbeat for 50.0 s)") }] });
    expect((await api.call("GET", "/v1/services/netted")).json).toMatchObject({ healthy: 0, total: 1, endpoints: [{ healthy: false, state: "running", address: "127.0.0.1", port: 8_000, because: expect.stringContaining("waits for") }] });
  });

  test("strategies, labels, components and ports", async () => {
    const speakers = [await speaker({ zone: "eu" }), await speaker({ zone: "us" }), await speaker({ zone: "eu" })];
    const names = speakers.map(({ host }) => host.name);
    const made = await running("many", speakers, { placement: { hosts: [names[1], names[2], names[0]] } }, specOf(PORTS));
    expect(hostsOf(await resolve("many", "?port=http"))).toEqual([names[1], names[2], names[0]]);
    const turns = [];
    for (let turn = 0; turn < 4; turn++) turns.push(hostsOf(await resolve("many", "?strategy=round_robin&port=http"))[0]);
    expect(turns).toEqual([names[1], names[2], names[0], names[1]]);
    await made.say(0, {}, 7);
    await made.say(1, {}, 3);
    expect(hostsOf(await resolve("many", "?strategy=least_loaded&port=http"))).toEqual([names[2], names[1], names[0]]);
    // What else runs on a host counts before its load.
    const rival = await running("rival", [speakers[2]!]);
    await speakers[2]!.beat([made.report(2), rival.report(0)]);
    expect(hostsOf(await resolve("many", "?strategy=least_loaded&port=http"))).toEqual([names[1], names[0], names[2]]);
    expect(hostsOf(await resolve("many", "?port=http&label=zone%3Deu"))).toEqual([names[2], names[0]]);
    expect((await resolve("many", "?component=web")).json.endpoints.map((endpoint: any) => [endpoint.port_name, endpoint.protocol])).toEqual(Array.from({ length: 3 }, () => [["http", "tcp"], ["stats", "udp"]]).flat());
    expect((await resolve("many", "?port=grpc")).json).toMatchObject({ status: 422, code: "unknown_component", detail: "many publishes no */grpc; it publishes: web/http, web/stats." });
    for (const bad of ["?strategy=fastest", "?label=zone", "?colour=red", "?port=Bad_Name"]) expect((await resolve("many", bad)).json, bad).toMatchObject({ status: 422, code: "invalid_request" });
  });
});

describe("declaring fallbacks", () => {
  test("they are kept over later changes, shown with the deployment, and replaced as a whole", async () => {
    const one = await speaker();
    await deploy("keeper", [one.host], { failover: { fallbacks: ["later", "plain"] } });
    const shown = async () => (await api.call("GET", "/v1/deployments/keeper")).json.failover;
    expect(await shown()).toEqual({ fallbacks: ["later", "plain"] });
    const settle = async () => {
      for (const row of (await api.call("GET", "/v1/lifecycle?deployment=keeper&open=true")).json.items) await api.call("POST", `/v1/lifecycle/${row.id}/cancel`);
    };
    for (const [path, body] of [["mutate", { env: { A: "1" } }], ["redeploy", {}]] as const) {
      await settle();
      expect((await api.call("POST", `/v1/deployments/keeper/${path}`, { body })).status, path).toBe(202);
      expect(await shown()).toEqual({ fallbacks: ["later", "plain"] });
    }
    await settle();
    await deploy("keeper", [one.host], { replace: true });
    expect(await shown()).toEqual({ fallbacks: [] });
  });

  test("nobody is a fallback of its own, by name or by id, and a wish is strict", async () => {
    const one = await speaker();
    const made = await deploy("selfish", [one.host]);
    const [row] = (await api.call("GET", "/v1/lifecycle?deployment=selfish")).json.items;
    await api.call("POST", `/v1/lifecycle/${row.id}/cancel`);
    const again = (fallbacks: unknown, extra: object = {}) => api.call("POST", "/v1/deployments", { body: { name: "selfish", spec: specOf(), placement: { hosts: [one.host.name] }, replace: true, dry_run: true, failover: { fallbacks, ...extra } } });
    for (const [index, ref] of ["selfish", made.deployment_id].entries()) {
      expect((await again(index === 0 ? [ref] : ["other", ref])).json).toMatchObject({ status: 422, code: "invalid_request", errors: [{ pointer: `/failover/fallbacks/${index}`, message: expect.stringContaining("itself") }] });
    }
    for (const bad of [["a", "a"], ["A B"], Array.from({ length: 9 }, (_, index) => `f-${index}`), "plain"]) expect((await again(bad)).status).toBe(422);
    expect((await again(["plain"], { ttl_s: 5 })).status).toBe(422);
    expect((await again(["nobody-yet"])).json).toMatchObject({ status: "dry_run", warnings: [expect.stringContaining("nobody-yet is not deployed")] });
  });
});

describe("the list of services", () => {
  test("has what can be called, page by page", async () => {
    await deploy("worker", [(await speaker()).host], {}, specOf([]));
    await deploy("gateway", [(await speaker()).host], { failover: { fallbacks: ["plain"] } }, specOf([]));
    const seen: any[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const { json }: { json: any } = await api.call("GET", `/v1/services?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`, { role: "viewer" });
      expect(json.items.length).toBeLessThanOrEqual(2);
      seen.push(...json.items);
      cursor = json.next_cursor;
    }
    expect(new Set(seen.map((item) => item.id)).size).toBe(seen.length);
    const byName = Object.fromEntries(seen.map((item) => [item.name, item]));
    expect(byName["worker"]).toBeUndefined();
    expect(byName["gateway"]).toMatchObject({ ports: [], healthy: 0, total: 0, fallbacks: ["plain"] });
    expect(byName["many"]).toMatchObject({ ports: [{ component: "web", name: "http", protocol: "tcp" }, { component: "web", name: "stats", protocol: "udp" }], healthy: 6, total: 6 });
    expect((await api.call("GET", "/v1/services?cursor=nonsense")).json.code).toBe("cursor_mismatch");
  });
});

describe("targets for a Prometheus", () => {
  const sd = (role: string, headers: Record<string, string> = {}) => api.call("GET", `/v1/sd/prometheus?role=${role}`, { role: "viewer", headers });

  test("services: every port that something listens on, healthy or not, with what is known of it", async () => {
    const speakers = [await speaker({ zone: "eu", "node.kind/x": "big" }), await speaker(), await speaker(), await speaker()];
    const made = await running("scraped", speakers, {}, specOf(PORTS));
    await made.say(1, { state: "unhealthy" });
    await made.say(2, { state: "backoff" });
    await api.call("PATCH", `/v1/hosts/${speakers[3]!.host.name}`, { body: { address: "fd00::7" } });
    const answer = await sd("services");
    expect(answer.headers["content-type"]).toMatch(/^application\/json(; charset=utf-8)?$/);
    expect(sdTargets.safeParse(answer.json).error).toBeUndefined();
    const mine = answer.json.filter((group: any) => group.labels.__meta_skep_deployment === "scraped");
    const placementOn = (host: HostRecord) => made.placements.find((placement) => placement.host === host.name)!.placement_id;
    expect(mine[0]).toEqual({
      targets: ["127.0.0.1:8000"],
      labels: {
        __meta_skep_deployment: "scraped", __meta_skep_component: "web", __meta_skep_port: "http", __meta_skep_host: speakers[0]!.host.name, __meta_skep_host_id: speakers[0]!.host.id,
        __meta_skep_placement_id: placementOn(speakers[0]!.host), __meta_skep_healthy: "true", __meta_skep_host_label_zone: "eu", __meta_skep_host_label_node_kind_x: "big",
      },
    });
    expect(mine.map((group: any) => [group.targets[0], group.labels.__meta_skep_healthy])).toEqual([["127.0.0.1:8000", "true"], ["127.0.0.1:8001", "false"], ["[fd00::7]:8003", "true"]]);
  });

  test("agents and masters are read at the address that was called, and series carry the host's name", async () => {
    const pending = await api.call("POST", "/v1/hosts", { body: { name: "not-yet" } });
    const agents = (await sd("agents", { host: "127.0.0.1:9999" })).json;
    const one = agents.find((group: any) => group.labels.__meta_skep_host === "svc-1");
    expect(one).toMatchObject({ targets: ["127.0.0.1:9999"], labels: { __scheme__: "http", __metrics_path__: `/v1/hosts/${one.labels.__meta_skep_host_id}/metrics`, instance: "svc-1" } });
    expect(agents).toHaveLength(hosts);
    expect(agents.some((group: any) => group.labels.__meta_skep_host_id === pending.json.host.id)).toBe(false);
    expect((await sd("masters", { host: "[::1]" })).json).toEqual([{ targets: ["[::1]:80"], labels: { __scheme__: "http", __metrics_path__: "/metrics" } }]);
    for (const host of ["localhost:99999", "localhost:0", "localhost:1@127.0.0.1"]) expect((await sd("masters", { host })).json, host).toMatchObject({ status: 422, code: "invalid_request" });
    expect((await sd("everything")).status).toBe(422);
    // A role is not needed: services are the default.
    expect((await api.call("GET", "/v1/sd/prometheus")).status).toBe(200);
  });

  test("the whole list or none: what cannot be read to its end is refused, because a Prometheus forgets what a 200 leaves out", async () => {
    const made = Array.from({ length: 201 }, (_, index) => `019e8000-0000-7000-8000-${String(index).padStart(12, "0")}` as DeploymentId);
    await api.store.transaction(async (tx) => {
      for (const [index, id] of made.entries()) await tx.insertDeployment({ id, name: `filler-${index}`, generation: 1, desired: "running", reconcile: "report", placement: {}, rollout: {} });
    });
    let reads = 0;
    const broken: Store = {
      ...api.store,
      serviceSnapshot: async (query) => {
        if ((reads += 1) > 1) throw new SkepError("database_unavailable");
        return api.store.serviceSnapshot(query);
      },
    };
    const other = await startHarness({ store: broken });
    const answer = await other.call("GET", "/v1/sd/prometheus?role=services");
    expect([answer.status, answer.json.code, reads]).toEqual([503, "database_unavailable", 2]);
    await other.close();
    expect((await sd("services")).json.length).toBeGreaterThan(2);
  });
});
