/** What reaches a terminal: clean, aligned, and as wide as it says. */
import { instant } from "@skep/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { clean, safeJson, truncate, widthOf } from "../src/text/clean.ts";
import { renderLine, toned } from "../src/text/line.ts";
import { renderTable } from "../src/text/table.ts";
import { formatAge, formatDuration, parseDurationS } from "../src/text/time.ts";

// oxlint-disable-next-line no-control-regex -- what must not be there
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

test.each([
  ["\u001b[2J\u001b]0;owned\u0007", "\\x1b[2J\\x1b]0;owned\\x07"],
  ["two\nlines\r\n", "two\\nlines\\r\\n"],
  ["\u009b31m", "\\x9b31m"],
  ["abc\u202ecba", "abc\\u202ecba"],
  ["half \ud800", "half \\ud800"],
  ["plain, ünïcödé ✓ 🙂", "plain, ünïcödé ✓ 🙂"],
])("%j is shown as %s", (hostile, shown) => {
  expect(clean(hostile)).toBe(shown);
});

test("no text whatever brings a control character into a line, coloured or not", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.boolean(), (text, color) => {
    const line = renderLine(["at ", toned(text, "bad"), text], color);
    expect(line.replaceAll("\u001b[31m", "").replaceAll("\u001b[0m", "")).not.toMatch(CONTROL);
  }));
});

test("JSON says the same with controls written out, on one line", () => {
  const value = { text: "\u009b2J\u007f\u202e\nü" };
  expect(safeJson(value)).not.toMatch(CONTROL);
  expect(JSON.parse(safeJson(value))).toEqual(value);
});

test("a table aligns, right-aligns, and keeps a place for what is empty", () => {
  const rows = [{ name: "a", count: "7", why: "" }, { name: "long-name", count: "1200", why: "x\ny" }];
  const lines = renderTable(rows, [
    { title: "NAME", cell: (item) => item.name },
    { title: "COUNT", cell: (item) => item.count, align: "right" },
    { title: "WHY", cell: (item) => item.why, gives: true },
  ], undefined).map((line) => renderLine(line, false));
  expect(lines).toEqual([
    "NAME       COUNT  WHY",
    "a              7  -",
    "long-name   1200  x\\ny",
  ]);
});

test("on a terminal a row never wraps while a column can give; into a pipe nothing is cut", () => {
  const rows = [{ name: "web-01", why: "z".repeat(200) }];
  const columns = [{ title: "NAME", cell: (item: (typeof rows)[0]) => item.name }, { title: "WHY", cell: (item: (typeof rows)[0]) => item.why, gives: true as const }];
  const narrow = renderTable(rows, columns, 40).map((line) => renderLine(line, false));
  expect(Math.max(...narrow.map(widthOf))).toBe(40);
  expect(narrow[1]!.endsWith("…")).toBe(true);
  expect(renderLine(renderTable(rows, columns, undefined)[1]!, false)).toContain("z".repeat(200));
});

test("truncation counts columns, not characters", () => {
  expect(truncate("表表表表", 5)).toBe("表表…");
  expect(truncate("abc", 3)).toBe("abc");
  expect(truncate("abcd", 3)).toBe("ab…");
});

test.each([["90", 90], ["15m", 900], ["1h30m", 5_400], ["30d", 2_592_000], ["", undefined], ["1.5h", undefined], ["-1", undefined], ["5 m", undefined], ["5w", undefined]])("the duration %j is %s", (text, seconds) => {
  expect(parseDurationS(text)).toBe(seconds);
});

test.each([[0, "0ms"], [999, "999ms"], [12_000, "12s"], [192_000, "3m12s"], [3_600_000, "1h"], [90_061_000, "1d1h"]])("%i ms is %s", (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

test("an age in the future is none at all, not a negative one", () => {
  expect(formatAge("2026-01-01T00:00:10.000Z", instant(Date.UTC(2026, 0, 1)))).toBe("0s");
});
