/**
 * The cluster's certificate authority: one self-signed P-256 key that signs leaves and nothing else (pathlen 0).
 * Its key never leaves the master; its SHA-256 is what a bundle pins.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { DAY_MS, SkepError, type Fingerprint, type Instant, type Rng } from "@skep/core";
import { readCert, validityOf } from "./cert-facts.ts";
import { bytesOf, childrenOf, contentOf, expectTag, readDocument, readTlv, TAG } from "./der-read.ts";
import { authorityConstraints, authorityKeyUsage, extensionList, subjectAltNames, subjectKeyId } from "./extensions.ts";
import { authorityUri, checkTrustDomain, namesOf } from "./identity.ts";
import { generateKeyPem, keyIdOf, sha256Of, spkiOfKey } from "./keys.ts";
import { nameOf, signCert } from "./sign-cert.ts";

export interface Authority {
  readonly trustDomain: string;
  readonly certPem: string;
  /** PKCS#8 PEM. A secret: it signs identities for the whole fleet. */
  readonly keyPem: string;
  /** SHA-256 of the certificate's DER: the pin in every bundle. */
  readonly sha256: Fingerprint;
}

/** Too short and the whole fleet enrols again; too long and a leaked key outlives everybody who knew of it. */
export const DEFAULT_AUTHORITY_DAYS = 3_650;

/** A new authority for `trustDomain`. Throws `invalid_request` for a malformed trust domain. */
export function createAuthority(wish: { readonly trustDomain: string; readonly now: Instant; readonly rng: Rng; readonly validityDays?: number }): Authority {
  const trustDomain = checkTrustDomain(wish.trustDomain);
  const keyPem = generateKeyPem();
  const spkiDer = spkiOfKey(keyPem);
  const name = nameOf({ organization: trustDomain, commonName: "Skep CA" });
  const { certPem, sha256 } = signCert({
    subject: name,
    issuer: name,
    spkiDer,
    issuerKeyPem: keyPem,
    now: wish.now,
    validityMs: (wish.validityDays ?? DEFAULT_AUTHORITY_DAYS) * DAY_MS,
    notAfterLimit: undefined,
    rng: wish.rng,
    extensions: extensionList(authorityConstraints(), authorityKeyUsage(), subjectKeyId(keyIdOf(spkiDer)), subjectAltNames(authorityUri(trustDomain), [])),
  });
  return { trustDomain, certPem, keyPem, sha256 };
}

/**
 * An authority from its two PEM texts. Throws `invalid_request` when they are not a CA certificate of ours and
 * its key: an authority that cannot sign must be found at start, not at the first enrolment.
 */
export function openAuthority(files: { readonly certPem: string; readonly keyPem: string }): Authority {
  const cert = readCert(files.certPem);
  const [uri, ...others] = namesOf(cert, "URI:");
  const trustDomain = /^spiffe:\/\/([^/]+)$/.exec(uri ?? "")?.[1];
  if (!cert.ca || trustDomain === undefined || others.length > 0) throw damaged("the certificate is not a CA with one spiffe://<trust-domain> name");
  if (!keyFits(cert, files.keyPem)) throw damaged("the key does not belong to the certificate");
  return { trustDomain: checkTrustDomain(trustDomain), certPem: files.certPem, keyPem: files.keyPem, sha256: sha256Of(cert.raw) as Fingerprint };
}

/** What a leaf copies from its issuer, read from the authority's own certificate. */
export interface IssuerFacts {
  readonly nameDer: Buffer;
  readonly keyId: Buffer;
  readonly notAfter: Instant;
}

export function issuerFactsOf(authority: Authority): IssuerFacts {
  const cert = new X509Certificate(authority.certPem);
  const der = cert.raw;
  const body = childrenOf(der, expectTag(childrenOf(der, readDocument(der, 16))[0], TAG.sequence, "the certificate's body"));
  const subject = bytesOf(der, expectTag(body[5], TAG.sequence, "the subject"));
  return { nameDer: subject, keyId: keyIdExtension(der, body.find((field) => field.tag === TAG.context3)), notAfter: validityOf(cert).notAfter };
}

function keyIdExtension(der: Buffer, holder: ReturnType<typeof readTlv> | undefined): Buffer {
  const list = childrenOf(der, expectTag(holder, TAG.context3, "the extensions"))[0];
  for (const extension of childrenOf(der, expectTag(list, TAG.sequence, "the extensions"))) {
    const fields = childrenOf(der, extension);
    const value = fields.at(-1);
    // 2.5.29.14, whose value is an OCTET STRING inside the extension's own.
    if (value === undefined || fields[0] === undefined || contentOf(der, fields[0]).toString("hex") !== "551d0e") continue;
    return contentOf(der, readTlv(der, value.content, value.end));
  }
  throw damaged("the certificate has no subject key id");
}

function keyFits(cert: X509Certificate, keyPem: string): boolean {
  try {
    return cert.checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    return false;
  }
}

const damaged = (why: string): SkepError => new SkepError("invalid_request", `The certificate authority cannot be used: ${why}. Restore it from a backup, or start with an empty CA directory and enrol every host again.`);
