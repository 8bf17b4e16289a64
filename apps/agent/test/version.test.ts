import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { AGENT_VERSION } from "../src/version.ts";

test("the version on the wire is the package's", () => {
  expect((JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version).toBe(AGENT_VERSION);
});
