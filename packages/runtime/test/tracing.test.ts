/** Traces on their way out: where they go, what they hold, and that a collector can do nothing to us. */
import { createRequire } from "node:module";
import type { Instant, SpanAttributes } from "@skep/core";
import { createIdTracer, createLogger, openTracing, readTraceSettings, systemClock, systemRng, type TraceSettings } from "@skep/runtime";
import { eventually, ManualClock, startOtlpCollector } from "@skep/testkit";
import { describe, expect, test } from "vitest";

const CANARY = "canary5d0e7b";
const PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const read = (env: Record<string, string>) => readTraceSettings(env, "skep-test");
const settingsFor = (url: string, more: Record<string, string> = {}): TraceSettings => read({ OTEL_EXPORTER_OTLP_ENDPOINT: url, ...more }).settings!;

function facts() {
  const lines: string[] = [];
  const logger = createLogger({ level: "debug", name: "test", destination: { write: (line: string) => void lines.push(line) } });
  return { deps: { clock: systemClock(), rng: systemRng(), logger, version: "0.1.0" }, lines, said: (words: string) => lines.filter((line) => line.includes(words)).length };
}
const loaded = (): string[] => Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes("@opentelemetry"));

test("without an endpoint nothing is loaded, and there are ids all the same", async () => {
  const { deps, lines } = facts();
  const tracing = await openTracing(read({}).settings, deps);
  expect(loaded()).toEqual([]);
  expect(tracing.tracer.startSpan("job").traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  expect(tracing.tracer.startSpan("job", { parent: PARENT }).traceparent).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$/);
  await tracing.close(1_000);
  expect(lines).toEqual([]);
  // Control: with one it is.
  await (await openTracing(settingsFor("http://127.0.0.1:1"), deps)).close(1);
  expect(loaded()).not.toEqual([]);
});

describe("settings", () => {
  test("the base gets the signal's path, an endpoint of its own is taken as it is", () => {
    expect(settingsFor("http://collector:4318").url()).toBe("http://collector:4318/v1/traces");
    expect(settingsFor("https://collector/otlp/").url()).toBe("https://collector/otlp/v1/traces");
    expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:1", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://b:2/mine" }).settings?.url()).toBe("http://b:2/mine");
    expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: "" })).toEqual({ settings: undefined, errors: [] });
    expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:1", OTEL_SDK_DISABLED: "true" }).settings).toBeUndefined();
  });

  test("name, share and headers", () => {
    expect(settingsFor("http://a:1")).toMatchObject({ serviceName: "skep-test", ratio: 1 });
    expect(settingsFor("http://a:1", { OTEL_SERVICE_NAME: "mine", OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.25" })).toMatchObject({ serviceName: "mine", ratio: 0.25 });
    expect(settingsFor("http://a:1", { OTEL_TRACES_SAMPLER: "parentbased_always_off" }).ratio).toBe(0);
    expect(settingsFor("http://a:1", { OTEL_EXPORTER_OTLP_HEADERS: "Authorization=Bearer%20x%3D, x-team = blue" }).headers()).toEqual({ authorization: "Bearer x=", "x-team": "blue" });
  });

  test("what is secret is in nothing that is printed or logged", () => {
    const settings = settingsFor(`http://a:1?key=${CANARY}`, { OTEL_EXPORTER_OTLP_HEADERS: `x-key=${CANARY}` });
    expect(settings.headers()["x-key"]).toBe(CANARY);
    expect(settings.url()).toContain(CANARY);
    expect(JSON.stringify(settings)).not.toContain(CANARY);
  });

  test("all faults at once, by name, and none repeats what was given", () => {
    const { settings, errors } = read({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://u:${CANARY}@a`, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc", OTEL_SERVICE_NAME: `a\n${CANARY}`, OTEL_TRACES_SAMPLER: "traceidratio", OTEL_EXPORTER_OTLP_HEADERS: `x y=${CANARY}`,
    });
    expect(settings).toBeUndefined();
    expect(errors.map(({ pointer }) => pointer).sort()).toEqual(["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"]);
    expect(JSON.stringify(errors)).not.toContain(CANARY);
    for (const [endpoint, arg] of [["ftp://a", "1"], ["not a url", "1"], ["http://a", "1.5"], ["http://a", "-1"], ["http://a", "much"]] as const) {
      expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: arg }).errors).toHaveLength(1);
    }
    for (const headers of ["=x", "novalue", "a=%ZZ", "a=b%0d%0ac"]) expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a", OTEL_EXPORTER_OTLP_HEADERS: headers }).errors).toHaveLength(1);
  });
});

