/**
 * Enrolment: a bundle becomes an identity. Invariants: the key is made here and never leaves; the secret is sent only
 * over a connection whose certificate the bundle's own CA has signed for a master (faults F45); a lost answer is asked
 * for again with the same key; what is stored is stored whole.
 */
import { SkepError, backoffMs, type Clock, type HostId, type Logger, type Rng } from "@skep/core";
import { clientTls, createCsr, generateKeyPem, saveIdentity, type AgentIdentity, type Bundle } from "@skep/pki";
import { certReply } from "@skep/protocol";
import { Agent, type buildConnector } from "undici";
import { transportFacts } from "../reporter/channel.ts";

export interface EnrolOptions {
  readonly bundle: Bundle;
  readonly agentDir: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
}

const ATTEMPTS = 5;
const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 15_000;

/**
 * Stores an identity in `agentDir` and returns it. Throws SkepError: `enrolment_refused` (expired, used or unknown
 * token), `host_unreachable` (no enrolment door answered), `cert_mismatch` or `wrong_role` (not our master).
 */
export async function enrolWithBundle({ bundle, agentDir, clock, rng, logger }: EnrolOptions): Promise<AgentIdentity> {
  const base = {
    hostId: bundle.host_id as HostId, name: bundle.name, masterUrls: bundle.master_urls, enrolUrls: bundle.enrol_urls,
    trustDomain: bundle.trust_domain, caSha256: bundle.ca_sha256, caPem: bundle.ca_cert_pem,
  };
  if (Date.parse(bundle.expires_at) <= clock.now()) {
    throw new SkepError("enrolment_refused", `The bundle of ${bundle.name} expired at ${bundle.expires_at}. Ask for a new one: skep host bundle ${bundle.name}. If it is fresh, check this machine's clock.`);
  }
  if (bundle.cert_pem !== undefined && bundle.key_pem !== undefined) {
    // Good for rotating only: the master refuses everything else (rotation_required) until a key made here has replaced it.
    const identity: AgentIdentity = { ...base, certPem: bundle.cert_pem, keyPem: bundle.key_pem };
    await saveIdentity(agentDir, identity);
    return identity;
  }
  const keyPem = generateKeyPem();
  const certPem = await redeem(bundle, createCsr({ keyPem, commonName: bundle.name }), { clock, rng, logger });
  const identity: AgentIdentity = { ...base, certPem, keyPem };
  await saveIdentity(agentDir, identity);
  return identity;
}

async function redeem(bundle: Bundle, csrPem: string, { clock, rng, logger }: Pick<EnrolOptions, "clock" | "rng" | "logger">): Promise<string> {
  const agent = new Agent({
    headersTimeout: ANSWER_TIMEOUT_MS, bodyTimeout: ANSWER_TIMEOUT_MS, maxResponseSize: 65_536,
    // The bundle's CA and nothing else: a public CA's word about a name is worth nothing here.
    connect: { ...clientTls({ trustDomain: bundle.trust_domain, caPem: bundle.ca_cert_pem, expect: { role: "master" } }), timeout: CONNECT_TIMEOUT_MS } as buildConnector.BuildOptions,
  });
  let last = "";
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const url = bundle.enrol_urls[attempt % bundle.enrol_urls.length]!;
      if (attempt >= bundle.enrol_urls.length) await clock.sleep(backoffMs(attempt - bundle.enrol_urls.length, { baseMs: 500, capMs: 5_000 }, rng));
      try {
        const response = await agent.request({
          origin: new URL(url).origin, path: `/enrol/${bundle.token_id}`, method: "POST",
          headers: { "content-type": "application/json" }, body: JSON.stringify({ secret: bundle.token, csr_pem: csrPem }),
        });
        const text = await response.body.text();
        if (response.statusCode < 300) return certReply.parse(JSON.parse(text)).cert_pem;
        if (response.statusCode === 404) throw new SkepError("enrolment_refused", `The master refuses this bundle: its token is unknown, used or expired. Ask for a new one: skep host bundle ${bundle.name}.`);
        if (response.statusCode < 500 && response.statusCode !== 429 && response.statusCode !== 408) throw new SkepError("enrolment_refused", `The master refuses this bundle (HTTP ${response.statusCode}). Ask for a new one: skep host bundle ${bundle.name}.`);
        last = `HTTP ${response.statusCode}`;
      } catch (error) {
        if (error instanceof SkepError) throw error;
        const impostor = skepCause(error);
        if (impostor !== undefined) throw impostor;
        last = transportFacts(error);
      }
      logger.warn({ url, because: last }, "the enrolment door did not answer; trying again with the same key");
    }
  } finally {
    await agent.destroy();
  }
  throw new SkepError("host_unreachable", `No enrolment door answered (${bundle.enrol_urls.join(", ")}): ${last}. Check that the master runs and that this machine reaches it.`);
}

/** Whoever answered is not our master: no retry makes it so, and the secret has not been sent. */
function skepCause(error: unknown): SkepError | undefined {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof SkepError) return cause;
    const { code } = cause as { code?: unknown };
    if (typeof code === "string" && /CERT|SELF_SIGNED|UNABLE_TO/.test(code)) return new SkepError("cert_mismatch", `Whoever answered at the enrolment door is not certified by the bundle's CA (${code}); the secret was not sent. Check the address, or who stands in between.`);
  }
  return undefined;
}
