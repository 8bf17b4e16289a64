/**
 * Containers on a Docker Engine, or on what speaks its API. The engine holds the truth, found by labels; this module
 * adds what an engine does not know (who was asked to stop, whose probe passes) and what it forgets (output). Every
 * verb looks first, so a driver made after a crash behaves like the one before it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DriverError } from "@skep/core";
import type { Clock, Driver, Logger, ObservedComponent, Rng } from "@skep/core";
import { createKeyedLock } from "../../keyed-lock.ts";
import { LOG_DIR } from "../../runner/run-state.ts";
import type { LogLimits, RunTimings } from "../../runner/run-state.ts";
import { createComponentDirs } from "../component-dirs.ts";
import { assertSafeNames, keyOf } from "../labels.ts";
import { readLog } from "../read-log.ts";
import { checkMounts } from "./check-mounts.ts";
import { checkPorts } from "./check-ports.ts";
import { createCollector } from "./collect-logs.ts";
import { isRunning, lookAt, noIdentity, withinLimit } from "./context.ts";
import type { Credential, DockerContext, View } from "./context.ts";
import { containerOf } from "./create-body.ts";
import { decideDrift } from "./decide-drift.ts";
import { decideObserved, goneObserved } from "./decide-observed.ts";
import { socketPathOf } from "./endpoint.ts";
import { EngineAway } from "./engine-error.ts";
import { createEngine } from "./engine.ts";
import { execInContainer } from "./exec-in-container.ts";
import { ensureImage } from "./image.ts";
import { createKeeper } from "./keeper.ts";
import { createMarks } from "./marked-processes.ts";
import { createRecords } from "./records.ts";
import { readNames, sharedNames } from "./shared-names.ts";
import { createShared } from "./shared.ts";
import { startContainer } from "./start-container.ts";
import { removeContainer, stopContainer } from "./stop-container.ts";
import { createNoTransport, createTransport } from "./transport.ts";
import type { Transport } from "./transport.ts";
import { waitForContainer } from "./wait-container.ts";
import { watchEvents } from "./watch-events.ts";

export interface DockerDriverOptions {
  /** Records, positions and captured output. One agent at a time. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** The host's id: several agents may share one engine, and none sees another's things. undefined = not enrolled yet. */
  readonly owner: () => string | undefined;
  /** As in DOCKER_HOST; absent = the usual sockets of Docker and Podman. */
  readonly dockerHost?: string | undefined;
  /** Registry credentials that this host keeps, by name. Never logged. */
  readonly credential?: ((name: string) => Credential | undefined) | undefined;
  readonly logs?: LogLimits | undefined;
  readonly timings?: Partial<RunTimings> | undefined;
  /** Longest an ordinary call to the engine may take, ms; what pulls, makes or removes has its own limits. */
  readonly callDeadlineMs?: number | undefined;
  /** The kernel's boot id, read once. */
  readonly readHostBootId?: (() => string) | undefined;
}

export interface DockerDriver extends Driver {
  /** Whether the engine answered when it was last asked. */
  available(): boolean;
  /** Ends the watching and following. Containers go on. */
  close(): void;
}

const DEFAULT_TIMINGS: RunTimings = { settleMs: 300, backoffBaseMs: 1_000, backoffCapMs: 60_000, resetAfterMs: 60_000, drainMs: 200 };
const DEFAULT_LOGS: LogLimits = { segmentBytes: 8 * 1_048_576, segments: 4 };
/** A whole look. Longer than the executor waits, its words would be "hung" and not the engine's trouble. */
const OBSERVE_LIMIT_MS = 8_000;
/** The look in between, should an event be lost; longest a lost one costs. */
const PASS_EVERY_MS = 30_000;
/** Events come in bursts. */
const COALESCE_MS = 20;
/** After a look that failed; doubles up to PASS_EVERY_MS. */
const FAILED_PAUSE_MS = 500;

const kernelBootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
const nothing = (): void => {};

/** A setting that cannot be followed must not cost the host its other drivers: this one then refuses, and says why. */
function openTransport({ dockerHost, clock, logger, callDeadlineMs = 10_000 }: DockerDriverOptions, onAnswered: () => void): Transport {
  try {
    return createTransport(socketPathOf(dockerHost), clock, callDeadlineMs, onAnswered);
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    logger.warn({}, error.message);
    return createNoTransport(error);
  }
}

const isAbsent = (error: unknown): boolean => (error instanceof EngineAway ? error.absent : error instanceof DriverError && error.code === "engine_refused");