describe("export", () => {
  test("parents as they were said, only what the list allows, errors as codes", async () => {
    const collector = await startOtlpCollector();
    const { deps } = facts();
    const { tracer, close } = await openTracing(settingsFor(collector.url, { OTEL_EXPORTER_OTLP_HEADERS: `x-key=${CANARY}-key` }), deps);
    const stray = { deployment: "web", env: { SECRET: CANARY }, args: [CANARY], command: CANARY, token: CANARY, status: `/bin/sh -c ${CANARY}` } as SpanAttributes;
    const parent = tracer.startSpan("dispatch", { parent: PARENT, kind: "client", attributes: stray });
    const child = tracer.startSpan("job", { parent: parent.traceparent, startedAt: 1_700_000_000_000 as Instant });
    child.set(stray);
    child.end({ error: `failed: ${CANARY}`, attributes: stray });
    child.end();
    parent.end({ error: "stale_epoch" });
    await close(60_000);
    const [first, second] = collector.spans();
    expect(first).toMatchObject({ service: "skep-test", traceId: PARENT.slice(3, 35), name: "job", kind: 1, error: "[left out]", attributes: { "skep.deployment": "web" } });
    expect(second).toMatchObject({ traceId: PARENT.slice(3, 35), parentSpanId: "00f067aa0ba902b7", name: "dispatch", kind: 3, error: "stale_epoch" });
    expect(first!.parentSpanId).toBe(second!.spanId);
    expect(collector.spans()).toHaveLength(2);
    expect(collector.bodies.join("")).not.toContain(CANARY);
    expect(collector.headers[0]!["x-key"]).toBe(`${CANARY}-key`);
    await collector.close();
  });

  test("what its sender does not record is not recorded here, and still has its ids", async () => {
    const collector = await startOtlpCollector();
    const { deps } = facts();
    const { tracer, close } = await openTracing(settingsFor(collector.url, { OTEL_TRACES_SAMPLER: "parentbased_always_off" }), deps);
    const quiet = tracer.startSpan("job", { parent: PARENT.replace(/01$/, "00") });
    expect(quiet.traceparent).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-00$/);
    quiet.end();
    tracer.startSpan("job").end();
    tracer.startSpan("job", { parent: PARENT }).end();
    await close(60_000);
    expect(collector.spans().map((span) => span.parentSpanId)).toEqual(["00f067aa0ba902b7"]);
    await collector.close();
  });

  test("a collector that refuses is one line, and one when it takes them again", async () => {
    const collector = await startOtlpCollector();
    const { deps, lines, said } = facts();
    const { tracer, close } = await openTracing(settingsFor(collector.url, { OTEL_EXPORTER_OTLP_HEADERS: `x-key=${CANARY}` }), deps);
    collector.behave("refusing");
    await eventually(() => {
      tracer.startSpan("accept").end();
      return collector.refused() >= 3;
    }, { what: "three refusals" });
    collector.behave("well");
    await eventually(() => {
      tracer.startSpan("accept").end();
      return collector.spans().length > 0 && said("traces are exported again") >= 1;
    }, { what: "the collector is back" });
    await close(60_000);
    expect(said("traces cannot be exported")).toBe(1);
    expect(said("traces are exported again")).toBe(1);
    expect(lines.join("")).not.toContain(CANARY);
    await collector.close();
  });

  test("a collector that hangs holds a stop up for no longer than the limit", async () => {
    const collector = await startOtlpCollector();
    collector.behave("hanging");
    const clock = new ManualClock();
    const { deps } = facts();
    const { tracer, close } = await openTracing(settingsFor(collector.url), { ...deps, clock });
    tracer.startSpan("job").end();
    let closed = false;
    const closing = close(2_000).then(() => (closed = true));
    await eventually(() => clock.sleeping === 1, { what: "the flush is waited for" });
    expect(closed).toBe(false);
    clock.advance(2_000);
    await closing;
    await collector.close();
  });
});

test("ids without a collector are drawn from the chance that is given", () => {
  const tracer = createIdTracer({ float: () => 0, bytes: (length) => new Uint8Array(length).fill(0xab) });
  expect(tracer.startSpan("job").traceparent).toBe(`00-${"ab".repeat(16)}-${"ab".repeat(8)}-00`);
});
