/** Hosts, their certificates and their tokens. */
import { instant } from "@skep/core";
import type { HostId, TokenId } from "@skep/core";
import { expect, test } from "vitest";
import type { World } from "./world.ts";
import { newHash, newId } from "./world.ts";

export function hostRules(world: () => World): void {
  test("a host is found by id and by name, and its name is taken", async () => {
    const { store } = world();
    const id = await world().host("web-01", { heard: false, labels: { zone: "a" } });
    const host = (await store.findHost("web-01"))!;
    expect(host).toMatchObject({ id, name: "web-01", status: "pending", labels: { zone: "a" }, schedulable: true, sessionEpoch: 0, agentPort: 8442, address: "10.0.0.1", notes: undefined, enrolledAt: undefined });
    expect(await store.findHost(id)).toEqual(host);
    expect(await store.findHost("nobody")).toBeUndefined();
    expect(await store.findHostView(id)).toEqual({
      host, liveness: undefined, report: undefined,
      // Nobody has asked it yet, and the first question is due at once.
      reachability: {
        hostId: id, state: "unknown", consecutiveFailures: 0, consecutiveSuccesses: 0, changedAt: undefined, lastProbeAt: undefined, lastOkAt: undefined, lastError: undefined,
        transitions: [], flapping: false, dueAt: host.createdAt, version: 1,
      },
    });
    const again = await store.transaction((tx) => tx.insertHost({ id: newId<HostId>(), name: "web-01", labels: {}, notes: undefined, address: undefined, agentPort: 1, allowedCidr: undefined }));
    expect(again).toBe("host_exists");
  });

  test("a status moves only from the one believed in, and never from the tombstone", async () => {
    const { store } = world();
    const id = await world().host();
    expect(await store.transaction((tx) => tx.casHostStatus(id, "suspect", "unreachable", "wrong belief"))).toBe(false);
    expect(await store.transaction((tx) => tx.casHostStatus(id, "active", "suspect", "silent"))).toBe(true);
    expect(await store.findHost(id)).toMatchObject({ status: "suspect", statusBecause: "silent" });
    expect(await store.transaction((tx) => tx.decommissionHost(id))).toBe(true);
    expect(await store.transaction((tx) => tx.decommissionHost(id))).toBe(false);
    expect(await store.transaction((tx) => tx.casHostStatus(id, "decommissioned", "active", "back from the dead"))).toBe(false);
    expect((await store.findHost(id))!.decommissionedAt).toBeDefined();
  });

  test("a decommissioned host is found by id only, gives its name back and loses its credentials", async () => {
    const { store } = world();
    const id = await world().host("gone");
    const token = await world().token(id);
    await world().cert(id);
    await world().session(id);
    await store.transaction((tx) => tx.decommissionHost(id));
    expect(await store.findHost("gone")).toBeUndefined();
    expect(await store.findHost(id)).toMatchObject({ status: "decommissioned" });
    expect((await store.listHostCerts(id)).map((cert) => cert.status)).toEqual(["revoked"]);
    expect(await store.findToken(token)).toMatchObject({ burned: true });
    expect(await store.transaction((tx) => tx.claimToken(token, newHash(), "pem"))).toBe(false);
    expect(await store.transaction((tx) => tx.openSession(id, { bootId: "b", hostBootId: "k", agentVersion: "1", agentUrl: undefined }))).toBeUndefined();
    const again = await world().host("gone");
    expect(await store.findHost("gone")).toMatchObject({ id: again });
  });

  test("lists page by id and filter by status and labels", async () => {
    const { store } = world();
    const ids = [await world().host(undefined, { labels: { rack: "r1" } }), await world().host(undefined, { labels: { rack: "r1", gpu: "yes" } }), await world().host(undefined, { labels: { rack: "r2" } })];
    const listed = async (query: Parameters<typeof store.listHosts>[0]) => (await store.listHosts(query)).map((view) => view.host.id);
    expect(await listed({ limit: 10, labels: { rack: "r1" } })).toEqual(ids.slice(0, 2));
    expect(await listed({ limit: 10, labels: { rack: "r1", gpu: "yes" } })).toEqual([ids[1]]);
    expect(await listed({ limit: 1, labels: { rack: "r1" }, after: ids[0]! })).toEqual([ids[1]]);
    expect(await listed({ limit: 10, labels: { rack: "r2" }, status: "pending" })).toEqual([]);
    expect(await listed({ limit: 10, labels: { rack: "r2" }, status: "active" })).toEqual([ids[2]]);
  });

  test("a change touches what it names; a probe is kept with its time", async () => {
    const { store } = world();
    const id = await world().host();
    await store.transaction((tx) => tx.updateHost(id, { schedulable: false, notes: "fan is loud" }));
    expect(await store.findHost(id)).toMatchObject({ schedulable: false, notes: "fan is loud", address: "10.0.0.1" });
    await store.transaction((tx) => tx.recordProbe(id, false, "connect refused"));
    expect((await store.findHost(id))!.lastProbe).toMatchObject({ ok: false, error: "connect refused" });
    await store.transaction((tx) => tx.recordProbe(id, true, undefined));
    const probe = (await store.findHost(id))!.lastProbe!;
    expect([probe.ok, probe.error]).toEqual([true, undefined]);
    expect(probe.at).toBeLessThanOrEqual(await store.now());
  });

  test("a reset of the breakers is counted, and what was seen of a host goes with it", async () => {
    const { store } = world();
    const id = await world().host();
    const before = (await store.findHost(id))!;
    await store.transaction((tx) => tx.resetBreakers(id));
    expect(await store.findHost(id)).toMatchObject({ breakerResets: before.breakerResets + 1, version: before.version + 1 });
    expect((await store.findHostView(id))!.reachability).toBeDefined();
    await store.transaction((tx) => tx.decommissionHost(id));
    expect((await store.findHostView(id))!.reachability).toBeUndefined();
  });

  test("each session has the next epoch", async () => {
    const { store } = world();
    const id = await world().host();
    const open = (bootId: string) => store.transaction((tx) => tx.openSession(id, { bootId, hostBootId: "k", agentVersion: "2.0.0", agentUrl: "https://10.0.0.1:1" }));
    expect(await open("one")).toEqual({ sessionEpoch: 1 });
    expect(await open("two")).toEqual({ sessionEpoch: 2 });
    expect(await store.findHost(id)).toMatchObject({ sessionEpoch: 2, sessionBootId: "two", agentVersion: "2.0.0", agentUrl: "https://10.0.0.1:1" });
  });

  test("a public key is accepted once, whoever brings it", async () => {
    const { store } = world();
    const [one, two] = [await world().host(), await world().host()];
    const spki = newHash();
    await world().cert(one, "active", spki);
    const now = await store.now();
    const stolen = { fingerprint: newHash() as never, hostId: two, spkiSha256: spki, status: "active", notBefore: now, notAfter: instant(now + 1_000) } as const;
    expect(await store.transaction((tx) => tx.insertCert(stolen))).toBe(false);
    expect(await store.listHostCerts(two)).toEqual([]);
  });

  test("rotation keeps the new certificate, retires the active ones and revokes the pending", async () => {
    const { store } = world();
    const id = await world().host();
    const [old, offline, fresh] = [await world().cert(id), await world().cert(id, "pending"), await world().cert(id)];
    await store.transaction((tx) => tx.retireCerts(id, fresh, 60_000));
    const certs = new Map((await store.listHostCerts(id)).map((cert) => [cert.fingerprint, cert]));
    expect(certs.get(old)).toMatchObject({ status: "retiring" });
    expect(certs.get(old)!.retireAt).toBeGreaterThan(await store.now());
    expect(certs.get(offline)).toMatchObject({ status: "revoked" });
    expect(certs.get(fresh)).toMatchObject({ status: "active", retireAt: undefined });
    await store.transaction((tx) => tx.revokeCerts(id));
    expect((await store.listHostCerts(id)).map((cert) => cert.status)).toEqual(["revoked", "revoked", "revoked"]);
  });

  test("the pin version grows with every change of who is admitted, and pins carry the tombstone", async () => {
    const { store } = world();
    const id = await world().host();
    const versions = [(await store.pinVersion()).version];
    const grown = async (): Promise<void> => {
      versions.push((await store.pinVersion()).version);
      expect(versions.at(-1)).toBeGreaterThan(versions.at(-2)!);
    };
    const fingerprint = await world().cert(id);
    await grown();
    const find = async () => (await store.loadPins()).pins.find((pin) => pin.fingerprint === fingerprint);
    expect(await find()).toMatchObject({ hostId: id, hostStatus: "active", status: "active" });
    await store.transaction((tx) => tx.requestRotation(id));
    await grown();
    expect((await find())!.rotationWanted).toBe(true);
    await world().cert(id);
    await grown();
    expect((await find())!.rotationWanted ?? false).toBe(false);
    await store.transaction((tx) => tx.decommissionHost(id));
    await grown();
    expect(await find()).toMatchObject({ hostStatus: "decommissioned", status: "revoked" });
    expect((await store.loadPins()).version).toBe(versions.at(-1));
    // The control: what changes no pin changes no version.
    await store.transaction((tx) => tx.appendAudit({ actor: "master", action: "test", subject: "x", outcome: "allowed" }));
    expect((await store.pinVersion()).version).toBe(versions.at(-1));
  });

  test("a token has one winner, and none once it is burned or expired", async () => {
    const { store } = world();
    const id = await world().host();
    const claim = (token: TokenId) => store.transaction((tx) => tx.claimToken(token, "spki", "the pem"));
    const [good, burned, expired] = [await world().token(id), await world().token(id), await world().token(id, -1)];
    expect(await claim(good)).toBe(true);
    expect(await claim(good)).toBe(false);
    expect(await store.findToken(good)).toMatchObject({ hostId: id, claimedSpki: "spki", certPem: "the pem" });
    expect((await store.findToken(good))!.claimedAt).toBeDefined();
    await store.transaction((tx) => tx.burnTokens(id));
    expect(await claim(burned)).toBe(false);
    expect(await claim(expired)).toBe(false);
    expect(await store.transaction((tx) => tx.countTokenAttempt(burned))).toBe(1);
    expect(await store.transaction((tx) => tx.countTokenAttempt(burned))).toBe(2);
    expect(await store.findToken(newId<TokenId>())).toBeUndefined();
    expect(await store.findToken("not an id" as TokenId)).toBeUndefined();
  });
}
