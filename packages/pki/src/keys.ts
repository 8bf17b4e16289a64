/**
 * P-256 keys, the only kind there is here (rulings 16). A public key has exactly one accepted encoding: named
 * curve, uncompressed point. Any other would let one key have two hashes and slip past the check for reused keys,
 * or bring its own curve parameters.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { SkepError } from "@skep/core";
import { bits, oid, sequence, type Der } from "./der-write.ts";

const SPKI_PREFIX = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex");
const SPKI_LENGTH = SPKI_PREFIX.length + 65;
const UNCOMPRESSED = 0x04;

/** A new P-256 private key, PKCS#8 PEM. */
export function generateKeyPem(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return privateKey.export({ format: "pem", type: "pkcs8" }).toString();
}

/** Throws `csr_refused` unless `spkiDer` is a P-256 key in its one encoding, with a point that lies on the curve. */
export function readSpki(spkiDer: Uint8Array): KeyObject {
  const spki = Buffer.from(spkiDer);
  if (spki.length !== SPKI_LENGTH || !spki.subarray(0, SPKI_PREFIX.length).equals(SPKI_PREFIX) || spki[SPKI_PREFIX.length] !== UNCOMPRESSED) {
    throw new SkepError("csr_refused", "the public key is not an uncompressed P-256 key on the named curve");
  }
  try {
    return createPublicKey({ key: spki, format: "der", type: "spki" });
  } catch (cause) {
    throw new SkepError("csr_refused", "the public key is not a point on P-256", { cause });
  }
}

export const spkiOfKey = (privateKeyPem: string): Buffer => createPublicKey(createPrivateKey(privateKeyPem)).export({ format: "der", type: "spki" });

export const spkiNode = (spkiDer: Uint8Array): Der =>
  sequence(sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), bits(pointOf(spkiDer)));

/** RFC 7093 method 1: the left 160 bits of the point's SHA-256. */
export const keyIdOf = (spkiDer: Uint8Array): Buffer => createHash("sha256").update(pointOf(spkiDer)).digest().subarray(0, 20);

const pointOf = (spkiDer: Uint8Array): Uint8Array => spkiDer.subarray(SPKI_PREFIX.length);

export const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
