/** Logs: every byte once and in order, characters whole, and what could not be read is said. */
import { seedFromEnv, eventually } from "@skep/testkit";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { createLogCursor, type LogNews } from "../../src/http/log-cursor.ts";
import { boundaryBefore, createLineSplitter, wholeCharacters } from "../../src/http/log-lines.ts";
import { readOnce, type LogSource } from "../../src/http/read-logs.ts";
import { fakeAgents } from "./harness.ts";
import { readSse, type Reader } from "./sse.ts";
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
  test("a character is never torn, and what is not one does not hold up the rest", () => {
    const splitter = createLineSplitter(0);
    expect(splitter.push(bytes("prompt ü").subarray(0, 8))).toEqual([]);
    expect(splitter.flush()).toEqual([{ offset: 0, next: 7, text: "prompt " }]);
    expect(splitter.push(bytes("ü\n").subarray(1))).toEqual([{ offset: 7, next: 10, text: "ü" }]);
    for (const [text, cut, whole] of [["🙂", 3, 0], ["a🙂", 2, 1], ["aé", 3, 3], ["é", 1, 0], ["abc", 3, 3]] as const) expect(wholeCharacters(bytes(text).subarray(0, cut))).toBe(whole);
    expect(wholeCharacters(Uint8Array.of(0x61, 0xff))).toBe(2);
    expect(wholeCharacters(new Uint8Array(9).fill(0x80))).toBe(9);
  });
});

describe("reading once", () => {
  const source = { host: { name: "h" }, placementId: "p", component: "app" } as LogSource;
  const read = async (text: string | undefined, start: Parameters<typeof createLogCursor>[0], maxBytes = 1_048_576, kept = 0) => {
    const agents = fakeAgents();
    if (text !== undefined) agents.outputs.set("p/app", bytes(text));
    agents.kept.set("p/app", kept);
    const { news, next, error } = await readOnce(agents, source, start, maxBytes);
    return { lines: news.flatMap((one) => (one.kind === "line" ? [one.line] : [])), gaps: news.filter((one) => one.kind === "gap"), next, error };
  };
  test("a tail begins at a line's beginning; an offset is taken at its word", async () => {
    const text = "first line\nsecond\nthird\n";
    expect(await read(text, { kind: "tail", bytes: 10 })).toMatchObject({ lines: [{ offset: 18, next: 24, text: "third" }], next: 24 });
    expect((await read(text, { kind: "offset", at: 11 }, 6)).lines).toEqual([{ offset: 11, next: 17, text: "second" }]);
    expect(await read(text, { kind: "tail", bytes: 0 }, 0)).toEqual({ lines: [], gaps: [], next: 24, error: undefined });
    expect((await read(text, { kind: "tail", bytes: 1_000, lines: 2 })).lines.map((line) => line.text)).toEqual(["second", "third"]);
    expect((await read(text, { kind: "tail", bytes: 1_000, lines: 0 }))).toMatchObject({ lines: [], next: 24 });
    expect((await read("ünï\n", { kind: "offset", at: 1 })).lines.map((line) => line.text)).toEqual(["nï"]);
  });
  test("more than one chunk of the agent's is read to the end", async () => {
    const text = Array.from({ length: 30_000 }, (_, n) => `line ${n}\n`).join("");
    expect((await read(text, { kind: "tail", bytes: 1_048_576 })).lines).toHaveLength(30_000);
    expect((await read(text, { kind: "tail", bytes: 1_048_576, lines: 2 })).lines.map((line) => line.text)).toEqual(["line 29998", "line 29999"]);
  });
  test("what was rotated away is counted, and reading goes on at a line's beginning", async () => {
    expect(await read("one\ntwo\nthree\n", { kind: "offset", at: 2 }, 100, 5)).toMatchObject({ gaps: [{ why: "rotated", from: 2, to: 8, bytes: 6 }], lines: [{ offset: 8, text: "three" }], next: 14 });
  });
  test("what was read and waits for its newline is not called rotated away", () => {
    const cursor = createLogCursor({ kind: "position", at: 0 });
    expect(cursor.take({ data: bytes("read"), nextOffset: 4 }, false)).toEqual([]);
    expect(cursor.take({ data: bytes("rest\nnext\n"), nextOffset: 20 }, false)).toEqual([
      { kind: "line", line: { offset: 0, next: 4, text: "read" } },
      { kind: "gap", why: "rotated", from: 4, to: 15, bytes: 11 },
      { kind: "line", line: { offset: 15, next: 20, text: "next" } },
    ]);
  });
  test("a position beyond the end is not silently the end", async () => {
    expect((await read("one\n", { kind: "position", at: 40 })).gaps).toMatchObject([{ why: "restarted", from: 40, to: 0 }]);
  });
  test("what could not be read is said, and from where to try again", async () => {
    expect(await read(undefined, { kind: "tail", bytes: 10 })).toMatchObject({ lines: [], next: -10, error: "logs_not_found: app" });
  });
});

