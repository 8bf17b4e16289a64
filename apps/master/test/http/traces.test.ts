/** A request and its trace: what is taken from a caller, what is answered, what is recorded of whom. */
import { seededRng } from "@skep/core";
import { createRecordingTracer } from "@skep/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const tracer = createRecordingTracer(seededRng(4));
const api = useApi({ tracer });
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const GOOD = `00-${TRACE}-00f067aa0ba902b7-01`;
const deploy = (name: string, headers: Record<string, string> = {}, role: "operator" | "viewer" | "none" = "operator") =>
  api.call("POST", "/v1/deployments", { role, headers, body: { name, spec: NOOP, placement: { hosts: ["bee-1"] } } });
beforeEach(async () => {
  if ((await api.call("GET", "/v1/hosts/bee-1")).status === 404) await api.activeHost("bee-1");
  tracer.ended.length = 0;
  api.logs.length = 0;
});

test("a caller's trace is gone on with, answered, kept with the row and told in the log", async () => {
  const answer = await deploy("mine", { traceparent: GOOD });
  expect(answer.status).toBe(202);
  const [span] = tracer.ended;
  expect(tracer.ended).toHaveLength(1);
  expect(span).toMatchObject({ name: "POST /v1/deployments", traceId: TRACE, parentSpanId: "00f067aa0ba902b7", error: undefined, attributes: { "http.request.method": "POST", "http.route": "/v1/deployments", "http.response.status_code": 202 } });
  expect(answer.headers["traceparent"]).toBe(`00-${TRACE}-${span!.spanId}-01`);
  const row = await api.call("GET", `/v1/lifecycle/${answer.json.lifecycle_ids[0]}`);
  expect(row.json.trace_id).toBe(TRACE);
  expect((await api.call("GET", `/v1/explain/lifecycle/${row.json.id}`)).json.trace_id).toBe(TRACE);
  expect((await api.call("GET", "/v1/explain/deployment/mine")).json.trace_id).toBeNull();
  expect(api.logs.map((line) => JSON.parse(line)).find((line) => line.route === "createDeployment")).toMatchObject({ level: "info", trace_id: TRACE, span_id: span!.spanId, status: 202 });
});

test.each(["rubbish", `00-${"0".repeat(32)}-00f067aa0ba902b7-01`, `ff-${TRACE}-00f067aa0ba902b7-01`, `${GOOD}, ${GOOD}`])("a bad header is no error and is not repeated: %s", async (bad) => {
  const answer = await deploy(`bad-${api.logs.length}-${bad.length}-${bad.charCodeAt(0)}`, { traceparent: bad });
  expect(answer.status).toBe(202);
  expect(tracer.ended[0]!.parentSpanId).toBeUndefined();
  expect(answer.headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  expect(`${JSON.stringify(answer.headers)}${answer.text}${api.logs.join("")}`).not.toContain("00f067aa0ba902b7");
});

describe("recorded is", () => {
  test("no poll, unless its caller traces it; ids it has all the same", async () => {
    expect((await api.call("GET", "/v1/hosts")).headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-/);
    expect(tracer.ended).toEqual([]);
    // Rubbish is no trace of its caller's.
    await api.call("GET", "/v1/hosts", { headers: { traceparent: "rubbish" } });
    expect(tracer.ended).toEqual([]);
    await api.call("GET", "/v1/hosts", { headers: { traceparent: GOOD } });
    expect(tracer.ended).toMatchObject([{ name: "GET /v1/hosts", traceId: TRACE }]);
  });

  test("nothing of a stranger, and a refusal by its status", async () => {
    expect((await deploy("x", { traceparent: GOOD }, "none")).status).toBe(401);
    expect((await api.call("POST", "/nowhere", { headers: { traceparent: GOOD } })).status).toBe(404);
    expect(tracer.ended).toEqual([]);
    expect((await deploy("y", { traceparent: GOOD }, "viewer")).status).toBe(403);
    expect(tracer.ended).toMatchObject([{ traceId: TRACE, error: "http_403" }]);
  });

  test("nothing that a request holds", async () => {
    const canary = "canary-2c81";
    await api.call("POST", `/v1/deployments/${canary}/mutate?x=${canary}`, { headers: { traceparent: GOOD, "x-request-id": canary }, body: { env: { SECRET: canary } } });
    expect(tracer.ended).toHaveLength(1);
    expect(JSON.stringify(tracer.ended)).not.toContain(canary);
  });
});
