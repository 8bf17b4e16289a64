/**
 * The agent channel, `/swarm`: mutual TLS 1.3, a pin check per request, and three routes from the protocol's table.
 * Handlers parse, check that the body speaks for the certificate's host, and hand over to the control.
 */
import type { Clock, HostId, Logger, Store } from "@skep/core";
import { SkepError } from "@skep/core";
import { masterSwarmTls, type Credentials } from "@skep/pki";
import { HEARTBEAT_LIMIT_BYTES, registerRequest, rotateRequest, SWARM_ROUTES, type SwarmRouteId } from "@skep/protocol";
import type { BackgroundTasks } from "@skep/runtime";
import type { FastifyReply, FastifyRequest } from "fastify";
import { checkAgentAddress } from "../agents/address.ts";
import type { AgentControl } from "../control/control.ts";
import type { Identity } from "../identity/create-identity.ts";
import type { MasterMetrics } from "../metrics/master-metrics.ts";
import { codeOf } from "../problem.ts";
import { createAuthenticator } from "./authenticate.ts";
import { DEFAULT_GATE } from "./handshake-gate.ts";
import { parseBody } from "./parse-body.ts";
import { parseHeartbeat } from "./parse-heartbeat.ts";
import { createHostLimiter, ratesFor, type HostRates } from "./rate-limits.ts";
import { createSlots } from "./slots.ts";
import { createTlsListener, type ListenerLimits, type TlsListener } from "./tls-listener.ts";

export interface ChannelLimits extends ListenerLimits {
  readonly rates: HostRates;
}

export interface ChannelDeps {
  readonly control: AgentControl;
  readonly identity: Identity;
  readonly store: Store;
  readonly credentials: Credentials;
  readonly trustDomain: string;
  readonly allowLoopbackAgents: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tasks: BackgroundTasks;
  readonly limits: ChannelLimits;
  readonly observe?: Pick<MasterMetrics, "onHeartbeat" | "onHeartbeatCommitted"> | undefined;
}

export interface Channel extends Pick<TlsListener, "listen" | "close"> {
  setCredentials(credentials: Credentials): void;
  /** Full TLS handshakes since the start. */
  readonly handshakes: () => number;
}

export function channelLimits(heartbeatIntervalMs: number): ChannelLimits {
  return {
    handshakeTimeoutMs: 5_000,
    headersTimeoutMs: 5_000,
    requestTimeoutMs: 10_000,
    keepAliveTimeoutMs: heartbeatIntervalMs * 3 + 5_000,
    socketTimeoutMs: 15_000,
    checkIntervalMs: 1_000,
    bodyLimitBytes: HEARTBEAT_LIMIT_BYTES,
    maxConnections: 20_000,
    gate: DEFAULT_GATE,
    rates: ratesFor(heartbeatIntervalMs),
  };
}

/** Registrations and rotations at once; fewer than the connections that beats have, so that beats go on. */
const SESSION_SLOTS = 2;
/** At some 5 ms each the last in line waits about as long as an agent does. */
const MAX_WAITING = 2_000;

type Handler = (request: FastifyRequest, reply: FastifyReply, hostId: HostId) => Promise<unknown>;

export function createChannel(deps: ChannelDeps): Channel {
  const { control, identity } = deps;
  const listener = createTlsListener({ tls: masterSwarmTls(deps.credentials), limits: deps.limits, clock: deps.clock, logger: deps.logger, routes: SWARM_ROUTES });
  const authenticator = createAuthenticator({ identity, store: deps.store, trustDomain: deps.trustDomain, clock: deps.clock, logger: deps.logger, tasks: deps.tasks });
  const sessions = createSlots(SESSION_SLOTS, MAX_WAITING);
  const limiter = createHostLimiter(deps.limits.rates, deps.clock);
  identity.pins.onChange((hostIds) => {
    try {
      authenticator.dropRefused(hostIds);
    } catch (error) {
      // Pins too old to trust: nobody is admitted until they are read again, so nothing is left open by this.
      if (!(error instanceof SkepError)) throw error;
    }
  });

  const handlers: Record<SwarmRouteId, Handler> = {
    async register(request, reply, hostId) {
      limiter.take(hostId, "deltas");
      const body = parseBody(registerRequest, request.body);
      if (body.agent_url !== undefined) {
        const host = await deps.store.findHost(hostId);
        checkAgentAddress(body.agent_url, { allowLoopback: deps.allowLoopbackAgents, allowedCidr: host?.allowedCidr });
      }
      return reply.send(await sessions(() => control.register(hostId, body)));
    },
    async heartbeat(request, reply, hostId) {
      const body = parseHeartbeat(request.body);
      if (body.host_uuid !== hostId) authenticator.refuseClaim(request.raw.socket, hostId);
      limiter.take(hostId, (body.lifecycle?.length ?? 0) > 0 ? "deltas" : "beats");
      const startMs = deps.clock.mono();
      const answer = await control.beat(hostId, body);
      deps.observe?.onHeartbeatCommitted(deps.clock.mono() - startMs);
      deps.observe?.onHeartbeat("ok");
      return answer === undefined ? reply.code(204).send() : reply.send(answer);
    },
    async rotate(request, reply, hostId) {
      limiter.take(hostId, "deltas");
      const { csr_pem: csrPem } = parseBody(rotateRequest, request.body);
      return reply.send(await sessions(() => identity.rotate(hostId, csrPem)));
    },
  };

  for (const route of SWARM_ROUTES) {
    const handle = handlers[route.id];
    const purpose = route.id === "rotate" ? ("rotate" as const) : ("report" as const);
    listener.app.route({
      method: route.method,
      url: route.path,
      // Before the body is read, and again before it counts: a slow body must not outlive a revocation.
      onRequest: (request, _reply, done) => {
        authenticator.began(request.raw.socket);
        try {
          authenticator.admit(request.raw.socket, purpose);
          done();
        } catch (error) {
          done(error as Error);
        }
      },
      // Wherever it was refused: by its certificate, its pace, its body or the ledger.
      onError: (_request, _reply, error, done) => {
        if (route.id === "heartbeat") deps.observe?.onHeartbeat(codeOf(error));
        done();
      },
      onResponse: (request, _reply, done) => {
        authenticator.ended(request.raw.socket);
        done();
      },
      handler: (request, reply) => handle(request, reply, authenticator.admit(request.raw.socket, purpose)),
    });
  }
  return {
    listen: (host, port) => listener.listen(host, port),
    close: () => listener.close(),
    setCredentials: (credentials) => listener.setTls(masterSwarmTls(credentials)),
    handshakes: listener.gate.completed,
  };
}
