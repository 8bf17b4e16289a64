/**
 * Issuing. Subject, names, usages and dates are the issuer's; the requester brings a public key and nothing else
 * (I19). A host's certificate never carries the master's names, and the two profiles are two functions so that no
 * caller can mix them up with a flag.
 */
import { DAY_MS, isName, isUuid, SkepError, type HostId, type Instant, type Rng } from "@skep/core";
import { issuerFactsOf, type Authority } from "./authority.ts";
import { reencode } from "./der-write.ts";
import { authorityKeyId, extensionList, leafConstraints, leafKeyUsage, peerUsage, subjectAltNames, subjectKeyId } from "./extensions.ts";
import { hostUri, masterUri } from "./identity.ts";
import { keyIdOf, readSpki } from "./keys.ts";
import { BACKDATE_MS, nameOf, signCert, type SignedCert } from "./sign-cert.ts";

/** Too short and a host that is off for a holiday comes back a stranger; too long and a stolen key is good for longer. */
export const DEFAULT_VALIDITY_MS = 30 * DAY_MS;

interface LeafWish {
  /** The subject's public key, as readCsr gives it. */
  readonly spkiDer: Uint8Array;
  readonly now: Instant;
  /** Default 30 days. Ends with the authority at the latest. */
  readonly validityMs?: number;
  readonly rng: Rng;
}

export interface HostCertWish extends LeafWish {
  readonly hostId: HostId;
  readonly name: string;
  /** Where the host is reached: IP addresses or host names. */
  readonly addresses: readonly string[];
  /** The master's names and addresses, left out of the certificate whatever `name` and `addresses` say. */
  readonly masterNames: readonly string[];
}

export interface MasterCertWish extends LeafWish {
  readonly names: readonly string[];
  readonly addresses: readonly string[];
}

/** A host's certificate. Throws `csr_refused` for another kind of key, `invalid_request` for malformed names. */
export function issueHostCert(authority: Authority, wish: HostCertWish): SignedCert {
  if (!isName(wish.name)) throw new SkepError("invalid_request", "The host's name must be 1 to 63 of a-z, 0-9 and dash.");
  if (!isUuid(wish.hostId)) throw new SkepError("invalid_request", "The host's id must be a lower-case UUID.");
  const taken = new Set(wish.masterNames.map((name) => name.toLowerCase()));
  const names = unique([...(wish.name.endsWith("-") ? [] : [wish.name]), ...wish.addresses]).filter((name) => !taken.has(name.toLowerCase()));
  return issueLeaf(authority, wish, wish.name, hostUri(authority.trustDomain, wish.hostId), names);
}

/** A master's certificate, with the names by which browsers and curl may know it. */
export function issueMasterCert(authority: Authority, wish: MasterCertWish): SignedCert {
  return issueLeaf(authority, wish, "skep-master", masterUri(authority.trustDomain), unique([...wish.names, ...wish.addresses]));
}

/** When to renew: two thirds of the way from issue to end, so that a third is left for a master that is down. */
export const renewalDueAt = (cert: { readonly notBefore: Instant; readonly notAfter: Instant }): Instant => {
  const issuedAt = cert.notBefore + BACKDATE_MS;
  return Math.floor(issuedAt + ((cert.notAfter - issuedAt) * 2) / 3) as Instant;
};

function issueLeaf(authority: Authority, wish: LeafWish, commonName: string, uri: string, names: readonly string[]): SignedCert {
  readSpki(wish.spkiDer);
  const issuer = issuerFactsOf(authority);
  return signCert({
    subject: nameOf({ commonName }),
    issuer: reencode(issuer.nameDer),
    spkiDer: wish.spkiDer,
    issuerKeyPem: authority.keyPem,
    now: wish.now,
    validityMs: wish.validityMs ?? DEFAULT_VALIDITY_MS,
    notAfterLimit: issuer.notAfter,
    rng: wish.rng,
    extensions: extensionList(leafConstraints(), leafKeyUsage(), peerUsage(), subjectKeyId(keyIdOf(wish.spkiDer)), authorityKeyId(issuer.keyId), subjectAltNames(uri, names)),
  });
}

const unique = (names: readonly string[]): string[] => [...new Set(names)];
