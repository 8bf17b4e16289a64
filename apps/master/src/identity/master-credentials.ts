/**
 * The master's own certificate: a new key at each start, held in memory only, so that there is no file to steal and
 * nothing to renew across restarts. Renewed in process at two thirds of its life.
 */
import type { Instant, Rng } from "@skep/core";
import { issueMasterCert, readCsr, createCsr, generateKeyPem, renewalDueAt, type Authority, type Credentials } from "@skep/pki";

export interface MasterCredentials {
  /** The present ones. */
  current(): Credentials;
  /** Issues anew when due; true when it did, and every listener and pool must then take the new ones. */
  renewIfDue(now: Instant): boolean;
}

export interface MasterCredentialsDeps {
  readonly authority: Authority;
  /** Host names and IP addresses by which operators' tools may know this master; agents look at its SPIFFE id only. */
  readonly names: readonly string[];
  readonly now: Instant;
  readonly rng: Rng;
  /** Default 30 days. */
  readonly validityMs?: number;
}

export function createMasterCredentials(deps: MasterCredentialsDeps): MasterCredentials {
  const issue = (now: Instant): { credentials: Credentials; dueAt: Instant } => {
    const keyPem = generateKeyPem();
    const { spkiDer } = readCsr(createCsr({ keyPem, commonName: "skep-master" }));
    const cert = issueMasterCert(deps.authority, { spkiDer, names: deps.names, addresses: [], now, rng: deps.rng, ...(deps.validityMs === undefined ? {} : { validityMs: deps.validityMs }) });
    return { credentials: { caPem: deps.authority.certPem, certPem: cert.certPem, keyPem }, dueAt: renewalDueAt(cert) };
  };
  let present = issue(deps.now);
  return {
    current: () => present.credentials,
    renewIfDue: (now) => {
      if (now < present.dueAt) return false;
      present = issue(now);
      return true;
    },
  };
}
