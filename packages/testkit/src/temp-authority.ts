/** A certificate authority for one test, and identities below it: real keys, real certificates, nothing on disk. */
import { uuidv7 } from "@skep/core";
import type { Clock, HostId, Rng } from "@skep/core";
import { createAuthority, createCsr, generateKeyPem, issueHostCert, issueMasterCert, readCsr } from "@skep/pki";
import type { Authority, SignedCert } from "@skep/pki";
import { systemClock, systemRng } from "@skep/runtime";

export interface IssuedIdentity extends SignedCert {
  readonly keyPem: string;
}

export interface TempAuthority {
  readonly authority: Authority;
  /** A host as enrolment would make it: key of its own, CSR, certificate. A fresh id unless one is given. */
  host(name: string, wish?: { readonly hostId?: HostId; readonly addresses?: readonly string[]; readonly validityMs?: number }): IssuedIdentity & { readonly hostId: HostId };
  master(wish?: { readonly addresses?: readonly string[]; readonly validityMs?: number }): IssuedIdentity;
}

export interface TempAuthorityOptions {
  readonly trustDomain?: string;
  /** Dates certificates; default the system's clock, which is also the one TLS judges by. */
  readonly clock?: Clock;
  readonly rng?: Rng;
}

/** Every identity is good for 127.0.0.1 and localhost. Another call makes a stranger's authority. */
export function tempAuthority(options: TempAuthorityOptions = {}): TempAuthority {
  const { trustDomain = "test.skep", clock = systemClock(), rng = systemRng() } = options;
  const authority = createAuthority({ trustDomain, now: clock.now(), rng });
  const addresses = ["127.0.0.1", "localhost"];
  const newKey = (commonName: string): { keyPem: string; spkiDer: Uint8Array } => {
    const keyPem = generateKeyPem();
    return { keyPem, spkiDer: readCsr(createCsr({ keyPem, commonName })).spkiDer };
  };
  return {
    authority,
    host: (name, wish = {}) => {
      const hostId = wish.hostId ?? (uuidv7(clock.now(), rng) as HostId);
      const { keyPem, spkiDer } = newKey(name);
      const cert = issueHostCert(authority, { addresses, masterNames: [], ...wish, hostId, name, spkiDer, now: clock.now(), rng });
      return { ...cert, keyPem, hostId };
    },
    master: (wish = {}) => {
      const { keyPem, spkiDer } = newKey("skep-master");
      return { ...issueMasterCert(authority, { names: [], addresses, ...wish, spkiDer, now: clock.now(), rng }), keyPem };
    },
  };
}
