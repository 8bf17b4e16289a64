/** The X.509 extensions we write, one function each, so that a profile reads as a list of them. */
import { isIPv4, isIPv6 } from "node:net";
import { SkepError } from "@skep/core";
import { bits, booleanTrue, encode, explicit, implicit, integer, octets, oid, sequence, type Der } from "./der-write.ts";

const extension = (id: string, value: Der, critical = false): Der =>
  sequence(oid(id), ...(critical ? [booleanTrue()] : []), octets(encode(value)));

/** May sign leaves, but no further authority. */
export const authorityConstraints = (): Der => extension("2.5.29.19", sequence(booleanTrue(), integer(Buffer.of(0))), true);
/** CA:FALSE, which DER spells as an empty sequence. */
export const leafConstraints = (): Der => extension("2.5.29.19", sequence(), true);
/** keyCertSign and cRLSign: bits 5 and 6. */
export const authorityKeyUsage = (): Der => extension("2.5.29.15", bits(Buffer.of(0x06), 1), true);
/** digitalSignature: bit 0, all that TLS 1.3 needs. */
export const leafKeyUsage = (): Der => extension("2.5.29.15", bits(Buffer.of(0x80), 7), true);
/** clientAuth and serverAuth: every peer is both, and the role is the SPIFFE id's to say. */
export const peerUsage = (): Der => extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.2"), oid("1.3.6.1.5.5.7.3.1")));
export const subjectKeyId = (keyId: Uint8Array): Der => extension("2.5.29.14", octets(keyId));
/** The issuer's own key id, byte for byte: the leaf's, which forge would write, fails verification with error 20. */
export const authorityKeyId = (issuerKeyId: Uint8Array): Der => extension("2.5.29.35", sequence(implicit(0, issuerKeyId)));

/** One URI and any names: text that is an IP address becomes one, everything else must be a host name. */
export function subjectAltNames(uri: string, names: readonly string[]): Der {
  const entries = names.map((name) => {
    const address = addressBytes(name);
    return address === undefined ? implicit(2, Buffer.from(checkHostName(name), "ascii")) : implicit(7, address);
  });
  return extension("2.5.29.17", sequence(...entries, implicit(6, Buffer.from(uri, "ascii"))));
}

/** Subject alternative names are wrapped twice: `[3]` holds the one list. */
export const extensionList = (...extensions: Der[]): Der => explicit(3, sequence(...extensions));

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;

function checkHostName(name: string): string {
  if (!HOST_NAME.test(name)) throw new SkepError("invalid_request", "A certificate name must be a host name or an IP address, without port, zone or wildcard.");
  return name;
}

function addressBytes(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number));
  if (!isIPv6(text) || text.includes("%")) return undefined;
  // The URL parser spells any IPv6 address one way: compressed hextets, no embedded IPv4.
  const [head = "", tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const hextets = [...before, ...Array<string>(8 - before.length - after.length).fill("0"), ...after];
  return Buffer.from(hextets.map((hextet) => hextet.padStart(4, "0")).join(""), "hex");
}
