/** Following: nothing is passed over, nothing is shown twice, and a break is said. */
import { expect, test, beforeEach, afterEach } from "vitest";
import { eventually } from "@skep/testkit";
import fc from "fast-check";
import type { ServerResponse } from "node:http";
import { createSseParser, type Frame } from "../src/api/sse.ts";
import { problem, startFakeApi, type FakeApi, type Seen } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { event } from "./samples.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());

const head = (response: ServerResponse): void => void response.writeHead(200, { "content-type": "text/event-stream" });
const frame = (id: string | undefined, name: string, data: unknown): string => `${id === undefined ? "" : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

test("a stream is the same however its bytes are cut", () => {
  const text = `retry: 2000\nid: a\n\n: still here\n\nid: b\r\nevent: host.created\r\ndata: {"text":"ünï ✓ 🙂"}\r\n\r\ndata: one\ndata: two\n\nid: c\n\n`;
  const whole = createSseParser().push(Buffer.from(text));
  expect(whole).toEqual<Frame[]>([
    { id: "a", event: "message", data: "", retryMs: 2_000 },
    { id: "b", event: "host.created", data: '{"text":"ünï ✓ 🙂"}', retryMs: undefined },
    { id: undefined, event: "message", data: "one\ntwo", retryMs: undefined },
    { id: "c", event: "message", data: "", retryMs: undefined },
  ]);
  fc.assert(fc.property(fc.array(fc.nat(Buffer.byteLength(text)), { maxLength: 12 }), (cuts) => {
    const parser = createSseParser();
    const bytes = Buffer.from(text);
    const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
    expect(edges.slice(1).flatMap((end, i) => parser.push(bytes.subarray(edges[i], end)))).toEqual(whole);
  }));
});

/** The ledger's side: a stream that breaks after `perConnection` events, resumed by Last-Event-ID. */
function ledger(total: number, perConnection: number) {
  return ({ query, lastEventId }: Seen, response: ServerResponse) => {
    if (lastEventId === undefined) return { body: { items: [event(1), event(2)], next_cursor: "lineage.1.1" } };
    head(response);
    const from = Number(lastEventId.split(".")[1]);
    // With a promise to come back soon, so that the test does not wait.
    response.write(`retry: 1\nid: ${lastEventId}\n\n`);
    for (let n = from + 1; n <= Math.min(total, from + perConnection); n++) response.write(frame(`lineage.${n}.${n}`, "lifecycle.succeeded", event(n)));
    if (from + perConnection < total) response.end();
    expect(query["host"]).toBe("web-01");
    return "hold" as const;
  };
}

test("events -f takes the stream up where it broke: each once, in order", async () => {
  const stop = new AbortController();
  api.on("listEvents", ledger(9, 3));
  const ran = await skep(["events", "-f", "--host", "web-01", "--json"], { url: api.url, clock: hastyClock(), signal: stop.signal, onOut: (all) => all.includes("event 9") && stop.abort() });
  expect(ran.out.trim().split("\n").map((line) => (JSON.parse(line) as { message: string }).message)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `event ${n}`));
  expect(api.seen.slice(1).map((seen) => seen.lastEventId)).toEqual(["lineage.1.1", "lineage.4.4", "lineage.7.7"]);
  expect(ran.code).toBe(130);
  expect(ran.err).toContain("the master closed the stream");
  expect(ran.err).toContain("skep events -f --since-cursor lineage.9.9");
});

test("--since-cursor starts there and asks for no past", async () => {
  const stop = new AbortController();
  api.on("listEvents", ledger(5, 9));
  const ran = await skep(["events", "-f", "--host", "web-01", "--since-cursor", "lineage.3.3"], { url: api.url, signal: stop.signal, onOut: (all) => all.includes("event 5") && stop.abort() });
  expect(ran.out).toBe(`2026-11-20 19:58:24Z  lifecycle.succeeded   event 4\n2026-11-20 19:58:25Z  lifecycle.succeeded   event 5\n`);
});

test.each([["cursor_expired", 5], ["unauthenticated", 4], ["host_not_found", 3]] as const)("%s is not cured by connecting again", async (code, exit) => {
  api.on("listEvents", problem(code));
  expect((await skep(["events", "-f", "--since-cursor", "lineage.3.3"], { url: api.url, clock: hastyClock() })).code).toBe(exit);
  expect(api.seen).toHaveLength(1);
});

test("a problem inside the stream ends it as that problem does", async () => {
  api.on("listEvents", (_, response) => {
    head(response);
    response.end(frame(undefined, "problem", problem("cursor_expired").body));
    return "hold";
  });
  const ran = await skep(["events", "-f", "--since-cursor", "lineage.3.3"], { url: api.url });
  expect(ran.code).toBe(5);
  expect(ran.err).toContain("cursor_expired");
});

test("a master that is away before the first word is an error; one that goes away later is waited for", async () => {
  expect((await skep(["events", "-f", "--since-cursor", "a.1.1"], { url: "http://127.0.0.1:1", clock: hastyClock() })).code).toBe(11);

  const stop = new AbortController();
  let streams = 0;
  api.on("listEvents", (_, response) => {
    streams += 1;
    if (streams > 1 && streams < 12) return problem("database_unavailable");
    head(response);
    response.write(frame(`lineage.${streams}.${streams}`, "host.created", event(streams)));
    if (streams === 1) response.end();
    return "hold";
  });
  const ran = await skep(["events", "-f", "--since-cursor", "a.1.1"], { url: api.url, clock: hastyClock(), signal: stop.signal, onOut: (all) => all.includes("event 12") && stop.abort() });
  expect(ran.code).toBe(130);
  expect(ran.err).toContain("connected again");
});

test("without -f: the newest, and from where to go on", async () => {
  api.on("listEvents", { body: { items: [event(1, { severity: "error", message: "bad\u001b[2J" }), event(2)], next_cursor: "lineage.2.2" } });
  const ran = await skep(["events"], { url: api.url });
  expect(ran.out).toBe("2026-11-20 19:58:21Z  lifecycle.succeeded   bad\\x1b[2J\n2026-11-20 19:58:22Z  lifecycle.succeeded   event 2\n");
  expect(ran.err).toBe("Go on from here: --since-cursor lineage.2.2\n");
});

const line = (offset: number, text: string, host = "web-01") => ({ host, component: "web", offset, text });

test("logs: lines with their origin, and what could not be read beside them", async () => {
  api.on("getDeploymentLogs", { body: { items: [line(0, "hello"), line(6, "two\u001b[31m", "db-1")], errors: [{ host: "web-02", component: "web", error: "host_unreachable: away" }] } });
  const ran = await skep(["logs", "web", "--component", "web"], { url: api.url });
  expect(ran).toEqual({ code: 0, out: "web-01 web | hello\ndb-1 web   | two\\x1b[31m\n", err: "web-02 web: host_unreachable: away\n" });
  expect(api.seen[0]!.query).toEqual({ component: "web", tail_bytes: "16384" });
});

test("logs of which nothing could be read are a failure", async () => {
  api.on("getDeploymentLogs", { body: { items: [], errors: [{ host: "web-02", component: "web", error: "host_unreachable: away" }] } });
  expect((await skep(["logs", "web"], { url: api.url })).code).toBe(1);
});

test("logs -f: after a break the overlap is shown once, and output that began anew is shown", async () => {
  const stop = new AbortController();
  let streams = 0;
  api.on("getDeploymentLogs", (_, response) => {
    head(response);
    streams += 1;
    response.write("retry: 1\n\n");
    if (streams === 1) {
      for (const item of [line(0, "a"), line(2, "b")]) response.write(frame(undefined, "log", item));
      response.write(frame(undefined, "log_error", { host: "web-02", component: "web", error: "away" }));
      response.end();
    } else for (const item of [line(0, "a"), line(2, "b"), line(4, "c"), line(0, "anew"), line(5, "end")]) response.write(frame(undefined, "log", item));
    return "hold";
  });
  const ran = await skep(["logs", "web", "-f", "--tail-bytes", "100"], { url: api.url, clock: hastyClock(), signal: stop.signal, onOut: (all) => all.includes("end") && stop.abort() });
  expect(ran.out.trim().split("\n").map((text) => text.split(" | ")[1])).toEqual(["a", "b", "c", "anew", "end"]);
  expect(ran.err).toContain("web-02 web: away");
  expect(api.seen.map((seen) => seen.query["tail_bytes"])).toEqual(["100", "65536"]);
  await eventually(() => streams === 2, { what: "two streams" });
});
