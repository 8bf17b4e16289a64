/**
 * A caller's view of a real fleet: build-ai is called while it can be, marco-ai while it cannot, and build-ai again
 * without anybody's word. And a real Prometheus that finds both by asking the master.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, findPrometheus, tempDir } from "@skep/testkit";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { skep } from "../src/harness/cli.ts";
import type { Agent } from "../src/harness/fleet.ts";
import { succeeds } from "../src/harness/operations.ts";
import { startPrometheus, type Prometheus } from "../src/harness/prometheus.ts";
import { measuredServer } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

// A beat that is late by half an interval takes its host's endpoints out; a busy machine is late by some hundred ms.
const site = useFleet("services", { intervalMs: 1_000 });
let bee: Agent;
beforeAll(async () => {
  bee = await site.fleet.addAgent("bee-1");
  await site.fleet.addAgent("bee-2");
  await succeeds(site.fleet.api, "/v1/deployments", { name: "build-ai", spec: measuredServer("build"), placement: { hosts: ["bee-1"] }, failover: { fallbacks: ["marco-ai"] } });
  await succeeds(site.fleet.api, "/v1/deployments", { name: "marco-ai", spec: measuredServer("marco"), placement: { hosts: ["bee-2"] } });
});

interface Resolved { readonly service: string; readonly via: string; readonly fallback: string | null; readonly endpoints: readonly { readonly address: string; readonly port: number; readonly host: string }[] }

/** Where a caller of the service is sent, once it is sent there. */
const resolvesTo = (service: string, via: string): Promise<Resolved> =>
  eventually(async (status) => {
    const answer = await site.fleet.api.call<Resolved>("GET", `/v1/services/${service}/resolve`);
    status(JSON.stringify(answer.body));
    return answer.status === 200 && answer.body.via === via ? answer.body : undefined;
  }, { what: `${service} resolves via ${via}`, timeoutMs: 60_000 });

/** What the endpoint itself answers: who it is, and its process. */
async function called({ endpoints: [endpoint] }: Resolved): Promise<{ greeting: string; pid: number }> {
  const { body } = await request(`http://${endpoint!.address}:${endpoint!.port}/`, { headersTimeout: 30_000, bodyTimeout: 30_000 });
  const [greeting, pid] = (await body.text()).split(" ");
  return { greeting: greeting!, pid: Number(pid) };
}
const cli = (...argv: string[]) => skep(site.fleet.api, argv);
/** Until it says so: a late beat on a busy machine may be in the way of any one look. */
const cliSays = (argv: readonly string[], code: number, text: RegExp): Promise<unknown> =>
  eventually(async (status) => {
    const ran = await cli(...argv);
    status(`${ran.code} ${ran.stdout} ${ran.stderr}`);
    return ran.code === code && text.test(ran.stdout) ? ran : undefined;
  }, { what: `skep ${argv.join(" ")} says ${text}`, timeoutMs: 60_000 });

