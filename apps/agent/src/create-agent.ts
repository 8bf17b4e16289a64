/**
 * The agent: one executor, one listener, one reporter, around one identity. Invariants: the listener is up before the
 * journal is read (a master that asks gets "booting", not silence); nothing is reported before the journal is known;
 * an agent without an identity waits for one; stopping leaves workloads running unless it was told otherwise.
 */
import { networkInterfaces } from "node:os";
import type { BootStage, Clock, Driver, Logger, Policy, Rng, StageResult, Tracer } from "@skep/core";
import { allowanceCapabilities, uuidv7 } from "@skep/core";
import type { AgentIdentity } from "@skep/pki";
import { specHash } from "@skep/runtime";
import { createExecs } from "./exec/create-execs.ts";
import type { AllowanceDeps } from "./executor/check-allowances.ts";
import { createEyes } from "./executor/eyes.ts";
import { createBootSequence } from "./boot/run-sequence.ts";
import type { RebootMark } from "./boot/reboot-mark.ts";
import { createExecutor } from "./executor/create-executor.ts";
import type { Executor } from "./executor/types.ts";
import { createIdentityKeeper } from "./identity/keeper.ts";
import type { JournalStore } from "./journal/records.ts";
import { createAgentMetrics } from "./metrics/create-metrics.ts";
import { createReporter } from "./reporter/create-reporter.ts";
import { createHandlers, healthOf, type RouteFacts } from "./routes/handlers.ts";
import { createLocalServer } from "./routes/create-local-server.ts";
import { createAgentServer, type AgentServer } from "./routes/create-server.ts";
import { AGENT_VERSION } from "./version.ts";

export interface AgentDeps extends AllowanceDeps {
  readonly agentDir: string;
  readonly journal: JournalStore;
  readonly drivers: readonly Driver[];
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Default: none; a trace that comes with a job is carried on. */
  readonly tracer?: Tracer | undefined;
  readonly policy: Policy;
  readonly hostBootId: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** Port of the loopback listener; 0 = any free one, undefined = none. */
  readonly localPort: number | undefined;
  /** What the master is told to call; default: this machine's address and the listener's port. */
  readonly agentUrl: string | undefined;
  /** What the machine has, for the beats. */
  readonly resources: () => Promise<Readonly<Record<string, number>>>;
  /** Started in this order before commands are taken; empty = commands are taken as soon as the journal is known. */
  readonly boot: readonly BootStage[];
  readonly rebootMark: RebootMark;
  readonly failpoint?: ((name: string) => void) | undefined;
  /** This process is this agent's alone: its metrics tell of memory, CPU and the event loop too. */
  readonly ownsProcess?: boolean;
}

export interface AgentFacts {
  readonly agent_url: string;
  readonly local_url: string | null;
  readonly host_id: string;
}

export interface Agent {
  /** Idempotent. Resolves when it is listening (loopback at least) and the journal is read; rejects when it cannot be. */
  start(): Promise<void>;
  /** Idempotent. Within about 5 s, plus the stop timeouts of `workloads` when those are to stop too. */
  stop(options: { readonly workloads: boolean }): Promise<void>;
  /** Resolves once the agent is registered and takes commands. */
  readonly whenReady: Promise<AgentFacts>;
  ready(): boolean;
  /** Looks at the identity files now (SIGHUP). */
  reloadIdentity(): Promise<void>;
  /** Boot stages as configured now; they count for what was not gone through yet. */
  reconfigure(boot: readonly BootStage[]): void;
  /** What became of each stage so far. */
  bootResults(): readonly StageResult[];
  readonly executor: Executor;
  /** undefined = not enrolled yet. */
  hostId(): string | undefined;
}

const LAST_BEAT_LIMIT_MS = 2_000;
/** While it boots there are no jobs to have the last word on, and whoever stops a host that does not come up must not wait. */
const BOOTING_LAST_BEAT_LIMIT_MS = 500;
const READY_LOOK_MS = 50;
const BOOT_PATIENCE_MS = 5_000;

