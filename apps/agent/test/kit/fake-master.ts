/**
 * A master that speaks the protocol's own route table over real mutual TLS, and answers as the test says. It counts
 * handshakes, keeps every request, and can lose replies.
 */
import { createServer, type Server } from "node:https";
import type { TLSSocket } from "node:tls";
import { instant, type HostId } from "@skep/core";
import { createAuthority, createCsr, enrolTls, fingerprintOf, generateKeyPem, issueHostCert, issueMasterCert, masterSwarmTls, readCsr, readPeer, type AgentIdentity, type Authority } from "@skep/pki";
import { ENROL_ROUTES, SWARM_ROUTES } from "@skep/protocol";
import { systemClock, systemRng } from "@skep/runtime";

const rng = systemRng();
export const TRUST_DOMAIN = "skep.test";
export const HOST_ID = "0190a000-0000-7000-8000-000000000001" as HostId;

export const newAuthority = (): Authority => createAuthority({ trustDomain: TRUST_DOMAIN, now: systemClock().now(), rng });

export interface Leaf {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

export function masterLeaf(authority: Authority): Leaf {
  const keyPem = generateKeyPem();
  const { spkiDer } = readCsr(createCsr({ keyPem, commonName: "master" }));
  const { certPem } = issueMasterCert(authority, { spkiDer, names: ["localhost"], addresses: ["127.0.0.1"], now: systemClock().now(), rng });
  return { caPem: authority.certPem, certPem, keyPem };
}

export function hostLeaf(authority: Authority, options: { hostId?: HostId; csrPem?: string; validityMs?: number; now?: number } = {}): Leaf {
  const keyPem = generateKeyPem();
  const { spkiDer } = readCsr(options.csrPem ?? createCsr({ keyPem, commonName: "web-01" }));
  const { certPem } = issueHostCert(authority, {
    spkiDer, hostId: options.hostId ?? HOST_ID, name: "web-01", addresses: ["127.0.0.1"], masterNames: [], now: instant(options.now ?? systemClock().now()), rng,
    ...(options.validityMs === undefined ? {} : { validityMs: options.validityMs }),
  });
  return { caPem: authority.certPem, certPem, keyPem };
}

export const identityOf = (authority: Authority, leaf: Leaf, masterUrls: readonly string[]): AgentIdentity => ({
  hostId: HOST_ID, name: "web-01", masterUrls, enrolUrls: masterUrls, trustDomain: TRUST_DOMAIN, caSha256: fingerprintOf(authority.certPem), ...leaf,
});

export interface Seen {
  readonly route: string;
  readonly body: Record<string, unknown>;
  readonly fingerprint: string | undefined;
}

/** undefined = close the connection without an answer, after the request was taken. */
export type Reply = { readonly status: number; readonly body?: unknown; readonly raw?: string } | undefined;
type Handler = (seen: Seen) => Reply | Promise<Reply>;

export class FakeMaster {
  readonly authority: Authority;
  readonly seen: Seen[] = [];
  handshakes = 0;
  url = "";
  sessionEpoch = 1;
  intervalMs = 200;
  floors: { placement_id: string; epoch: number; generation: number }[] = [];
  readonly #handlers = new Map<string, Handler>();
  readonly #server: Server;

  constructor(options: { authority?: Authority; leaf?: Leaf; door?: boolean } = {}) {
    this.authority = options.authority ?? newAuthority();
    const leaf = options.leaf ?? masterLeaf(this.authority);
    this.#server = createServer({ ...(options.door === true ? enrolTls(leaf) : masterSwarmTls(leaf)), keepAliveTimeout: 60_000 }, (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const path = (request.url ?? "").replace(/^\/enrol\/.*/, "/enrol/:token_id");
        const route = [...SWARM_ROUTES, ...ENROL_ROUTES].find((one) => one.path === path && one.method === request.method);
        const seen: Seen = { route: route?.id ?? path, body: JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>, fingerprint: readPeer(request.socket as TLSSocket, TRUST_DOMAIN)?.fingerprint };
        this.seen.push(seen);
        void Promise.resolve((this.#handlers.get(seen.route) ?? ((one) => this.#byDefault(one)))(seen)).then((reply) => {
          if (reply === undefined) return request.socket.destroy();
          response.writeHead(reply.status, { "content-type": "application/json" });
          response.end(reply.raw ?? (reply.body === undefined ? undefined : JSON.stringify(reply.body)));
        });
      });
    });
    this.#server.on("secureConnection", () => (this.handshakes += 1));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const address = this.#server.address();
    this.url = `https://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    return this;
  }

  on(route: string, handler: Handler | undefined): void {
    if (handler === undefined) this.#handlers.delete(route);
    else this.#handlers.set(route, handler);
  }

  /** What a master that applies everything says. */
  #byDefault({ route, body }: Seen): Reply {
    if (route === "register") return { status: 200, body: this.registration() };
    if (route === "heartbeat") return body["session_epoch"] === this.sessionEpoch ? { status: 204 } : this.refusal(409, "session_stale");
    return this.refusal(404, "route_not_found");
  }

  registration(): object {
    return { session_epoch: this.sessionEpoch, floors: this.floors, server_time: "2026-01-01T00:00:00.000Z", interval_ms: this.intervalMs };
  }

  refusal(status: number, code: string): Reply {
    return { status, body: { type: "about:blank", title: code, status, detail: code, code, request_id: "1", retryable: false, fix: "", errors: [] } };
  }

  /** A reply with something to do in it. */
  reply(body: Record<string, unknown>): Reply {
    return { status: 200, body: { server_time: "2026-01-01T00:00:00.000Z", acked: [], rejected: [], pending_jobs: [], cancel_jobs: [], ...body } };
  }

  beats(): Record<string, unknown>[] {
    return this.seen.filter((one) => one.route === "heartbeat").map((one) => one.body);
  }
  deltas(): Record<string, unknown>[] {
    return this.beats().flatMap((beat) => (beat["lifecycle"] ?? []) as Record<string, unknown>[]);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
