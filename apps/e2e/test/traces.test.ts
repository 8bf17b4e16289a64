/**
 * One trace through everything: from the operator's request by way of PostgreSQL, the push, the agent's journal and its
 * runner to the delta, over two processes that may both be killed on the way. The collector is a real one as far as
 * the exporters can tell.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, startOtlpCollector, type CollectedSpan } from "@skep/testkit";
import { afterAll, expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { ended } from "../src/harness/operations.ts";
import { useFleet } from "./kit/use-fleet.ts";

const HEADER_CANARY = "canary-of-the-exporters-headers-91b2";
const ENV_CANARY = "canary-of-the-environment-3fd0";
const ARG_CANARY = "canary-of-the-arguments-77ac";

const collector = await startOtlpCollector();
const OTEL = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_HEADERS: `x-key=${HEADER_CANARY}`, SKEP_LOG_LEVEL: "debug" };
let agent: Agent;
const site = useFleet("traces", { intervalMs: 500, masterEnv: OTEL }, async (fleet) => {
  agent = await fleet.addAgent("bee-1", { env: OTEL });
});
afterAll(() => collector.close());

const traceIdOf = (round: number): string => round.toString(16).padStart(32, "ab");
const incoming = (traceId: string): string => `00-${traceId}-00f067aa0ba902b7-01`;
const ofTrace = (traceId: string): CollectedSpan[] => collector.spans().filter((span) => span.traceId === traceId);
const web = (name: string, probe?: object): object => ({
  // Nothing is tried again by itself: a failpoint must meet the job that it is meant for.
  name, placement: { hosts: ["bee-1"] }, reconcile: "report",
  spec: { driver: "process", components: [{ name: "web", command: ["/bin/sh", "-c", "exec sleep 3600", ARG_CANARY], env: { SECRET: ENV_CANARY }, stop_timeout_s: 1, ...(probe === undefined ? {} : { probe }) }] },
});
const linesOf = (logs: string, traceId: string): Record<string, unknown>[] =>
  logs.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Record<string, unknown>).filter((line) => line["trace_id"] === traceId);

async function deploy(body: object, headers: Readonly<Record<string, string>>): Promise<{ id: string; headers: Readonly<Record<string, string | string[] | undefined>> }> {
  // A host whose agent has just come back may not have been heard yet, and one on a busy machine not lately.
  const answer = await eventually(async (status) => {
    const reply = await site.fleet.api.post("/v1/deployments", body, headers);
    status(`${reply.status} ${reply.body.code ?? ""}`);
    return reply.status === 202 ? reply : undefined;
  }, { what: "it is accepted", timeoutMs: 60_000 });
  return { id: answer.body.lifecycle_ids[0] as string, headers: answer.headers };
}

/** The lines of a trace are written when what they tell is in the ledger already, and reach us when they do. */
const logged = (logs: () => string, traceId: string, ...messages: readonly string[]): Promise<unknown> =>
  eventually((status) => {
    const lines = linesOf(logs(), traceId).map((line) => line["msg"]);
    status(lines.join("; "));
    return messages.every((message) => lines.includes(message));
  }, { what: `the lines "${messages.join('", "')}" of trace ${traceId}`, timeoutMs: 60_000 });

const arrived = (traceId: string, names: readonly string[]): Promise<CollectedSpan[]> =>
  eventually((status) => {
    const spans = ofTrace(traceId);
    status(spans.map((span) => `${span.service} ${span.name}`).join(", "));
    return names.every((name) => spans.some((span) => span.name === name)) ? spans : undefined;
  }, { what: `spans ${names.join(", ")}`, timeoutMs: 60_000 });

