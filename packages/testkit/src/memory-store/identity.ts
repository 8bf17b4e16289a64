/** Enrolment tokens, pinned certificates, operators' tokens. A token has one winner; a key has one certificate. */
import { DAY_MS, addMs } from "@skep/core";
import type { HostCert, HostId, Pin, Reads, Tx } from "@skep/core";
import { check, nextCount, type Context, type Sync } from "./state.ts";

type IdentityReads = Sync<Pick<Reads, "listHostCerts" | "listPresentCerts" | "findToken" | "loadPins" | "pinVersion" | "findApiToken" | "listApiTokens">>;
type IdentityWrites = Sync<
  Pick<Tx, "insertToken" | "countTokenAttempt" | "claimToken" | "burnTokens" | "insertCert" | "retireCerts" | "revokeCerts" | "requestRotation" | "insertApiToken" | "revokeApiToken">
>;

const byCreation = (a: { createdAt: number }, b: { createdAt: number }): number => a.createdAt - b.createdAt;

export function identityReads({ state, now }: Context): IdentityReads {
  const version = (): number => state.counters.get("pins")?.value ?? 0;
  return {
    listHostCerts: (hostId) => [...state.certs.values()].filter((cert) => cert.hostId === hostId).sort(byCreation),
    listPresentCerts: (hostIds) => [...state.certs.values()].filter((cert) => hostIds.includes(cert.hostId) && (cert.status === "active" || cert.status === "retiring")),
    findToken: (id) => state.tokens.get(id),
    loadPins: () => {
      const pins: Pin[] = [];
      for (const cert of state.certs.values()) {
        const host = state.hosts.get(cert.hostId);
        if (host === undefined) continue;
        const old = cert.status === "revoked" && cert.notAfter < now() - DAY_MS;
        if (!old) pins.push({ fingerprint: cert.fingerprint, hostId: cert.hostId, hostStatus: host.status, status: cert.status, notAfter: cert.notAfter, retireAt: cert.retireAt, rotationWanted: (state.counters.get(`rotation/${cert.hostId}`)?.value ?? 0) > 0 });
      }
      return { version: version(), pins };
    },
    pinVersion: () => ({ version: version(), now: now() }),
    findApiToken: (id) => state.apiTokens.get(id),
    listApiTokens: () => [...state.apiTokens.values()].sort(byCreation),
  };
}

export function identityWrites(context: Context): IdentityWrites {
  const { state, now } = context;
  const pinsChanged = (): void => {
    nextCount(state, "pins");
    context.signal("pins");
  };
  const updateCerts = (hostId: HostId, patch: (cert: HostCert) => Partial<HostCert> | undefined): void => {
    for (const cert of [...state.certs.values()]) {
      const change = cert.hostId === hostId ? patch(cert) : undefined;
      if (change !== undefined) state.certs.set(cert.fingerprint, { ...cert, ...change });
    }
    pinsChanged();
  };
  return {
    insertToken: (token) => {
      check(state.tokens.get(token.id) === undefined, "enrollment_tokens_pkey");
      state.tokens.set(token.id, { ...token, attempts: 0, claimedAt: undefined, claimedSpki: undefined, certPem: undefined, burned: false });
    },
    countTokenAttempt: (id) => {
      const token = state.tokens.get(id);
      if (token === undefined) return 0;
      state.tokens.set(id, { ...token, attempts: token.attempts + 1 });
      return token.attempts + 1;
    },
    claimToken: (id, spkiSha256, certPem) => {
      const token = state.tokens.get(id);
      if (token === undefined || token.burned || token.claimedAt !== undefined || token.expiresAt <= now()) return false;
      state.tokens.set(id, { ...token, claimedAt: now(), claimedSpki: spkiSha256, certPem });
      return true;
    },
    burnTokens: (hostId) => {
      for (const token of [...state.tokens.values()]) if (token.hostId === hostId) state.tokens.set(token.id, { ...token, burned: true });
    },
    insertCert: (cert) => {
      for (const other of state.certs.values()) if (other.spkiSha256 === cert.spkiSha256 || other.fingerprint === cert.fingerprint) return false;
      state.certs.set(cert.fingerprint, { ...cert, createdAt: now(), retireAt: undefined });
      if (cert.status === "active") state.counters.delete(`rotation/${cert.hostId}`);
      pinsChanged();
      return true;
    },
    retireCerts: (hostId, keep, overlapMs) =>
      updateCerts(hostId, (cert) => {
        if (cert.fingerprint === keep) return undefined;
        if (cert.status === "active") return { status: "retiring", retireAt: addMs(now(), overlapMs) };
        return cert.status === "pending" ? { status: "revoked" } : undefined;
      }),
    revokeCerts: (hostId) => updateCerts(hostId, (cert) => (cert.status === "revoked" ? undefined : { status: "revoked" })),
    requestRotation: (id) => {
      nextCount(state, `rotation/${id}`);
      pinsChanged();
    },
    insertApiToken: (token) => {
      check(state.apiTokens.get(token.id) === undefined, "api_tokens_pkey");
      state.apiTokens.set(token.id, { ...token, createdAt: now(), revokedAt: undefined });
    },
    revokeApiToken: (id) => {
      const token = state.apiTokens.get(id);
      if (token === undefined || token.revokedAt !== undefined) return false;
      state.apiTokens.set(id, { ...token, revokedAt: now() });
      return true;
    },
  };
}
