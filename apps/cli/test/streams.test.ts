/** Following: nothing is passed over, nothing is shown twice, and a break is said. */
import { expect, test, beforeEach, afterEach } from "vitest";
import { tempDir } from "@skep/testkit";
import fc from "fast-check";
import { writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { createSseParser, type Frame } from "../src/api/sse.ts";
import { parsePositions, positionToken } from "../src/positions.ts";
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

const ID = "0199a3c4-0000-7000-8000-00000000000";
/** Of host 1 or 2; each line is followed by its newline. */
const line = (offset: number, text: string, host = 1) => ({ host: `web-0${host}`, placement_id: `${ID}${host}`, component: "web", offset, next: offset + text.length + 1, text });
const source = (host = 1) => ({ host: `web-0${host}`, placement_id: `${ID}${host}`, component: "web" });
const at = (offset: number, host = 1) => ({ ...source(host), offset });

test("logs: lines with their origin, and what is gone or could not be read beside them", async () => {
  api.on("getDeploymentLogs", { body: { items: [line(0, "hello"), line(6, "two\u001b[31m", 2)], gaps: [{ ...source(), kind: "rotated", rotated_bytes: 7, from: 0, to: 7 }], errors: [{ ...source(2), error: "host_unreachable: away" }], positions: [at(6)] } });
  const ran = await skep(["logs", "web", "--component", "web"], { url: api.url });
  expect(ran).toEqual({ code: 0, out: "web-01/web | hello\nweb-02/web | two\\x1b[31m\n", err: "web-01/web: 7 bytes were rotated away\nweb-02/web: host_unreachable: away\n" });
  expect(api.seen[0]!.query).toEqual({ component: "web", tail_bytes: "16384" });
  await skep(["logs", "web", "--tail", "3"], { url: api.url });
  expect(api.seen[1]!.query).toEqual({ tail_bytes: "1048576", tail_lines: "3" });
});

test("logs of which nothing could be read are a failure", async () => {
  api.on("getDeploymentLogs", { body: { items: [], gaps: [], errors: [{ ...source(2), error: "host_unreachable: away" }], positions: [] } });
  expect((await skep(["logs", "web"], { url: api.url })).code).toBe(1);
});

test("logs -f: after a break it goes on at its positions, and what was said of a host is not said again", async () => {
  const stop = new AbortController();
  const away = frame(undefined, "log_error", { ...source(2), error: "host_unreachable: away" });
  const streams = [
    // Named but not read: to begin again is complete.
    [frame(undefined, "log_position", at(-100)), frame(undefined, "log_position", at(-100, 2))],
    [frame(undefined, "log_position", at(-100)), frame(undefined, "log_position", at(-100, 2)), frame(undefined, "log_position", at(40)), away, frame(undefined, "log", line(40, "a")), frame(undefined, "log_gap", { ...source(), kind: "rotated", rotated_bytes: 58, from: 42, to: 100 })],
    [frame(undefined, "log_position", at(100)), away, frame(undefined, "log", line(100, "b")), frame(undefined, "log_readable", source(2)), frame(undefined, "log_end", { ...source(2), read: true })],
    [frame(undefined, "log", line(102, "end"))],
  ];
  let next = 0;
  api.on("followDeploymentLogs", (_, response) => {
    head(response);
    response.write("retry: 1\n\n");
    const frames = streams[next++] ?? [];
    for (const text of frames) response.write(text);
    if (next < streams.length) response.end();
    return "hold";
  });
  const ran = await skep(["logs", "web", "-f", "--tail-bytes", "100"], { url: api.url, clock: hastyClock(), signal: stop.signal, onOut: (all) => all.includes("end") && stop.abort() });
  expect(ran.code).toBe(130);
  expect(ran.out).toBe("web-01/web | a\nweb-01/web | b\nweb-01/web | end\n");
  expect(ran.err.split("\n").filter((text) => text.startsWith("web-0"))).toEqual([
    "web-02/web: host_unreachable: away; asking again until it can be read", "web-01/web: 58 bytes were rotated away", "web-02/web: can be read again",
  ]);
  expect(api.seen.map((seen) => (seen.body as { positions?: unknown }).positions)).toEqual([
    undefined, undefined, { [`${ID}1/web`]: 100, [`${ID}2/web`]: -100 }, { [`${ID}1/web`]: 102 },
  ]);
  const token = /--from (pos_\S+)/.exec(ran.err)![1]!;
  expect(parsePositions(token, "x")).toEqual({ [`${ID}1/web`]: 106 });
});

function caughtUp(...frames: readonly string[]): void {
  api.on("followDeploymentLogs", (_, response) => {
    head(response);
    response.end([...frames, frame(undefined, "log_caught_up", {})].join(""));
    return "hold";
  });
}

test("--from and --since-offset without -f end when everything was read, and say where they ended", async () => {
  caughtUp(frame(undefined, "log_position", at(5)), frame(undefined, "log", line(5, "x")));
  const ran = await skep(["logs", "web", "--since-offset", "5", "--json"], { url: api.url });
  expect([ran.code, ran.out.trim().split("\n").map((text) => JSON.parse(text) as unknown)]).toEqual([0, [{ position: at(5) }, line(5, "x"), { positions: { [`${ID}1/web`]: 7 } }]]);
  expect(api.seen[0]!.body).toMatchObject({ offset: 5, until: "caught_up" });
  // Its own output is a place to go on from: whole, cut off in the middle of a line, and as a stdin.
  const file = join(tempDir("logs"), "out.ndjson");
  writeFileSync(file, `${ran.out}${JSON.stringify(line(7, "y"))}\n{"host":"web-0`);
  await skep(["logs", "web", "--from", file], { url: api.url });
  await skep(["logs", "web", "--from", "-"], { url: api.url, stdin: ran.out });
  expect(api.seen.slice(1).map((seen) => (seen.body as { positions?: unknown }).positions)).toEqual([{ [`${ID}1/web`]: 9 }, { [`${ID}1/web`]: 7 }]);
});

test("nothing but trouble is a failure when reading on, too", async () => {
  caughtUp(frame(undefined, "log_position", at(-10, 2)), frame(undefined, "log_error", { ...source(2), error: "host_unreachable: away" }));
  expect(await skep(["logs", "web", "--since-offset", "0"], { url: api.url })).toMatchObject({ code: 1, out: "" });
});

test("what is no position, and two places to begin at, are refused before anything is asked", async () => {
  const file = join(tempDir("logs"), "bad");
  for (const text of ["", "hello\nyou\n", '{"positions":{"x":1}}', "[]\n{}\n"]) {
    writeFileSync(file, text);
    expect([text, (await skep(["logs", "web", "--from", file], { url: api.url })).code]).toEqual([text, 2]);
  }
  for (const argv of [["--from", "pos_x"], ["--from", "/nonexistent"], ["--tail", "3", "--since-offset", "1"], ["--tail", "-1"]]) expect((await skep(["logs", "web", ...argv], { url: api.url })).code).toBe(2);
  expect(api.seen).toEqual([]);
});

test("positions survive being written down", () => {
  fc.assert(fc.property(fc.dictionary(fc.uuid().map((id) => `${id}/web`), fc.nat()), (positions) => {
    const token = positionToken(positions);
    if (token !== undefined) expect(parsePositions(token, "x")).toEqual(positions);
  }));
  expect(positionToken(Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`${n}${ID}1/web`, n])))).toBeUndefined();
});
