/** The master whole: its listeners and loops in one process, and as a real process told to stop, killed and resumed. */
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { createCsr, generateKeyPem } from "@skep/pki";
import type { Bundle } from "@skep/protocol";
import { createLogger } from "@skep/runtime";
import { createPostgresStore } from "@skep/store";
import { eventually, tempAuthority, tempDir } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { createMaster, type MasterSettings } from "../../src/index.ts";
import { newToken } from "../../src/http/tokens.ts";
import { DEFAULT_RETENTION, instant, uuidv7, type WebhookDeliveryId, type WebhookId } from "@skep/core";
import { clock, keepAlive, post, refusalCode, rng, seedBeat } from "./rig.ts";

const logger = createLogger({ level: "silent", name: "test" });
const settings: MasterSettings = {
  apiListen: "127.0.0.1", apiPort: 0, apiTls: undefined, swarmListen: "127.0.0.1", swarmPort: 0, enrolPort: 0, advertise: ["127.0.0.1"], heartbeatIntervalMs: 200, allowLoopbackAgents: true, failpoint: undefined,
};
const portOf = (url: string): number => Number(new URL(url).port);

describe("in one process", () => {
  const database = useDatabase();
  test("created over REST, enrolled at the door, beating on the channel, and nothing left listening after close", async () => {
    const store = await createPostgresStore({ url: database.url, logger, clock, rng, applicationName: "test" });
    const authority = tempAuthority();
    const master = await createMaster({ config: settings, store, authority: authority.authority, clock, rng, logger });
    try {
      const { apiUrl, swarmUrl, enrolUrl } = await master.listen();
      const admin = newToken(await store.now(), rng);
      await store.transaction((tx) => tx.insertApiToken({ id: admin.id, name: "t", role: "admin", secretHash: admin.secretHash, expiresAt: instant(clock.now() + 60_000) }));
      const api = (path: string, init: RequestInit = {}) => fetch(`${apiUrl}${path}`, { ...init, headers: { authorization: `Bearer ${admin.token}`, ...(init.body === undefined ? {} : { "content-type": "application/json" }) } });
      const created = await api("/v1/hosts", { method: "POST", body: JSON.stringify({ name: "web-01" }) });
      expect(created.status).toBe(201);
      const { bundle } = (await created.json()) as { bundle: Bundle };
      expect(bundle).toMatchObject({ enrol_urls: [enrolUrl], master_urls: [swarmUrl] });
      const keyPem = generateKeyPem();
      const enrolled = await post(portOf(enrolUrl), `/enrol/${bundle.token_id}`, { secret: bundle.token, csr_pem: createCsr({ keyPem, commonName: "x" }) }, { caPem: bundle.ca_cert_pem });
      const identity = { certPem: enrolled.json!["cert_pem"] as string, keyPem };
      expect((await post(portOf(swarmUrl), "/swarm/heartbeat", seedBeat(bundle.host_id), { caPem: bundle.ca_cert_pem, identity })).status).toBe(204);
      expect((await fetch(`${apiUrl}/readyz`)).status).toBe(200);
      // Silence is judged by the loops: nobody asks, and the host turns suspect and then unreachable.
      await eventually(async () => (await store.findHost(bundle.host_id))?.status === "unreachable", { what: "the silent host is unreachable" });
      await master.close();
      expect(await refusalCode(post(portOf(swarmUrl), "/swarm/heartbeat", {}, { caPem: bundle.ca_cert_pem, identity }))).toMatch(/ECONNREFUSED|ECONNRESET|EPIPE/);
      await expect(fetch(`${apiUrl}/healthz`)).rejects.toThrow();
    } finally {
      await master.close();
      await store.close();
    }
  });

  test("the retention that a master is given is the one it keeps to, from its start on", async () => {
    const store = await createPostgresStore({ url: database.url, logger, clock, rng, applicationName: "test" });
    const [webhookId, first, second] = [uuidv7(clock.now(), rng) as WebhookId, uuidv7(clock.now(), rng) as WebhookDeliveryId, uuidv7(clock.now(), rng) as WebhookDeliveryId];
    await store.transaction(async (tx) => {
      await tx.insertWebhook({ id: webhookId, name: "gone", url: "https://receiver.example/x", filter: { kinds: [], minSeverity: "info" }, secret: "whsec_x" });
      await tx.insertWebhookDeliveries([first, second].map((id) => ({ id, webhookId, alertId: undefined, body: {} })));
      for (const id of [first, second]) await tx.casWebhookDelivery(id, 1, { status: "dead" });
    });
    const master = await createMaster({ config: { ...settings, retention: { ...DEFAULT_RETENTION, deadLettersPerWebhook: 1 } }, store, authority: tempAuthority().authority, clock, rng, logger });
    try {
      await master.listen();
      await eventually(async () => (await store.listWebhookDeliveries({ webhookId, limit: 100 })).filter((delivery) => delivery.status === "dead").length === 1, { what: "one dead letter is left" });
    } finally {
      await master.close();
      await store.close();
    }
  });

  test("a decommission on one master holds on the other, on its open connections too, while signals work", async () => {
    const store = await createPostgresStore({ url: database.url, logger, clock, rng, applicationName: "test" });
    const other = await createPostgresStore({ url: database.url, logger, clock, rng, applicationName: "test-2" });
    const authority = tempAuthority();
    const [a, b] = await Promise.all([store, other].map((mine) => createMaster({ config: { ...settings, heartbeatIntervalMs: 30_000 }, store: mine, authority: authority.authority, clock, rng, logger })));
    const [, onB] = [await a!.listen(), await b!.listen()];
    try {
      const host = authority.host("web-02");
      await store.transaction(async (tx) => {
        await tx.insertHost({ id: host.hostId, name: "web-02", labels: {}, notes: undefined, address: undefined, agentPort: 8444, allowedCidr: undefined });
        await tx.insertCert({ fingerprint: host.sha256, hostId: host.hostId, spkiSha256: host.spkiSha256, status: "active", notBefore: host.notBefore, notAfter: host.notAfter });
      });
      const agent = keepAlive();
      const ask = () => post(portOf(onB.swarmUrl), "/swarm/heartbeat", seedBeat(host.hostId), { caPem: authority.authority.certPem, identity: host, agent });
      await eventually(async () => (await ask()).status === 204, { what: "the other master has read the pin" });
      await store.transaction((tx) => tx.decommissionHost(host.hostId));
      const refused = await eventually(async () => {
        const answer = await ask().catch(() => undefined);
        return answer?.status === 403 ? answer : undefined;
      }, { what: "the other master refuses the host" });
      expect(refused.json).toMatchObject({ code: "host_decommissioned" });
      agent.destroy();
    } finally {
      await Promise.all([a!.close(), b!.close()]);
      await Promise.all([store.close(), other.close()]);
    }
  });

  test("a routable API address without TLS is refused before anything listens", async () => {
    const store = await createPostgresStore({ url: database.url, logger, clock, rng, applicationName: "test" });
    await expect(createMaster({ config: { ...settings, apiListen: "0.0.0.0" }, store, authority: tempAuthority().authority, clock, rng, logger })).rejects.toMatchObject({ code: "bind_refused" });
    await store.close();
  });

  test("a port in use is named", async () => {
    const store = await createPostgresStore({ url: database.url, logger, clock, rng, applicationName: "test" });
    const first = await createMaster({ config: settings, store, authority: tempAuthority().authority, clock, rng, logger });
    const { swarmUrl } = await first.listen();
    const second = await createMaster({ config: { ...settings, swarmPort: portOf(swarmUrl) }, store, authority: tempAuthority().authority, clock, rng, logger });
    await expect(second.listen()).rejects.toMatchObject({ detail: expect.stringContaining(`127.0.0.1:${portOf(swarmUrl)}`) });
    await Promise.all([first.close(), second.close()]);
    await store.close();
  });
});