test("a deploy is one tree from the request to the delta, through both processes, in spans and in logs", async () => {
  const traceId = traceIdOf(1);
  const { id, headers } = await deploy(web("one"), { traceparent: incoming(traceId) });
  expect(headers["traceparent"]).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
  expect((await ended(site.fleet.api, [id]))[0]).toMatchObject({ status: "succeeded", trace_id: traceId });
  expect(await site.fleet.api.get(`/v1/explain/lifecycle/${id}`)).toMatchObject({ trace_id: traceId });
  await arrived(traceId, ["POST /v1/deployments", "job", "step prepare", "step start", "step healthy"]);
  // The outcome is the last to be told: two deltas, that it runs and that it succeeded.
  const spans = await eventually(() => (ofTrace(traceId).some((span) => span.name === "apply delta" && span.attributes["skep.status"] === "succeeded") && ofTrace(traceId).some((span) => span.name === "send delta" && span.attributes["skep.status"] === "succeeded") ? ofTrace(traceId) : undefined), { what: "the outcome's spans", timeoutMs: 60_000 });

  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const pathOf = (span: CollectedSpan): string[] => [...(byId.has(span.parentSpanId) ? pathOf(byId.get(span.parentSpanId)!) : [span.parentSpanId]), `${span.service} ${span.name}`];
  // Every span hangs below the caller's own, by way of spans that are there.
  expect(spans.filter((span) => pathOf(span)[0] !== "00f067aa0ba902b7").map(pathOf)).toEqual([]);
  const outcome = spans.find((span) => span.name === "apply delta" && span.attributes["skep.status"] === "succeeded")!;
  const [, ...path] = pathOf(outcome);
  // Pushed or offered with a beat: whichever came first.
  expect(path.filter((name) => !/ (dispatch|offer)$/.test(name))).toEqual(["skep-master POST /v1/deployments", "skep-agent accept", "skep-agent job", "skep-agent send delta", "skep-master apply delta"]);
  expect(path).toHaveLength(6);
  expect(pathOf(spans.find((span) => span.name === "step start")!).slice(-2)).toEqual(["skep-agent job", "skep-agent step start"]);
  expect(spans.find((span) => span.name === "step start")!.attributes).toMatchObject({ "skep.deployment": "one", "skep.component": "web", "skep.operation": "deploy", "skep.lifecycle_id": id });

  await logged(() => site.fleet.master.logs(), traceId, "request", "a delta was taken");
  await logged(() => agent.logs(), traceId, "a job was accepted", "a job ended");
});

test("the collector gets its key, and nobody gets anything else that is secret", async () => {
  const exported = collector.bodies.join("\n");
  for (const canary of [HEADER_CANARY, ENV_CANARY, ARG_CANARY, "/bin/sh", site.fleet.api.token]) expect(exported).not.toContain(canary);
  expect(new Set(collector.headers.map((headers) => headers["x-key"]))).toEqual(new Set([HEADER_CANARY]));
  for (const logs of [site.fleet.master.logs(), agent.logs()]) for (const canary of [HEADER_CANARY, ENV_CANARY, ARG_CANARY]) expect(logs).not.toContain(canary);
  // Control: the words that are meant to be there are there.
  expect(exported).toContain("skep.deployment");
});

test.each([
  ["after_journal", "alone", 100], ["after_begun", "and its master with it", 101],
] as const)("an agent killed %s, %s, goes on in the same trace", async (failpoint, company, round) => {
  const traceId = traceIdOf(round);
  await agent.kill();
  await agent.start({ SKEP_FAILPOINT: `${failpoint}:kill` });
  const { id } = await deploy(web(`kill-${failpoint.replaceAll("_", "-")}`), { traceparent: incoming(traceId) });
  await eventually(() => !agent.running(), { what: `the agent dies ${failpoint}`, timeoutMs: 60_000 });
  // In the very middle of the job both are gone at once.
  if (company !== "alone") {
    await site.fleet.master.kill();
    await site.fleet.master.start();
  }
  await agent.start();
  const [row] = await ended(site.fleet.api, [id], 60_000);
  expect(row).toMatchObject({ trace_id: traceId });
  await arrived(traceId, ["send delta", "apply delta"]);
  await eventually(() => linesOf(agent.logs(), traceId).some((line) => line["msg"] === "a job ended" || line["msg"] === "an unfinished job was settled by looking"), { what: "the agent tells how the job ended", timeoutMs: 60_000 });
  await logged(() => site.fleet.master.logs(), traceId, "a delta was taken");
});

