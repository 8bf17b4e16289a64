/**
 * A real Prometheus with the configuration, the rules and the dashboards that deploy/ ships, on a real fleet: it finds the
 * agents at the master and scrapes them through it, and one of them on its loopback listener as well.
 */
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, findPrometheus, promtool, tempDir } from "@skep/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { succeeds } from "../src/harness/operations.ts";
import { startPrometheus, type Prometheus } from "../src/harness/prometheus.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

const DEPLOY = fileURLToPath(new URL("../../../deploy", import.meta.url));
/** Every two seconds, where the shipped file says every 15: what a fleet shows in minutes is here in seconds. A scrape may take as long, on a busy machine it does. */
const QUICK = [[/^ {2}scrape_interval: 15s$/m, "  scrape_interval: 2s"], [/^ {2}scrape_timeout: 10s$/m, "  scrape_timeout: 2s"], [/^ {2}evaluation_interval: 15s$/m, "  evaluation_interval: 1s"], [/refresh_interval: 30s/g, "refresh_interval: 1s"]] as const;
const BOOT = `[[boot.sequence]]\nname = "base"\nservices = []\nfoundation = false\n`;

interface Panel { readonly title: string; readonly targets: readonly { readonly expr: string }[] }
const queries = readdirSync(join(DEPLOY, "grafana")).flatMap((file) =>
  (JSON.parse(readFileSync(join(DEPLOY, "grafana", file), "utf8")) as { panels: readonly Panel[] }).panels.flatMap((panel) =>
    panel.targets.map(({ expr }) => ({ where: `${file}: ${panel.title}`, expr: expr.replaceAll("$__rate_interval", "5m").replaceAll("$instance", ".*") }))));

