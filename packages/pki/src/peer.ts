/**
 * Who is at the other end of a TLS connection, from the handshake that OpenSSL verified and from nothing else: no
 * header, no body, no certificate of a resumed session. The facts are read once per socket; whether they are
 * still good is asked per request (core's decidePin).
 */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { Fingerprint, Instant } from "@skep/core";
import { validityOf } from "./cert-facts.ts";
import { identityOf, type Identity, type NoIdentity } from "./identity.ts";
import { sha256Of } from "./keys.ts";

export interface PeerFacts {
  readonly fingerprint: Fingerprint;
  readonly identity: Identity | undefined;
  /** Why there is no identity; undefined when there is one. */
  readonly refusal: NoIdentity | undefined;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

const cache = new WeakMap<TLSSocket, { readonly trustDomain: string; readonly facts: PeerFacts }>();

/**
 * The peer of a connection. Undefined when its certificate was not verified: none was sent, the chain failed, or the
 * session was resumed (Node then says `authorized` without having checked anything, faults finding 6).
 */
export function readPeer(socket: TLSSocket, trustDomain: string): PeerFacts | undefined {
  const known = cache.get(socket);
  if (known?.trustDomain === trustDomain) return known.facts;
  if (!socket.authorized || socket.isSessionReused()) return undefined;
  const cert = peerCertOf(socket);
  if (cert === undefined) return undefined;
  const facts: PeerFacts = { fingerprint: sha256Of(cert.raw) as Fingerprint, ...identityOf(cert, trustDomain), ...validityOf(cert) };
  cache.set(socket, { trustDomain, facts });
  return facts;
}

function peerCertOf(socket: TLSSocket): X509Certificate | undefined {
  const cert = socket.getPeerX509Certificate();
  if (cert !== undefined) return cert;
  // An absent certificate is null before the handshake and an object without `raw` after it, whatever the types say.
  const legacy = socket.getPeerCertificate() as { readonly raw?: Buffer } | null;
  return legacy?.raw === undefined ? undefined : new X509Certificate(legacy.raw);
}
