/**
 * Handshakes over loopback with the real options. What a refusal test refuses, its control accepts with the one rule
 * taken away, so that nothing here passes because the connection never worked.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type ConnectionOptions, type Server, type TLSSocket, type TlsOptions } from "node:tls";
import { DAY_MS, type Instant } from "@skep/core";
import { eventually } from "@skep/testkit";
import { afterEach, describe, expect, it } from "vitest";
import {
  agentTls, clientTls, createAuthority, enrolTls, fingerprintOf, issueHostCert, issueMasterCert, masterSwarmTls, readPeer,
  type ClientWish, type Credentials, type ExpectedPeer, type PeerFacts,
} from "../src/index.ts";
import { signCert, nameOf } from "../src/sign-cert.ts";
import { encode, implicit, octets, oid, sequence } from "../src/der-write.ts";
import { extensionList, leafConstraints, peerUsage } from "../src/extensions.ts";
import { HOST_ID, keyAndSpki, makeFleet, NOW, OTHER_HOST_ID, RNG, TRUST_DOMAIN } from "./fleet.ts";

const fleet = makeFleet();
const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

interface Seen {
  readonly facts: PeerFacts | undefined;
  readonly authorized: boolean;
  readonly reused: boolean;
}

/** A listener that says "hello" and notes whom it saw. */
async function serve(options: TlsOptions): Promise<{ port: number; seen: Seen[]; errors: Error[]; server: Server }> {
  const seen: Seen[] = [];
  const errors: Error[] = [];
  const server = createServer(options, (socket) => {
    socket.on("error", () => {});
    const facts = readPeer(socket, TRUST_DOMAIN);
    expect(readPeer(socket, TRUST_DOMAIN)).toBe(facts); // cached
    seen.push({ facts, authorized: socket.authorized, reused: socket.isSessionReused() });
    socket.end("hello");
  });
  server.on("tlsClientError", (error) => errors.push(error));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, seen, errors, server };
}

interface Greeting {
  readonly text: string;
  readonly peer: PeerFacts | undefined;
  readonly session: Buffer | undefined;
  readonly reused: boolean;
}

/** Connects and reads to the end. Rejects with whatever the handshake failed with. */
async function greet(port: number, options: ConnectionOptions): Promise<Greeting> {
  const socket: TLSSocket = connect({ ...options, host: "127.0.0.1", port });
  try {
    let text = "";
    let session: Buffer | undefined;
    socket.on("session", (ticket) => (session = ticket));
    socket.on("data", (chunk) => (text += String(chunk)));
    await once(socket, "end");
    return { text, peer: readPeer(socket, TRUST_DOMAIN), session, reused: socket.isSessionReused() };
  } finally {
    socket.destroy();
  }
}

const as = (who: Credentials, expectPeer: ExpectedPeer, more: Partial<ClientWish> = {}): ConnectionOptions => clientTls({ trustDomain: TRUST_DOMAIN, ...who, expect: expectPeer, ...more });
/** What a careful but ordinary client checks: the chain. */
const plain = (who: Credentials): ConnectionOptions => ({ ca: who.caPem, cert: who.certPem, key: who.keyPem, checkServerIdentity: () => undefined });
const MASTER: ExpectedPeer = { role: "master" };
const HOST: ExpectedPeer = { role: "host", hostId: HOST_ID };

