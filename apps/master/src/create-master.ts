/**
 * The master, put together: control, identity, three listeners, loops. Built of what it is given; reads no environment,
 * no clock of its own and no file, so that a test can run several in one process.
 */
import { setMaxListeners } from "node:events";
import { SkepError, PRODUCTION_POLICY, timingsFor, type Clock, type Logger, type Policy, type Rng, type Store, type Tracer } from "@skep/core";
import { certFacts, type Authority } from "@skep/pki";
import { createBackgroundTasks, createIdTracer, specHash } from "@skep/runtime";
import { createAgentClient } from "./agents/client.ts";
import { recordTransition } from "./agents/record-transition.ts";
import { channelLimits, createChannel, type ChannelLimits } from "./channel/create-channel.ts";
import { createControl } from "./control/index.ts";
import { createDoor, DOOR_LIMITS, type DoorLimits } from "./enrol/create-door.ts";
import { createFailpoint } from "./failpoint.ts";
import { checkBind } from "./http/bind-guard.ts";
import { createOperatorListener } from "./http/create-operator-listener.ts";
import type { OperatorLimits } from "./http/settings.ts";
import { createIdentity } from "./identity/create-identity.ts";
import { createMasterCredentials } from "./identity/master-credentials.ts";
import { MAX_LOOPS, runLoops } from "./loops/run-loops.ts";
import { createMasterMetrics, DEFAULT_METRIC_HOSTS } from "./metrics/create-metrics.ts";
import { observedStore } from "./metrics/observed-store.ts";
import type { MasterConfig } from "./config.ts";
import { VERSION } from "./version.ts";
import { createWebhookSender } from "./webhooks/send.ts";

export type MasterSettings = Pick<
  MasterConfig,
  "apiListen" | "apiPort" | "apiTls" | "swarmListen" | "swarmPort" | "enrolPort" | "advertise" | "heartbeatIntervalMs" | "allowLoopbackAgents" | "failpoint"
> & Partial<Pick<MasterConfig, "probeThresholds" | "alertCoolDownMs" | "breakerCoolDownMs" | "retention">>;

/** Raised by the benchmark, lowered by tests; production uses the defaults. */
export interface MasterLimits {
  readonly channel?: Partial<ChannelLimits>;
  readonly door?: Partial<DoorLimits>;
  readonly operator?: Partial<OperatorLimits>;
  /** Hosts that have a label of their own in the metrics. */
  readonly metricHosts?: number;
}

export interface MasterDeps {
  readonly config: MasterSettings;
  readonly store: Store;
  readonly authority: Authority;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Default: ids for logs and answers, nothing recorded. */
  readonly tracer?: Tracer;
  readonly policy?: Policy;
  readonly limits?: MasterLimits;
  /** This process is this master's alone: its metrics tell of memory, CPU and the event loop too. */
  readonly ownsProcess?: boolean;
}

export interface MasterAddresses {
  readonly apiUrl: string;
  readonly swarmUrl: string;
  readonly enrolUrl: string;
}

export interface Master {
  /** Opens the listeners and starts the loops. Throws when an address cannot be had; close it then, too. */
  listen(): Promise<MasterAddresses>;
  /** Listeners first, then loops, then what is under way. Idempotent. Leaves the store to its owner. */
  close(): Promise<void>;
  /** Full TLS handshakes on the agent channel since the start. */
  readonly handshakes: () => number;
}

/** How long work that nobody awaits may go on after the listeners have closed. */
const DRAIN_MS = 2_000;