test("whatever is written, rotated, read in whatever pieces, cut off and resumed: every byte is in one line or in one gap that was told", () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("write" as const), text: fc.string({ unit: "binary", maxLength: 30 }).map((text) => text.replaceAll("\r", "·")), newline: fc.boolean(), tear: fc.boolean() }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("read" as const), limit: fc.integer({ min: 1, max: 60 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("rotate" as const), bytes: fc.nat(80) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("cut" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    let all: Buffer = Buffer.alloc(0);
    let torn: Buffer = Buffer.alloc(0);
    let kept = 0;
    let told = 0;
    let cursor = createLogCursor({ kind: "position", at: 0 });
    const check = (news: readonly LogNews[]): void => {
      for (const one of news) {
        if (one.kind === "gap") {
          expect([one.why, one.from, one.bytes]).toEqual(["rotated", told, one.to - told]);
          // Nothing that was kept is passed over but the rest of a line whose beginning is gone.
          expect(all.subarray(kept, one.to - 1).includes(10)).toBe(false);
          told = one.to;
        } else if (one.kind === "line") {
          expect(one.line.offset).toBe(told);
          const raw = all.subarray(one.line.offset, one.line.next);
          expect(one.line.text).toBe(raw.toString("utf8").replace(/\n$/, ""));
          told = one.line.next;
        }
      }
    };
    const read = (limit: number): number => {
      const from = Math.max(kept, Math.min(cursor.at, all.length));
      const data = all.subarray(from, from + limit);
      check(cursor.take({ data, nextOffset: from + data.length }, data.length === limit));
      return data.length;
    };
    for (const one of steps) {
      if (one.do === "write") {
        const more = Buffer.concat([torn, bytes(one.text), one.newline ? bytes("\n") : Buffer.alloc(0)]);
        // A writer's buffer ends anywhere, inside a character too.
        const cut = one.tear ? Math.max(0, more.length - 1) : more.length;
        all = Buffer.concat([all, more.subarray(0, cut)]);
        torn = more.subarray(cut);
      } else if (one.do === "read") read(one.limit);
      else if (one.do === "rotate") kept = Math.min(all.length, kept + one.bytes);
      else if (one.do === "flush") check(cursor.flush());
      else cursor = createLogCursor({ kind: "position", at: told });
    }
    all = Buffer.concat([all, torn]);
    while (read(1_000) > 0);
    check(cursor.flush());
    expect(told).toBe(all.length);
  }), { seed: seedFromEnv(), numRuns: 500 });
});

