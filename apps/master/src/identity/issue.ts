/** One certificate for one host's public key, and its record as the host's only active pin. */
import { isIP } from "node:net";
import { SkepError, toIso, type HostRecord, type Instant, type Tx } from "@skep/core";
import { issueHostCert, type CsrKey, type SignedCert } from "@skep/pki";
import type { CertReply } from "@skep/protocol";
import type { IdentityDeps } from "./deps.ts";

/** Signs; writes nothing. Of the request only the key is taken, of the host what the ledger says. */
export function signFor(deps: IdentityDeps, host: HostRecord, key: CsrKey, now: Instant): SignedCert {
  return issueHostCert(deps.authority, {
    spkiDer: key.spkiDer, hostId: host.id, name: host.name, addresses: host.address !== undefined && isIP(host.address) !== 0 ? [host.address] : [],
    masterNames: deps.masterNames, now, rng: deps.rng, ...(deps.hostCertValidityMs === undefined ? {} : { validityMs: deps.hostCertValidityMs }),
  });
}

/** `overlapMs`: how long the host's earlier certificates go on being accepted. Throws `key_reused`. */
export async function pinActive(tx: Tx, host: HostRecord, cert: SignedCert, overlapMs: number): Promise<void> {
  const inserted = await tx.insertCert({ fingerprint: cert.sha256, hostId: host.id, spkiSha256: cert.spkiSha256, status: "active", notBefore: cert.notBefore, notAfter: cert.notAfter });
  // The database's unique key decides, so that the same key offered twice at once has one owner (faults F43).
  if (!inserted) throw new SkepError("key_reused");
  await tx.retireCerts(host.id, cert.sha256, overlapMs);
}

export const replyOf = (deps: IdentityDeps, certPem: string, notAfter: Instant): CertReply => ({ cert_pem: certPem, chain_pem: deps.authority.certPem, not_after: toIso(notAfter) });