describe("a mutual handshake", () => {
  it("is TLS 1.3 and tells each side who the other is", async () => {
    const { port, seen } = await serve(masterSwarmTls(fleet.asMaster));
    const greeting = await greet(port, as(fleet.asHost, MASTER));
    expect(greeting).toMatchObject({ text: "hello", peer: { identity: { role: "master" }, fingerprint: fleet.master.sha256 } });
    expect(seen).toEqual([
      { authorized: true, reused: false, facts: { identity: { role: "host", hostId: HOST_ID }, refusal: undefined, fingerprint: fleet.host.sha256, notBefore: fleet.host.notBefore, notAfter: fleet.host.notAfter } },
    ]);
  });

  it("does not happen below TLS 1.3", async () => {
    const { port } = await serve(masterSwarmTls(fleet.asMaster));
    await expect(greet(port, { ...plain(fleet.asHost), maxVersion: "TLSv1.2" })).rejects.toThrow(/protocol version/);
    const old = await serve({ cert: fleet.asMaster.certPem, key: fleet.asMaster.keyPem, maxVersion: "TLSv1.2" });
    await expect(greet(old.port, as(fleet.asHost, MASTER))).rejects.toThrow(/protocol version/);
    expect((await greet(old.port, plain(fleet.asHost))).text).toBe("hello"); // the control
  });

  it("needs a client certificate of this authority that is valid today", async () => {
    const { port, seen, errors } = await serve(masterSwarmTls(fleet.asMaster));
    const foreign = makeFleet();
    const past = (NOW - 60 * DAY_MS) as Instant;
    const expired = { ...fleet.asHost, certPem: issueHostCert(fleet.authority, { ...fleet.hostWish, now: past }).certPem };
    const early = { ...fleet.asHost, certPem: issueHostCert(fleet.authority, { ...fleet.hostWish, now: (NOW + 2 * DAY_MS) as Instant }).certPem };
    const nobody: Partial<ClientWish> = { caPem: fleet.authority.certPem };
    await expect(greet(port, clientTls({ trustDomain: TRUST_DOMAIN, caPem: fleet.authority.certPem, expect: MASTER }))).rejects.toThrow(/certificate required/);
    await eventually(() => errors.length === 1, { what: "the refused handshake" });
    for (const who of [foreign.asHost, expired, early]) {
      // Node hangs up without an alert, and in TLS 1.3 the client is done by then: an end without data, or a reset.
      const text = await greet(port, as(who, MASTER, nobody)).then((greeting) => greeting.text, () => "");
      expect(text).toBe("");
    }
    expect(seen).toEqual([]);
    expect((await greet(port, as(fleet.asHost, MASTER))).text).toBe("hello"); // the control
  });
});

describe("clientTls", () => {
  const accepted = async (server: TlsOptions, client: ConnectionOptions): Promise<string> => {
    const { port } = await serve(server);
    return await greet(port, client).then(() => "accepted", (error: Error & { code?: string }) => error.code ?? error.message);
  };

  it("refuses a host in a master's place, which a check of the chain accepts", async () => {
    expect(await accepted(agentTls(fleet.asHost), as(fleet.asOther, MASTER))).toBe("wrong_role");
    expect(await accepted(agentTls(fleet.asHost), plain(fleet.asOther))).toBe("accepted"); // the control
  });

  it("refuses a host that carries the master's name, which a check of the name accepts", async () => {
    const key = keyAndSpki();
    const impostor = { ...fleet.asHost, keyPem: key.keyPem, certPem: issueHostCert(fleet.authority, { ...fleet.hostWish, ...key, addresses: ["master.example.com"], masterNames: [] }).certPem };
    expect(await accepted(masterSwarmTls(impostor), as(fleet.asOther, MASTER))).toBe("wrong_role");
    const byName: ConnectionOptions = { ca: fleet.authority.certPem, cert: fleet.asOther.certPem, key: fleet.asOther.keyPem, servername: "master.example.com" };
    expect(await accepted(masterSwarmTls(impostor), byName)).toBe("accepted"); // the control: defect 4-17
  });

  it("refuses a master in a host's place, and one host in another's", async () => {
    expect(await accepted(masterSwarmTls(fleet.asMaster), as(fleet.asMaster, HOST))).toBe("wrong_role");
    expect(await accepted(agentTls(fleet.asOther), as(fleet.asMaster, HOST))).toBe("cert_mismatch");
    expect(await accepted(agentTls(fleet.asOther), as(fleet.asMaster, { role: "host", hostId: OTHER_HOST_ID }))).toBe("accepted");
    expect(await accepted(masterSwarmTls(fleet.asMaster), plain(fleet.asMaster))).toBe("accepted");
  });

  it("refuses a certificate of the right host that is not pinned", async () => {
    const pinned = (...pems: string[]): ConnectionOptions => as(fleet.asMaster, { ...HOST, fingerprints: new Set<string>(pems.map((pem) => fingerprintOf(pem))) });
    expect(await accepted(agentTls(fleet.asHost), pinned(fleet.other.certPem))).toBe("cert_mismatch");
    expect(await accepted(agentTls(fleet.asHost), pinned())).toBe("cert_mismatch");
    expect(await accepted(agentTls(fleet.asHost), pinned(fleet.other.certPem, fleet.host.certPem))).toBe("accepted");
  });

  it("refuses a foreign authority, an expired server and another trust domain", async () => {
    const foreign = makeFleet();
    expect(await accepted(enrolTls(foreign.asMaster), as(fleet.asHost, MASTER))).toMatch(/SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY/);
    const old = issueMasterCert(fleet.authority, { ...fleet.hostWish, names: ["m"], addresses: [], now: (NOW - 60 * DAY_MS) as Instant });
    expect(await accepted(masterSwarmTls({ ...fleet.asHost, certPem: old.certPem }), as(fleet.asHost, MASTER))).toBe("CERT_HAS_EXPIRED");
    expect(await accepted(masterSwarmTls(fleet.asMaster), as(fleet.asHost, MASTER, { trustDomain: "other.test" }))).toBe("wrong_role");
  });
});

