/**
 * Creating hosts and the bundles that carry them into the fleet. A bundle's secret is shown once and stored as its
 * hash; nothing that could be replayed from the idempotency table holds it, so a repeated request is answered with a
 * new bundle for the same host and the earlier, unused one is dead.
 */
import { addMs, HOUR_MS, SkepError, toIso, uuidv7, type HostId, type HostRecord, type TokenId, type Tx } from "@skep/core";
import { createCsr, generateKeyPem, issueHostCert, readCsr } from "@skep/pki";
import type { Bundle } from "@skep/protocol";
import { randomToken, sha256Hex } from "@skep/runtime";
import { checkAgentAddress } from "../agents/address.ts";
import { agentUrlOf } from "../agents/pools.ts";
import type { IdentityControl } from "../control/control.ts";
import type { OperatorContext, Reply } from "../ports.ts";
import type { IdentityDeps } from "./deps.ts";

/** How long a `with_key` credential waits for its first contact (rulings 16). Longer is longer for whoever copied the file. */
export const PENDING_VALIDITY_MS = HOUR_MS;

interface BundleWish {
  readonly mode: "csr" | "with_key";
  readonly ttl_s: number;
}

export function createBundles(deps: IdentityDeps): Pick<IdentityControl, "createHost" | "createBundle"> {
  const { store } = deps;

  /** Replaces every unused token of the host, so that there is one live way in at a time. */
  const issueBundle = async (tx: Tx, host: HostRecord, wish: BundleWish, context: OperatorContext): Promise<Bundle> => {
    const now = await tx.now();
    await tx.burnTokens(host.id);
    const tokenId = uuidv7(now, deps.rng) as TokenId;
    const secret = randomToken("ske");
    const expiresAt = addMs(now, wish.ttl_s * 1_000);
    await tx.insertToken({ id: tokenId, hostId: host.id, secretHash: sha256Hex(secret), expiresAt });
    const { enrolUrls, masterUrls } = deps.urls();
    const credential = wish.mode === "with_key" ? await issuePending(tx, host) : {};
    await tx.appendAudit({ actor: context.actor, action: "host.bundle", subject: `host:${host.id}`, outcome: "allowed", requestId: context.requestId, detail: { mode: wish.mode, token_id: tokenId, ttl_s: wish.ttl_s } });
    await tx.appendEvent({ kind: "host.bundle_issued", severity: "info", message: `a bundle for ${host.name} was issued, good until ${toIso(expiresAt)}`, hostId: host.id, data: { mode: wish.mode, token_id: tokenId } });
    return {
      version: 1,
      host_id: host.id,
      name: host.name,
      enrol_urls: [...enrolUrls],
      master_urls: [...masterUrls],
      ca_cert_pem: deps.authority.certPem,
      ca_sha256: deps.authority.sha256,
      trust_domain: deps.authority.trustDomain,
      token_id: tokenId,
      token: secret,
      expires_at: toIso(expiresAt),
      agent_port: host.agentPort,
      ...credential,
    };
  };

  const issuePending = async (tx: Tx, host: HostRecord): Promise<{ cert_pem: string; key_pem: string }> => {
    const now = await tx.now();
    const keyPem = generateKeyPem();
    const { spkiDer, spkiSha256 } = readCsr(createCsr({ keyPem, commonName: host.name }));
    const cert = issueHostCert(deps.authority, { spkiDer, hostId: host.id, name: host.name, addresses: [], masterNames: deps.masterNames, now, validityMs: PENDING_VALIDITY_MS, rng: deps.rng });
    const inserted = await tx.insertCert({ fingerprint: cert.sha256, hostId: host.id, spkiSha256, status: "pending", notBefore: cert.notBefore, notAfter: cert.notAfter });
    if (!inserted) throw new SkepError("internal");
    return { cert_pem: cert.certPem, key_pem: keyPem };
  };

  /** Idempotency without the secret: what is kept of the first answer is which host it made. */
  const once = async (context: OperatorContext, status: number, wish: BundleWish, work: (tx: Tx) => Promise<HostRecord>): Promise<Reply<{ host: HostRecord; bundle: Bundle }>> => {
    const reply = await store.transaction(async (tx): Promise<Reply<{ host: HostRecord; bundle: Bundle }>> => {
      const key = context.idempotency;
      const claim = key === undefined ? undefined : await tx.claimIdempotency(key);
      if (claim?.kind === "reused") throw new SkepError("idempotency_key_reused");
      if (claim?.kind === "in_progress") throw new SkepError("request_in_progress", undefined, { retryAfterMs: 1_000 });
      const earlier = claim?.kind === "replay" ? (claim.body as { host_id: string }).host_id : undefined;
      const host = earlier === undefined ? await work(tx) : await liveHost(tx, earlier);
      const bundle = await issueBundle(tx, host, wish, context);
      if (key !== undefined && earlier === undefined) await tx.completeIdempotency(key, status, { host_id: host.id });
      return { status, body: { host, bundle }, replayed: earlier !== undefined };
    });
    if (wish.mode === "with_key") await deps.pins.refresh();
    return reply;
  };

  return {
    createHost: (request, context) =>
      once(context, 201, request, async (tx) => {
        const id = uuidv7(await tx.now(), deps.rng) as HostId;
        const { name, labels, notes, address, agent_port: agentPort, allowed_cidr: allowedCidr } = request;
        const url = agentUrlOf({ address, agentPort: agentPort === 0 ? 443 : agentPort } as HostRecord);
        if (url !== undefined) checkAgentAddress(url, { allowLoopback: deps.allowLoopbackAgents, allowedCidr });
        const inserted = await tx.insertHost({ id, name, labels, notes, address, agentPort, allowedCidr });
        if (inserted === "host_exists") throw new SkepError("host_exists", `a host named ${name} exists`);
        await tx.appendAudit({ actor: context.actor, action: "host.create", subject: `host:${id}`, outcome: "allowed", requestId: context.requestId, detail: { name } });
        await tx.appendEvent({ kind: "host.created", severity: "info", message: `host ${name} was created`, hostId: id });
        return liveHost(tx, id);
      }),
    createBundle: (host, request, context) => once(context, 201, request, (tx) => liveHost(tx, host)),
  };
}

export async function liveHost(tx: Tx, idOrName: string): Promise<HostRecord> {
  const host = await tx.findHost(idOrName);
  if (host === undefined) throw new SkepError("host_not_found");
  if (host.status === "decommissioned") throw new SkepError("host_decommissioned", `${host.name} was decommissioned; create a new host`);
  return host;
}