export async function createMaster(deps: MasterDeps): Promise<Master> {
  const { config, authority, clock, rng, logger, tracer = createIdTracer(deps.rng) } = deps;
  const { trustDomain } = authority;
  const timings = timingsFor(config.heartbeatIntervalMs);
  checkBind(config.apiListen, config.apiTls !== undefined);
  const metrics = createMasterMetrics({
    store: deps.store, clock, logger, version: VERSION, nodeVersion: process.version, heartbeatIntervalMs: config.heartbeatIntervalMs, caNotAfter: certFacts(authority.certPem).notAfter,
    maxHosts: deps.limits?.metricHosts ?? DEFAULT_METRIC_HOSTS, process: deps.ownsProcess === true,
  });
  const store = observedStore(deps.store, metrics);

  const tasks = createBackgroundTasks({ clock, logger });
  const masterNames = [...new Set([...config.advertise, "localhost", "127.0.0.1"])];
  const credentials = createMasterCredentials({ authority, names: masterNames, now: clock.now(), rng });
  const ports = { swarm: config.swarmPort, enrol: config.enrolPort };
  const urlsTo = (port: number): string[] => config.advertise.map((name) => `https://${name.includes(":") ? `[${name}]` : name}:${port}`);
  const identity = await createIdentity({
    store, authority, clock, rng, logger, masterNames: config.advertise, allowLoopbackAgents: config.allowLoopbackAgents,
    urls: () => ({ enrolUrls: urlsTo(ports.enrol), masterUrls: urlsTo(ports.swarm) }),
  });
  const agents = createAgentClient({
    identity: credentials.current, pinsOf: identity.pins.pinsOf, trustDomain, allowLoopbackAgents: config.allowLoopbackAgents, clock, logger, coolDownMs: config.breakerCoolDownMs,
    observer: {
      onCall: ({ host, outcome, ms, bytesSent, bytesReceived }) => metrics.onCall({ hostId: host.id, hostName: host.name, outcome, ms, bytesSent, bytesReceived }),
      onTransition: (change) => {
        metrics.onTransition({ hostId: change.host.id, hostName: change.host.name, to: change.to });
        tasks.track("breaker event", recordTransition(store, change));
      },
    },
  });
  identity.pins.onChange((hostIds) => {
    for (const hostId of hostIds) {
      agents.forget(hostId);
      // Nobody may speak for it any more: it was decommissioned, or will be called anew once it is enrolled again.
      if (identity.pins.isFresh() && identity.pins.pinsOf(hostId).size === 0) metrics.forgetHost(hostId);
    }
  });
  const webhooks = createWebhookSender({ clock, allowLoopback: config.allowLoopbackAgents, userAgent: `skep/${VERSION}` });
  const control = await createControl(
    { store, agents, clock, rng, logger, tracer, policy: deps.policy ?? PRODUCTION_POLICY, timings, hash: specHash, failpoint: createFailpoint(config.failpoint), observe: metrics },
    { rotateWanted: identity.pins.rotationWanted, probing: { thresholds: config.probeThresholds }, webhooks: { sender: webhooks, allowLoopback: config.allowLoopbackAgents }, alertCoolDownMs: config.alertCoolDownMs, retention: config.retention },
  );
  const channel = createChannel({
    control, identity, store, credentials: credentials.current(), trustDomain, allowLoopbackAgents: config.allowLoopbackAgents, clock, logger, tasks, observe: metrics,
    limits: { ...channelLimits(config.heartbeatIntervalMs), ...deps.limits?.channel },
  });
  const door = createDoor({ identity, credentials: credentials.current(), clock, logger, limits: { ...DOOR_LIMITS, ...deps.limits?.door } });
  let listening = false;
  const api = await createOperatorListener({
    store, control, identity, agents, metrics, clock, rng, logger, tracer, timings, version: VERSION, trustDomain, caSha256: authority.sha256,
    allowLoopbackAgents: config.allowLoopbackAgents,
    tls: config.apiTls,
    limits: deps.limits?.operator,
    readiness: async () => ({
      database: await store.now().then(() => "ok", (error: unknown) => (error instanceof SkepError ? error.code : "unavailable")),
      certificate_pins: identity.pins.isFresh() ? "ok" : "older than 15 s: agents are refused until they can be read",
      agent_channel: listening ? "ok" : "not listening",
    }),
  });

  const stop = new AbortController();
  // Every loop listens to it twice at most; Node warns of more than ten as of a leak, on a stderr that is read as JSON.
  setMaxListeners(2 * MAX_LOOPS, stop.signal);
  let loops: { readonly stopped: Promise<void> } | undefined;
  let closing: Promise<void> | undefined;

  const close = async (): Promise<void> => {
    listening = false;
    await Promise.all([channel.close(), door.close(), api.close()]);
    stop.abort();
    await loops?.stopped;
    webhooks.close();
    await Promise.all([control.drain(), control.drainDeliveries()]);
    await agents.close();
    await tasks.drain(DRAIN_MS);
  };

  return {
    async listen() {
      ports.swarm = await channel.listen(config.swarmListen, config.swarmPort);
      ports.enrol = await door.listen(config.swarmListen, config.enrolPort);
      listening = true;
      loops = runLoops({
        control, store, pins: identity.pins, timings, clock, rng, logger, signal: stop.signal,
        renewCredentials: () => {
          if (!credentials.renewIfDue(clock.now())) return;
          channel.setCredentials(credentials.current());
          door.setCredentials(credentials.current());
          agents.forgetAll();
          logger.info({}, "the master's own certificate was renewed");
        },
      });
      const apiUrl = await api.listen({ host: config.apiListen, port: config.apiPort });
      return { apiUrl, swarmUrl: urlsTo(ports.swarm)[0]!, enrolUrl: urlsTo(ports.enrol)[0]! };
    },
    close: () => (closing ??= close()),
    handshakes: channel.handshakes,
  };
}