describe("as a process", () => {
  const database = useDatabase({ migrated: false });
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  });

  interface Started {
    readonly child: ChildProcess;
    readonly ready: Promise<{ api_url: string; ca_path: string; pid: number; bootstrap_token?: string }>;
    readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }>;
  }
  const start = (stateDir: string, env: Record<string, string> = {}): Started => {
    const program = fileURLToPath(new URL("../../bin/skep-master.js", import.meta.url));
    const child = spawn(process.execPath, [program, "--json", "--state-dir", stateDir, "--api-port", "0", "--swarm-port", "0", "--enrol-port", "0", "--swarm-listen", "127.0.0.1"], {
      env: { PATH: process.env["PATH"] ?? "", DATABASE_URL: database.url, SKEP_HEARTBEAT_INTERVAL_MS: "1000", SKEP_ALLOW_LOOPBACK_AGENTS: "1", ...env }, stdio: ["pipe", "pipe", "pipe"],
    });
    children.push(child);
    let stdout = "";
    let stderr = "";
    child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const ready = new Promise<never>((resolve, reject) => {
      child.stdout!.on("data", (chunk: Buffer) => {
        stdout += chunk.toString();
        if (stdout.includes("\n")) resolve(JSON.parse(stdout) as never);
      });
      child.once("close", () => reject(new Error(`ended before it was ready: ${stderr}`)));
    });
    ready.catch(() => undefined);
    const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }>((resolve) => child.once("close", (code, signal) => resolve({ code, signal, stderr })));
    return { child, ready, ended };
  };

  test("first start makes CA and token; SIGTERM ends it with 0; the next start resumes; kill -9 leaves nothing in the way", async () => {
    const stateDir = tempDir("master");
    const first = start(stateDir);
    const ready = await first.ready;
    const caBefore = readFileSync(ready.ca_path, "utf8");
    expect(statSync(join(stateDir, "admin.token")).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(stateDir, "admin.token"), "utf8").trim()).toBe(ready.bootstrap_token);
    const listed = await fetch(`${ready.api_url}/v1/hosts`, { headers: { authorization: `Bearer ${ready.bootstrap_token ?? ""}` } });
    expect(listed.status).toBe(200);

    const rival = start(stateDir);
    expect(await rival.ended).toMatchObject({ code: 1, stderr: expect.stringContaining(String(ready.pid)) });

    first.child.kill("SIGTERM");
    const end = await first.ended;
    expect(end).toMatchObject({ code: 0, signal: null });
    expect(end.stderr).not.toContain(ready.bootstrap_token);

    const second = start(stateDir);
    const again = await second.ready;
    expect(again.bootstrap_token).toBeUndefined();
    expect(readFileSync(again.ca_path, "utf8")).toBe(caBefore);
    second.child.kill("SIGKILL");
    await second.ended;
    const third = start(stateDir, { SKEP_SUPERVISED: "1" });
    await third.ready;
    // The supervisor's end of the pipe closes, as it does when it is killed.
    third.child.stdin!.end();
    expect(await third.ended).toMatchObject({ code: 0 });
  });

  test("a configuration that is not valid is 2, with every fault", async () => {
    expect(await start(tempDir("bad"), { SKEP_LOG_LEVEL: "loud", SKEP_TRUST_DOMAIN: "A B" }).ended).toMatchObject({ code: 2, stderr: expect.stringMatching(/SKEP_TRUST_DOMAIN[\s\S]*SKEP_LOG_LEVEL/) });
  });
});
