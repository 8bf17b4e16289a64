/**
 * Whether the peer of this very request may speak for a host. Asked per request, never per connection: a
 * connection that is open stays open while its certificate is revoked, expires or is rotated away (faults 6).
 */
import type { ErrorCode } from "../errors.ts";
import type { Fingerprint, HostId } from "../ids.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { Instant } from "../time.ts";

export const CERT_STATUSES = ["active", "retiring", "pending", "revoked"] as const;
/** `pending` is a credential made for an offline bundle: good for rotating and for nothing else. */
export type CertStatus = (typeof CERT_STATUSES)[number];

export interface Pin {
  readonly fingerprint: Fingerprint;
  readonly hostId: HostId;
  readonly hostStatus: HostStatus;
  readonly status: CertStatus;
  readonly notAfter: Instant;
  /** When a retiring certificate stops being accepted. */
  readonly retireAt: Instant | undefined;
  /** An operator asked for a new certificate and the host has not fetched one since. */
  readonly rotationWanted?: boolean | undefined;
}

export interface PresentedCert {
  readonly fingerprint: Fingerprint;
  /** From the SPIFFE URI of the verified chain; undefined when there is none or more than one. */
  readonly identity: { readonly role: "host"; readonly hostId: string } | { readonly role: "master" } | undefined;
}

export type PinVerdict = { readonly kind: "admit"; readonly hostId: HostId } | { readonly kind: "refuse"; readonly code: ErrorCode; readonly because: string };

export function decidePin(
  cert: PresentedCert | undefined,
  pin: Pin | undefined,
  claimedHostId: string | undefined,
  purpose: "report" | "rotate",
  now: Instant,
): PinVerdict {
  const refuse = (code: ErrorCode, because: string): PinVerdict => ({ kind: "refuse", code, because });
  if (cert === undefined) return refuse("cert_missing", "no verified client certificate");
  if (cert.identity === undefined || cert.identity.role !== "host") return refuse("wrong_role", "the certificate is not a host's");
  if (pin === undefined) return refuse("cert_mismatch", "the certificate is not pinned");
  // The row's host decides, not the certificate's own claim.
  if (pin.hostId !== cert.identity.hostId) return refuse("cert_mismatch", "the certificate's host is not the pinned one");
  if (pin.hostStatus === "decommissioned") return refuse("host_decommissioned", "the host was decommissioned");
  if (pin.status === "revoked") return refuse("cert_mismatch", "the certificate was revoked");
  if (now >= pin.notAfter) return refuse("cert_expired", "the certificate has expired");
  if (pin.status === "retiring" && pin.retireAt !== undefined && now >= pin.retireAt) return refuse("cert_mismatch", "the certificate was rotated away");
  if (pin.status === "pending" && purpose !== "rotate") return refuse("rotation_required", "this credential is only good for rotating");
  if (claimedHostId !== undefined && claimedHostId !== pin.hostId) return refuse("cert_mismatch", "the claimed host is not the certificate's");
  return { kind: "admit", hostId: pin.hostId };
}
