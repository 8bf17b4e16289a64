/** One certificate for one host's public key, recorded as its only active pin in the caller's transaction. */
import { SkepError, toIso, type HostRecord, type Tx } from "@skep/core";
import { issueHostCert, type CsrKey, type SignedCert } from "@skep/pki";
import type { CertReply } from "@skep/protocol";
import { isIP } from "node:net";
import type { IdentityDeps } from "./deps.ts";

/** `overlapMs`: how long the host's earlier certificates go on being accepted. Throws `key_reused`. */
export async function issueActive(deps: IdentityDeps, tx: Tx, host: HostRecord, key: CsrKey, overlapMs: number): Promise<{ cert: SignedCert; reply: CertReply }> {
  const now = await tx.now();
  const cert = issueHostCert(deps.authority, {
    spkiDer: key.spkiDer, hostId: host.id, name: host.name, addresses: host.address !== undefined && isIP(host.address) !== 0 ? [host.address] : [],
    masterNames: deps.masterNames, now, rng: deps.rng, ...(deps.hostCertValidityMs === undefined ? {} : { validityMs: deps.hostCertValidityMs }),
  });
  const inserted = await tx.insertCert({ fingerprint: cert.sha256, hostId: host.id, spkiSha256: key.spkiSha256, status: "active", notBefore: cert.notBefore, notAfter: cert.notAfter });
  // The database's unique key decides, so that the same key offered twice at once has one owner (faults F43).
  if (!inserted) throw new SkepError("key_reused");
  await tx.retireCerts(host.id, cert.sha256, overlapMs);
  return { cert, reply: replyOf(deps, cert.certPem, toIso(cert.notAfter)) };
}

export const replyOf = (deps: IdentityDeps, certPem: string, notAfter: string): CertReply => ({ cert_pem: certPem, chain_pem: deps.authority.certPem, not_after: notAfter });
