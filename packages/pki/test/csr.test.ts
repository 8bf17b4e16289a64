/** Requests that must be refused, each beside the good one it was made from, and bytes that nobody thought of. */
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { SkepError } from "@skep/core";
import { seedFromEnv } from "@skep/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCsr, generateKeyPem, MAX_CSR_BYTES, readCsr } from "../src/index.ts";

const keyPem = generateKeyPem();
const good = createCsr({ keyPem, commonName: "web-01" });
const derOf = (pem: string): Buffer => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
const pemOf = (der: Uint8Array): string => `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.of(tag, ...length), body]);
};

const VERSION = tlv(2, Buffer.of(0));
const SUBJECT = tlv(0x30);
const NO_ATTRIBUTES = tlv(0xa0);
const ECDSA_SHA256 = tlv(0x30, tlv(6, Buffer.from("2a8648ce3d040302", "hex")));
const spkiOf = (key: string): Buffer => createPublicKey(key).export({ format: "der", type: "spki" });
/** A request around any public key and attributes, signed by any key: what an attacker with a DER encoder can send. */
function forge(spki: Buffer, signer: string, attributes = NO_ATTRIBUTES, digest = "sha256", algorithm = ECDSA_SHA256): string {
  const info = tlv(0x30, VERSION, SUBJECT, spki, attributes);
  return pemOf(tlv(0x30, info, algorithm, tlv(3, Buffer.of(0), sign(digest, info, createPrivateKey(signer)))));
}
const nested = (depth: number): Buffer => {
  let value = tlv(0x30);
  for (let i = 0; i < depth; i++) value = tlv(0x30, value);
  return tlv(0xa0, value);
};
const openssl = (...args: string[]): string => execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

function refusal(pem: string): string {
  try {
    readCsr(pem);
  } catch (error) {
    if (error instanceof SkepError && error.code === "csr_refused") return error.detail;
    throw error;
  }
  return "accepted";
}

describe("readCsr", () => {
  it("takes the public key of a good request and of a forged one that is just as good", () => {
    expect(readCsr(good).spkiDer).toEqual(spkiOf(keyPem));
    expect(readCsr(good.replaceAll("\n", "\r\n"))).toEqual(readCsr(good));
    expect(readCsr(forge(spkiOf(keyPem), keyPem))).toEqual(readCsr(good));
    expect(readCsr(forge(spkiOf(keyPem), keyPem, nested(8)))).toEqual(readCsr(good));
  });

  it("refuses a request that is not signed by its own key", () => {
    expect(refusal(forge(spkiOf(keyPem), generateKeyPem()))).toMatch(/not by the request's own key/);
    const bent = derOf(good);
    bent[bent.length - 1]! ^= 1;
    expect(refusal(pemOf(bent))).toMatch(/not by the request's own key/);
  });

  it("refuses every other kind of key", () => {
    const pem = (pair: { privateKey: ReturnType<typeof createPrivateKey> }): string => pair.privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    const p384 = pem(generateKeyPairSync("ec", { namedCurve: "secp384r1" }));
    const k1 = pem(generateKeyPairSync("ec", { namedCurve: "secp256k1" }));
    const rsa1024 = pem(generateKeyPairSync("rsa", { modulusLength: 1024 }));
    const explicit = pem(generateKeyPairSync("ec", { namedCurve: "prime256v1", paramEncoding: "explicit" }));
    for (const key of [p384, k1, rsa1024, explicit]) {
      expect(refusal(forge(spkiOf(key), key))).toMatch(/not an uncompressed P-256 key/);
    }
    expect(refusal(openssl("req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x"))).toMatch(/ecdsa-with-SHA256/);
    expect(refusal(openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x"))).toMatch(/P-256/);
  });

  it("refuses another spelling of the same key, which would have another hash", () => {
    const spki = spkiOf(keyPem);
    const point = spki.subarray(-65);
    const compressed = Buffer.concat([Buffer.of(2 + (point[64]! & 1)), point.subarray(1, 33)]);
    const respelt = tlv(0x30, spki.subarray(2, -68), tlv(3, Buffer.of(0), compressed));
    expect(createPublicKey({ key: respelt, format: "der", type: "spki" }).equals(createPublicKey(keyPem))).toBe(true); // the control
    expect(refusal(forge(respelt, keyPem))).toMatch(/uncompressed/);
  });

  it("refuses a point that is not on the curve", () => {
    const spki = Buffer.from(spkiOf(keyPem));
    spki[spki.length - 1]! ^= 1;
    expect(refusal(forge(spki, keyPem))).toMatch(/not a point on P-256/);
  });

  it("refuses weaker and unexpected signature algorithms", () => {
    const sha1 = tlv(0x30, tlv(6, Buffer.from("2a8648ce3d0401", "hex")));
    expect(refusal(forge(spkiOf(keyPem), keyPem, NO_ATTRIBUTES, "sha1", sha1))).toMatch(/ecdsa-with-SHA256/);
    expect(refusal(forge(spkiOf(keyPem), keyPem, NO_ATTRIBUTES, "sha1"))).toMatch(/own key/);
  });

  it("refuses deep nesting before anything recurses", () => {
    expect(refusal(forge(spkiOf(keyPem), keyPem, nested(20)))).toMatch(/nested too deeply/);
    expect(refusal(forge(spkiOf(keyPem), keyPem, nested(1_400)))).toMatch(/nested too deeply/);
  });

  it("refuses one byte too many, and takes one less", () => {
    const padded = (length: number): string => good + "\n".repeat(length - good.length);
    expect(readCsr(padded(MAX_CSR_BYTES))).toEqual(readCsr(good));
    expect(refusal(padded(MAX_CSR_BYTES + 1))).toMatch(/larger than 8192 bytes/);
    expect(refusal("é".repeat(5_000))).toMatch(/larger than 8192 bytes/);
  });

  const broken: [string, string][] = [
    ["nothing", ""],
    ["words", "hello"],
    ["another PEM", good.replaceAll("CERTIFICATE REQUEST", "CERTIFICATE")],
    ["two requests", good + good],
    ["text before it", `hello\n${good}`],
    ["bad base64", good.replace("\n", "\n=")],
    ["bytes after the end", pemOf(Buffer.concat([derOf(good), Buffer.of(0)]))],
    ["an indefinite length", pemOf(Buffer.concat([Buffer.of(0x30, 0x80), derOf(good).subarray(3), Buffer.of(0, 0)]))],
    ["a length that is not minimal", pemOf(tlvLong(derOf(good)))],
    ["a long tag", pemOf(Buffer.of(0x3f, 0x81, 0x00))],
    ["an empty sequence", pemOf(tlv(0x30))],
    ["half of it", pemOf(derOf(good).subarray(0, 100))],
    ["a fourth field", pemOf(tlv(0x30, derOf(good).subarray(3), tlv(5)))],
  ];
  it.each(broken)("refuses %s", (_name, pem) => {
    expect(refusal(pem)).not.toBe("accepted");
  });

  it("answers any mutated request with csr_refused or the same key, and never anything else", () => {
    const der = derOf(good);
    const spkiSha256 = readCsr(good).spkiSha256;
    const edit = fc.record({ at: fc.nat(der.length - 1), kind: fc.constantFrom("set", "insert", "delete", "cut"), byte: fc.nat(255) });
    let accepted = 0;
    const check = (pem: string): void => {
      try {
        expect(readCsr(pem).spkiSha256).toBe(spkiSha256);
        accepted++;
      } catch (error) {
        if (!(error instanceof SkepError)) throw error;
        expect(error.code).toBe("csr_refused");
      }
    };
    const mutated = fc.property(fc.array(edit, { maxLength: 6 }), (edits) => {
      let bytes = [...der];
      for (const { at, kind, byte } of edits) {
        if (kind === "cut") bytes = bytes.slice(0, at);
        else bytes.splice(at, kind === "insert" ? 0 : 1, ...(kind === "delete" ? [] : [byte]));
      }
      check(pemOf(Uint8Array.from(bytes)));
    });
    const seed = seedFromEnv() | 0;
    fc.assert(mutated, { seed, numRuns: 3_000 });
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => check(good.slice(0, 60) + text + good.slice(90))), { seed, numRuns: 500 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => check(pemOf(bytes))), { seed, numRuns: 1_000 });
    expect(accepted).toBeGreaterThan(0); // the control: unmutated requests came through the same check
  });
});

function tlvLong(der: Buffer): Buffer {
  const body = der.subarray(3);
  return Buffer.concat([Buffer.of(0x30, 0x82, 0x00, body.length), body]);
}