describe("the enrolment door", () => {
  it("proves the master to a client that has no certificate, and trusts no client", async () => {
    const { port, seen } = await serve(enrolTls(fleet.asMaster));
    const bare = clientTls({ trustDomain: TRUST_DOMAIN, caPem: fleet.authority.certPem, expect: MASTER });
    expect((await greet(port, bare)).text).toBe("hello");
    expect((await greet(port, as(fleet.asHost, MASTER))).text).toBe("hello");
    expect(seen.map(({ facts }) => facts)).toEqual([undefined, undefined]);
  });
});

describe("resumption", () => {
  const twice = async (server: TlsOptions): Promise<{ first: Greeting; second: Greeting; seen: Seen[] }> => {
    const { port, seen } = await serve(server);
    const first = await greet(port, plain(fleet.asHost));
    const second = await greet(port, { ...plain(fleet.asHost), ...(first.session === undefined ? {} : { session: first.session }) });
    return { first, second, seen };
  };

  it.each([["master", masterSwarmTls(fleet.asMaster)], ["agent", agentTls(fleet.asHost)], ["enrolment", enrolTls(fleet.asMaster)]])("is refused by the %s listener, whatever the client brings", async (_name, options) => {
    const { second, seen } = await twice(options);
    expect(second).toMatchObject({ text: "hello", reused: false });
    expect(seen.map(({ reused }) => reused)).toEqual([false, false]);
  });

  it("stays refused after the listener's certificate was rotated in place", async () => {
    const renewed = issueMasterCert(fleet.authority, { ...fleet.hostWish, spkiDer: fleet.hostWish.spkiDer, names: ["m"], addresses: [] });
    const { port, seen, server } = await serve(masterSwarmTls(fleet.asMaster));
    const before = await greet(port, as(fleet.asHost, MASTER));
    server.setSecureContext(masterSwarmTls({ ...fleet.asHost, certPem: renewed.certPem }));
    const first = await greet(port, as(fleet.asHost, MASTER));
    const second = await greet(port, { ...as(fleet.asHost, MASTER), ...(first.session === undefined ? {} : { session: first.session }) });
    expect([before, first, second].map(({ peer }) => peer?.fingerprint)).toEqual([fleet.master.sha256, renewed.sha256, renewed.sha256]);
    expect(seen.map(({ reused }) => reused)).toEqual([false, false, false]);
  });

  it("happens with Node's own settings, where readPeer then trusts nobody", async () => {
    const { asMaster } = fleet;
    const { first, second, seen } = await twice({ ca: asMaster.caPem, cert: asMaster.certPem, key: asMaster.keyPem, requestCert: true, rejectUnauthorized: true });
    expect(first.session).toBeDefined();
    expect(second.reused).toBe(true);
    expect(seen).toMatchObject([{ reused: false, facts: { fingerprint: fleet.host.sha256 } }, { reused: true, authorized: true, facts: undefined }]);
  });
});

