/** Every route of the agent channel against every standing a certificate can have; the routes come from the table. */
import { connect } from "node:tls";
import { describe, expect, test, beforeAll, afterAll } from "vitest";
import { createCsr, generateKeyPem } from "@skep/pki";
import { SWARM_ROUTES, type SwarmRouteId } from "@skep/protocol";
import { runSql } from "@skep/store/server";
import { eventually, tempAuthority } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { keepAlive, OPERATOR, post, refusalCode, seedBeat, soon, startRig, type Rig } from "./rig.ts";

const database = useDatabase();
let rig: Rig;
beforeAll(async () => {
  rig = await startRig(database.url);
});
afterAll(() => rig[Symbol.asyncDispose]());

/** A good body per route; the type makes a new route fail to compile until it is in this matrix. */
const BODIES: Record<SwarmRouteId, (hostId: string) => unknown> = {
  register: () => ({ boot_id: "b", host_boot_id: "h", agent_version: "0.1.0", op_seq: 0 }),
  heartbeat: (hostId) => seedBeat(hostId),
  rotate: () => ({ csr_pem: createCsr({ keyPem: generateKeyPem(), commonName: "x" }) }),
};
const GOOD: Record<SwarmRouteId, number> = { register: 200, heartbeat: 204, rotate: 200 };
const ca = (): string => rig.authority.authority.certPem;
const call = (route: (typeof SWARM_ROUTES)[number], cert: { certPem: string; keyPem: string } | undefined, hostId: string) =>
  post(rig.swarmPort, route.path, BODIES[route.id](hostId), { caPem: ca(), identity: cert });
let names = 0;
const name = (): string => `m-${names++}`;

describe.each(SWARM_ROUTES)("$method $path", (route) => {
  test("control: a pinned host is admitted", async () => {
    const host = await rig.addHost(name());
    expect((await call(route, host, host.hostId)).status).toBe(GOOD[route.id]);
  });

  test("no certificate is a TLS refusal", async () => {
    expect(await refusalCode(call(route, undefined, "x"))).toMatch(/CERTIFICATE_REQUIRED|ECONNRESET|EPIPE/);
  });

  test("a certificate of a foreign authority is a TLS refusal, even with a known host's id", async () => {
    const host = await rig.addHost(name());
    const stranger = tempAuthority().host("stranger", { hostId: host.hostId });
    expect(await refusalCode(call(route, stranger, host.hostId))).toMatch(/ALERT|ECONNRESET|EPIPE/);
  });

  test("a certificate past its end is a TLS refusal", async () => {
    const host = await rig.addHost(name(), { validityMs: -3_600_000 });
    expect(await refusalCode(call(route, host, host.hostId))).toMatch(/EXPIRED|ALERT|ECONNRESET|EPIPE/);
  });

  test("past its end by the database's record it is refused, whatever its dates say to TLS", async () => {
    const host = await rig.addHost(name(), { pinNotAfter: soon(-1_000) });
    expect(await call(route, host, host.hostId)).toMatchObject({ status: 403, json: { code: "cert_expired" } });
  });

  test("valid under our CA but not pinned", async () => {
    const host = await rig.addHost(name(), { pinned: false });
    expect(await call(route, host, host.hostId)).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
  });

  test("revoked", async () => {
    const host = await rig.addHost(name(), { status: "revoked" });
    expect(await call(route, host, host.hostId)).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
  });

  test("the master's own certificate is not a host's", async () => {
    const host = await rig.addHost(name());
    expect(await call(route, rig.authority.master(), host.hostId)).toMatchObject({ status: 403, json: { code: "wrong_role" } });
  });

  test("a pending credential may rotate and nothing else", async () => {
    const host = await rig.addHost(name(), { status: "pending" });
    const answer = await call(route, host, host.hostId);
    if (route.id === "rotate") expect(answer.status).toBe(200);
    else expect(answer).toMatchObject({ status: 403, json: { code: "rotation_required" } });
  });

  test("a retiring certificate is good within its overlap and dead after it", async () => {
    const host = await rig.addHost(name());
    const next = rig.authority.host("next", { hostId: host.hostId });
    const retire = (overlapMs: number) => rig.store.transaction((tx) => tx.retireCerts(host.hostId, next.sha256, overlapMs)).then(() => rig.identity.pins.refresh());
    await retire(3_600_000);
    expect((await call(route, host, host.hostId)).status).toBe(GOOD[route.id]);
    const other = await rig.addHost(name());
    await rig.store.transaction((tx) => tx.retireCerts(other.hostId, next.sha256, 0)).then(() => rig.identity.pins.refresh());
    expect(await call(route, other, other.hostId)).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
  });

  test("decommissioned: refused on the next request of a connection that is open", async () => {
    const host = await rig.addHost(name());
    const agent = keepAlive();
    const ask = () => post(rig.swarmPort, route.path, BODIES[route.id](host.hostId), { caPem: ca(), identity: host, agent });
    expect((await ask()).status).toBe(GOOD[route.id]);
    await rig.identity.decommission(host.hostId, false, OPERATOR);
    const after = await ask().catch(() => ask());
    expect(after).toMatchObject({ status: 403, json: { code: "host_decommissioned" } });
    agent.destroy();
  });

  test("headers that claim an identity change nothing", async () => {
    const victim = await rig.addHost(name());
    const host = await rig.addHost(name(), { pinned: false });
    const answer = await post(rig.swarmPort, route.path, BODIES[route.id](victim.hostId), {
      caPem: ca(), identity: host, headers: { "x-internal-caller": "1", "x-forwarded-client-cert": victim.certPem.replaceAll("\n", " "), "x-ssl-client-verify": "SUCCESS", authorization: "Bearer x" },
    });
    expect(answer).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
  });
});

