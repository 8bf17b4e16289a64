/**
 * Who a certificate speaks for. The SPIFFE URI alone decides, never a name: a worker that carries the master's host
 * name must still be a worker (defect 4-17). Exactly one URI, of our trust domain, in exactly one spelling.
 */
import { isUuid, SkepError, type HostId } from "@skep/core";
import type { X509Certificate } from "node:crypto";

export type Identity = { readonly role: "host"; readonly hostId: HostId } | { readonly role: "master" };
/** Why a certificate that OpenSSL verified still speaks for nobody. */
export type NoIdentity = "no_uri" | "many_uris" | "foreign_trust_domain" | "malformed_id";
export type IdentityVerdict = { readonly identity: Identity; readonly refusal: undefined } | { readonly identity: undefined; readonly refusal: NoIdentity };

const TRUST_DOMAIN = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/;

/** Throws `invalid_request` for a trust domain that SPIFFE, a URI or an X.509 name could not carry unchanged. */
export function checkTrustDomain(trustDomain: string): string {
  if (!TRUST_DOMAIN.test(trustDomain)) throw new SkepError("invalid_request", "The trust domain must be 1 to 63 of a-z, 0-9, dot and dash, such as skep.local.");
  return trustDomain;
}

export const authorityUri = (trustDomain: string): string => `spiffe://${trustDomain}`;
export const masterUri = (trustDomain: string): string => `spiffe://${trustDomain}/master`;
export const hostUri = (trustDomain: string, hostId: string): string => `spiffe://${trustDomain}/host/${hostId}`;

/** The identity a certificate claims. It says nothing about who signed it: ask only about verified ones. */
export function identityOf(cert: X509Certificate, trustDomain: string): IdentityVerdict {
  const uris = namesOf(cert, "URI:");
  if (uris.length !== 1) return { identity: undefined, refusal: uris.length === 0 ? "no_uri" : "many_uris" };
  return parseUri(uris[0]!, trustDomain);
}

function parseUri(uri: string, trustDomain: string): IdentityVerdict {
  if (uri === masterUri(trustDomain)) return { identity: { role: "master" }, refusal: undefined };
  if (!uri.startsWith(`spiffe://${trustDomain}/`)) return { identity: undefined, refusal: "foreign_trust_domain" };
  const hostId = uri.slice(hostUri(trustDomain, "").length);
  if (uri !== hostUri(trustDomain, hostId) || !isUuid(hostId)) return { identity: undefined, refusal: "malformed_id" };
  return { identity: { role: "host", hostId: hostId as HostId }, refusal: undefined };
}

/**
 * The names of one kind, from Node's text form. Node quotes a name with a comma or quote in it and writes the comma as
 * \u002c, so that one name cannot pretend to be two (CVE-2021-44532); such a name then equals none of ours.
 */
export function namesOf(cert: X509Certificate, kind: "DNS:" | "IP Address:" | "URI:"): string[] {
  return (cert.subjectAltName ?? "").split(", ").filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length));
}
