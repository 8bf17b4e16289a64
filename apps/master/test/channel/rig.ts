/** The agent side of a master for tests: real TLS, a real ledger, everything but the operator API and the loops. */
import { request as httpsRequest, Agent as HttpsAgent } from "node:https";
import { instant, PRODUCTION_POLICY, timingsFor, uuidv7, type CertStatus, type Fingerprint, type HostId, type Instant, type Logger, type Store } from "@skep/core";
import { createBackgroundTasks, createLogger, loop, specHash, systemClock, systemRng } from "@skep/runtime";
import { createPostgresStore } from "@skep/store";
import { tempAuthority, type IssuedIdentity, type TempAuthority } from "@skep/testkit";
import { createAgentClient, type PinnedAgentClient } from "../../src/agents/client.ts";
import { channelLimits, createChannel, type Channel, type ChannelLimits } from "../../src/channel/create-channel.ts";
import { createControl, type Control } from "../../src/control/index.ts";
import { createDoor, DOOR_LIMITS, type DoorLimits } from "../../src/enrol/create-door.ts";
import { createIdentity, type Identity } from "../../src/identity/create-identity.ts";
import { POLL_MS } from "../../src/identity/pin-cache.ts";
import { createMasterCredentials } from "../../src/identity/master-credentials.ts";
import type { MasterMetrics } from "../../src/metrics/master-metrics.ts";
import type { OperatorContext } from "../../src/ports.ts";

export const clock = systemClock();
export const rng = systemRng();
export const OPERATOR: OperatorContext = { actor: "token:test", requestId: "test", idempotency: undefined };

export interface Rig extends AsyncDisposable {
  readonly store: Store;
  readonly authority: TempAuthority;
  readonly identity: Identity;
  readonly control: Control;
  readonly agents: PinnedAgentClient;
  readonly channel: Channel;
  readonly swarmPort: number;
  readonly enrolPort: number;
  readonly logger: Logger;
  /** A host in the ledger with one pinned certificate of that standing. */
  addHost(name: string, wish?: { readonly status?: CertStatus; readonly pinNotAfter?: Instant; readonly validityMs?: number; readonly pinned?: boolean }): Promise<IssuedIdentity & { readonly hostId: HostId }>;
}

export async function startRig(url: string, options: { readonly heartbeatIntervalMs?: number; readonly channel?: Partial<ChannelLimits>; readonly door?: Partial<DoorLimits>; readonly wrapStore?: (store: Store) => Store; readonly observe?: MasterMetrics } = {}): Promise<Rig> {
  const logger = createLogger({ level: process.env["SKEP_TEST_LOG"] === "1" ? "debug" : "silent", name: "rig", destination: "stderr" });
  const real = await createPostgresStore({ url, logger, clock, rng, applicationName: "test" });
  const store = options.wrapStore?.(real) ?? real;
  const authority = tempAuthority();
  const { trustDomain } = authority.authority;
  const intervalMs = options.heartbeatIntervalMs ?? 1_000;
  const ports = { swarm: 0, enrol: 0 };
  const identity = await createIdentity({
    store, authority: authority.authority, clock, rng, logger, masterNames: ["master.example"], allowLoopbackAgents: true,
    urls: () => ({ enrolUrls: [`https://127.0.0.1:${ports.enrol}`], masterUrls: [`https://127.0.0.1:${ports.swarm}`] }),
  });
  // As a master does: pins that nobody looked after for a while admit nobody, and a test on a slow machine takes a while.
  const leaving = new AbortController();
  const polling = loop({ name: "pins", everyMs: POLL_MS, jitterShare: 0, clock, rng, logger, once: () => identity.pins.poll(), signal: leaving.signal });
  const credentials = createMasterCredentials({ authority: authority.authority, names: ["localhost", "127.0.0.1"], now: clock.now(), rng });
  const agents = createAgentClient({ identity: credentials.current, pinsOf: identity.pins.pinsOf, trustDomain, allowLoopbackAgents: true, clock, logger });
  const control = await createControl(
    { store, agents, clock, rng, logger, policy: PRODUCTION_POLICY, timings: timingsFor(intervalMs), hash: specHash, failpoint: () => undefined, observe: options.observe },
    { rotateWanted: identity.pins.rotationWanted },
  );
  const tasks = createBackgroundTasks({ clock, logger });
  const channel = createChannel({ control, identity, store, credentials: credentials.current(), trustDomain, allowLoopbackAgents: true, clock, logger, tasks, observe: options.observe, limits: { ...channelLimits(intervalMs), ...options.channel } });
  const door = createDoor({ identity, credentials: credentials.current(), clock, logger, limits: { ...DOOR_LIMITS, perAddress: { perMinute: 100_000, burst: 10_000 }, ...options.door } });
  ports.swarm = await channel.listen("127.0.0.1", 0);
  ports.enrol = await door.listen("127.0.0.1", 0);

  return {
    store, authority, identity, control, agents, channel, logger, swarmPort: ports.swarm, enrolPort: ports.enrol,
    async addHost(name, wish = {}) {
      const hostId = uuidv7(clock.now(), rng) as HostId;
      const cert = authority.host(name, { hostId, ...(wish.validityMs === undefined ? {} : { validityMs: wish.validityMs }) });
      await store.transaction(async (tx) => {
        await tx.insertHost({ id: hostId, name, labels: {}, notes: undefined, address: undefined, agentPort: 8444, allowedCidr: undefined });
        if (wish.pinned !== false) await pin(tx, hostId, cert, wish);
        await tx.casHostStatus(hostId, "pending", "enrolled", "test");
      });
      await identity.pins.refresh();
      return cert;
    },
    async [Symbol.asyncDispose]() {
      leaving.abort();
      await polling.stopped;
      await Promise.all([channel.close(), door.close()]);
      await control.drain();
      await agents.close();
      await tasks.drain(2_000);
      await real.close();
    },
  };
}

