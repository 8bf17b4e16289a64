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

  test("lists go by name too: page after page, without tombstones where they are not wanted", async () => {
    const { store } = world();
    const [c, a, b] = [await world().host("byname-c"), await world().host("byname-a", { labels: { order: "1" } }), await world().host("byname-b", { labels: { order: "1" } })];
    const gone = await world().host("byname-b0");
    await store.transaction((tx) => tx.decommissionHost(gone));
    // Its name is free again, so that two answer to it: a page that ends between them must not lose one.
    const again = await world().host("byname-b0");
    const twins = [gone, again].sort();
    const listed = async (query: Omit<Parameters<typeof store.listHosts>[0], "limit"> & { readonly limit?: number }) =>
      (await store.listHosts({ limit: 100, byName: {}, ...query })).filter((view) => view.host.name.startsWith("byname-")).map((view) => view.host.id);
    expect(await listed({})).toEqual([a, b, ...twins, c]);
    expect(await listed({ live: true })).toEqual([a, b, again, c]);
    expect(await listed({ live: true, status: "active", labels: { order: "1" } })).toEqual([a, b]);
    expect(await listed({ live: true, status: "decommissioned" })).toEqual([]);
    expect(await listed({ byName: { after: { name: "byname-b", id: b } }, limit: 1 })).toEqual([twins[0]]);
    expect(await listed({ byName: { after: { name: "byname-b0", id: twins[0]! } }, limit: 2 })).toEqual([twins[1], c]);
    expect((await store.listHosts({ limit: 100, live: true })).map((view) => view.host.id)).not.toContain(gone);
  });

  test("the certificates that admit many hosts, at once: no pending and no revoked ones, and nobody else's", async () => {
    const { store } = world();
    const [one, two, other] = [await world().host(), await world().host(), await world().host()];
    const old = await world().cert(one);
    const active = await world().cert(one);
    await world().cert(one, "pending");
    await store.transaction((tx) => tx.retireCerts(one, active, 60_000));
    const second = await world().cert(two);
    await world().cert(other);
    const found = await store.listPresentCerts([one, two]);
    expect(found.map((cert) => `${cert.hostId} ${cert.fingerprint} ${cert.status}`).sort()).toEqual([`${one} ${old} retiring`, `${one} ${active} active`, `${two} ${second} active`].sort());
    expect(found.find((cert) => cert.fingerprint === active)).toEqual((await store.listHostCerts(one)).find((cert) => cert.fingerprint === active));
    await store.transaction((tx) => tx.revokeCerts(two));
    expect(await store.listPresentCerts([two])).toEqual([]);
    expect(await store.listPresentCerts([])).toEqual([]);
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

  test("who may be the first by attention: whoever anything is known of, and of the calm the first by name; too many is allowed, too few is not", async () => {
    const { store } = world();
    const labels = { fleet: newId() };
    const make = async (name: string, beat = true): Promise<HostId> => {
      const id = await world().host(`${name}-${newId().slice(-8)}`, { labels });
      if (beat) await world().beat((await world().session(id))(1));
      return id;
    };
    const [b, a, c, d] = [await make("b"), await make("a"), await make("c"), await make("d")];
    const [silent, cordoned, open] = [await make("z1", false), await make("z2"), await make("z3")];
    await store.transaction((tx) => tx.updateHost(cordoned, { schedulable: false }));
    const after = { name: (await store.findHost(b))!.name, id: b };
    const ask = async (limit: number, from?: typeof after) => store.attentionCandidates({ live: true, labels, suspectAfterMs: 600_000, openCircuits: [open], calm: { limit, after: from } });
    for (const limit of [0, 1, 2, 3, 4, 5]) {
      const { ids, cut } = await ask(limit);
      expect(ids).toEqual(expect.arrayContaining([silent, cordoned, open, ...[a, b, c, d].slice(0, limit)]));
      expect(new Set(ids).size).toBe(ids.length);
      if (ids.length < 7) expect(cut).toBe(true);
    }
    expect((await ask(1, after)).ids).toEqual(expect.arrayContaining([silent, cordoned, open, c]));
    expect((await ask(5)).ids).toHaveLength(7);
    // And of nobody else.
    await world().host();
    expect((await ask(100)).ids).toHaveLength(7);
    expect((await store.attentionCandidates({ status: "decommissioned", labels, suspectAfterMs: 1, openCircuits: [], calm: { limit: 10 } })).ids).toEqual([]);
  });

  test("a list may be of certain hosts only", async () => {
    const { store } = world();
    const [first, , third] = [await world().host(), await world().host(), await world().host()];
    const ids = async (wanted: readonly HostId[]) => (await store.listHosts({ limit: 10, ids: wanted })).map((view) => view.host.id);
    expect(await ids([third, first, newId<HostId>()])).toEqual([first, third]);
    expect(await ids([])).toEqual([]);
  });
}
