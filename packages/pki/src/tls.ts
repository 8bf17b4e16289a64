/**
 * TLS settings, in one place and without choices. TLS 1.3 only; resumption off on every listener and client,
 * because a resumed session skips the certificate checks, an expired certificate and a swapped CA included
 * (faults finding 6). A peer is known by its SPIFFE id, never by its host name.
 */
import { constants, X509Certificate } from "node:crypto";
import { createSecureContext, type ConnectionOptions, type PeerCertificate, type SecureContext, type TlsOptions } from "node:tls";
import { SkepError, type Fingerprint } from "@skep/core";
import { identityOf } from "./identity.ts";
import { sha256Of } from "./keys.ts";

/** Longer holds a socket open for a client that says nothing; shorter fails agents behind a slow link. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;

export interface Credentials {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

const listener = (files: { readonly certPem: string; readonly keyPem: string }) =>
  ({
    cert: files.certPem,
    key: files.keyPem,
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionTimeout: 1,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  }) as const satisfies TlsOptions;

/** The agent channel: nobody gets past the handshake without a certificate of this authority. */
export const masterSwarmTls = (files: Credentials): TlsOptions => ({ ...listener(files), ca: files.caPem, requestCert: true, rejectUnauthorized: true });

/** The agent's own listener: the same rules. That the peer is a master is asked per request, with readPeer. */
export const agentTls = (files: Credentials): TlsOptions => masterSwarmTls(files);

/**
 * The enrolment door: the master proves itself, the client has no certificate yet and is asked for none. The CA goes
 * along in the chain so that a client that holds only its pin can check it.
 */
export const enrolTls = (files: Credentials): TlsOptions => ({ ...listener({ certPem: `${files.certPem.trimEnd()}\n${files.caPem}`, keyPem: files.keyPem }), requestCert: false });

export type ExpectedPeer =
  | { readonly role: "master" }
  /** `fingerprints`: the pins that are good now; without them any certificate of that host will do. */
  | { readonly role: "host"; readonly hostId: string; readonly fingerprints?: ReadonlySet<string> };

export interface ClientWish {
  readonly trustDomain: string;
  readonly caPem: string;
  /** Absent at enrolment only, when there is no certificate yet. */
  readonly certPem?: string;
  readonly keyPem?: string;
  /** Made of the same files by `clientContext`, once for many peers: parsing them anew for each costs as much as the handshake. */
  readonly context?: SecureContext;
  readonly expect: ExpectedPeer;
}

const VERSIONS = { minVersion: "TLSv1.3", maxVersion: "TLSv1.3" } as const;

/** What all connections under the same credentials share. Make a new one with new credentials. */
export const clientContext = ({ caPem, certPem, keyPem }: Credentials): SecureContext => createSecureContext({ ca: caPem, cert: certPem, key: keyPem, ...VERSIONS });

export interface ClientTls extends ConnectionOptions {
  /** For undici's Agent: its session cache would skip checkServerIdentity from the second connection on. */
  readonly maxCachedSessions: 0;
  readonly allowH2: false;
}

/**
 * Options for `new Agent({connect})` of undici and for tls.connect. The connection fails with SkepError `wrong_role`
 * or `cert_mismatch` unless the peer is the expected one. Build a new Agent after rotation: a pool does not notice
 * that its certificate changed (faults S20).
 */
export function clientTls(wish: ClientWish): ClientTls {
  return {
    ...(wish.context === undefined
      ? { ca: wish.caPem, ...(wish.certPem === undefined ? {} : { cert: wish.certPem }), ...(wish.keyPem === undefined ? {} : { key: wish.keyPem }), ...VERSIONS }
      : { secureContext: wish.context }),
    rejectUnauthorized: true,
    // Fixed, so that nothing depends on whether the URL has a name or an address.
    servername: `skep-${wish.expect.role}`,
    checkServerIdentity: (_name: string, cert: PeerCertificate) => refusalOf(new X509Certificate(cert.raw), wish),
    maxCachedSessions: 0,
    allowH2: false,
  };
}

/** Why the peer, whose chain OpenSSL has just verified, is not the expected one. */
function refusalOf(cert: X509Certificate, { expect, trustDomain }: ClientWish): SkepError | undefined {
  const { identity, refusal } = identityOf(cert, trustDomain);
  if (identity === undefined) return new SkepError("wrong_role", `The peer's certificate has no identity in ${trustDomain} (${refusal}); a ${expect.role} was expected.`);
  if (identity.role !== expect.role) return new SkepError("wrong_role", `The peer is a ${identity.role}; a ${expect.role} was expected.`);
  if (expect.role === "master" || identity.role === "master") return undefined;
  if (identity.hostId !== expect.hostId) return new SkepError("cert_mismatch", `The peer is host ${identity.hostId}; host ${expect.hostId} was expected.`);
  const fingerprint = sha256Of(cert.raw) as Fingerprint;
  if (expect.fingerprints !== undefined && !expect.fingerprints.has(fingerprint)) return new SkepError("cert_mismatch", `The certificate of host ${expect.hostId} is not one of its pins.`);
  return undefined;
}
