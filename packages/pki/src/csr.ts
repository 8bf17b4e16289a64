/**
 * Certificate requests. Of a request only the public key is ever taken: names, extensions and attributes are the
 * issuer's to choose (faults F43), so this module does not even read them. Order matters: size, then shape, then
 * the signature by OpenSSL; a parser that met unbounded input would be the first thing an attacker talks to.
 */
import { createPrivateKey, sign, verify } from "node:crypto";
import { SkepError } from "@skep/core";
import { bytesOf, childrenOf, contentOf, DerError, expectTag, readDocument, TAG } from "./der-read.ts";
import { bits, encode, explicit, integer, oid, sequence, set, toPem, utf8 } from "./der-write.ts";
import { readSpki, sha256Of, spkiNode, spkiOfKey } from "./keys.ts";

export const MAX_CSR_BYTES = 8_192;
/** An ordinary request with extensions nests 8 deep; more is somebody looking for a stack to overflow. */
const MAX_DEPTH = 16;
const ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
const PEM = /^\s*-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END (?:NEW )?CERTIFICATE REQUEST-----\s*$/;

export interface CsrKey {
  /** The public key, DER SubjectPublicKeyInfo: P-256, named curve, uncompressed. */
  readonly spkiDer: Buffer;
  /** Lower-case hex SHA-256 of `spkiDer`: the same for the same key, whatever the request around it. */
  readonly spkiSha256: string;
}

/** A request signed by `keyPem` (P-256). `commonName` is for people reading it: no issuer here looks at it. */
export function createCsr(request: { readonly keyPem: string; readonly commonName: string }): string {
  const subject = sequence(set(sequence(oid("2.5.4.3"), utf8(request.commonName))));
  const info = sequence(integer(Buffer.of(0)), subject, spkiNode(spkiOfKey(request.keyPem)), explicit(0));
  const signature = sign("sha256", encode(info), createPrivateKey(request.keyPem));
  return toPem("CERTIFICATE REQUEST", encode(sequence(info, sequence(oid(ECDSA_WITH_SHA256)), bits(signature))));
}

/** The public key of a request that proves possession of its private half. Throws SkepError `csr_refused`. */
export function readCsr(pem: string): CsrKey {
  const { info, spkiDer, signature } = parseCsr(pem);
  const key = readSpki(spkiDer);
  if (!isSignedBy(info, key, signature)) throw refused("the signature is not by the request's own key");
  return { spkiDer, spkiSha256: sha256Of(spkiDer) };
}

function parseCsr(pem: string): { info: Buffer; spkiDer: Buffer; signature: Buffer } {
  const der = decodePem(pem);
  try {
    const [info, algorithm, signature, ...rest] = childrenOf(der, expectTag(readDocument(der, MAX_DEPTH), TAG.sequence, "the request"));
    const infoTlv = expectTag(info, TAG.sequence, "the request's body");
    const [version, subject, spki, attributes, ...more] = childrenOf(der, infoTlv);
    expectTag(version, TAG.integer, "the version");
    expectTag(subject, TAG.sequence, "the subject");
    if (attributes !== undefined) expectTag(attributes, TAG.context0, "the attributes");
    if (rest.length > 0 || more.length > 0) throw new DerError("the request has extra fields");
    const expected = encode(sequence(oid(ECDSA_WITH_SHA256)));
    if (!bytesOf(der, expectTag(algorithm, TAG.sequence, "the signature algorithm")).equals(expected)) throw refused("only ecdsa-with-SHA256 signatures of P-256 keys are accepted");
    const signatureBits = contentOf(der, expectTag(signature, TAG.bitString, "the signature"));
    if (signatureBits[0] !== 0) throw new DerError("the signature is not whole bytes");
    return { info: bytesOf(der, infoTlv), spkiDer: bytesOf(der, expectTag(spki, TAG.sequence, "the public key")), signature: signatureBits.subarray(1) };
  } catch (error) {
    if (error instanceof DerError) throw refused(error.message);
    throw error;
  }
}

function decodePem(pem: string): Buffer {
  // Length in characters first: it bounds the cost of everything below, the byte count included.
  if (pem.length > MAX_CSR_BYTES || Buffer.byteLength(pem) > MAX_CSR_BYTES) throw refused(`it is larger than ${MAX_CSR_BYTES} bytes`);
  const body = PEM.exec(pem)?.[1]?.replace(/[\r\n]/g, "");
  if (body === undefined) throw refused("it is not one PEM block CERTIFICATE REQUEST");
  const der = Buffer.from(body, "base64");
  // Node skips what is not base64; comparing back is what makes it strict.
  if (der.toString("base64") !== body) throw refused("its base64 is not valid");
  return der;
}

function isSignedBy(info: Buffer, key: ReturnType<typeof readSpki>, signature: Buffer): boolean {
  try {
    return verify("sha256", info, key, signature);
  } catch {
    // OpenSSL throws on some malformed signatures instead of answering false.
    return false;
  }
}

const refused = (why: string): SkepError => new SkepError("csr_refused", `The certificate request was refused: ${why}.`);
