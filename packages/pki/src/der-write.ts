/**
 * DER writing on node-forge's ASN.1 encoder, which this package uses for nothing else: forge encodes, it never
 * reads untrusted bytes, verifies or decides (faults S16). Strings handed to forge are binary, one char a byte.
 */
import type { Instant } from "@skep/core";
import forge from "node-forge";

const { Class, Type, create } = forge.asn1;

export type Der = forge.asn1.Asn1;

const binary = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const universal = (type: forge.asn1.Type, value: string): Der => create(Class.UNIVERSAL, type, false, value);

export const encode = (node: Der): Buffer => Buffer.from(forge.asn1.toDer(node).getBytes(), "latin1");

export const sequence = (...items: Der[]): Der => create(Class.UNIVERSAL, Type.SEQUENCE, true, items);
export const set = (...items: Der[]): Der => create(Class.UNIVERSAL, Type.SET, true, items);
export const integer = (bytes: Uint8Array): Der => universal(Type.INTEGER, binary(bytes));
export const oid = (dotted: string): Der => universal(Type.OID, forge.asn1.oidToDer(dotted).getBytes());
export const booleanTrue = (): Der => universal(Type.BOOLEAN, "\xff");
export const utf8 = (text: string): Der => universal(Type.UTF8, binary(Buffer.from(text, "utf8")));
export const octets = (bytes: Uint8Array): Der => universal(Type.OCTETSTRING, binary(bytes));
/** A BIT STRING whose last byte leaves `unusedBits` out. */
export const bits = (bytes: Uint8Array, unusedBits = 0): Der => universal(Type.BITSTRING, String.fromCharCode(unusedBits) + binary(bytes));
/** `[tag]` around whole values. */
export const explicit = (tag: number, ...items: Der[]): Der => create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, items);
/** `[tag]` instead of a primitive value's own tag. */
export const implicit = (tag: number, bytes: Uint8Array): Der => create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, binary(bytes));

/** RFC 5280 wants UTCTime up to 2049 and GeneralizedTime from 2050; another choice is a date a century away. */
export function time(at: Instant): Der {
  const date = new Date(at);
  return date.getUTCFullYear() < 2050
    ? universal(Type.UTCTIME, forge.asn1.dateToUtcTime(date) as unknown as string)
    : universal(Type.GENERALIZEDTIME, forge.asn1.dateToGeneralizedTime(date) as unknown as string);
}

/** Bytes of our own making (a CA's name) as a node again. Never for what a peer sent. */
export const reencode = (der: Uint8Array): Der => forge.asn1.fromDer(forge.util.createBuffer(binary(der)), true);

export function toPem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