test("an agent killed between a job's end and its report goes on in the same trace", async () => {
  const { fleet } = site;
  const traceId = traceIdOf(102);
  const gate = join(fleet.dir, "gate");
  const gated = web("kill-before-report", { type: "exec", command: ["/bin/test", "-e", gate], interval_ms: 100, start_period_ms: 600_000 });
  const { id } = await deploy(gated, { traceparent: incoming(traceId) });
  await logged(() => agent.logs(), traceId, "a job was accepted");
  // It ends while its master stands still: the outcome is in the journal, and nobody has said that it was heard.
  fleet.master.program()!.kill("SIGSTOP");
  try {
    writeFileSync(gate, "");
    await logged(() => agent.logs(), traceId, "a job ended");
    await agent.kill();
  } finally {
    fleet.master.program()!.kill("SIGCONT");
  }
  await agent.start();
  const [row] = await ended(fleet.api, [id], 60_000);
  expect(row).toMatchObject({ status: "succeeded", trace_id: traceId });
  await arrived(traceId, ["send delta", "apply delta"]);
  await logged(() => fleet.master.logs(), traceId, "a delta was taken");
});

test.each(["after_commit", "before_record"])("a master killed %s goes on in the same trace", async (failpoint) => {
  const traceId = traceIdOf(200 + ["after_commit", "before_record"].indexOf(failpoint));
  const { fleet } = site;
  await fleet.master.kill();
  await fleet.master.start({ SKEP_FAILPOINT: failpoint });
  await eventually(async () => (await fleet.api.get("/v1/hosts/bee-1")).status === "active", { what: "the host is active", timeoutMs: 60_000 });
  const name = `master-${failpoint.replaceAll("_", "-")}`;
  // Killed after the commit it never answers; the row is there all the same. A refusal is for a host not heard of yet.
  await eventually(() => fleet.api.post("/v1/deployments", web(name), { traceparent: incoming(traceId) }).then(({ status }) => status === 202, () => true), { what: "it is asked for", timeoutMs: 60_000 });
  await eventually(() => !fleet.master.running(), { what: `the master dies ${failpoint}`, timeoutMs: 60_000 });
  await fleet.master.start();
  const [row] = await eventually(async () => {
    const { items } = await fleet.api.get(`/v1/lifecycle?deployment=${name}`);
    return items.length === 1 && items[0].completed_at !== null ? items : undefined;
  }, { what: "its row has ended", timeoutMs: 60_000 });
  expect(row).toMatchObject({ status: "succeeded", trace_id: traceId });
  // What the dead one had not sent yet is lost with it; what it began is gone on with.
  await arrived(traceId, ["accept", "job", "send delta", "apply delta"]);
  await logged(() => fleet.master.logs(), traceId, "a delta was taken");
  await logged(() => agent.logs(), traceId, "a job ended");
});

test("a request without a trace gets one, and a bad header is as good as none", async () => {
  const { api } = site.fleet;
  const bad = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
  for (const { id, headers } of [await deploy(web("fresh"), {}), await deploy(web("bad"), { traceparent: bad })]) {
    expect(headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    const [, traceId] = String(headers["traceparent"]).split("-");
    expect(traceId).not.toMatch(/^0+$/);
    expect((await ended(api, [id]))[0]).toMatchObject({ trace_id: traceId });
  }
});

test("an agent without a collector is in the trace all the same: in its logs, and as a way through", async () => {
  const { fleet } = site;
  const traceId = traceIdOf(400);
  const quiet = await fleet.addAgent("bee-2");
  const { id } = await deploy({ ...web("quiet"), placement: { hosts: ["bee-2"] } }, { traceparent: incoming(traceId) });
  expect((await ended(fleet.api, [id]))[0]).toMatchObject({ status: "succeeded", trace_id: traceId });
  await arrived(traceId, ["POST /v1/deployments", "apply delta"]);
  await logged(() => quiet.logs(), traceId, "a job was accepted", "a job ended");
  expect(new Set(ofTrace(traceId).map((span) => span.service))).toEqual(new Set(["skep-master"]));
});

test("a stop sends what is waiting", async () => {
  const { api } = site.fleet;
  const traceId = traceIdOf(300);
  const { id } = await deploy(web("last"), { traceparent: incoming(traceId) });
  await ended(api, [id]);
  await agent.kill("SIGTERM");
  // The process is gone: what is there now it sent before it left.
  expect(ofTrace(traceId).map((span) => span.name)).toEqual(expect.arrayContaining(["accept", "job", "send delta"]));
});
