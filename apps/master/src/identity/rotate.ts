/** Rotation: the host brings a key of its own making, over the certificate it has. Two pins overlap, one key survives. */
import { HOUR_MS, MINUTE_MS, SkepError, toIso, type HostId } from "@skep/core";
import { readCsr } from "@skep/pki";
import type { CertReply } from "@skep/protocol";
import type { IdentityControl } from "../control/control.ts";
import type { IdentityDeps } from "./deps.ts";
import { pinActive, replyOf, signFor } from "./issue.ts";
import { liveHost } from "./bundles.ts";

/** Rulings 16. Shorter strands an agent that lost the answer and sleeps; longer keeps a replaced key good. */
export const ROTATION_OVERLAP_MS = 24 * HOUR_MS;
/** A lost answer may be asked for again with the same key. In memory: after a restart the agent makes another key. */
const REPEAT_MS = 5 * MINUTE_MS;
const MAX_REMEMBERED = 1_000;

export function createRotate(deps: IdentityDeps): Pick<IdentityControl, "rotate" | "requestRotation"> {
  const answers = new Map<string, { readonly hostId: HostId; readonly reply: CertReply; readonly untilMs: number }>();

  return {
    async rotate(hostId, csrPem) {
      const key = readCsr(csrPem);
      const known = answers.get(key.spkiSha256);
      if (known?.hostId === hostId && deps.clock.mono() < known.untilMs) return known.reply;
      const reply = await deps.store.transaction(async (tx) => {
        const host = await tx.findHost(hostId);
        if (host === undefined) throw new SkepError("host_unknown");
        if (host.status === "decommissioned") throw new SkepError("host_decommissioned");
        const cert = signFor(deps, host, key, await tx.now());
        await pinActive(tx, host, cert, ROTATION_OVERLAP_MS);
        // First contact of a bundle with a key is its enrolment.
        if (host.status === "pending") {
          await tx.casHostStatus(host.id, "pending", "enrolled", "it rotated the credential of its bundle");
          await tx.burnTokens(host.id);
        }
        await tx.appendAudit({ actor: `host:${host.id}`, action: "host.rotate", subject: `host:${host.id}`, outcome: "allowed", detail: { sha256: cert.sha256 } });
        await tx.appendEvent({ kind: "host.rotated", severity: "info", message: `host ${host.name} has a new certificate, good until ${toIso(cert.notAfter)}`, hostId: host.id, data: { sha256: cert.sha256 } });
        return replyOf(deps, cert.certPem, cert.notAfter);
      });
      if (answers.size >= MAX_REMEMBERED) answers.clear();
      answers.set(key.spkiSha256, { hostId, reply, untilMs: deps.clock.mono() + REPEAT_MS });
      await deps.pins.refresh();
      return reply;
    },

    async requestRotation(hostRef, context) {
      const host = await deps.store.transaction(async (tx) => {
        const found = await liveHost(tx, hostRef);
        await tx.requestRotation(found.id);
        await tx.appendAudit({ actor: context.actor, action: "host.rotate", subject: `host:${found.id}`, outcome: "allowed", requestId: context.requestId });
        await tx.appendEvent({ kind: "host.rotation_requested", severity: "info", message: `host ${found.name} is told to rotate its certificate with its next heartbeat`, hostId: found.id });
        return found;
      });
      await deps.pins.refresh();
      return { status: 202, body: { host }, replayed: false };
    },
  };
}
