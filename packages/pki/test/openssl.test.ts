/** OpenSSL's own verdict on what we issue, and a field-by-field look: our reader agreeing with our writer proves nothing. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DAY_MS, HOUR_MS, type HostId } from "@skep/core";
import { tempDir } from "@skep/testkit";
import { describe, expect, it } from "vitest";
import { certFacts, createAuthority, createCsr, fingerprintOf, issueHostCert, issueMasterCert, openAuthority, readCsr, renewalDueAt } from "../src/index.ts";
import { HOST_ID, keyAndSpki, makeFleet, NOW, RNG } from "./fleet.ts";

const dir = tempDir("with space");
let files = 0;
function fileOf(pem: string): string {
  const path = join(dir, `${++files}.pem`);
  writeFileSync(path, pem);
  return path;
}
const openssl = (...args: string[]): string => execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const verify = (caPem: string, pem: string, ...more: string[]): string => openssl("verify", "-x509_strict", "-check_ss_sig", ...more, "-CAfile", fileOf(caPem), fileOf(pem));
const text = (pem: string): string => openssl("x509", "-in", fileOf(pem), "-noout", "-text", "-nameopt", "RFC2253");

const fleet = makeFleet();

describe("issued certificates", () => {
  it.each([["sslclient"], ["sslserver"]])("verify strictly for %s", (purpose) => {
    for (const pem of [fleet.host.certPem, fleet.master.certPem]) expect(verify(fleet.authority.certPem, pem, "-purpose", purpose)).toContain("OK");
    expect(verify(fleet.authority.certPem, fleet.authority.certPem)).toContain("OK");
  });

  it("do not verify under another authority of the same name", () => {
    const other = createAuthority({ trustDomain: fleet.authority.trustDomain, now: NOW, rng: RNG });
    expect(() => verify(other.certPem, fleet.host.certPem)).toThrow(/unable to get local issuer|signature failure/);
  });

  it("cannot sign certificates themselves", () => {
    const rogue = { ...fleet.authority, certPem: fleet.host.certPem, keyPem: fleet.hostKeyPem };
    const wrong = issueHostCert(rogue, { ...fleet.hostWish, spkiDer: keyAndSpki().spkiDer, name: "web-99" });
    expect(() => verify(fleet.authority.certPem, wrong.certPem, "-untrusted", fileOf(fleet.host.certPem))).toThrow(/invalid CA certificate/);
  });

  it("are good for clocks a day slow, and not for two days", () => {
    const at = (ms: number): string[] => ["-attime", String(Math.floor((NOW + ms) / 1_000))];
    expect(verify(fleet.authority.certPem, fleet.host.certPem, ...at(-24 * HOUR_MS))).toContain("OK");
    expect(() => verify(fleet.authority.certPem, fleet.host.certPem, ...at(-48 * HOUR_MS))).toThrow(/not yet valid/);
    expect(() => verify(fleet.authority.certPem, fleet.host.certPem, ...at(30 * DAY_MS + HOUR_MS))).toThrow(/has expired/);
  });

  it("say what the issuer decided, field by field", () => {
    const shown = text(fleet.host.certPem);
    expect(shown).toContain("Version: 3 (0x2)");
    expect(shown).toContain("Subject: CN=web-01\n");
    expect(shown).toContain("NIST CURVE: P-256");
    expect(extensionsOf(shown)).toEqual({
      "X509v3 Basic Constraints: critical": "CA:FALSE",
      "X509v3 Key Usage: critical": "Digital Signature",
      "X509v3 Extended Key Usage": "TLS Web Client Authentication, TLS Web Server Authentication",
      "X509v3 Subject Key Identifier": expect.stringMatching(/^([0-9A-F]{2}:){19}[0-9A-F]{2}$/),
      "X509v3 Authority Key Identifier": extensionsOf(text(fleet.authority.certPem))["X509v3 Subject Key Identifier"],
      "X509v3 Subject Alternative Name": `DNS:web-01, IP Address:10.1.2.3, IP Address:2001:DB8:0:0:0:0:0:7, DNS:web-01.example.com, URI:spiffe://skep.test/host/${HOST_ID}`,
    });
    expect(extensionsOf(text(fleet.authority.certPem))).toMatchObject({
      "X509v3 Basic Constraints: critical": "CA:TRUE, pathlen:0",
      "X509v3 Key Usage: critical": "Certificate Sign, CRL Sign",
      "X509v3 Subject Alternative Name": "URI:spiffe://skep.test",
    });
    expect(extensionsOf(text(fleet.master.certPem))["X509v3 Subject Alternative Name"]).toBe("DNS:master.example.com, DNS:localhost, IP Address:127.0.0.1, URI:spiffe://skep.test/master");
  });

  it("agree with the facts returned beside them", () => {
    const facts = certFacts(fleet.host.certPem);
    expect(facts).toMatchObject({ fingerprint: fleet.host.sha256, spkiSha256: fleet.host.spkiSha256, notBefore: fleet.host.notBefore, notAfter: fleet.host.notAfter, commonName: "web-01", isAuthority: false });
    expect(facts.fingerprint).toBe(openssl("x509", "-in", fileOf(fleet.host.certPem), "-noout", "-fingerprint", "-sha256").split("=")[1]!.trim().replaceAll(":", "").toLowerCase());
    expect(facts.serialNumber).toMatch(/^[4-7][0-9a-f]{31}$/);
    expect(fingerprintOf(fleet.authority.certPem)).toBe(fleet.authority.sha256);
    expect(facts.notBefore).toBe(NOW - 25 * HOUR_MS);
    expect(facts.notAfter).toBe(NOW + 30 * DAY_MS);
    expect(renewalDueAt(facts)).toBe(NOW + 20 * DAY_MS);
  });

  it("never outlive their authority", () => {
    const authority = createAuthority({ trustDomain: "skep.test", now: NOW, rng: RNG, validityDays: 3 });
    expect(issueHostCert(authority, fleet.hostWish).notAfter).toBe(NOW + 3 * DAY_MS);
    expect(() => issueHostCert(authority, { ...fleet.hostWish, now: (NOW + 10 * DAY_MS) as typeof NOW })).toThrow(/authority has expired/);
  });

  it("carry dates beyond 2050 that OpenSSL reads", () => {
    const authority = createAuthority({ trustDomain: "skep.test", now: NOW, rng: RNG, validityDays: 40 * 365 });
    expect(verify(authority.certPem, authority.certPem)).toContain("OK");
    expect(certFacts(authority.certPem).notAfter).toBe(NOW + 40 * 365 * DAY_MS);
  });
});

describe("names", () => {
  it("of the master are never in a host's certificate, whatever the host is called", () => {
    const wish = { ...fleet.hostWish, name: "master", addresses: ["127.0.0.1", "Master.Example.com", "10.0.0.9"] };
    const names = (masterNames: string[]): string[] => {
      const facts = certFacts(issueHostCert(fleet.authority, { ...wish, masterNames }).certPem);
      return [...facts.dnsNames, ...facts.addresses];
    };
    expect(names(["master", "master.example.com", "127.0.0.1"])).toEqual(["10.0.0.9"]);
    expect(names([])).toEqual(["master", "Master.Example.com", "127.0.0.1", "10.0.0.9"]); // the control
  });

  it.each(["*.example.com", "a b", "x:80", "fe80::1%eth0", "", "a,URI:spiffe://skep.test/master", "ex\u0000ample", "-a"])("like %j are refused", (address) => {
    expect(() => issueHostCert(fleet.authority, { ...fleet.hostWish, addresses: [address] })).toThrow(/host name or an IP address/);
    expect(() => issueMasterCert(fleet.authority, { ...fleet.hostWish, names: [address], addresses: [] })).toThrow(/host name or an IP address/);
  });

  it("of hosts and ids are checked before they reach a certificate", () => {
    expect(() => issueHostCert(fleet.authority, { ...fleet.hostWish, name: "Web 01" })).toThrow(/host's name/);
    expect(() => issueHostCert(fleet.authority, { ...fleet.hostWish, hostId: "../master" as HostId })).toThrow(/host's id/);
    expect(() => createAuthority({ trustDomain: "skep/host", now: NOW, rng: RNG })).toThrow(/trust domain/);
  });
});

describe("requests", () => {
  it("of ours are good for OpenSSL, and OpenSSL's are good for us", () => {
    const csr = fileOf(createCsr({ keyPem: fleet.hostKeyPem, commonName: "web-01" }));
    expect(openssl("req", "-in", csr, "-verify", "-noout", "-subject")).toContain("CN = web-01");
    const key = fileOf(fleet.hostKeyPem);
    const theirs = openssl("req", "-new", "-key", key, "-subj", "/CN=x");
    expect(readCsr(theirs).spkiSha256).toBe(fleet.host.spkiSha256);
  });

  it("cannot choose anything: only the key of a greedy request reaches the certificate", () => {
    const greedy = openssl(
      "req", "-new", "-key", fileOf(fleet.hostKeyPem), "-subj", "/O=Evil/CN=skep-master",
      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign", "-addext", "extendedKeyUsage=codeSigning",
      "-addext", "subjectAltName=URI:spiffe://skep.test/master,DNS:master.example.com",
    );
    const issued = issueHostCert(fleet.authority, { ...fleet.hostWish, spkiDer: readCsr(greedy).spkiDer });
    const modest = issueHostCert(fleet.authority, { ...fleet.hostWish, spkiDer: readCsr(createCsr({ keyPem: fleet.hostKeyPem, commonName: "web-01" })).spkiDer });
    const unsigned = (pem: string): string => text(pem).replace(/Serial Number:\s+\S+/, "").replace(/Signature Value:[\s\S]*/, "");
    expect(unsigned(issued.certPem)).toBe(unsigned(modest.certPem));
    expect(unsigned(issued.certPem)).not.toMatch(/Evil|skep-master|CA:TRUE|Code Signing|\/master/);
  });
});

describe("openAuthority", () => {
  it("opens what was made, and refuses a leaf or another's key", () => {
    expect(openAuthority(fleet.authority)).toEqual(fleet.authority);
    expect(() => openAuthority({ certPem: fleet.host.certPem, keyPem: fleet.hostKeyPem })).toThrow(/not a CA/);
    expect(() => openAuthority({ certPem: fleet.authority.certPem, keyPem: fleet.hostKeyPem })).toThrow(/does not belong/);
  });
});

function extensionsOf(shown: string): Record<string, string> {
  const lines = shown.split("X509v3 extensions:\n")[1]!.split("    Signature Algorithm")[0]!.split("\n");
  const found: Record<string, string> = {};
  for (let i = 0; i + 1 < lines.length; i += 2) found[lines[i]!.trim().replace(/:$/, "")] = lines[i + 1]!.trim();
  return found;
}
