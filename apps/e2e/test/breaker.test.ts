/**
 * The breaker as an operator meets it, on a real fleet: an agent is frozen, calls to it fail, and the API says so at once
 * and with the time to wait; work for it is kept and arrives with its heartbeat; a reset is every master's.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import type { Api } from "../src/harness/api.ts";
import type { Agent } from "../src/harness/fleet.ts";
import { accepted, ended, succeeds } from "../src/harness/operations.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

let agent: Agent;
// Slow beats: a host that cannot be called is not given up while the test looks at its circuit. And no trial of an open
// circuit while it looks: on a slow machine that takes more than the minute of production.
const site = useFleet("breaker", { intervalMs: 2_000, masterEnv: { SKEP_BREAKER_COOLDOWN_MS: "600000" } }, async (fleet) => {
  const config = join(fleet.dir, "agent.json");
  writeFileSync(config, JSON.stringify({ allow: { exec: true } }));
  agent = await fleet.addAgent("bee-1", { env: { SKEP_AGENT_CONFIG: config } });
});

const breaker = async (api: Api) => (await api.get("/v1/hosts/bee-1/health")).breaker;
const check = async (api: Api): Promise<{ ok: boolean; error: string | null }> => (await api.post("/v1/hosts/check", { hosts: ["bee-1"] })).body.items[0];
const exec = (api: Api) => api.post("/v1/deployments/steady/exec", { component: "calm", command: ["/bin/true"] });
const SPEC = { driver: "process", components: [{ name: "calm", command: ["/bin/sleep", "3600"], stop_timeout_s: 1 }] };

test("five failed calls: the sixth is refused with the time to wait, work still arrives, and a reset reaches every master", async () => {
  const { fleet } = site;
  const { api } = fleet;
  await succeeds(api, "/v1/deployments", { name: "steady", spec: SPEC, placement: { hosts: ["bee-1"] } });
  // A question that a busy machine was late with counts until the next one is answered.
  await eventually(async () => {
    expect(await breaker(api)).toMatchObject({ state: "closed", consecutive_failures: 0, opened_at: null, retry_at: null });
    return true;
  }, { what: "nothing speaks against the host", timeoutMs: 30_000 });
  const second = await fleet.addMaster();
  const masters = [api, second.api];

  // The agent dies; its address refuses.
  await agent.kill();
  for (const one of masters) {
    for (let nth = 0; nth < 5; nth += 1) expect((await check(one)).ok).toBe(false);
    expect(await breaker(one)).toMatchObject({ state: "open", cause: "failures", because: expect.stringContaining("ECONNREFUSED") as string, retry_at: expect.any(String) as string });
    const refused = await exec(one);
    expect(refused).toMatchObject({ status: 503, body: { code: "circuit_open", retryable: true, retry_after_ms: expect.any(Number) as number } });
    expect(Number(refused.headers["retry-after"])).toBe(Math.ceil(refused.body.retry_after_ms / 1_000));
    expect((await check(one)).error).toContain("circuit is open");
  }
  const health = await api.get("/v1/hosts/bee-1/health");
  expect(health.reasons).toContainEqual(expect.objectContaining({ code: "circuit_open", next: expect.stringContaining("breaker-reset bee-1") as string }));
  expect(health.metrics).toMatchObject({ failed_requests: expect.any(Number) as number });
  expect(health.metrics.error_rate).toBeGreaterThan(0);

  // It is back, and nobody calls it: what it is to do comes with the answer to its beat.
  await agent.start();
  const ids = await accepted(api, "/v1/deployments", { name: "late", spec: noop(0), placement: { hosts: ["bee-1"] } });
  expect(await ended(api, ids)).toMatchObject([{ status: "succeeded" }]);
  for (const one of masters) expect((await breaker(one)).state).toBe("open");

  const reset = await second.api.post("/v1/hosts/bee-1/breaker/reset", {});
  expect(reset).toMatchObject({ status: 200, body: { name: "bee-1", breaker: { state: "closed" } } });
  for (const one of masters) {
    expect(await breaker(one)).toMatchObject({ state: "closed" });
    await eventually(async () => (await check(one)).ok, { what: "it is called and answers", timeoutMs: 30_000 });
    expect(await breaker(one)).toMatchObject({ state: "closed" });
  }
  const events = await eventually(async () => {
    const { items } = await api.get<{ items: { kind: string }[] }>("/v1/events?kind=breaker&limit=100");
    const kinds = items.map(({ kind }) => kind);
    return kinds.filter((kind) => kind === "breaker.closed").length === 2 ? kinds : undefined;
  }, { what: "both masters told that they call it again", timeoutMs: 30_000 });
  expect(events.filter((kind) => kind === "breaker.opened")).toHaveLength(2);
  expect(events.filter((kind) => kind === "breaker.reset")).toHaveLength(1);
});
