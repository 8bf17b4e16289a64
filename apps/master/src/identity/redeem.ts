/**
 * The enrolment door's one operation: a token and a CSR for a certificate. One winner per token, by compare-and-set in
 * the transaction that records the certificate (I18). Unknown, used, expired, burned and wrong are one answer and cost
 * the same work, so that guessing teaches nothing.
 */
import { timingSafeEqual } from "node:crypto";
import { MINUTE_MS, SkepError, toIso, type EnrolmentToken, type TokenId } from "@skep/core";
import { certFacts, readCsr } from "@skep/pki";
import type { CertReply } from "@skep/protocol";
import { sha256Hex } from "@skep/runtime";
import type { IdentityControl } from "../control/control.ts";
import type { IdentityDeps } from "./deps.ts";
import { pinActive, replyOf, signFor } from "./issue.ts";

/** Wrong secrets after which a token is burned: enough for a person's typing errors, nothing against 256 bits. */
export const MAX_TOKEN_ATTEMPTS = 10;
/** How long the winner may ask again with the same key, because its answer was lost. */
const REPLY_REPEAT_MS = 5 * MINUTE_MS;
/** A host that enrols again has a new key already; the old certificate ends as soon as what is under way has ended. */
const REENROL_OVERLAP_MS = 5 * MINUTE_MS;

/** Compared against when there is no such token, so that the work is the same. */
const NO_TOKEN_HASH = sha256Hex("no such token");

export function createRedeem(deps: IdentityDeps): Pick<IdentityControl, "redeem"> {
  const { store } = deps;
  const refused = (): SkepError => new SkepError("enrolment_refused");

  const wrongSecret = (token: EnrolmentToken): Promise<void> =>
    store.transaction(async (tx) => {
      const attempts = await tx.countTokenAttempt(token.id);
      if (attempts < MAX_TOKEN_ATTEMPTS || (await tx.findToken(token.id))?.burned !== false) return;
      await tx.burnTokens(token.hostId);
      await tx.appendAudit({ actor: "master", action: "token.burn", subject: `token:${token.id}`, outcome: "denied", detail: { attempts } });
      await tx.appendEvent({ kind: "host.token_burned", severity: "error", message: `somebody tried ${attempts} wrong secrets on an enrolment token; it is burned`, hostId: token.hostId, data: { token_id: token.id } });
    });

  /** The right secret, but the token has been used by another key: two parties hold this bundle (faults F41, F44). */
  const replayed = (token: EnrolmentToken): Promise<void> =>
    store.transaction(async (tx) => {
      // Counting locks the row, so that of many at once one raises the alarm.
      await tx.countTokenAttempt(token.id);
      if ((await tx.findToken(token.id))?.burned !== false) return;
      await tx.burnTokens(token.hostId);
      await tx.appendAudit({ actor: "master", action: "token.replay", subject: `token:${token.id}`, outcome: "denied" });
      await tx.appendEvent({ kind: "host.token_replay", severity: "error", message: "a used enrolment token came again with another key: somebody else holds the bundle; check the host and re-issue it", hostId: token.hostId, data: { token_id: token.id } });
    });

  return {
    async redeem(tokenId, request): Promise<CertReply> {
      // Read before anything else is asked: a malformed request costs no token attempt and no query.
      const key = readCsr(request.csr_pem);
      const token = await store.findToken(tokenId as TokenId);
      const matches = timingSafeEqual(Buffer.from(sha256Hex(request.secret), "hex"), Buffer.from(token?.secretHash ?? NO_TOKEN_HASH, "hex"));
      if (token === undefined) throw refused();
      if (!matches) {
        await wrongSecret(token);
        throw refused();
      }
      if (token.burned || token.attempts >= MAX_TOKEN_ATTEMPTS) throw refused();
      if (token.claimedAt !== undefined) return repeat(token, key.spkiSha256);

      const won = await store.transaction(async (tx): Promise<CertReply | "lost" | undefined> => {
        const host = await tx.findHost(token.hostId);
        if (host === undefined || host.status === "decommissioned") return undefined;
        const cert = signFor(deps, host, key, await tx.now());
        // First of all writes: whoever loses here waits for one row, has done nothing, and leaves at once.
        if (!(await tx.claimToken(token.id, key.spkiSha256, cert.certPem))) return "lost";
        await pinActive(tx, host, cert, REENROL_OVERLAP_MS);
        if (host.status === "pending") await tx.casHostStatus(host.id, "pending", "enrolled", "it redeemed its enrolment token");
        await tx.appendAudit({ actor: `host:${host.id}`, action: "host.enrol", subject: `host:${host.id}`, outcome: "allowed", detail: { token_id: token.id, sha256: cert.sha256 } });
        await tx.appendEvent({ kind: "host.enrolled", severity: "info", message: `host ${host.name} enrolled; its certificate is good until ${toIso(cert.notAfter)}`, hostId: host.id, data: { sha256: cert.sha256 } });
        return replyOf(deps, cert.certPem, cert.notAfter);
      });
      if (won === undefined) throw refused();
      if (won === "lost") {
        // Expired, or somebody was faster; if it was this very request's twin, both get the one certificate.
        const current = await store.findToken(token.id);
        if (current?.claimedAt === undefined || current.burned) throw refused();
        return repeat(current, key.spkiSha256);
      }
      await deps.pins.refresh();
      return won;
    },
  };

  async function repeat(token: EnrolmentToken, spkiSha256: string): Promise<CertReply> {
    const age = (await store.now()) - (token.claimedAt ?? 0);
    if (token.claimedSpki === spkiSha256 && token.certPem !== undefined && age <= REPLY_REPEAT_MS) {
      return replyOf(deps, token.certPem, certFacts(token.certPem).notAfter);
    }
    if (token.claimedSpki !== spkiSha256) await replayed(token);
    throw refused();
  }
}