describe("readPeer", () => {
  /** A certificate of our authority with any URI names: what a bug in the issuer, or a second one, could make. */
  function withUris(...uris: string[]): Credentials {
    const key = keyAndSpki();
    const list = sequence(...uris.map((uri) => implicit(6, Buffer.from(uri, "ascii"))));
    const names = uris.length === 0 ? [] : [sequence(oid("2.5.29.17"), octets(encode(list)))];
    const { certPem } = signCert({
      subject: nameOf({ commonName: "x" }), issuer: nameOf({ organization: TRUST_DOMAIN, commonName: "Skep CA" }), spkiDer: key.spkiDer, issuerKeyPem: fleet.authority.keyPem,
      now: NOW, validityMs: DAY_MS, notAfterLimit: undefined, rng: RNG, extensions: extensionList(leafConstraints(), peerUsage(), ...names),
    });
    return { caPem: fleet.authority.certPem, certPem, keyPem: key.keyPem };
  }

  const cases: [string, string[], string | undefined][] = [
    ["no URI", [], "no_uri"],
    ["two URIs", [`spiffe://${TRUST_DOMAIN}/host/${HOST_ID}`, `spiffe://${TRUST_DOMAIN}/master`], "many_uris"],
    ["the same URI twice", [`spiffe://${TRUST_DOMAIN}/master`, `spiffe://${TRUST_DOMAIN}/master`], "many_uris"],
    ["a foreign trust domain", [`spiffe://other.test/host/${HOST_ID}`], "foreign_trust_domain"],
    ["a trust domain that begins like ours", [`spiffe://${TRUST_DOMAIN}.evil/master`], "foreign_trust_domain"],
    ["another scheme", [`https://${TRUST_DOMAIN}/master`], "foreign_trust_domain"],
    ["no path", [`spiffe://${TRUST_DOMAIN}`], "foreign_trust_domain"],
    ["an upper-case id", [`spiffe://${TRUST_DOMAIN}/host/${HOST_ID.replace("a0b0", "A0B0")}`], "malformed_id"],
    ["a path behind the id", [`spiffe://${TRUST_DOMAIN}/host/${HOST_ID}/master`], "malformed_id"],
    ["another role", [`spiffe://${TRUST_DOMAIN}/masters`], "malformed_id"],
    ["a query", [`spiffe://${TRUST_DOMAIN}/master?`], "malformed_id"],
    ["a list in one name", [`spiffe://x.test/a, URI:spiffe://${TRUST_DOMAIN}/master`], "foreign_trust_domain"],
    ["the one good URI", [`spiffe://${TRUST_DOMAIN}/host/${HOST_ID}`], undefined],
  ];
  it.each(cases)("reads %s as what it is", async (_name, uris, refusal) => {
    const { port, seen } = await serve(masterSwarmTls(fleet.asMaster));
    await greet(port, plain(withUris(...uris)));
    expect(seen[0]?.facts?.refusal).toBe(refusal);
    expect(seen[0]?.facts?.identity === undefined).toBe(refusal !== undefined);
    expect(seen[0]?.authorized).toBe(true);
  });

  it("knows nobody when the listener tolerated a bad certificate", async () => {
    const { port, seen } = await serve({ ...masterSwarmTls(fleet.asMaster), rejectUnauthorized: false });
    const foreign = createAuthority({ trustDomain: TRUST_DOMAIN, now: NOW, rng: RNG });
    const stranger = { ...fleet.asHost, certPem: issueHostCert(foreign, fleet.hostWish).certPem };
    await greet(port, as(stranger, MASTER));
    await greet(port, as(fleet.asHost, MASTER));
    expect(seen.map(({ authorized, facts }) => [authorized, facts?.fingerprint])).toEqual([[false, undefined], [true, fleet.host.sha256]]);
  });
});
