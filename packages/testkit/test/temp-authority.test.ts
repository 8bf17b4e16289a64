import { X509Certificate } from "node:crypto";
import { tempAuthority } from "@skep/testkit";
import { expect, test } from "vitest";

test("identities chain to their own authority and to no other, and say who they are", () => {
  const [ours, theirs] = [tempAuthority(), tempAuthority()];
  const ca = new X509Certificate(ours.authority.certPem);
  const host = ours.host("web-01");
  const cert = new X509Certificate(host.certPem);
  expect(cert.verify(ca.publicKey)).toBe(true);
  expect(new X509Certificate(theirs.host("web-01").certPem).verify(ca.publicKey)).toBe(false);
  expect(cert.subjectAltName).toContain(`spiffe://test.skep/host/${host.hostId}`);
  expect(cert.subjectAltName).toContain("127.0.0.1");
  expect(new X509Certificate(ours.master().certPem).subjectAltName).toContain("spiffe://test.skep/master");
  expect(ours.host("web-01").hostId).not.toBe(host.hostId);
});
