/** Logs: every byte once and in order, characters whole, and what could not be read is said. */
import { seedFromEnv, eventually } from "@skep/testkit";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { boundaryBefore, createLineSplitter, readTail, type LogSource } from "../../src/http/read-logs.ts";
import { fakeAgents } from "./harness.ts";
import { readSse } from "./sse.ts";
import { NOOP, useApi } from "./use-api.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("lines", () => {
  test("however the bytes are cut, the lines and their offsets are the same", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.replaceAll(/[\n\r]/g, "·")), { maxLength: 20 }), fc.infiniteStream(fc.integer({ min: 1, max: 9 })), (texts, cuts) => {
        const all = bytes(texts.map((text) => `${text}\n`).join(""));
        const splitter = createLineSplitter(100);
        const lines = [];
        for (let at = 0; at < all.length; ) {
          const step = cuts.next().value as number;
          lines.push(...splitter.push(all.subarray(at, at + step)));
          at += step;
        }
        lines.push(...splitter.flush());
        expect(lines.map((line) => line.text)).toEqual(texts);
        let offset = 100;
        for (const [index, line] of lines.entries()) {
          expect(line.offset).toBe(offset);
          offset += bytes(texts[index]!).length + 1;
        }
      }),
      { seed: seedFromEnv(), numRuns: 200 },
    );
  });
  test("an endless line is cut between characters and goes on", () => {
    const splitter = createLineSplitter(0);
    const lines = [...splitter.push(bytes("é".repeat(10_000))), ...splitter.flush()];
    expect(lines.map((line) => line.text).join("")).toBe("é".repeat(10_000));
    expect(lines.length).toBeGreaterThan(1);
  });
  test("what is not UTF-8 is shown as what it is not, and loses no line", () => {
    const lines = createLineSplitter(0).push(Uint8Array.of(0xff, 0xfe, 0x0a, 0x61, 0x0a));
    expect(lines.map((line) => line.text)).toEqual(["\ufffd\ufffd", "a"]);
    expect(boundaryBefore(new Uint8Array(100).fill(0x80), 50)).toBe(50);
  });
  test("a tail begins at a line's beginning; an offset is taken at its word", async () => {
    const agents = fakeAgents();
    agents.outputs.set("p/app", bytes("first line\nsecond\nthird\n"));
    const source = { host: { name: "h" }, placementId: "p", component: "app" } as LogSource;
    expect((await readTail(agents, source, 10, undefined)).lines).toEqual([{ offset: 18, text: "third" }]);
    expect((await readTail(agents, source, 6, 11)).lines).toEqual([{ offset: 11, text: "second" }]);
    expect((await readTail(agents, source, 0, undefined)).lines).toEqual([]);
  });
  test("more than one chunk of the agent's is read to the end", async () => {
    const agents = fakeAgents();
    const text = Array.from({ length: 30_000 }, (_, n) => `line ${n}\n`).join("");
    agents.outputs.set("p/app", bytes(text));
    const { lines } = await readTail(agents, { host: { name: "h" }, placementId: "p", component: "app" } as LogSource, 1_048_576, undefined);
    expect(lines).toHaveLength(30_000);
  });
});

describe("over the API", () => {
  const api = useApi();
  let placements: { id: string; host: string }[] = [];
  beforeAll(async () => {
    await api.activeHost("log-1");
    await api.activeHost("log-2");
    const spec = { ...NOOP, components: [{ name: "app" }, { name: "db" }] };
    await api.call("POST", "/v1/deployments", { body: { name: "logged", spec, placement: { hosts: ["log-1", "log-2"] } } });
    placements = (await api.call("GET", "/v1/placements?deployment=logged")).json.items;
  });

  test("what was read and what could not be are both in the answer", async () => {
    for (const { id, host } of placements) api.agents.outputs.set(`${id}/app`, bytes(`hello from ${host}\n`));
    const { json } = await api.call("GET", "/v1/deployments/logged/logs");
    expect(json.items.map((line: { host: string; text: string }) => [line.host, line.text]).sort()).toEqual([["log-1", "hello from log-1"], ["log-2", "hello from log-2"]]);
    expect(json.errors).toHaveLength(2);
    expect(json.errors[0]).toMatchObject({ component: "db", error: "logs_not_found: db" });
    expect((await api.call("GET", "/v1/deployments/logged/logs?component=app&host=log-2")).json).toMatchObject({ items: [{ host: "log-2" }], errors: [] });
    expect((await api.call("GET", "/v1/deployments/logged/logs?component=nope")).json.code).toBe("unknown_component");
  });

  test("following tells the tail, then every new line once, and says when a host falls silent and is back", async () => {
    const url = await api.listener.listen({ host: "127.0.0.1", port: 0 });
    const key = `${placements.find((item) => item.host === "log-1")!.id}/app`;
    const reader = await readSse(`${url}/v1/deployments/logged/logs?follow=true&host=log-1&component=app`, { authorization: `Bearer ${api.tokens.viewer}` });
    const texts = () => reader.events().filter((frame) => frame.event === "log").map((frame) => frame.data.text);
    await eventually(() => texts().length === 1, { what: "the tail" });
    api.agents.outputs.set(key, bytes("hello from log-1\nsecond\nthird ünd "));
    await eventually(() => texts().length >= 2, { what: "the second line" });
    api.agents.deaf = true;
    await eventually(() => reader.events().some((frame) => frame.event === "log_error"), { what: "the silence is told" });
    api.agents.deaf = false;
    api.agents.outputs.set(key, bytes("hello from log-1\nsecond\nthird ünd vierte\n"));
    await eventually(() => texts().length >= 3 && texts().join("|").includes("vierte"), { what: "the rest" });
    expect(texts().join("")).toBe("hello from log-1secondthird ünd vierte");
    expect(reader.events().filter((frame) => frame.event === "log_error")).toMatchObject([{ data: { host: "log-1", component: "app", error: "host_unreachable: log-1 does not answer" } }]);
    reader.close();
    await eventually(() => api.listener.streams() === 0, { what: "the stream is given back" });
  });
});
