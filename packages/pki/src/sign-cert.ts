/**
 * The one place where a certificate is put together and signed: forge encodes, node:crypto signs (0.6 ms; forge's
 * own signing would block the event loop for 190 ms and knows no P-256).
 */
import { createPrivateKey, sign } from "node:crypto";
import { HOUR_MS, instant, SkepError, type Fingerprint, type Instant, type Rng } from "@skep/core";
import { bits, encode, explicit, integer, oid, sequence, set, time, toPem, utf8, type Der } from "./der-write.ts";
import { sha256Of, spkiNode } from "./keys.ts";

/** Invariant I12 holds for clocks up to 24 h slow; an hour on top is for the skew of the skew. */
export const BACKDATE_MS = 25 * HOUR_MS;
const SERIAL_BYTES = 16;

export interface SignedCert {
  readonly certPem: string;
  /** SHA-256 of the DER. */
  readonly sha256: Fingerprint;
  readonly spkiSha256: string;
  /** As written in the certificate: whole seconds. */
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

export interface CertWish {
  readonly subject: Der;
  readonly issuer: Der;
  readonly spkiDer: Uint8Array;
  readonly issuerKeyPem: string;
  readonly now: Instant;
  /** From `now`; the backdating comes on top. */
  readonly validityMs: number;
  /** The issuer's own end: a leaf that outlived it would break without a word. */
  readonly notAfterLimit: Instant | undefined;
  readonly rng: Rng;
  readonly extensions: Der;
}

export const nameOf = (parts: { readonly organization?: string; readonly commonName: string }): Der =>
  sequence(
    ...(parts.organization === undefined ? [] : [set(sequence(oid("2.5.4.10"), utf8(parts.organization)))]),
    set(sequence(oid("2.5.4.3"), utf8(parts.commonName))),
  );

/** Throws `invalid_request` when nothing would be left of the validity. */
export function signCert(wish: CertWish): SignedCert {
  const notBefore = wholeSeconds(wish.now - BACKDATE_MS);
  const notAfter = wholeSeconds(Math.min(wish.now + wish.validityMs, wish.notAfterLimit ?? Number.POSITIVE_INFINITY));
  if (!(notAfter > notBefore)) throw new SkepError("invalid_request", "The certificate would end before it begins: the authority has expired, or the validity is not positive.");
  const algorithm = sequence(oid("1.2.840.10045.4.3.2"));
  const body = sequence(
    explicit(0, integer(Buffer.of(2))),
    integer(serialFrom(wish.rng)),
    algorithm,
    wish.issuer,
    sequence(time(notBefore), time(notAfter)),
    wish.subject,
    spkiNode(wish.spkiDer),
    wish.extensions,
  );
  const signature = sign("sha256", encode(body), createPrivateKey(wish.issuerKeyPem));
  const der = encode(sequence(body, algorithm, bits(signature)));
  return { certPem: toPem("CERTIFICATE", der), sha256: sha256Of(der) as Fingerprint, spkiSha256: sha256Of(wish.spkiDer), notBefore, notAfter };
}

/** Positive, exactly 16 bytes: the top bit says negative and a leading zero byte would be dropped. */
function serialFrom(rng: Rng): Uint8Array {
  const serial = rng.bytes(SERIAL_BYTES);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

const wholeSeconds = (ms: number): Instant => instant(Math.floor(ms / 1_000) * 1_000);
