import { expect, test } from "vitest";
import { minorsApart } from "./version-skew.ts";

test.each([
  ["0.1.0", "0.1.9", 0],
  ["0.1.0", "0.3.0", 2],
  ["0.3.0", "v0.1.0-rc.1", 2],
  ["1.0.0", "0.9.0", Number.POSITIVE_INFINITY],
  ["dev", "0.1.0", undefined],
  ["0.1.0", "", undefined],
])("%s and %s are %s minors apart", (a, b, expected) => {
  expect(minorsApart(a, b)).toBe(expected);
});
