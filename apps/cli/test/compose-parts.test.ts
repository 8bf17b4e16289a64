/** The small grammars: variables, words, env files, quantities. */
import { expect, test } from "vitest";
import { parseDotenv } from "../src/compose/dotenv.ts";
import { interpolate } from "../src/compose/interpolate.ts";
import { parseBytes, parseDurationMs } from "../src/compose/units.ts";
import { splitWords } from "../src/compose/words.ts";

const ENV: Readonly<Record<string, string>> = { A: "a", EMPTY: "", MONEY: "$A ${A} $(id)" };
const lookup = (name: string): string | undefined => ENV[name];

test.each([
  ["plain", "plain", []], ["$A", "a", []], ["${A}", "a", []], ["x$A-y", "xa-y", []], ["${A}b", "ab", []], ["$$A", "$A", []], ["$$$A", "$a", []], ["$${A}", "${A}", []],
  ["${NO}", "", ["NO"]], ["$NO$NO", "", ["NO"]],
  ["${NO:-d}", "d", []], ["${EMPTY:-d}", "d", []], ["${EMPTY-d}", "", []], ["${NO-d}", "d", []], ["${A:-d}", "a", []], ["${NO:-}", "", []],
  ["${A:?m}", "a", []], ["${EMPTY?m}", "", []],
  ["${A:+o}", "o", []], ["${EMPTY:+o}", "", []], ["${EMPTY+o}", "o", []], ["${NO+o}", "", []],
  ["${NO:-${A}}", "a", []], ["${NO:-${NO2:-x}y}", "xy", []], ["${NO:-$A and $$}", "a and $", []], ["${NO:-a:-b?c}", "a:-b?c", []],
  // What was not chosen is missing nothing.
  ["${A:-${NO}}", "a", []], ["${A:-${NO:?never}}", "a", []], ["${NO:+${NO2?never}}", "", []],
  // What a variable holds is not looked into again.
  ["${MONEY}", "$A ${A} $(id)", []], ["}", "}", []], ["a}b$A", "a}ba", []],
])("%s → %s", (text, expected, unset) => {
  expect(interpolate(text, lookup)).toEqual({ ok: true, text: expected, unset });
});

test.each([
  ["$", "write $$"], ["$1", "write $$"], ["$(id)", "write $$"], ["${", "begin with"], ["${}", "begin with"], ["${1}", "begin with"], ["${A", "not closed"], ["${A:", "not closed"], ["${A!x}", "not closed"], ["${A:-x", "not closed"], ["${ A }", "begin with"],
  ["${NO:?say it}", "the variable NO is required: say it"], ["${EMPTY:?}", "EMPTY is required"], ["${NO?${A} is missing}", "required: a is missing"], ["${A:-".repeat(20), "deep"],
])("%s is refused", (text, words) => {
  const result = interpolate(text, lookup);
  expect(result.ok ? "taken" : result.message).toContain(words);
});

test.each([
  ["a b  c", ["a", "b", "c"]], ["", []], ["  ", []], ["'a b' \"c d\"", ["a b", "c d"]], ["a'b'\"c\"d", ["abcd"]], ["''", [""]], ["a\\ b", ["a b"]], ["\"a\\\"b\"", ['a"b']], ["'a\\b'", ["a\\b"]], ["\"a\\nb\"", ["a\\nb"]], ["a\\\nb", ["ab"]], ["\"a\\\nb\"", ["ab"]], ["a\tb\nc", ["a", "b", "c"]],
  ["'a; b && c | d > e $(f) `g`'", ["a; b && c | d > e $(f) `g`"]], ["a\\;b \"&\"", ["a;b", "&"]], ["* ? ~ #x $HOME {a,b}", ["*", "?", "~", "#x", "$HOME", "{a,b}"]],
])("words of %j", (text, words) => {
  expect(splitWords(text)).toEqual({ ok: true, words });
});

test.each(["a; b", "a && b", "a & b", "a | b", "a > b", "a < b", "a `b`", "a $(b)", "(a)", "'a", '"a', "a\\", '"a\\'])("%j is no list of words", (text) => {
  expect(splitWords(text).ok).toBe(false);
});

test("env files: quotes, comments, names alone, lines of their own", () => {
  const text = "\ufeff# first\r\n\n A = b c # note\nB=b#c\nexport C='$A \\n'\nD=\"x\\n$A\\$\\q\" # note\nE: yaml\nF=\nMULTI=\"one\ntwo\"\nA2=${A}2\nNONE\nH=#x\nI=${NO}\n";
  const { values, faults, unset } = parseDotenv(text, (name) => (name === "HERE" ? "here" : undefined));
  expect(faults).toEqual([]);
  expect(Object.fromEntries(values)).toEqual({ A: "b c", B: "b#c", C: "$A \\n", D: "x\nb c$\\q", E: "yaml", F: "", MULTI: "one\ntwo", A2: "b c2", H: "", I: "" });
  expect(unset).toEqual([{ line: 14, name: "NO" }]);
  expect(parseDotenv("A='x' y\nB=1\n1=2\nwhat is this\nC=$(id)\nD='open", () => undefined).faults.map(({ line }) => line)).toEqual([1, 3, 4, 5, 6]);
  expect(Object.fromEntries(parseDotenv("A='$x' #y\n", () => undefined, "raw").values)).toEqual({ A: "'$x' #y" });
});

test("quantities", () => {
  expect(["30s", "1m30s", "500ms", "1.5h", "10us", "0", "1d"].map(parseDurationMs)).toEqual([30_000, 90_000, 500, 5_400_000, 1, 0, 86_400_000]);
  expect(["", "30", "s", "-1s", "1 s", "1y", "9".repeat(30) + "s"].map(parseDurationMs)).toEqual(Array(7).fill(undefined));
  expect(["1024", "1k", "1KB", "2KiB", "1.5m", "1 g", "7b"].map(parseBytes)).toEqual([1_024, 1_024, 1_024, 2_048, 1_572_864, 1_073_741_824, 7]);
  expect(["", "m", "-1m", "1x", "9999999999999999p"].map(parseBytes)).toEqual(Array(5).fill(undefined));
});
