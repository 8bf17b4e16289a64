/** Compose from the build: the schema travels with it, and only those pay for it who deploy a Compose file. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { requireBuilt, startProgram, tempDir } from "@skep/testkit";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { folderOf } from "./compose-convert.ts";
import { startFakeApi, TOKEN, type FakeApi } from "./fake-api.ts";
import { accepted, row, rowList } from "./samples.ts";

const PACKAGE = join(import.meta.dirname, "..");
const BIN = join(PACKAGE, "bin/skep.js");

let api: FakeApi;
beforeAll(() => requireBuilt(PACKAGE));
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());
const start = (argv: readonly string[], env: Record<string, string> = {}) => startProgram([BIN, ...argv], { env: { SKEP_URL: api.url, SKEP_TOKEN: TOKEN, HOME: tempDir("home"), ...env } });

test("the built program prints the sample's spec, and nothing of Node's own beside it", async () => {
  const program = start(["deploy", "-f", join(PACKAGE, "../../samples/compose.yaml"), "--print-spec"]);
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.stdout()).toBe(readFileSync(join(import.meta.dirname, "golden/compose-sample.yaml"), "utf8"));
  expect(program.stderr().split("\n").filter((line) => line !== "" && !line.startsWith("warning: "))).toEqual([]);
});

test("a Compose file is deployed, and waited for; its variables are this process's", async () => {
  api.on("createDeployment", { status: 202, body: accepted(1) });
  api.on("listLifecycle", { body: rowList(row(1)) });
  const folder = folderOf({ "compose.yaml": "services:\n  web:\n    image: nginx:${TAG:?}\n    environment: [GREETING]\n" });
  const program = start(["deploy", "-f", join(folder, "compose.yaml"), "--name", "web"], { TAG: "1.27", GREETING: "$(hello) `there`" });
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(api.seen[0]!.body).toMatchObject({ name: "web", spec: { driver: "docker", components: [{ container: { image: "nginx:1.27" }, env: { GREETING: "$(hello) `there`" } }] } });
  const refused = start(["deploy", "-f", join(folder, "compose.yaml"), "--name", "web", "--json"]);
  expect(await refused.exited).toEqual({ code: 2, signal: null });
  expect(JSON.parse(refused.stderr())).toMatchObject({ code: "compose_refused", errors: [{ code: "interpolation", pointer: "services.web.image", message: "the variable TAG is required" }] });
});

test("the schema is part of the build, and loaded by nobody else", () => {
  const built = join(PACKAGE, "dist/compose/schema/compose-spec.json");
  expect(existsSync(built)).toBe(true);
  // Static imports would be loaded by every command: ajv and the schema are imported when they are called for.
  const source = readFileSync(join(PACKAGE, "dist/compose/schema.js"), "utf8");
  expect(source).not.toMatch(/^import .*from "ajv"/m);
  expect(source).toMatch(/import\("ajv"\)/);
});