test("a beat that names another host is refused and audited; the named host hears nothing of it", async () => {
  const [mine, other] = [await rig.addHost(name()), await rig.addHost(name())];
  const answer = await post(rig.swarmPort, "/swarm/heartbeat", seedBeat(other.hostId), { caPem: ca(), identity: mine });
  expect(answer).toMatchObject({ status: 403, json: { code: "cert_mismatch" } });
  expect((await rig.store.findHostView(other.hostId))?.liveness).toBeUndefined();
  const audited = () => runSql(database.url, "SELECT outcome FROM audit_log WHERE subject = $1 AND action = 'swarm.request'", [`host:${mine.hostId}`]);
  expect(await eventually(async () => ((await audited()).length > 0 ? audited() : undefined), { what: "the refusal is in the audit log" })).toEqual([{ outcome: "denied" }]);
});

test("the master's own certificate is replaced in process: open connections go on, new ones see the new one", async () => {
  const host = await rig.addHost(name());
  const agent = keepAlive();
  const ask = (with_: { agent?: typeof agent } = {}) => post(rig.swarmPort, "/swarm/heartbeat", seedBeat(host.hostId), { caPem: ca(), identity: host, ...with_ });
  const served = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: rig.swarmPort, ca: ca(), cert: host.certPem, key: host.keyPem, servername: "localhost" }, () => {
        resolve(socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      });
      socket.on("error", reject);
    });
  expect((await ask({ agent })).status).toBe(204);
  const before = await served();
  const next = rig.authority.master();
  rig.channel.setCredentials({ caPem: ca(), certPem: next.certPem, keyPem: next.keyPem });
  expect((await ask({ agent })).status).toBe(204);
  expect((await ask()).status).toBe(204);
  const after = await served();
  expect(after).not.toBe(before);
  expect(after.replaceAll(":", "").toLowerCase()).toBe(next.sha256);
  // The rules came along: still nobody without a certificate.
  expect(await refusalCode(post(rig.swarmPort, "/swarm/heartbeat", {}, { caPem: ca() }))).toMatch(/CERTIFICATE_REQUIRED|ECONNRESET|EPIPE/);
  agent.destroy();
});

test("a path that is not in the table is 404 in our own form", async () => {
  const host = await rig.addHost(name());
  expect(await post(rig.swarmPort, "/swarm/none", {}, { caPem: ca(), identity: host })).toMatchObject({ status: 404, json: { code: "route_not_found" } });
});

test("revoking while connected ends the connection", async () => {
  const host = await rig.addHost(name());
  const agent = keepAlive();
  await post(rig.swarmPort, "/swarm/heartbeat", seedBeat(host.hostId), { caPem: ca(), identity: host, agent });
  const [socket] = Object.values(agent.freeSockets).flat();
  const closed = new Promise<void>((resolve) => socket?.once("close", () => resolve()));
  await rig.store.transaction((tx) => tx.revokeCerts(host.hostId));
  await rig.identity.pins.refresh();
  await closed;
  agent.destroy();
});
