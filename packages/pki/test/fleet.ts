/** A small fleet of real certificates for the tests: one authority, a master, two hosts. */
import { addMs, seededRng, type HostId } from "@skep/core";
import { tempAuthority } from "@skep/testkit";
import { BACKDATE_MS, certFacts, createAuthority, createCsr, generateKeyPem, issueHostCert, issueMasterCert, readCsr, type Credentials, type HostCertWish } from "../src/index.ts";

export const HOST_ID = "0190a0b0-0000-7000-8000-000000000001" as HostId;
export const OTHER_HOST_ID = "0190a0b0-0000-7000-8000-000000000002" as HostId;
export const TRUST_DOMAIN = "skep.test";
/** Serials only: keys come from node:crypto. */
export const RNG = seededRng(1);
/** TLS judges by the machine's clock, so certificates must be of today: whole seconds, as testkit's authority dates its own. */
export const NOW = addMs(certFacts(tempAuthority().authority.certPem).notBefore, BACKDATE_MS);

export const keyAndSpki = () => {
  const keyPem = generateKeyPem();
  return { keyPem, spkiDer: readCsr(createCsr({ keyPem, commonName: "x" })).spkiDer };
};

export function makeFleet() {
  const authority = createAuthority({ trustDomain: TRUST_DOMAIN, now: NOW, rng: RNG });
  const masterKey = keyAndSpki();
  const hostKey = keyAndSpki();
  const otherKey = keyAndSpki();
  const hostWish: HostCertWish = {
    spkiDer: hostKey.spkiDer,
    hostId: HOST_ID,
    name: "web-01",
    addresses: ["10.1.2.3", "2001:db8::7", "web-01.example.com"],
    masterNames: ["master.example.com", "localhost", "127.0.0.1"],
    now: NOW,
    rng: RNG,
  };
  const host = issueHostCert(authority, hostWish);
  const other = issueHostCert(authority, { ...hostWish, spkiDer: otherKey.spkiDer, hostId: OTHER_HOST_ID, name: "web-02" });
  const master = issueMasterCert(authority, { spkiDer: masterKey.spkiDer, names: ["master.example.com", "localhost"], addresses: ["127.0.0.1"], now: NOW, rng: RNG });
  const credentials = (cert: { readonly certPem: string }, keyPem: string): Credentials => ({ caPem: authority.certPem, certPem: cert.certPem, keyPem });
  return {
    authority, host, other, master, hostWish, hostKeyPem: hostKey.keyPem,
    asHost: credentials(host, hostKey.keyPem),
    asOther: credentials(other, otherKey.keyPem),
    asMaster: credentials(master, masterKey.keyPem),
  };
}