async function pin(tx: Parameters<Parameters<Store["transaction"]>[0]>[0], hostId: HostId, cert: IssuedIdentity, wish: { readonly status?: CertStatus; readonly pinNotAfter?: Instant }): Promise<void> {
  const status = wish.status ?? "active";
  // Only what may be inserted is; the rest is reached the way production reaches it.
  await tx.insertCert({ fingerprint: cert.sha256, hostId, spkiSha256: cert.spkiSha256, status: status === "pending" ? "pending" : "active", notBefore: cert.notBefore, notAfter: wish.pinNotAfter ?? cert.notAfter });
  if (status === "revoked") await tx.revokeCerts(hostId);
}

export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  /** The body as JSON, or undefined. */
  readonly json: Record<string, unknown> | undefined;
}

export interface Wish {
  readonly caPem: string;
  readonly identity?: { readonly certPem: string; readonly keyPem: string } | undefined;
  readonly headers?: Record<string, string>;
  readonly agent?: HttpsAgent;
  readonly method?: string;
}

/** A plain HTTPS client, as anybody might write one. A string or Buffer goes out as it is. Rejects on transport errors. */
export function post(port: number, path: string, body: unknown, wish: Wish): Promise<Answer> {
  const payload = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        host: "127.0.0.1", port, path, method: wish.method ?? "POST", ca: wish.caPem, servername: "localhost", minVersion: "TLSv1.3",
        ...(wish.identity === undefined ? {} : { cert: wish.identity.certPem, key: wish.identity.keyPem }),
        agent: wish.agent ?? false,
        headers: { "content-type": "application/json", "content-length": String(Buffer.byteLength(payload)), ...wish.headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: tryJson(text) });
        });
      },
    );
    request.on("error", reject);
    request.end(payload);
  });
}

/** The refusal at the TLS layer, in the code Node gives it. */
export const refusalCode = (promise: Promise<unknown>): Promise<string> =>
  promise.then((answer) => `answered ${JSON.stringify(answer)}`, (error: NodeJS.ErrnoException) => error.code ?? error.message);

export const keepAlive = (): HttpsAgent => new HttpsAgent({ keepAlive: true, maxSockets: 1 });

/** Seed 4's body, to the letter: a topology, no ids of ours. */
export const seedBeat = (hostId: string, more: object = {}): object => ({ host_uuid: hostId, agent_version: "0.1.0", status: { deployed: false }, ...more });

export const soon = (ms: number): Instant => instant(clock.now() + ms);
export const asFingerprint = (text: string): Fingerprint => text as Fingerprint;

function tryJson(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