describe("a service that fails and comes back", () => {
  test("is called itself while its probe passes", async () => {
    const resolved = await resolvesTo("build-ai", "primary");
    expect(resolved).toMatchObject({ service: "build-ai", fallback: null, endpoints: [{ host: "bee-1" }] });
    expect((await called(resolved)).greeting).toBe("build");
    await cliSays(["service", "ls"], 0, /^build-ai +1\/1 +active +web\/http +marco-ai$/m);
  });

  test("gives its callers to its fallback while its program hangs, and takes them back by itself", async () => {
    const { pid } = await called(await resolvesTo("build-ai", "primary"));
    process.kill(pid, "SIGSTOP");
    try {
      const resolved = await resolvesTo("build-ai", "fallback");
      expect(resolved).toMatchObject({ fallback: "marco-ai", endpoints: [{ host: "bee-2" }] });
      expect((await called(resolved)).greeting).toBe("marco");
      await cliSays(["service", "show", "build-ai", "--exit-code"], 9, /bee-1 web\/http: it is unhealthy \(probe failed: .*\): it waits for its probe to pass/);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    expect(await called(await resolvesTo("build-ai", "primary"))).toEqual({ greeting: "build", pid });
  });

  test("does the same while its host is silent, although the program there goes on", async () => {
    // What it last said is that all is well: it is its silence that counts.
    await resolvesTo("build-ai", "primary");
    bee.program()!.kill("SIGSTOP");
    try {
      const resolved = await resolvesTo("build-ai", "fallback");
      expect((await called(resolved)).greeting).toBe("marco");
      const service = await site.fleet.api.get("/v1/services/build-ai");
      expect(service).toMatchObject({ healthy: 0, total: 1, endpoints: [{ state: "running", healthy: false, because: expect.stringContaining("waits for") }] });
    } finally {
      bee.program()!.kill("SIGCONT");
    }
    expect((await called(await resolvesTo("build-ai", "primary"))).greeting).toBe("build");
  });

  test("with its fallback down as well nobody is sent anywhere, and everybody's reason is said", async () => {
    const pids = [(await called(await resolvesTo("build-ai", "primary"))).pid, (await called(await resolvesTo("marco-ai", "primary"))).pid];
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    try {
      const { status, body, headers } = await eventually(async () => {
        const answer = await site.fleet.api.call("GET", "/v1/services/build-ai/resolve");
        return answer.status === 503 && answer.body.errors.every((error: { message: string }) => error.message.includes("unhealthy")) ? answer : undefined;
      }, { what: "nothing is healthy", timeoutMs: 60_000 });
      expect([status, body.code, headers["retry-after"]]).toEqual([503, "no_healthy_endpoint", "1"]);
      expect(body.errors.map((error: { pointer: string }) => error.pointer)).toEqual(["/build-ai/bee-1/web/http", "/marco-ai/bee-2/web/http"]);
      expect(await cli("service", "resolve", "build-ai")).toMatchObject({ code: 9, stdout: "", stderr: expect.stringContaining("Error [no_healthy_endpoint]") });
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    expect((await called(await resolvesTo("build-ai", "primary"))).greeting).toBe("build");
    expect(await cli("service", "resolve", "nobody")).toMatchObject({ code: 3 });
  });
});

describe.skipIf("missing" in findPrometheus())("a real Prometheus", () => {
  let prometheus: Prometheus;
  beforeAll(async () => {
    const { api } = site.fleet;
    const dir = tempDir("prometheus-sd");
    const { body } = await api.post<{ token: string }>("/v1/tokens", { name: "prometheus", role: "viewer" });
    writeFileSync(join(dir, "skep.token"), body.token);
    // The type is written out for the discovery: some versions, 2.42 among them, have no default for it there.
    const job = (role: string): string => `
  - job_name: ${role}
    authorization: { credentials_file: skep.token }
    http_sd_configs: [{ url: "${api.url}/v1/sd/prometheus?role=${role}", refresh_interval: 1s, authorization: { type: Bearer, credentials_file: skep.token } }]
    relabel_configs:
      - { source_labels: [__meta_skep_host], target_label: host }
      - { source_labels: [__meta_skep_deployment], target_label: deployment }`;
    writeFileSync(join(dir, "prometheus.yml"), `global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:${["services", "agents", "masters"].map(job).join("")}\n`);
    prometheus = await startPrometheus(dir);
  });
  afterAll(() => prometheus?.stop());

  const targets = async (): Promise<{ readonly labels: Record<string, string>; readonly scrapeUrl: string }[]> => (await prometheus.api("/targets?state=active")).activeTargets;

  test("finds and scrapes what the fleet runs, by deployment and host", async () => {
    const found = await eventually(async (status) => {
      const samples = await prometheus.query("greeter_up");
      status(JSON.stringify([samples, prometheus.logs().split("\n").slice(-4)]));
      return samples.length === 2 ? samples : undefined;
    }, { what: "both programs are scraped", timeoutMs: 60_000 });
    expect(found.map(({ labels, value }) => `${labels["greeting"]} ${labels["deployment"]} ${labels["host"]} ${value}`).sort()).toEqual(["build build-ai bee-1 1", "marco marco-ai bee-2 1"]);
  });

  test("takes agents at the master's address, each under its host's name, and the master itself", async () => {
    const { api } = site.fleet;
    const all = await eventually(async () => {
      const seen = await targets();
      return seen.length === 5 ? seen : undefined;
    }, { what: "five targets", timeoutMs: 60_000 });
    const of = (job: string) => all.filter(({ labels }) => labels["job"] === job).map(({ labels, scrapeUrl }) => `${labels["instance"]} ${scrapeUrl}`).sort();
    const ids = Object.fromEntries((await api.get<{ items: { name: string; id: string }[] }>("/v1/hosts")).items.map(({ name, id }) => [name, id]));
    expect(of("agents")).toEqual(["bee-1", "bee-2"].map((name) => `${name} ${api.url}/v1/hosts/${ids[name]}/metrics`));
    expect(of("masters")).toEqual([`${new URL(api.url).host} ${api.url}/metrics`]);
  });

  test("keeps its targets while the master is away: what cannot be read is no list", async () => {
    await site.fleet.master.kill();
    // A refresh that came too late while the master was there has failed as well, and is not meant.
    const before = prometheus.logs().length;
    try {
      await eventually(() => /Unable to refresh target groups/.test(prometheus.logs().slice(before)), { what: "a refresh has failed", timeoutMs: 60_000 });
      expect(await targets()).toHaveLength(5);
    } finally {
      await site.fleet.master.start();
    }
  });
});
