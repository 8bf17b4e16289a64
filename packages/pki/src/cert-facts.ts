/** What a certificate says, as values. Reading is OpenSSL's (X509Certificate); whether to believe it is the caller's. */
import { X509Certificate } from "node:crypto";
import { instant, SkepError, type Fingerprint, type Instant } from "@skep/core";
import { sha256Of } from "./keys.ts";
import { namesOf } from "./identity.ts";

export interface CertFacts {
  /** SHA-256 of the DER, lower-case hex: the pin. */
  readonly fingerprint: Fingerprint;
  /** SHA-256 of the public key's DER: the same across renewals with one key. */
  readonly spkiSha256: string;
  readonly commonName: string | undefined;
  readonly serialNumber: string;
  readonly isAuthority: boolean;
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
  readonly uris: readonly string[];
  readonly notBefore: Instant;
  readonly notAfter: Instant;
}

/** SHA-256 of the DER. A string is PEM and is parsed (throws `invalid_request`); bytes are DER and are not. */
export function fingerprintOf(cert: string | Uint8Array): Fingerprint {
  return sha256Of(typeof cert === "string" ? readCert(cert).raw : cert) as Fingerprint;
}

/** Throws `invalid_request` when `pem` is not a certificate. */
export function certFacts(pem: string): CertFacts {
  const cert = readCert(pem);
  return {
    fingerprint: sha256Of(cert.raw) as Fingerprint,
    spkiSha256: sha256Of(cert.publicKey.export({ format: "der", type: "spki" })),
    commonName: /^CN=(.*)$/m.exec(cert.subject)?.[1],
    serialNumber: cert.serialNumber.toLowerCase(),
    isAuthority: cert.ca,
    dnsNames: namesOf(cert, "DNS:"),
    addresses: namesOf(cert, "IP Address:"),
    uris: namesOf(cert, "URI:"),
    ...validityOf(cert),
  };
}

export function readCert(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new SkepError("invalid_request", "A PEM certificate was expected and this is not one.", { cause });
  }
}

/** The dates as Instants. OpenSSL's text ("Nov  1 09:00:00 2026 GMT") is the one form every Node gives. */
export function validityOf(cert: X509Certificate): { readonly notBefore: Instant; readonly notAfter: Instant } {
  return { notBefore: instant(Date.parse(cert.validFrom)), notAfter: instant(Date.parse(cert.validTo)) };
}
