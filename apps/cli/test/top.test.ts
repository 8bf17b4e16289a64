/** The layout: what is given up at which width, to the letter; and the pure parts of a frame. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clampScroll, composeFrame, freshnessLine, rangeOf, scrolled, type FrameParts } from "../src/screen/frame.ts";
import { KEYS, parseKeys } from "../src/screen/screen.ts";
import { widthOf } from "../src/text/clean.ts";
import { renderLine } from "../src/text/line.ts";
import { formatLatency } from "../src/text/time.ts";
import { topTable } from "../src/views/top.ts";
import { goneHost, hostHealth } from "./samples.ts";
import { TOP } from "./top-samples.ts";

const table = (columns: number | undefined, hosts = TOP): string => topTable(hosts, columns).map((line) => renderLine(line, false)).join("\n");

describe("what is given up first", () => {
  test("120 columns: everything, and the reason what is left of the row", () => {
    expect(table(120)).toBe(`\
NAME         LIVENESS     REACH        CIRCUIT     BEAT  PLACED  ERR %   AVG    P99  REASON
web-02       unreachable  unreachable  open       4m10s     0/3   62.5  3.1s   5.0s  No heartbeat for 4m10s. What runs …
db-1         suspect      reachable    half_open    48s     1/2    2.5  12ms  480ms  The last heartbeat is 48 s old\\nan…
collector-7  pending      unknown      closed     never       -      -     -      -  Its enrolment bundle has not been …
web-01       active       reachable    closed       12s     2/2    0.0  12ms   48ms  -`);
  });
  test("80 columns: the reason goes, then P99", () => {
    expect(table(80)).toBe(`\
NAME         LIVENESS     REACH        CIRCUIT     BEAT  PLACED  ERR %   AVG
web-02       unreachable  unreachable  open       4m10s     0/3   62.5  3.1s
db-1         suspect      reachable    half_open    48s     1/2    2.5  12ms
collector-7  pending      unknown      closed     never       -      -     -
web-01       active       reachable    closed       12s     2/2    0.0  12ms`);
  });
  test("60 columns: whole columns go, and no row wraps", () => {
    expect(table(60)).toBe(`\
NAME         LIVENESS     REACH         BEAT  PLACED
web-02       unreachable  unreachable  4m10s     0/3
db-1         suspect      reachable      48s     1/2
collector-7  pending      unknown      never       -
web-01       active       reachable      12s     2/2`);
  });
  test("without a width everything is written in full, controls as what they are", () => {
    expect(table(undefined)).toContain("The last heartbeat is 48 s old\\nand\\x1b[2J clears the screen");
  });
  test("at any width, with any names and reasons, no row is wider than the screen and none has a control character", () => {
    const host = fc.record({ name: fc.string({ unit: "grapheme", maxLength: 70 }), message: fc.string({ unit: "binary", maxLength: 60 }), gone: fc.boolean() }).map(({ name, message, gone }) => {
      const base = gone ? goneHost(name) : hostHealth(name);
      return { ...base, reasons: [{ code: "x", message, next: "x", since: null }] };
    });
    fc.assert(fc.property(fc.array(host, { maxLength: 6 }), fc.integer({ min: 44, max: 200 }), (hosts, columns) => {
      for (const line of topTable(hosts, columns)) {
        const text = renderLine(line, false);
        expect(widthOf(text)).toBeLessThanOrEqual(columns);
        // oxlint-disable-next-line no-control-regex -- they are what must not be there
        expect(text).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
      }
    }));
  });
  test("a master of before these were measured says nothing of them", () => {
    expect(table(120, [hostHealth("web-01", { breaker: null, metrics: null, placements: { total: null, running: 1, degraded: 0, failed: 0, unknown: 0 } })]).split("\n")[1]).toBe("web-01  active    reachable  -         12s     1/?      -    -    -  -");
  });
  test.each([[null, ""], [0.04, "0.0ms"], [9.94, "9.9ms"], [9.96, "10ms"], [999.4, "999ms"], [999.6, "1.0s"], [9_940, "9.9s"], [15_000, "15s"]])("latency %s is %s", (ms, text) => {
    expect(formatLatency(ms)).toBe(text);
  });
});

describe("a frame", () => {
  const parts = (head: number, body: number, foot: number): FrameParts => ({ head: lines("h", head), body: lines("b", body), foot: lines("f", foot) });
  const lines = (name: string, count: number): string[] => Array.from({ length: count }, (_, n) => `${name}${n}`);

  test("head and foot stay, the body is scrolled between them", () => {
    expect(composeFrame(parts(2, 9, 1), 3, 6)).toEqual(["h0", "h1", "b3", "b4", "b5", "f0"]);
    expect(composeFrame(parts(2, 9, 1), 100, 6)).toEqual(["h0", "h1", "b6", "b7", "b8", "f0"]);
    expect(composeFrame(parts(1, 1, 1), 0, 4)).toEqual(["h0", "b0", "", "f0"]);
    expect(rangeOf(parts(2, 9, 1), 3, 6)).toBe("4-6 of 9");
    expect(rangeOf(parts(2, 3, 1), 0, 6)).toBe("");
  });
  test("whatever the sizes, it is never taller than the screen, and its first line is the head's", () => {
    fc.assert(fc.property(fc.nat(5), fc.nat(40), fc.nat(2), fc.integer({ min: -5, max: 60 }), fc.integer({ min: 1, max: 30 }), (head, body, foot, scroll, rows) => {
      const given = parts(head + 1, body, foot);
      const shown = composeFrame(given, scroll, rows);
      expect(shown.length).toBeLessThanOrEqual(rows);
      expect(shown[0]).toBe("h0");
      for (const key of KEYS) {
        const next = scrolled(key, clampScroll(scroll, given, rows), given, rows);
        if (next !== undefined) expect(clampScroll(next, given, rows)).toBe(next);
      }
    }));
  });
  test("keys: sequences whole, unknown ones not at all, however many come at once", () => {
    expect(parseKeys("\u001b[A\u001b[B\u001b[5~\u001b[6~\u001b[H\u001b[F\u001bOA")).toEqual(["up", "down", "page_up", "page_down", "home", "end", "up"]);
    // F5, a bracketed paste's marks, a mouse report: none of their letters is a key.
    expect(parseKeys("\u001b[15~\u001b[200~\u001b[1;5D\u001b")).toEqual([]);
    expect(parseKeys("jkq \u0003sü")).toEqual(["down", "up", "quit", "page_down", "interrupt", { char: "s" }, { char: "ü" }]);
  });
  test("how fresh it is", () => {
    const at = { url: "http://m", knownAt: "20:01:07Z", sinceMs: 12_300, because: undefined };
    const line = (over: object): string => renderLine(freshnessLine("skep top", { ...at, stale: true, ...over }), false);
    expect(line({})).toBe("no answer for 12s; showing what was known at 20:01:07Z; http://m");
    expect(line({ knownAt: undefined, sinceMs: 0 })).toBe("no answer for 1s; asking again; http://m");
    expect(line({ because: "overloaded" })).toBe("only overloaded for 12s; showing what was known at 20:01:07Z; http://m");
    expect(line({ stale: false })).toBe("skep top  20:01:07Z");
    expect(line({ stale: false, knownAt: undefined })).toBe("skep top  asking http://m");
  });
});