describe("over the API", () => {
  const api = useApi();
  let placements: { id: string; host: string }[] = [];
  let url = "";
  beforeAll(async () => {
    url = await api.listener.listen({ host: "127.0.0.1", port: 0 });
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

  const idOn = (host: string): string => placements.find((item) => item.host === host)!.id;
  const follow = (body: object, deployment = "logged") => readSse(`${url}/v1/deployments/${deployment}/logs/follow`, { authorization: `Bearer ${api.tokens.viewer}` }, body);
  const told = (reader: Reader, event: string) => reader.events().filter((frame) => frame.event === event).map((frame) => frame.data);
  const texts = (reader: Reader): string[] => told(reader, "log").map((data) => data.text);
  /** As a reader keeps them. */
  const positionsOf = (reader: Reader): Record<string, number> => {
    const positions: Record<string, number> = {};
    for (const { event, data } of reader.events()) {
      const key = `${data.placement_id}/${data.component}`;
      if (event === "log") positions[key] = data.next;
      if (event === "log_position") positions[key] = data.offset;
      if (event === "log_gap") positions[key] = data.to;
      if (event === "log_end") delete positions[key];
    }
    return positions;
  };

  test("a reader that was cut off goes on exactly where it was", async () => {
    const key = `${idOn("log-1")}/app`;
    const only = { host: "log-1", component: "app" };
    api.agents.outputs.set(key, bytes("1\n2\n"));
    const first = await follow(only);
    await eventually(() => texts(first).length === 2, { what: "the tail" });
    const positions = positionsOf(first);
    expect(positions).toEqual({ [key]: 4 });
    first.close();
    // Longer than any tail: by looking back it would not be found again.
    const lines = Array.from({ length: 20_000 }, (_, n) => String(n + 3));
    api.agents.outputs.set(key, bytes(`1\n2\n${lines.join("\n")}\n`));
    const second = await follow({ ...only, positions });
    await eventually(() => texts(second).length >= lines.length, { what: "everything since" });
    expect(texts(second)).toEqual(lines);
    second.close();
  });

  test("caught up: everything there is, then the end; a position before what is kept says how much is gone", async () => {
    const key = `${idOn("log-1")}/app`;
    api.agents.outputs.set(key, bytes("one\ntwo\nthree\nand a prompt"));
    api.agents.kept.set(key, 5);
    const reader = await follow({ host: "log-1", component: "app", positions: { [key]: 0 }, until: "caught_up" });
    await reader.ended;
    expect(texts(reader)).toEqual(["three", "and a prompt"]);
    expect(told(reader, "log_gap")).toMatchObject([{ host: "log-1", component: "app", kind: "rotated", rotated_bytes: 8, from: 0, to: 8 }]);
    expect(reader.events().at(-1)!.event).toBe("log_caught_up");
    api.agents.kept.delete(key);
    const json = (await api.call("GET", "/v1/deployments/logged/logs?host=log-1&component=app&offset=4&tail_lines=1")).json;
    expect(json.positions).toEqual([{ host: "log-1", placement_id: idOn("log-1"), component: "app", offset: 26 }]);
  });

  test("output that began anew is read from its beginning, and that is said", async () => {
    const key = `${idOn("log-1")}/app`;
    api.agents.outputs.set(key, bytes("anew\n"));
    const reader = await follow({ host: "log-1", component: "app", positions: { [key]: 400 }, until: "caught_up" });
    await reader.ended;
    expect([told(reader, "log_gap")[0].kind, texts(reader)]).toEqual(["restarted", ["anew"]]);
  });

  test("one host that does not answer delays nobody, is told of once, and taken back once", async () => {
    const [one, two] = [`${idOn("log-1")}/app`, `${idOn("log-2")}/app`];
    api.agents.outputs.set(one, bytes(""));
    api.agents.outputs.set(two, bytes(""));
    const reader = await follow({ component: "app" });
    await eventually(() => Object.values(positionsOf(reader)).join() === "0,0", { what: "both are read" });
    api.agents.hang = "log-2";
    await eventually(() => api.agents.hanging === 1, { what: "one hangs" });
    for (const n of [1, 2, 3]) {
      api.agents.outputs.set(one, bytes(Array.from({ length: n }, (_, i) => `${i}\n`).join("")));
      await eventually(() => texts(reader).length === n, { what: `line ${n} of the other` });
    }
    api.agents.release();
    await eventually(() => told(reader, "log_error").length === 1, { what: "the silence is told" });
    api.agents.outputs.set(two, bytes("back\n"));
    await eventually(() => texts(reader).includes("back"), { what: "it is read again" });
    expect(told(reader, "log_readable")).toHaveLength(1);
    expect(told(reader, "log_error")).toHaveLength(1);
    reader.close();
  });

  test("a placement that appears is followed from its first byte; one that goes is read to its end and let go", async () => {
    await api.call("POST", "/v1/deployments", { body: { name: "moving", spec: NOOP, placement: { hosts: ["log-1"] } } });
    const list = async (): Promise<{ id: string; host: string }[]> => (await api.call("GET", "/v1/placements?deployment=moving")).json.items;
    const [before] = await list();
    api.agents.outputs.set(`${before!.id}/app`, bytes("old\n"));
    const reader = await follow({ tail_bytes: 0 }, "moving");
    await eventually(() => positionsOf(reader)[`${before!.id}/app`] === 4, { what: "the first is followed" });
    await api.store.transaction(async (tx) => {
      const view = (await tx.listPlacements({ deploymentId: (await tx.findDeployment("moving"))!.id }))[0]!;
      await tx.insertPlacement({ id: "0199a3c4-0000-7000-8000-00000000aaaa" as never, deploymentId: view.placement.deploymentId, hostId: (await tx.findHost("log-2"))!.id, desired: "running", epoch: 1, generation: 1 });
      await tx.casPlacement(view.placement.id, view.placement.version, { removed: true });
      // Before the commit: whoever sees the placement gone reads it to its end there and then.
      api.agents.outputs.set(`${before!.id}/app`, bytes("old\nlast words\n"));
      api.agents.outputs.set("0199a3c4-0000-7000-8000-00000000aaaa/app", bytes("first words\n"));
    });
    await eventually(() => told(reader, "log_end").length === 1 && texts(reader).length === 2, { what: "both are read" });
    expect(texts(reader).sort()).toEqual(["first words", "last words"]);
    expect(told(reader, "log_end")).toMatchObject([{ placement_id: before!.id, read: true }]);
    reader.close();
    // The same for a reader that was away meanwhile; but not with positions of somebody else's.
    const later = await follow({ positions: { [`${before!.id}/app`]: 4, [`${idOn("log-1")}/app`]: 0 }, until: "caught_up" }, "moving");
    await later.ended;
    expect(texts(later).sort()).toEqual(["first words", "last words"]);
  });

  test("what has not begun yet is waited for in silence, and its first line is not missed", async () => {
    const key = `${idOn("log-2")}/db`;
    const reader = await follow({ host: "log-2", component: "db", tail_bytes: 4 });
    await eventually(() => positionsOf(reader)[key] === 0, { what: "it is waited for" });
    api.agents.outputs.set(key, bytes("more than the tail would hold\n"));
    await eventually(() => texts(reader).length === 1, { what: "its first line" });
    expect(texts(reader)).toEqual(["more than the tail would hold"]);
    expect(told(reader, "log_error")).toEqual([]);
    reader.close();
    await eventually(() => api.listener.streams() === 0, { what: "every stream is given back" });
  });
});
