import { expect, test } from "vitest";
import { readExposition } from "./read-metrics.ts";

const read = (text: string) => readExposition(Buffer.from(text));

test.each([
  "# HELP a_total What.\n# TYPE a_total counter\na_total 1\n",
  'a{b="c",d="e \\"f\\" \\\\ g"} 1.5e-7\na_bucket{le="+Inf"} 3 1700000000000\n\nb NaN\nc -Inf\n',
  'a{b="überall"} 0\n',
  "#\n",
])("metrics are passed on as they are: %j", (text) => {
  expect(read(text)).toBe(text);
});

test.each([
  ["a page", "<html><script>alert(1)</script></html>\n"],
  ["JSON", '{"type":"urn:skep:error:internal"}\n'],
  ["a sample without a value", "a_total\n"],
  ["two values", "a_total 1 2 3\n"],
  ["a word for a value", "a_total much\n"],
  ["an escape sequence", "a_total 1\n# \u001b[2J\n"],
  ["a carriage return", "a_total 1\r\n"],
  ["a NUL", "a{b=\"\u0000\"} 1\n"],
  ["a line cut off", "a_total 1\nb_tot"],
  ["nothing", ""],
])("%s is no metrics", (_what, text) => {
  expect(read(text)).toBeUndefined();
});

test("bytes that are no UTF-8 are no metrics", () => {
  expect(readExposition(Buffer.from([0x61, 0x20, 0x31, 0x0a, 0xff, 0x0a]))).toBeUndefined();
});

test("a line made to be slow to judge is judged at once", () => {
  const text = `a{${"} ".repeat(500_000)}\n`;
  expect(read(text)).toBeUndefined();
  expect(read(`${"a{".repeat(500_000)}\n`)).toBeUndefined();
});