export function createDockerDriver(options: DockerDriverOptions): DockerDriver {
  const { clock, rng, logger } = options;
  const closing = new AbortController();
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  const transport = openTransport(options, tell);
  const engine = createEngine(transport);
  const records = createRecords(join(options.stateDir, "records"));
  const dirs = createComponentDirs(options.stateDir);
  const lock = createKeyedLock();
  const timings = { ...DEFAULT_TIMINGS, ...options.timings };
  const hostBootId = (options.readHostBootId ?? kernelBootId)();
  const owner = (): string => {
    const host = options.owner();
    if (host === undefined) throw noIdentity();
    return host;
  };
  const collector = createCollector({ engine, clock, logger, dirs, directory: join(options.stateDir, "positions"), limits: options.logs ?? DEFAULT_LOGS });
  let nap = new AbortController();
  const changed = (): void => {
    nap.abort();
    tell();
  };
  const marks = createMarks(owner, rng);
  const probeCommand = (container: string) => async (command: readonly string[], stop: Parameters<typeof execInContainer>[4]): Promise<string | undefined> => {
    try {
      const { exitCode } = await execInContainer({ engine, clock, marks }, container, { command }, nothing, stop);
      return exitCode === 0 ? undefined : `probe command exited with code ${exitCode ?? "unknown"}`;
    } catch (error) {
      return `probe command: ${(error as Error).message}`;
    }
  };
  const keeper = createKeeper({ engine, clock, rng, logger, records, lock, collector, timings, hostBootId, runCommand: probeCommand, changed });
  const context: DockerContext = {
    clock, rng, logger, engine, owner, hostBootId, timings, records, dirs, lock, keeper, collector, marks,
    sharedDir: join(options.stateDir, "shared"), credential: options.credential ?? (() => undefined),
  };

  const describe = (view: View): ObservedComponent => {
    const vital = keeper.see(view);
    const record = records.get(view.id);
    return decideObserved(view, record, vital, { hostBootId, drift: decideDrift(view, record, sharedNames(context.sharedDir, view.labels).network) });
  };

  const look = async (): Promise<readonly ObservedComponent[]> => {
    const sinceMs = clock.mono();
    // Before the look: what is recorded after it may be newer than what it shows.
    const known = records.all();
    const views = await withinLimit(clock, OBSERVE_LIMIT_MS, (signal) => lookAt(context, {}, signal));
    const ids = new Set(views.map(({ id }) => id));
    keeper.seenAll(ids, sinceMs);
    return [...views.map(describe), ...known.filter(({ id }) => !ids.has(id) && records.get(id) !== undefined).map(goneObserved)];
  };

  const observe = async (): Promise<readonly ObservedComponent[]> => {
    // Before it knows its host's id the agent can claim no container as its own.
    if (records.all().length === 0 && options.owner() === undefined) return [];
    try {
      return await look();
    } catch (error) {
      // A host that never ran a container: without an engine, or without the right to ask it, there is nothing to see.
      if (records.all().length === 0 && isAbsent(error)) return [];
      throw error;
    }
  };

  const passes = async (): Promise<void> => {
    let failedMs = FAILED_PAUSE_MS;
    let cleared = false;
    while (!closing.signal.aborted) {
      nap = new AbortController();
      let pauseMs = PASS_EVERY_MS;
      try {
        if (options.owner() !== undefined) {
          if (!cleared) marks.endLeftovers();
          cleared = true;
          await look();
        }
        failedMs = FAILED_PAUSE_MS;
      } catch (err) {
        logger.debug({ err }, "the containers could not be looked at");
        pauseMs = failedMs;
        failedMs = Math.min(PASS_EVERY_MS, failedMs * 2);
      }
      await clock.sleep(pauseMs, nap.signal);
      await clock.sleep(COALESCE_MS, closing.signal);
    }
  };
  closing.signal.addEventListener("abort", () => nap.abort(), { once: true });
  void passes();
  void watchEvents({ engine, owner: options.owner, clock, logger, closing: closing.signal, wake: changed });

  const shared = createShared(context);
  /** Where no engine ever was there is nothing to remove: a teardown that asks every driver would wait for one for ever. */
  const unlessNothing = async (placementId: string, removing: Promise<void>): Promise<void> => {
    try {
      await removing;
    } catch (error) {
      if (records.all().length > 0 || readNames(context.sharedDir, placementId) !== undefined || !isAbsent(error)) throw error;
    }
  };

  const running = async (placementId: string, component: string): Promise<string> => {
    assertSafeNames(placementId, component);
    const views = (await lookAt(context, { placement: placementId, component })).filter(isRunning);
    // While one gives way to its successor there are two: the newer one is meant.
    const [newest] = views.sort((a, b) => b.labels.generation - a.labels.generation || `${b.seen.State?.StartedAt}`.localeCompare(`${a.seen.State?.StartedAt}`));
    if (newest === undefined) throw new DriverError("component_not_running", `${component} does not run here`);
    return newest.id;
  };

  return {
    name: "docker",
    overlaps: true,
    prepare: async (labels, spec, signal, progress = nothing) => {
      assertSafeNames(labels.placementId, labels.component);
      const container = containerOf(spec);
      await checkMounts(spec.name, container);
      await ensureImage(context, container, signal, progress);
      if (container.network_mode === undefined) await checkPorts(context, labels, spec.ports, signal);
    },
    start: (labels, spec, signal, progress = nothing) => {
      assertSafeNames(labels.placementId, labels.component);
      return lock.run([keyOf(labels)], () => startContainer(context, labels, spec, signal, progress)).finally(changed);
    },
    wait: (labels, _spec, signal, progress = nothing) => waitForContainer(context, describe, (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    }, labels, signal, progress),
    stop: (labels, stopTimeoutMs) => lock.run([keyOf(labels)], () => stopContainer(context, labels, stopTimeoutMs)),
    remove: (labels) => lock.run([keyOf(labels)], () => removeContainer(context, labels)),
    observe,
    logs: async (placementId, component, offset, limit) => readLog(join(dirs.of(placementId, component).path, LOG_DIR), component, offset, limit),
    onChange: (listener) => void listeners.add(listener),
    shared: { ...shared, prune: (placementId, spec, signal) => unlessNothing(placementId, shared.prune(placementId, spec, signal)), remove: (placementId, what, signal) => unlessNothing(placementId, shared.remove(placementId, what, signal)) },
    release: keeper.release,
    exec: async ({ placementId, component, command, stdin }, output, signal) => execInContainer(context, await running(placementId, component), { command, stdin }, output, signal),
    available: transport.answered,
    close: () => {
      closing.abort();
      keeper.close();
      collector.close();
      transport.close();
    },
  };
}
