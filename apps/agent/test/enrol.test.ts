import { join } from "node:path";
import { fingerprintOf, loadIdentity, parseBundle, readCsr } from "@skep/pki";
import { createLogger, systemClock, systemRng } from "@skep/runtime";
import { tempDir } from "@skep/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { enrolWithBundle } from "../src/identity/enrol.ts";
import { cleanup, startAgent, startMaster } from "./kit/agent-kit.ts";
import { HOST_ID, TRUST_DOMAIN, hostLeaf, masterLeaf, newAuthority, type FakeMaster } from "./kit/fake-master.ts";

afterEach(cleanup);
const deps = { clock: systemClock(), rng: systemRng(), logger: createLogger({ level: "silent", name: "test" }) };
const SECRET = "s".repeat(43);

const bundleOf = (door: FakeMaster, extra: object = {}) =>
  parseBundle(JSON.stringify({
    version: 1, host_id: HOST_ID, name: "web-01", enrol_urls: [door.url], master_urls: [door.url], ca_cert_pem: door.authority.certPem, ca_sha256: fingerprintOf(door.authority.certPem),
    trust_domain: TRUST_DOMAIN, token_id: HOST_ID, token: SECRET, expires_at: "2099-01-01T00:00:00.000Z", ...extra,
  }));

const issue = (door: FakeMaster) => ({ body }: { body: Record<string, unknown> }) => ({ status: 200, body: { cert_pem: hostLeaf(door.authority, { csrPem: String(body["csr_pem"]) }).certPem, chain_pem: door.authority.certPem, not_after: "2026-12-31T00:00:00.000Z" } });

describe("enrolment", () => {
  test("makes the key here, sends a CSR, stores what came back; a lost answer is asked for again with the same key", async () => {
    const door = await startMaster({ door: true });
    let tries = 0;
    const keys = new Set<string>();
    door.on("enrol", (seen) => {
      tries += 1;
      keys.add(readCsr(String(seen.body["csr_pem"])).spkiSha256);
      return tries === 1 ? undefined : issue(door)(seen);
    });
    const agentDir = join(tempDir("enrol"), "agent");
    await enrolWithBundle({ ...deps, bundle: bundleOf(door), agentDir });
    expect([tries, keys.size]).toEqual([2, 1]);
    expect((await loadIdentity(agentDir))?.hostId).toBe(HOST_ID);
    expect(door.seen[0]?.body["secret"]).toBe(SECRET);
  });

  test("an impostor at the door never sees the secret: another CA, or a host of ours", async () => {
    const real = await startMaster({ door: true });
    const foreign = newAuthority();
    for (const leaf of [masterLeaf(foreign), hostLeaf(real.authority)]) {
      const impostor = await startMaster({ door: true, authority: real.authority, leaf });
      await expect(enrolWithBundle({ ...deps, bundle: bundleOf(real, { enrol_urls: [impostor.url] }), agentDir: join(tempDir("enrol"), "agent") })).rejects.toMatchObject({ code: expect.stringMatching(/cert_mismatch|wrong_role/) as string });
      expect(impostor.seen).toEqual([]);
    }
  });

  test("expired and used bundles are refused with what to do", async () => {
    const door = await startMaster({ door: true });
    await expect(enrolWithBundle({ ...deps, bundle: bundleOf(door, { expires_at: "2020-01-01T00:00:00.000Z" }), agentDir: tempDir("enrol") })).rejects.toMatchObject({ code: "enrolment_refused", detail: expect.stringContaining("skep host bundle") as string });
    expect(door.seen).toEqual([]);
    door.on("enrol", () => door.refusal(404, "enrolment_refused"));
    await expect(enrolWithBundle({ ...deps, bundle: bundleOf(door), agentDir: tempDir("enrol") })).rejects.toMatchObject({ code: "enrolment_refused" });
  });

  test("a bundle with a key only rotates with it, and then the bundle's key is gone", async () => {
    const master = await startMaster();
    const given = hostLeaf(master.authority);
    const dir = tempDir("with-key");
    await enrolWithBundle({ ...deps, bundle: bundleOf(master, { cert_pem: given.certPem, key_pem: given.keyPem }), agentDir: join(dir, "identity") });
    master.on("register", ({ fingerprint }) => (fingerprint === fingerprintOf(given.certPem) ? master.refusal(403, "rotation_required") : { status: 200, body: master.registration() }));
    master.on("rotate", issue(master));
    const { agent } = await startAgent(master, { enrolled: false, dir });
    await agent.whenReady;
    const identity = await loadIdentity(join(dir, "identity"));
    expect(identity?.keyPem).not.toBe(given.keyPem);
    expect(master.seen.filter((one) => one.fingerprint === fingerprintOf(given.certPem)).map((one) => one.route)).not.toContain("heartbeat");
  });
});
