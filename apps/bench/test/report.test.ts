/** The benchmark's arithmetic and the shape of what it prints. No measurement: a time is never asserted. */
import { expect, test } from "vitest";
import { judge, spreadOf, toJson, toMarkdown, toText, type Row } from "../src/index.ts";
import { broken } from "../src/report/row.ts";
import { GROUPS, parseConfig } from "../src/config.ts";

const row = (value: number[], reference: number[] | undefined, goal: Parameters<typeof judge>[0]["goal"]): Row =>
  judge({ name: "P0 a row", unit: "µs", goal, value, note: "as | it is", ...(reference === undefined ? {} : { reference }) });

test("a median lies between its neighbours, whatever the order and the count", () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, noise: 0.5 });
  expect(spreadOf([4, 1, 2, 3]).median).toBe(2.5);
  expect(spreadOf([7])).toEqual({ median: 7, min: 7, max: 7, noise: 0 });
  expect(() => spreadOf([])).toThrow("no samples");
});

test.each([
  ["met at the limit", [19], [10], { kind: "ratio_at_most", limit: 1.9 }, true],
  ["missed above it", [19.1], [10], { kind: "ratio_at_most", limit: 1.9 }, false],
  ["met with what the target grants", [50], [10], { kind: "ratio_at_most", limit: 3, plus: 20 }, true],
  ["missed beyond that", [50.1], [10], { kind: "ratio_at_most", limit: 3, plus: 20 }, false],
  ["a rate that is high enough", [30], [10], { kind: "ratio_at_least", limit: 3 }, true],
  ["a rate that is not", [29], [10], { kind: "ratio_at_least", limit: 3 }, false],
  ["a figure of its own", [60], undefined, { kind: "at_most", limit: 60 }, true],
  ["too much of it", [61], undefined, { kind: "at_most", limit: 60 }, false],
  ["a ratio without its reference", [1], undefined, { kind: "ratio_at_most", limit: 2 }, false],
] as const)("verdict: %s", (_name, value, reference, goal, met) => {
  expect(row([...value], reference === undefined ? undefined : [...reference], goal).met).toBe(met);
});

test("the ratio is that of the medians", () => {
  expect(row([10, 30, 20], [5, 4, 100], { kind: "ratio_at_most", limit: 1 }).ratio).toBe(4);
  expect(row([1], [0], { kind: "ratio_at_most", limit: 1 }).ratio).toBeNull();
});

test("JSON has exactly the fields that were promised", () => {
  const json = toJson([row([2], [1], { kind: "ratio_at_most", limit: 3 }), broken("P5", "–", "no PostgreSQL")]);
  expect(json).toEqual({
    rows: [
      { name: "P0 a row", value: 2, reference: 1, ratio: 2, target: "≤ 3×", met: true, unit: "µs", note: "as | it is" },
      { name: "P5", value: null, reference: null, ratio: null, target: "–", met: false, unit: "", note: "not measured: no PostgreSQL" },
    ],
  });
});

test("a row that was not measured says so and is no success", () => {
  const text = toText([broken("P5", "–", "no PostgreSQL")], []);
  expect(text).toContain("not measured");
  expect(text).not.toContain("yes");
});

test("Markdown has one line a row, with as many cells as the head, whatever a name holds", () => {
  const lines = toMarkdown([row([2], [1], { kind: "ratio_at_most", limit: 3 }), { ...row([1], undefined, { kind: "at_most", limit: 2 }), name: "P1 a|b" }], ["a fact"]).split("\n");
  const cells = lines.filter((line) => line.startsWith("|")).map((line) => line.replaceAll("\\|", "").split("|").length);
  expect(cells).toHaveLength(4);
  expect(new Set(cells).size).toBe(1);
});

test("arguments: rows by name, in any case; what is unknown is refused", () => {
  expect(parseConfig(["--only", "p1, P14"])).toMatchObject({ only: new Set(["P1", "P14"]), quick: false, output: "text" });
  expect(parseConfig(["--quick", "--json"])).toMatchObject({ only: new Set(GROUPS), quick: true, output: "json" });
  expect(parseConfig(["--only", "P4"])).toMatchObject({ wrong: expect.stringContaining("there is no row P4") });
  expect(parseConfig(["--json", "--markdown"])).toMatchObject({ wrong: expect.anything() });
  expect(parseConfig(["--fast"])).toMatchObject({ wrong: expect.anything() });
  expect(parseConfig(["--help"])).toBe("help");
});
