/** What a whole agent tells of itself: to its master, on loopback, before it is enrolled, and while its master does not listen. */
import type { BootStage } from "@skep/core";
import { METRICS_CONTENT_TYPE } from "@skep/protocol";
import { eventually, findPrometheus, promtool, unusedPort } from "@skep/testkit";
import { afterEach, expect, test } from "vitest";
import { cleanup, masterClient, startAgent, startMaster, type AgentRig } from "./kit/agent-kit.ts";
import { deploy, specOf, target } from "./kit/executor-kit.ts";
import { masterLeaf } from "./kit/fake-master.ts";

afterEach(cleanup);

const STAGES: BootStage[] = [
  { name: "base", members: [], timeoutMs: 1_000, health: { kind: "none" }, foundation: false },
  { name: "late", members: ["nobody"], timeoutMs: 100, health: { kind: "own" }, foundation: false },
];

async function local(rig: AgentRig): Promise<string> {
  const { local_url: url } = await rig.agent.whenReady;
  const response = await fetch(`${url}/metrics`);
  expect([response.status, response.headers.get("content-type")]).toEqual([200, METRICS_CONTENT_TYPE]);
  return response.text();
}
const valueOf = (text: string, sample: string): number | undefined => {
  const line = text.split("\n").find((one) => one.startsWith(`${sample} `));
  return line === undefined ? undefined : Number(line.slice(sample.length + 1));
};

test("jobs, heartbeats, sessions, boot stages and the certificate; the same to the master and on loopback", async () => {
  const master = await startMaster();
  const rig = await startAgent(master, { boot: STAGES });
  const { agent_url: url } = await rig.agent.whenReady;
  await rig.agent.executor.admit(deploy(target(), 1, specOf("web")));
  const text = await eventually(async () => {
    const seen = await local(rig);
    return valueOf(seen, 'worker_agent_jobs_total{operation="deploy",status="succeeded"}') === 1 && valueOf(seen, 'worker_agent_heartbeat_total{status="ok"}')! > 0 ? seen : undefined;
  }, { what: "the job is counted" });
  expect(valueOf(text, "worker_agent_startup_total")).toBe(1);
  expect(valueOf(text, "worker_agent_registered_total")).toBe(1);
  expect(valueOf(text, "worker_agent_ready")).toBe(1);
  expect(valueOf(text, 'worker_agent_boot_stage_state{stage="base"}')).toBe(4);
  expect(valueOf(text, 'worker_agent_boot_stage_state{stage="late"}')).toBe(3);
  expect(valueOf(text, "worker_agent_cert_expiry_timestamp_seconds")).toBeGreaterThan(1_700_000_000);
  expect(valueOf(text, "worker_agent_active_tasks")).toBe(0);

  const response = await masterClient(masterLeaf(master.authority)).request({ origin: url, path: "/metrics", method: "GET" });
  expect([response.statusCode, response.headers["content-type"]]).toEqual([200, METRICS_CONTENT_TYPE]);
  const names = (metrics: string) => [...new Set(metrics.split("\n").filter((line) => line.startsWith("# TYPE")))];
  expect(names(await response.body.text())).toEqual(names(text));
  if (!("missing" in findPrometheus())) expect(await promtool(["check", "metrics"], { input: text })).toEqual({ code: 0, output: "" });
});

test("what no master has acknowledged is in the outbox, and gets older; refusals and silence are counted", async () => {
  const master = await startMaster();
  // Takes the beats and acknowledges nothing, then refuses.
  master.on("heartbeat", () => ({ status: 204 }));
  const rig = await startAgent(master);
  await rig.agent.whenReady;
  master.on("heartbeat", () => master.reply({}));
  await rig.agent.executor.admit(deploy(target(), 1, specOf("web")));
  const waiting = await eventually(async () => {
    const seen = await local(rig);
    return valueOf(seen, "worker_agent_outbox_size") === 1 && valueOf(seen, "worker_agent_outbox_oldest_seconds")! > 0 ? seen : undefined;
  }, { what: "the outcome waits" });
  expect(valueOf(waiting, 'worker_agent_heartbeat_total{status="refused"}')).toBe(0);
  master.on("heartbeat", () => ({ status: 500, body: {} }));
  await rig.agent.executor.admit(deploy(target(), 1, specOf("other")));
  await eventually(async () => valueOf(await local(rig), 'worker_agent_heartbeat_total{status="refused"}')! > 0, { what: "a refused heartbeat is counted" });
  master.on("heartbeat", ({ body }) => master.reply({ acked: ((body["lifecycle"] ?? []) as { delta_id: string }[]).map(({ delta_id: id }) => ({ delta_id: id, result: "applied" })) }));
  rig.agent.executor.onDelta(() => undefined);
  await rig.agent.executor.admit(deploy(target(), 1, specOf("third")));
  await eventually(async () => {
    const seen = await local(rig);
    return valueOf(seen, "worker_agent_outbox_size") === 0 && valueOf(seen, "worker_agent_outbox_oldest_seconds") === 0;
  }, { what: "everything is acknowledged" });
});

test("an agent that is not enrolled tells of itself, and of no certificate", async () => {
  // The agent tells its port only once it is registered.
  const port = await unusedPort();
  const rig = await startAgent(await startMaster(), { enrolled: false, localPort: port });
  expect(rig.agent.hostId()).toBeUndefined();
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(valueOf(text, "worker_agent_ready")).toBe(0);
  expect(valueOf(text, "worker_agent_registered_total")).toBe(0);
  expect(valueOf(text, "worker_agent_cert_expiry_timestamp_seconds")).toBeUndefined();
});