describe.skipIf("missing" in findPrometheus())("a real Prometheus", () => {
  const site = useFleet("prometheus", { intervalMs: 500 });
  let prometheus: Prometheus;
  let token: string;
  let direct: Agent;
  let doomed: Agent;
  const localUrl = (agent: Agent): string => (JSON.parse(agent.program()!.stdout().trim().split("\n").at(-1)!) as { local_url: string }).local_url;

  beforeAll(async () => {
    const { fleet } = site;
    const config = join(tempDir("agent-config"), "agent.toml");
    writeFileSync(config, BOOT);
    direct = await fleet.addAgent("bee-1", { env: { SKEP_AGENT_CONFIG: config } });
    await fleet.addAgent("bee-2");
    doomed = await fleet.addAgent("bee-3");
    const made = await fleet.api.post<{ secret?: string; token: string }>("/v1/tokens", { name: "prometheus", role: "viewer" });
    expect(made.status).toBe(201);
    token = made.body.token;
    const apiHost = new URL(fleet.api.url).host;
    const dir = tempDir("prometheus");
    cpSync(join(DEPLOY, "prometheus"), dir, { recursive: true });
    writeFileSync(join(dir, "skep.token"), token);
    let text = readFileSync(join(dir, "prometheus.yml"), "utf8");
    for (const [from, to] of QUICK) {
      expect(text).toMatch(from);
      text = text.replace(from, to);
    }
    text = text.replaceAll("127.0.0.1:8080", apiHost);
    // Beside what is shipped: a Prometheus on the host itself asks the agent's own listener.
    writeFileSync(join(dir, "prometheus.yml"), `${text}\n  - job_name: on-the-host\n    static_configs: [{ targets: ["${new URL(localUrl(direct)).host}"], labels: { host: bee-1 } }]\n`);
    prometheus = await startPrometheus(dir);
  });
  afterAll(() => prometheus?.stop());

  test("what both processes give out, promtool finds nothing to mend in", async () => {
    const bearer = { headers: { authorization: `Bearer ${token}` } };
    const places: [string, RequestInit][] = [[`${site.fleet.api.url}/metrics`, bearer], [`${localUrl(direct)}/metrics`, {}], [`${site.fleet.api.url}/v1/hosts/bee-2/metrics`, bearer]];
    for (const [url, init] of places) {
      // An agent that a busy machine holds up is asked in vain, and the master says so.
      const text = await eventually(async (status) => {
        const response = await fetch(url, init);
        status(String(response.status));
        return response.status === 200 ? response.text() : undefined;
      }, { what: `${url} answers`, timeoutMs: 60_000 });
      expect(await promtool(["check", "metrics"], { input: text })).toEqual({ code: 0, output: "" });
    }
  });

  test("every target is up, and series carry the name of the host they are about", async () => {
    const up = await eventually(async (status) => {
      const { activeTargets } = await prometheus.api("/targets?state=active");
      const seen = (activeTargets as { labels: Record<string, string>; health: string; lastError: string }[]).map(({ labels, health, lastError }) => `${labels["job"]} ${labels["host"] ?? ""} ${health} ${lastError}`.trim()).sort();
      status(seen.join("; "));
      return seen.length === 5 && seen.every((one) => one.endsWith(" up")) ? seen : undefined;
    }, { what: "the targets are up", timeoutMs: 60_000 });
    expect(up).toEqual(["on-the-host bee-1 up", "skep-agents bee-1 up", "skep-agents bee-2 up", "skep-agents bee-3 up", "skep-master  up"]);
    // Asked again while one is missing: a scrape that came too late takes its series away until the next one.
    const starts = await eventually(async (status) => {
      const seen = (await prometheus.query('worker_agent_startup_total{job="skep-agents"}')).map(({ labels, value }) => `${labels["instance"]} ${value}`).sort();
      status(seen.join("; "));
      return seen.length === 3 ? seen : undefined;
    }, { what: "every agent's series is there", timeoutMs: 60_000 });
    expect(starts).toEqual(["bee-1 1", "bee-2 1", "bee-3 1"]);
  });

  test("the rules load, and one dead host of three is an alert on its way", async () => {
    await doomed.kill();
    const rules = await eventually(async (status) => {
      const { groups } = await prometheus.api("/rules");
      const seen = (groups as { rules: { name: string; health: string; state: string; lastError?: string }[] }[]).flatMap((group) => group.rules);
      status(seen.map((rule) => `${rule.name} ${rule.health} ${rule.state} ${rule.lastError ?? ""}`).join("; "));
      return seen.length > 0 && seen.every((rule) => rule.health === "ok") && seen.some((rule) => rule.name === "HostsDown" && rule.state === "pending") ? seen : undefined;
    }, { what: "HostsDown is pending", timeoutMs: 60_000 });
    expect(rules.length).toBe(readFileSync(join(DEPLOY, "prometheus/rules.yaml"), "utf8").split("- alert: ").length - 1);
    expect(rules.filter((rule) => rule.state === "firing").map((rule) => rule.name)).toEqual([]);
  });

  test(`all ${queries.length} queries of the shipped dashboards return data`, async () => {
    const { api } = site.fleet;
    // Of each kind once: a deploy, a change in place, a teardown.
    const placement = { hosts: ["bee-1", "bee-2"] };
    await succeeds(api, "/v1/deployments", { name: "web", spec: noop(0), placement });
    await succeeds(api, "/v1/deployments/web/mutate", { env: { ROUND: "2" } });
    await eventually(async () => (await api.get("/v1/rollouts?open=true")).items.length === 0, { what: "the change has gone everywhere", timeoutMs: 60_000 });
    await succeeds(api, "/v1/deployments/web/teardown", {});
    const empty = async (): Promise<string[]> => {
      const answers = await Promise.all(queries.map(async ({ where, expr }) => ({ where, expr, samples: await prometheus.query(expr) })));
      // A ratio or a quantile of nothing is NaN: an empty panel.
      return answers.filter(({ samples }) => !samples.some(({ value }) => Number.isFinite(value))).map(({ where, expr }) => `${where}: ${expr}`);
    };
    await eventually(async (status) => {
      const missing = await empty();
      status(missing.join("\n"));
      return missing.length === 0;
    }, { what: "every panel shows something", timeoutMs: 60_000 });
  });

  test("control: a query on what does not exist returns nothing, and one that is no query is refused", async () => {
    expect(await prometheus.query("sum(rate(master_hostz_total[1m]))")).toEqual([]);
    expect(await prometheus.query("histogram_quantile(0.99, sum by (le) (rate(master_dependency_wait_duration_seconds_bucket[1m])))")).toEqual([{ labels: {}, value: NaN }]);
    await expect(prometheus.query("sum(rate(")).rejects.toThrow(/parse error/);
  });

  test("a decommissioned host's series end", async () => {
    const about = async (): Promise<number> => (await (await fetch(`${site.fleet.api.url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text()).split("\n").filter((line) => line.includes('host="bee-3"')).length;
    expect(await about()).toBeGreaterThan(0);
    expect((await site.fleet.api.call("DELETE", "/v1/hosts/bee-3?force=true")).status).toBeLessThan(300);
    await eventually(async () => (await about()) === 0, { what: "the master tells of it no more", timeoutMs: 60_000 });
  });

  test("a token that is revoked ends the scrapes of the master, and the rules say so", async () => {
    const { items } = await site.fleet.api.get<{ items: { id: string; name: string }[] }>("/v1/tokens");
    expect((await site.fleet.api.call("DELETE", `/v1/tokens/${items.find((one) => one.name === "prometheus")!.id}`)).status).toBeLessThan(300);
    await eventually(async (status) => {
      const { alerts } = (await prometheus.api("/alerts")) as { alerts: { labels: Record<string, string>; state: string }[] };
      status(JSON.stringify(alerts));
      return alerts.some(({ labels }) => labels["alertname"] === "MasterDown");
    }, { what: "MasterDown is on its way", timeoutMs: 60_000 });
  });
});
