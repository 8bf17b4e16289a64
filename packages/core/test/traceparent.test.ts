/** The one header that comes from anybody: read strictly, answered by nothing, repeated never. */
import { cleanTraceparent, continued, exportedAttributes, formatTraceparent, nextContext, NO_TRACES, parseTraceparent, seededRng, traceFacts, traceIdOf, TRACEPARENT_PATTERN, type SpanAttributes } from "@skep/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const GOOD = `00-${TRACE}-${SPAN}-01`;
const hex = (length: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(..."0123456789abcdef".split("")), minLength: length, maxLength: length });

describe("reading", () => {
  test("a valid one", () => {
    expect(parseTraceparent(GOOD)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true });
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-00`)).toMatchObject({ sampled: false });
    // Other flags are not ours to understand, and not ours to pass on.
    expect(cleanTraceparent(`00-${TRACE}-${SPAN}-ff`)).toBe(GOOD);
  });

  test("a later version is read by its first four fields and sent on as ours", () => {
    expect(cleanTraceparent(`01-${TRACE}-${SPAN}-01-what-the-future-holds`)).toBe(GOOD);
    expect(cleanTraceparent(`cc-${TRACE}-${SPAN}-01`)).toBe(GOOD);
  });

  test.each([
    ["nothing", undefined], ["a list, which is a header sent twice", [GOOD, GOOD]], ["two in one", `${GOOD}, ${GOOD}`], ["empty", ""], ["a number", 7],
    ["capitals", GOOD.toUpperCase()], ["the version that is none", `ff-${TRACE}-${SPAN}-01`], ["no trace id", `00-${"0".repeat(32)}-${SPAN}-01`], ["no span id", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["a short trace id", `00-${TRACE.slice(1)}-${SPAN}-01`], ["a long span id", `00-${TRACE}-${SPAN}0-01`], ["flags of one digit", `00-${TRACE}-${SPAN}-1`], ["more than version 00 has", `${GOOD}-more`],
    ["space around it", ` ${GOOD} `], ["a line break", `${GOOD}\n`], ["a forged log line", `${GOOD}\r\nx: y`], ["a later version glued on", `01-${TRACE}-${SPAN}-01more`], ["endless", `01-${TRACE}-${SPAN}-01-${"x".repeat(1_000)}`],
  ])("%s is as good as none", (_, text) => {
    expect(parseTraceparent(text)).toBeUndefined();
    expect(cleanTraceparent(text)).toBeUndefined();
    expect(traceFacts(text)).toEqual({});
    expect(traceIdOf(text)).toBeUndefined();
  });

  test("nothing throws, and whatever comes back is in our own form", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.tuple(hex(2), hex(32), hex(16), hex(2)).map((parts) => parts.join("-"))), (text) => {
      const cleaned = cleanTraceparent(text);
      if (cleaned === undefined) return;
      expect(cleaned).toMatch(new RegExp(TRACEPARENT_PATTERN));
      expect(cleaned.slice(3, 52)).toBe(text.slice(3, 52));
      expect(cleanTraceparent(cleaned)).toBe(cleaned);
    }));
  });
});

describe("going on", () => {
  test("a span below another stays in its trace; without one it begins a trace that nobody records", () => {
    const rng = seededRng(1);
    const parent = parseTraceparent(GOOD)!;
    const child = nextContext(parent, rng);
    expect(child).toMatchObject({ traceId: TRACE, sampled: true });
    expect(child.spanId).not.toBe(SPAN);
    const root = nextContext(undefined, rng);
    expect(parseTraceparent(formatTraceparent(root))).toEqual({ ...root, sampled: false });
    expect(nextContext(undefined, rng).traceId).not.toBe(root.traceId);
  });

  test("an id of zeros is drawn again", () => {
    let draws = 0;
    const rng = { float: () => 0, bytes: (length: number) => new Uint8Array(length).fill(draws++ < 2 ? 0 : 7) };
    expect(nextContext(undefined, rng)).toEqual({ traceId: "07".repeat(16), spanId: "07".repeat(8), sampled: false });
  });

  test("nobody moves our work into another trace", () => {
    const theirs = `00-${TRACE}-${"c".repeat(16)}-01`;
    const foreign = `00-${"d".repeat(32)}-${"c".repeat(16)}-01`;
    expect(continued(GOOD, theirs)).toBe(theirs);
    expect(continued(GOOD, foreign)).toBe(GOOD);
    expect(continued(GOOD, undefined)).toBe(GOOD);
    expect(continued(undefined, theirs)).toBe(theirs);
    expect(continued(undefined, undefined)).toBeUndefined();
  });

  test("where nothing is traced, a trace that comes in is carried on as it is", () => {
    expect(NO_TRACES.startSpan("job", { parent: GOOD }).traceparent).toBe(GOOD);
    expect(NO_TRACES.startSpan("job", { parent: "rubbish" }).traceparent).toBeUndefined();
  });
});

describe("what a span may say", () => {
  test("names, numbers and words, under the names of the conventions", () => {
    expect(exportedAttributes({ method: "POST", route: "/v1/deployments/:id/mutate", httpStatus: 202, deployment: "web", component: "db", generation: 0, code: "rejected:stale_epoch" })).toEqual({
      "http.request.method": "POST", "http.route": "/v1/deployments/:id/mutate", "http.response.status_code": 202,
      "skep.deployment": "web", "skep.component": "db", "skep.generation": 0, "skep.code": "rejected:stale_epoch",
    });
  });

  test("no key that is not of the list, and no text that is not a word", () => {
    const stray = { env: "canary", args: ["canary"], command: "canary", token: "canary", deployment: "web", status: "spawn /bin/sh canary ENOENT", code: "canary=1", generation: Number.NaN } as SpanAttributes;
    expect(exportedAttributes(stray)).toEqual({ "skep.deployment": "web", "skep.status": "[left out]", "skep.code": "[left out]" });
  });
});
