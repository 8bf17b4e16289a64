/**
 * The agent's identity while it runs: read from disk, watched, rotated, given to whoever speaks. Invariants: a new
 * certificate is on disk before it is used; the one before stays at hand until a request got through with the new one;
 * an unreadable identity never replaces a good one.
 */
import { toIso, type Clock, type Logger } from "@skep/core";
import { certFacts, createCsr, fingerprintOf, generateKeyPem, loadIdentity, renewalDueAt, saveIdentity, type AgentIdentity } from "@skep/pki";
import { certReply } from "@skep/protocol";
import type { Link } from "../reporter/create-reporter.ts";
import { createMasterChannel } from "../reporter/channel.ts";

/** Between looks at the files. Shorter: wasted reads; longer: a person waits after enrolling (defect 4-4). */
const WATCH_MS = 10_000;
/** After a rotation that failed. */
const ROTATE_AGAIN_MS = 60_000;

export interface IdentityKeeper {
  /** Reads the identity and goes on watching until the signal aborts. */
  start(signal: AbortSignal): Promise<void>;
  current(): AgentIdentity | undefined;
  link(): Link | undefined;
  reload(): Promise<void>;
  rotate(): Promise<void>;
  rotateIfDue(): Promise<void>;
  onAccepted(): void;
  close(): Promise<void>;
}

export interface KeeperDeps {
  readonly agentDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called with every identity that comes into use, the first included. */
  readonly onIdentity: (identity: AgentIdentity) => void;
}

interface InUse {
  readonly identity: AgentIdentity;
  readonly link: Link;
}

export function createIdentityKeeper({ agentDir, clock, logger, onIdentity }: KeeperDeps): IdentityKeeper {
  let inUse: InUse | undefined;
  let previous: InUse | undefined;
  let rotation: { readonly keyPem: string; readonly promise: Promise<void> } | undefined;
  /** Kept over a lost answer: the same key gets the same certificate. */
  let pendingKeyPem: string | undefined;
  let rotateNotBeforeMs = 0;
  let complained = false;

  function use(identity: AgentIdentity): InUse {
    const facts = certFacts(identity.certPem);
    const link: Link = { hostId: identity.hostId, channel: createMasterChannel({ identity, clock }), cert: { sha256: facts.fingerprint, not_after: toIso(facts.notAfter) } };
    inUse = { identity, link };
    onIdentity(identity);
    return inUse;
  }

  async function reload(): Promise<void> {
    let found: AgentIdentity | undefined;
    try {
      found = await loadIdentity(agentDir);
      complained = false;
    } catch (err) {
      if (!complained) logger.error({ err, agentDir }, "the identity on disk cannot be used");
      complained = true;
      return;
    }
    if (found === undefined) return;
    const old = inUse;
    if (old !== undefined && sameIdentity(old.identity, found)) {
      // The new certificate did not get us in: the one before may, for as long as its overlap lasts.
      if (previous !== undefined && previous !== old) {
        logger.warn({}, "going back to the certificate before the rotation");
        inUse = previous;
        previous = undefined;
        onIdentity(inUse.identity);
        void old.link.channel.close();
      }
      return;
    }
    logger.info({ hostId: found.hostId, agentDir }, old === undefined ? "identity found" : "the identity on disk changed");
    use(found);
    if (old !== undefined) void old.link.channel.close();
  }

  function rotate(): Promise<void> {
    if (rotation !== undefined) return rotation.promise;
    const keyPem = (pendingKeyPem ??= generateKeyPem());
    const promise = rotateWith(keyPem).catch((err: unknown) => logger.error({ err }, "the certificate could not be rotated; trying again later")).finally(() => (rotation = undefined));
    rotation = { keyPem, promise };
    return promise;
  }

  async function rotateWith(keyPem: string): Promise<void> {
    const old = inUse;
    if (old === undefined) return;
    rotateNotBeforeMs = clock.mono() + ROTATE_AGAIN_MS;
    const answer = await old.link.channel.post("/swarm/rotate", { csr_pem: createCsr({ keyPem, commonName: old.identity.name }) });
    const reply = answer.kind === "answer" && answer.status < 300 ? certReply.safeParse(answer.json) : undefined;
    if (reply?.success !== true) {
      if (answer.kind === "answer" && (answer.code === "key_reused" || answer.code === "csr_refused")) pendingKeyPem = undefined;
      logger.warn({ because: answer.kind === "failed" ? answer.because : `${answer.status} ${answer.code}` }, "the master did not rotate the certificate");
      return;
    }
    const identity: AgentIdentity = { ...old.identity, certPem: reply.data.cert_pem, keyPem };
    // On disk first: a crash between the two must find the new one, because the old one may already be retiring.
    await saveIdentity(agentDir, identity);
    pendingKeyPem = undefined;
    previous = old;
    use(identity);
    logger.info({ fingerprint: fingerprintOf(identity.certPem), notAfter: reply.data.not_after }, "the certificate was rotated");
  }

  async function rotateIfDue(): Promise<void> {
    if (inUse === undefined || clock.mono() < rotateNotBeforeMs) return;
    if (clock.now() >= renewalDueAt(certFacts(inUse.identity.certPem))) await rotate();
  }

  return {
    start: async (signal) => {
      await reload();
      void (async () => {
        while (!signal.aborted) {
          await clock.sleep(WATCH_MS, signal);
          if (!signal.aborted) await reloadIfChanged();
        }
      })();
    },
    current: () => inUse?.identity,
    link: () => inUse?.link,
    reload,
    rotate,
    rotateIfDue,
    onAccepted: () => {
      if (previous === undefined) return;
      void previous.link.channel.close();
      previous = undefined;
    },
    close: async () => {
      await inUse?.link.channel.close();
      await previous?.link.channel.close();
    },
  };

  /** The periodic look: unlike a refusal it is no reason to go back to an older certificate. */
  async function reloadIfChanged(): Promise<void> {
    const kept = previous;
    const before = inUse;
    previous = undefined;
    await reload();
    if (inUse === before) previous ??= kept;
    else void kept?.link.channel.close();
  }
}

const sameIdentity = (a: AgentIdentity, b: AgentIdentity): boolean =>
  a.hostId === b.hostId && a.certPem === b.certPem && a.keyPem === b.keyPem && a.caPem === b.caPem && a.trustDomain === b.trustDomain && a.masterUrls.join() === b.masterUrls.join();
