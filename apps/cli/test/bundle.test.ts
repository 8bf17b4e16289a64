/** `skep host add`: a secret in a file that is nobody else's, and no token spent in vain. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseBundle } from "@skep/pki";
import { tempAuthority, tempDir } from "@skep/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ago, problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { host, uuid } from "./samples.ts";

const { authority } = tempAuthority();
const bundle = { version: 1, host_id: uuid(100), name: "web-01", enrol_urls: ["https://127.0.0.1:8442"], master_urls: ["https://127.0.0.1:8443"], ca_cert_pem: authority.certPem, ca_sha256: authority.sha256, trust_domain: "test.skep", token_id: uuid(2), token: "t".repeat(43), expires_at: ago(-900), agent_port: 8444 };
const created = { status: 201, body: { host: host("web-01", { status: "pending" }), bundle } };

let api: FakeApi;
let dir: string;
beforeEach(async () => {
  api = await startFakeApi();
  dir = tempDir("with space");
});
afterEach(() => api.close());
const add = (...argv: string[]) => skep(["host", "add", "web-01", ...argv], { url: api.url, clock: hastyClock() });

test("the file is 0600 and is the bundle; so is the pasted line", async () => {
  api.on("createHost", created);
  const path = join(dir, "web-01.skep");
  const ran = await add("--out", path, "--ttl", "1h", "--label", "zone=eu1", "--address", "10.0.0.1", "--agent-port", "0");
  expect(ran.code).toBe(0);
  expect(api.seen[0]!.body).toEqual({ name: "web-01", ttl_s: 3_600, mode: "csr", labels: { zone: "eu1" }, address: "10.0.0.1", agent_port: 0 });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(parseBundle(readFileSync(path, "utf8")).token).toBe(bundle.token);
  const pasted = /skep agent enrol ([A-Za-z0-9_-]{100,})\n/.exec(ran.out)![1]!;
  expect(parseBundle(Buffer.from(pasted, "base64url").toString()).token).toBe(bundle.token);
  expect(ran.out).toContain("skep agent enrol web-01.skep\n");
});

test("an existing file is not overwritten, and the master is not even asked", async () => {
  const path = join(dir, "web-01.skep");
  writeFileSync(path, "precious");
  expect((await add("--out", path)).code).toBe(5);
  expect(readFileSync(path, "utf8")).toBe("precious");
  expect((await add("--out", join(dir, "no/such/dir.skep"))).code).toBe(2);
  expect(api.seen).toHaveLength(0);
});

test("a refusal leaves no file behind", async () => {
  api.on("createHost", problem("host_exists"));
  expect((await add("--out", join(dir, "web-01.skep"))).code).toBe(5);
  expect(readdirSync(dir)).toEqual([]);
});

test("an answer that was lost with its secret is made good by a new bundle", async () => {
  api.on("createHost", () => (api.seen.length === 1 ? "drop" : problem("secret_shown_once")));
  api.on("createBundle", created);
  const path = join(dir, "web-01.skep");
  expect((await add("--out", path)).code).toBe(0);
  expect(api.seen.map((seen) => seen.id)).toEqual(["createHost", "createHost", "createBundle"]);
  expect(api.seen[0]!.key).toBe(api.seen[1]!.key);
  expect(api.seen[2]!.key).not.toBe(api.seen[0]!.key);
  expect(existsSync(path)).toBe(true);
});

test("with a key: the file has it, the terminal does not", async () => {
  api.on("createHost", { status: 201, body: { ...created.body, bundle: { ...bundle, cert_pem: "CERT", key_pem: "SECRET-KEY" } } });
  const path = join(dir, "web-01.skep");
  const ran = await add("--with-key", "--out", path);
  expect(api.seen[0]!.body).toMatchObject({ mode: "with_key" });
  expect(readFileSync(path, "utf8")).toContain("SECRET-KEY");
  expect(ran.out + ran.err).not.toMatch(/SECRET-KEY|enrol [A-Za-z0-9_-]{100,}/);
});

test("--out - and --json write no file unless they are told to", async () => {
  api.on("createHost", created);
  expect(JSON.parse((await add("--out", "-")).out)).toEqual(bundle);
  expect(JSON.parse((await add("--json")).out)).toEqual(created.body);
  const path = join(dir, "both.skep");
  expect(JSON.parse((await add("--json", "--out", path)).out)).toEqual(created.body);
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(bundle);
});
