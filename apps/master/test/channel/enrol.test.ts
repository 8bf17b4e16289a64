/** The enrolment door: one winner per token, the same answer to every guess, and nothing but a key taken from a CSR. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certFacts, createCsr, generateKeyPem, hostUri } from "@skep/pki";
import type { Bundle } from "@skep/protocol";
import { parseBundle } from "@skep/pki";
import { randomToken } from "@skep/runtime";
import { useDatabase } from "@skep/testkit/vitest";
import { OPERATOR, post, refusalCode, seedBeat, startRig, type Answer, type Rig } from "./rig.ts";

const database = useDatabase();
let rig: Rig;
beforeAll(async () => {
  rig = await startRig(database.url);
});
afterAll(() => rig[Symbol.asyncDispose]());

let names = 0;
const newBundle = async (more: object = {}): Promise<Bundle> => {
  const wish = { name: `e-${names++}`, agent_port: 8444, labels: {}, mode: "csr" as const, ttl_s: 900, ...more };
  return (await rig.identity.createHost(wish, OPERATOR)).body.bundle;
};
const csrOf = (keyPem: string, commonName = "x"): string => createCsr({ keyPem, commonName });
const redeem = (bundle: Bundle, csrPem: string, secret = bundle.token, tokenId = bundle.token_id): Promise<Answer> =>
  post(rig.enrolPort, `/enrol/${tokenId}`, { secret, csr_pem: csrPem }, { caPem: bundle.ca_cert_pem });
const eventsOf = async (hostId: string): Promise<string[]> => (await rig.store.recentEvents(200, { hostId })).map((event) => event.kind);

test("a bundle is what pki's reader accepts, and its secret is stored as a hash only", async () => {
  const bundle = await newBundle();
  expect(parseBundle(JSON.stringify(bundle))).toMatchObject({ host_id: bundle.host_id });
  const token = await rig.store.findToken(bundle.token_id as never);
  expect(token?.secretHash).toBe(createHash("sha256").update(bundle.token).digest("hex"));
  expect(JSON.stringify(await rig.store.recentEvents(200))).not.toContain(bundle.token);
});

test("token and CSR for a certificate that the agent channel takes; the host is enrolled", async () => {
  const bundle = await newBundle();
  const keyPem = generateKeyPem();
  const answer = await redeem(bundle, csrOf(keyPem));
  expect(answer.status).toBe(200);
  const certPem = answer.json!["cert_pem"] as string;
  expect((await rig.store.findHost(bundle.host_id))?.status).toBe("enrolled");
  const beat = await post(rig.swarmPort, "/swarm/heartbeat", seedBeat(bundle.host_id), { caPem: bundle.ca_cert_pem, identity: { certPem, keyPem } });
  expect(beat.status).toBe(204);
  expect((await rig.store.findHost(bundle.host_id))?.status).toBe("active");
});

test("of 40 that redeem one token at once with keys of their own, one wins and the alarm is raised", async () => {
  const bundle = await newBundle();
  const answers = await Promise.all(Array.from({ length: 40 }, () => redeem(bundle, csrOf(generateKeyPem()))));
  const codes = answers.map((answer) => (answer.status === 200 ? "won" : String(answer.json?.["code"])));
  expect(codes.filter((code) => code === "won")).toHaveLength(1);
  expect(new Set(codes)).toEqual(new Set(["won", "enrolment_refused"]));
  expect(await rig.store.listHostCerts(bundle.host_id as never)).toHaveLength(1);
  expect((await eventsOf(bundle.host_id)).filter((kind) => kind === "host.token_replay")).toHaveLength(1);
});

test("a lost answer is repeated to the same key, also when both ask at once; another key is refused and burns the token", async () => {
  const bundle = await newBundle();
  const keyPem = generateKeyPem();
  const [first, twin] = await Promise.all([redeem(bundle, csrOf(keyPem)), redeem(bundle, csrOf(keyPem))]);
  const again = await redeem(bundle, csrOf(keyPem, "other-name"));
  expect([first.status, twin.status, again.status]).toEqual([200, 200, 200]);
  expect(twin.json!["cert_pem"]).toBe(first.json!["cert_pem"]);
  expect(again.json!["cert_pem"]).toBe(first.json!["cert_pem"]);
  expect(await redeem(bundle, csrOf(generateKeyPem()))).toMatchObject({ status: 404, json: { code: "enrolment_refused" } });
  expect(await eventsOf(bundle.host_id)).toContain("host.token_replay");
  expect((await redeem(bundle, csrOf(keyPem))).status).toBe(404);
});

test("unknown, malformed, used, burned, expired and wrong are one answer", async () => {
  const used = await newBundle();
  await redeem(used, csrOf(generateKeyPem()));
  const burned = await newBundle();
  await rig.store.transaction((tx) => tx.burnTokens(burned.host_id as never));
  const expired = await newBundle({ ttl_s: -1 });
  const wrong = await newBundle();
  const answers = await Promise.all([
    redeem(wrong, csrOf(generateKeyPem()), randomToken("ske")),
    redeem(wrong, csrOf(generateKeyPem()), wrong.token, "01990000-0000-7000-8000-000000000000"),
    redeem(wrong, csrOf(generateKeyPem()), wrong.token, "x"),
    redeem(used, csrOf(generateKeyPem())),
    redeem(burned, csrOf(generateKeyPem())),
    redeem(expired, csrOf(generateKeyPem())),
  ]);
  const shown = answers.map(({ status, json }) => ({ status, ...json, request_id: "" }));
  expect(new Set(shown.map((answer) => JSON.stringify(answer))).size).toBe(1);
  expect(shown[0]).toMatchObject({ status: 404, code: "enrolment_refused" });
});

test("ten wrong secrets burn the token, for the right one too; nine do not", async () => {
  const [nine, ten] = [await newBundle(), await newBundle()];
  const guess = (bundle: Bundle) => redeem(bundle, csrOf(generateKeyPem()), randomToken("ske"));
  for (let i = 0; i < 9; i++) await guess(nine);
  expect((await redeem(nine, csrOf(generateKeyPem()))).status).toBe(200);
  for (let i = 0; i < 10; i++) await guess(ten);
  expect((await redeem(ten, csrOf(generateKeyPem()))).status).toBe(404);
  expect(await eventsOf(ten.host_id)).toContain("host.token_burned");
});

test("a new bundle kills the one before", async () => {
  const first = await newBundle();
  const second = (await rig.identity.createBundle(first.name, { mode: "csr", ttl_s: 60 }, OPERATOR)).body.bundle;
  expect((await redeem(first, csrOf(generateKeyPem()))).status).toBe(404);
  expect((await redeem(second, csrOf(generateKeyPem()))).status).toBe(200);
});

test("the same Idempotency-Key makes one host, and a fresh bundle instead of a stored secret", async () => {
  const wish = { name: `e-${names++}`, agent_port: 8444, labels: {}, mode: "csr" as const, ttl_s: 900 };
  const context = { ...OPERATOR, idempotency: { scope: "t:POST /v1/hosts", key: wish.name, bodyHash: "h" } };
  const first = await rig.identity.createHost(wish, context);
  const again = await rig.identity.createHost(wish, context);
  expect([first.replayed, again.replayed]).toEqual([false, true]);
  expect(again.body.host.id).toBe(first.body.host.id);
  expect(again.body.bundle.token).not.toBe(first.body.bundle.token);
  await expect(rig.identity.createHost(wish, { ...context, idempotency: { ...context.idempotency, bodyHash: "other" } })).rejects.toMatchObject({ code: "idempotency_key_reused" });
  await expect(rig.identity.createHost(wish, OPERATOR)).rejects.toMatchObject({ code: "host_exists" });
});

describe("what a CSR may bring (faults F43)", () => {
  test("names and roles it asks for are not in the certificate", async () => {
    const bundle = await newBundle();
    const answer = await redeem(bundle, csrOf(generateKeyPem(), "master.example"));
    const facts = certFacts(answer.json!["cert_pem"] as string);
    expect(facts).toMatchObject({ commonName: bundle.name, isAuthority: false, uris: [hostUri(bundle.trust_domain, bundle.host_id)] });
    expect([...facts.dnsNames, ...facts.addresses]).not.toContain("master.example");
  });

  test.each([
    ["empty", ""],
    ["not PEM", "hello hello hello"],
    ["a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ["cut short", csrOf(generateKeyPem()).slice(0, 200)],
  ])("%s is refused and costs the token nothing", async (_what, csr) => {
    const bundle = await newBundle();
    expect(await redeem(bundle, csr)).toMatchObject({ status: 422, json: { code: "csr_refused" } });
    expect((await redeem(bundle, csrOf(generateKeyPem()))).status).toBe(200);
  });

  test("a signature that is not the key's own", async () => {
    const bundle = await newBundle();
    const lines = csrOf(generateKeyPem()).trim().split("\n");
    const der = Buffer.from(lines.slice(1, -1).join(""), "base64");
    der[der.length - 1]! ^= 1;
    const forged = `${lines[0]}\n${der.toString("base64")}\n${lines.at(-1)}\n`;
    expect(await redeem(bundle, forged)).toMatchObject({ status: 422, json: { code: "csr_refused" } });
  });

  test("another host's key is refused, and the token still good", async () => {
    const [mine, theirs] = [await newBundle(), await newBundle()];
    const keyPem = generateKeyPem();
    expect((await redeem(theirs, csrOf(keyPem))).status).toBe(200);
    expect(await redeem(mine, csrOf(keyPem))).toMatchObject({ status: 409, json: { code: "key_reused" } });
    expect((await redeem(mine, csrOf(generateKeyPem()))).status).toBe(200);
  });
});

test("with_key: the credential rotates once, and a second holder of the bundle is refused", async () => {
  const bundle = await newBundle({ mode: "with_key" });
  const identity = { certPem: bundle.cert_pem!, keyPem: bundle.key_pem! };
  const rotate = (): Promise<Answer> => post(rig.swarmPort, "/swarm/rotate", { csr_pem: csrOf(generateKeyPem()) }, { caPem: bundle.ca_cert_pem, identity });
  expect(await post(rig.swarmPort, "/swarm/heartbeat", seedBeat(bundle.host_id), { caPem: bundle.ca_cert_pem, identity })).toMatchObject({ status: 403, json: { code: "rotation_required" } });
  expect((await rotate()).status).toBe(200);
  expect(await rotate()).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
  expect((await rig.store.findHost(bundle.host_id))?.status).toBe("enrolled");
  expect((await redeem(bundle, csrOf(generateKeyPem()))).status).toBe(404);
});

test("rotation: asked for, told in the beat, both pins good, the same key asked twice gets one certificate", async () => {
  const host = await rig.addHost(`e-${names++}`);
  const session = await post(rig.swarmPort, "/swarm/register", { boot_id: "b", host_boot_id: "h", agent_version: "1", op_seq: 0 }, { caPem: rig.authority.authority.certPem, identity: host });
  const full = (seq: number) => seedBeat(host.hostId, { boot_id: "b", session_epoch: session.json!["session_epoch"], seq, op_seq: 0, phase: "ready", status: { deployed: false, placements: [] }, jobs: [] });
  const beat = (seq: number, identity: { certPem: string; keyPem: string }) => post(rig.swarmPort, "/swarm/heartbeat", full(seq), { caPem: rig.authority.authority.certPem, identity });
  expect((await beat(1, host)).status).toBe(204);
  await rig.identity.requestRotation(host.hostId, OPERATOR);
  expect(await beat(2, host)).toMatchObject({ status: 200, json: { rotate_cert: true } });
  const keyPem = generateKeyPem();
  const rotate = () => post(rig.swarmPort, "/swarm/rotate", { csr_pem: csrOf(keyPem) }, { caPem: rig.authority.authority.certPem, identity: host });
  const [first, again] = [await rotate(), await rotate()];
  expect([first.status, again.status]).toEqual([200, 200]);
  expect(again.json!["cert_pem"]).toBe(first.json!["cert_pem"]);
  expect((await beat(3, { certPem: first.json!["cert_pem"] as string, keyPem })).status).toBe(204);
  expect((await beat(4, host)).status).toBe(204);
  const statuses = (await rig.store.listHostCerts(host.hostId)).map((cert) => cert.status).sort();
  expect(statuses).toEqual(["active", "retiring"]);
});

test("a flood from one address is told to wait", async () => {
  const strict = await startRig(database.url, { door: { perAddress: { perMinute: 1, burst: 5 } } });
  try {
    const ask = () => post(strict.enrolPort, "/enrol/x", { secret: "x".repeat(30), csr_pem: csrOf(generateKeyPem()) }, { caPem: strict.authority.authority.certPem });
    const statuses = [];
    for (let i = 0; i < 7; i++) statuses.push((await ask()).status);
    expect(statuses).toEqual([404, 404, 404, 404, 404, 429, 429]);
    expect((await ask()).headers["retry-after"]).toMatch(/^\d+$/);
  } finally {
    await strict[Symbol.asyncDispose]();
  }
});

test("the door knows one route, and nobody serves it without our CA's name", async () => {
  const bundle = await newBundle();
  expect((await post(rig.enrolPort, "/swarm/heartbeat", {}, { caPem: bundle.ca_cert_pem })).status).toBe(404);
  expect(await post(rig.enrolPort, `/enrol/${bundle.token_id}`, Buffer.alloc(20_000, 32), { caPem: bundle.ca_cert_pem })).toMatchObject({ status: 413, json: { code: "payload_too_large" } });
  const stranger = await startRig(database.url);
  try {
    expect(await refusalCode(post(stranger.enrolPort, `/enrol/${bundle.token_id}`, {}, { caPem: bundle.ca_cert_pem }))).toMatch(/UNABLE_TO_VERIFY|SIGNATURE|SELF_SIGNED/);
  } finally {
    await stranger[Symbol.asyncDispose]();
  }
});