export function createAgent(deps: AgentDeps): Agent {
  const { clock, rng, logger } = deps;
  const leaving = new AbortController();
  let stages = deps.boot;
  const metrics = createAgentMetrics({
    clock, version: AGENT_VERSION, nodeVersion: process.version, process: deps.ownsProcess === true,
    now: {
      ready: () => ready(),
      outbox: () => executor.outbox(),
      certNotAfter: () => keeper.link()?.cert.not_after,
      boot: () => ({ stages, results: boot.results(), report: boot.report() }),
    },
  });
  const executor = createExecutor({ ...deps, bootId: uuidv7(clock.now(), rng), hash: specHash, failpoint: deps.failpoint, onJobEnded: metrics.onJobEnded });
  const eyesByDriver = new Map(deps.drivers.map((driver) => [driver.name, createEyes([driver], clock)]));
  const noEyes = createEyes([], clock);
  const boot = createBootSequence({
    stages: deps.boot, clock, rng, logger, hash: specHash, allowed: deps.allowed, realpath: deps.realpath, leaving: leaving.signal,
    applied: () => executor.applied(),
    eyesOf: (driver) => eyesByDriver.get(driver) ?? noEyes,
    onChange: () => reporter.changed(),
  });
  const execs = createExecs({ eyes: createEyes(deps.drivers, clock), phase: () => executor.phase(), allowed: deps.allowed, clock, logger });
  const facts: RouteFacts = { executor, execs, phase: () => executor.phase(), boot: boot.report, version: AGENT_VERSION, hostId: () => keeper.current()?.hostId, metrics: metrics.render };
  let server: AgentServer | undefined;
  let agentPort: number | undefined;
  let localPort: number | undefined;
  let started: Promise<void> | undefined;
  let stopped: Promise<void> | undefined;
  let opening: Promise<void> = Promise.resolve();
  let tellReady: (facts: AgentFacts) => void = () => {};
  const whenReady = new Promise<AgentFacts>((resolve) => (tellReady = resolve));

  const keeper = createIdentityKeeper({
    agentDir: deps.agentDir, clock, logger,
    onIdentity: (identity) => {
      if (server !== undefined) server.use(identity);
      else opening = opening.then(() => openListener(identity)).catch((err: unknown) => logger.error({ err }, "the agent's listener could not be opened"));
      reporter.identityChanged();
    },
  });
  const agentUrl = (): string | undefined => {
    if (deps.agentUrl !== undefined) return deps.agentUrl;
    return agentPort === undefined ? undefined : `https://${hostInUrl(deps.listen.host)}:${agentPort}`;
  };
  const reporter = createReporter({
    executor, clock, rng, logger, tracer: deps.tracer, agentVersion: AGENT_VERSION, hostBootId: deps.hostBootId, agentUrl, failpoint: deps.failpoint, boot: boot.report, observe: metrics,
    capabilities: () => [...deps.drivers.filter((driver) => driver.available?.() ?? true).map((driver) => `driver:${driver.name}`), ...allowanceCapabilities(deps.allowed())], resources: deps.resources,
    link: () => keeper.link(),
    reloadIdentity: () => keeper.reload(),
    rotate: () => keeper.rotate(),
    rotateIfDue: () => keeper.rotateIfDue(),
    onAccepted: () => keeper.onAccepted(),
  });
  const ready = (): boolean => executor.phase() === "ready" && reporter.registered() && agentPort !== undefined;
  const local = deps.localPort === undefined ? undefined : createLocalServer({ health: () => healthOf(facts), ready, metrics: metrics.render });

  async function openListener(identity: AgentIdentity): Promise<void> {
    if (server !== undefined || leaving.signal.aborted) return;
    const made = createAgentServer({ identity, handlers: createHandlers(facts), clock, rng, logger });
    try {
      agentPort = await made.listen(deps.listen.host, deps.listen.port);
    } catch (error) {
      await made.close();
      throw error;
    }
    server = made;
    // The identity may have changed while the listener was opening.
    const present = keeper.current();
    if (present !== undefined && present !== identity) made.use(present);
    logger.info({ port: agentPort, hostId: identity.hostId }, "listening for the master");
  }

  async function begin(): Promise<void> {
    metrics.onStarted();
    if (local !== undefined) localPort = await local.listen(deps.localPort!);
    await keeper.start(leaving.signal);
    if (keeper.current() === undefined) logger.warn({ agentDir: deps.agentDir }, "not enrolled yet: waiting for an identity (skep agent enrol NAME.skep)");
    await opening;
    if (keeper.current() !== undefined && server === undefined) throw new Error(`cannot listen on ${deps.listen.host}:${deps.listen.port}: is another agent running?`);
    // A driver that cannot look keeps the executor booting; the master is told so rather than left with silence.
    const patience = new AbortController();
    const loading = executor.load();
    const booting = loading.then(bootUp);
    booting.catch((err: unknown) => logger.error({ err }, "the journal could not be loaded; no jobs are taken"));
    // A boot sequence may take for ever, and the first beat tells of it.
    await Promise.race([deps.boot.length === 0 ? booting : loading, clock.sleep(BOOT_PATIENCE_MS, patience.signal)]).finally(() => patience.abort());
    reporter.start();
    void announce();
  }

  async function bootUp(): Promise<void> {
    await boot.run();
    if (leaving.signal.aborted) return;
    executor.open();
    void releaseDrivers();
  }

  /** After a reboot what is in no stage stays down until the master has spoken: it may have moved or stopped it meanwhile. */
  async function releaseDrivers(): Promise<void> {
    while (deps.rebootMark.rebooted && !reporter.registered() && !leaving.signal.aborted) await clock.sleep(READY_LOOK_MS, leaving.signal);
    if (leaving.signal.aborted) return;
    for (const driver of deps.drivers) driver.release?.();
    try {
      deps.rebootMark.settle();
    } catch (err) {
      logger.warn({ err }, "this boot of the host could not be written down: the next start of the agent will wait for the master once more");
    }
  }

  async function announce(): Promise<void> {
    while (!ready() && !leaving.signal.aborted) await clock.sleep(READY_LOOK_MS, leaving.signal);
    if (!leaving.signal.aborted) tellReady({ agent_url: agentUrl()!, local_url: localPort === undefined ? null : `http://127.0.0.1:${localPort}`, host_id: keeper.current()!.hostId });
  }

  async function end(workloads: boolean): Promise<void> {
    const lastBeatLimitMs = executor.phase() === "booting" ? BOOTING_LAST_BEAT_LIMIT_MS : LAST_BEAT_LIMIT_MS;
    leaving.abort();
    executor.stop();
    execs.stop();
    if (workloads) {
      const failed = await executor.stopWorkloads().catch((err: unknown) => [String(err)]);
      if (failed.length > 0) logger.error({ failed }, "some workloads could not be stopped");
    }
    // The last word: what is in the outbox, and that silence from here on is no failure.
    await reporter.stop(lastBeatLimitMs);
    await opening;
    await server?.close();
    await local?.close();
    await keeper.close();
  }

  return {
    start: () => (started ??= begin()),
    stop: ({ workloads }) => (stopped ??= end(workloads)),
    whenReady,
    ready,
    reloadIdentity: () => keeper.reload(),
    reconfigure: (next) => {
      stages = next;
      boot.reconfigure(next);
    },
    bootResults: boot.results,
    executor,
    hostId: () => keeper.current()?.hostId,
  };
}

/** A wildcard is no address to call: the first one that is not loopback, else loopback. */
function hostInUrl(host: string): string {
  if (host !== "0.0.0.0" && host !== "::") return host.includes(":") ? `[${host}]` : host;
  const found = Object.values(networkInterfaces()).flat().find((one) => one !== undefined && one.family === "IPv4" && !one.internal);
  return found?.address ?? "127.0.0.1";
}
