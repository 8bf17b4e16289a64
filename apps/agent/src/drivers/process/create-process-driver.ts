/**
 * Real processes, each with a detached runner that outlives the agent. This module holds no truth: every verb looks
 * at the state files, /proc and the runners first, so a driver made after a crash behaves like the one before it.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { DriverError } from "@skep/core";
import type { Clock, ComponentSpec, Driver, Logger, ObservedComponent, Rng, WorkloadLabels } from "@skep/core";
import { scanLabelled } from "../../runner/proc.ts";
import { LOG_DIR } from "../../runner/run-state.ts";
import type { LogLimits, ProcessId, RunTimings } from "../../runner/run-state.ts";
import { createKeyedLock } from "../../keyed-lock.ts";
import { mapBounded } from "../../map-bounded.ts";
import { keyOf } from "../labels.ts";
import { checkProbe, checkProgram, ensureWorkingDir } from "./check-program.ts";
import { createComponentDirs, workDir } from "../component-dirs.ts";
import type { ComponentDir } from "../component-dirs.ts";
import type { ProcessContext } from "./context.ts";
import { decideObserved } from "./decide-observed.ts";
import type { InheritedEnv } from "../environment.ts";
import { endExecs, execInComponent } from "./exec-command.ts";
import { createLinks } from "./links.ts";
import { lookAt } from "./look.ts";
import type { Look } from "./look.ts";
import { createPortBook } from "./port-book.ts";
import type { Holding } from "./port-book.ts";
import { readLog } from "../read-log.ts";
import { readState } from "./read-state.ts";
import { makeComponentDir, startComponent } from "./start-component.ts";
import { removeComponent, stopComponent } from "./stop-component.ts";
import { waitForComponent } from "./wait-component.ts";

export interface ProcessDriverOptions {
  /** Made when missing, 0700. One agent at a time. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** The runner's JavaScript file; `defaultRunnerPath()` outside of tests. */
  readonly runnerPath: string;
  /** Variables of the host that workloads see. Default: a usual PATH (Node's own directory last), HOME, LANG=C.UTF-8. */
  readonly inheritedEnv?: InheritedEnv | undefined;
  readonly logs?: LogLimits | undefined;
  readonly timings?: Partial<RunTimings> | undefined;
  /** Longest a look waits for one runner's answer, ms. */
  readonly askTimeoutMs?: number | undefined;
  readonly launchTimeoutMs?: number | undefined;
  /** The kernel's boot id, read once. */
  readonly readHostBootId?: (() => string) | undefined;
}

export interface ProcessDriver extends Driver {
  /** Drops the connections to the runners. They and their workloads go on. */
  close(): void;
}

const DEFAULT_TIMINGS: RunTimings = { settleMs: 300, backoffBaseMs: 1_000, backoffCapMs: 60_000, resetAfterMs: 60_000, drainMs: 200 };
const DEFAULT_LOGS: LogLimits = { segmentBytes: 8 * 1_048_576, segments: 4 };
/** More questions at once only make each slower; fewer let a few hung runners delay a report. */
const MAX_LOOKS_AT_ONCE = 32;

const defaultEnv = (): InheritedEnv => ({
  PATH: `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${dirname(process.execPath)}`,
  HOME: homedir(),
  LANG: "C.UTF-8",
});
const kernelBootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

export function createProcessDriver(options: ProcessDriverOptions): ProcessDriver {
  const { clock, rng, logger, askTimeoutMs = 1_000 } = options;
  const dirs = createComponentDirs(options.stateDir);
  const links = createLinks(clock, askTimeoutMs);
  const hostBootId = (options.readHostBootId ?? kernelBootId)();
  const look = (dir: ComponentDir, scan: () => ReadonlyMap<string, readonly ProcessId[]>): Promise<Look> => lookAt(dir, { hostBootId, scan, linkTo: links.to, askTimeoutMs });
  const context: ProcessContext = {
    clock, rng, logger, hostBootId, dirs, links,
    runnerPath: options.runnerPath,
    inheritedEnv: options.inheritedEnv ?? defaultEnv(),
    logs: options.logs ?? DEFAULT_LOGS,
    timings: { ...DEFAULT_TIMINGS, ...options.timings },
    launchTimeoutMs: options.launchTimeoutMs ?? 30_000,
    ports: createPortBook(rng, () => loadHoldings(dirs.list)),
    lock: createKeyedLock(),
    execOwner: createHash("sha256").update(resolve(options.stateDir)).digest("hex").slice(0, 16),
    execs: new Map(),
    look: (dir) => look(dir, scanLabelled),
  };

  const prepare = async (labels: WorkloadLabels, spec: ComponentSpec): Promise<void> => {
    const dir = dirs.of(labels.placementId, labels.component);
    if (spec.noop !== undefined) throw new DriverError("spec_refused", `${spec.name} has noop instructions, which only the noop driver takes`);
    checkProbe(spec);
    makeComponentDir(dir);
    const workingDir = await ensureWorkingDir(spec, workDir(dir));
    const path = spec.env["PATH"] ?? context.inheritedEnv.PATH ?? "";
    await checkProgram(spec.command[0] ?? "", workingDir, path);
    if (spec.probe?.type === "exec") await checkProgram(spec.probe.command[0] ?? "", workingDir, path);
    await context.ports.checkFixed(labels, spec.ports);
  };

  // Commands of an agent that was killed have nobody to tell their end to. Once, before the first of ours can run.
  let leftovers: Promise<void> | undefined;
  const endLeftovers = (): Promise<void> => (leftovers ??= endExecs(`${context.execOwner}.`, clock));

  const observe = async (): Promise<readonly ObservedComponent[]> => {
    await endLeftovers();
    let scanned: ReadonlyMap<string, readonly ProcessId[]> | undefined;
    const scan = (): ReadonlyMap<string, readonly ProcessId[]> => (scanned ??= scanLabelled());
    const seen = await mapBounded(await dirs.list(), MAX_LOOKS_AT_ONCE, async (dir) => decideObserved(dir, await look(dir, scan)));
    return seen.filter((component) => component !== undefined);
  };

  return {
    name: "process",
    prepare,
    start: (labels, spec, signal) => context.lock.run([keyOf(labels)], () => startComponent(context, labels, spec, signal)),
    wait: (labels, _spec, signal) => waitForComponent(context, labels, signal),
    stop: (labels, stopTimeoutMs) => context.lock.run([keyOf(labels)], () => {
      for (const exec of context.execs.get(keyOf(labels)) ?? []) exec.abort();
      return stopComponent(context, labels, stopTimeoutMs);
    }),
    remove: (labels) => context.lock.run([keyOf(labels)], () => removeComponent(context, labels)),
    observe,
    logs: async (placementId, component, offset, limit) => readLog(join(dirs.of(placementId, component).path, LOG_DIR), component, offset, limit),
    exec: async (request, output, signal) => {
      await endLeftovers();
      return execInComponent(context, request, output, signal);
    },
    onChange: (listener) => void links.onChange(() => listener()),
    close: links.closeAll,
  };
}

async function loadHoldings(list: () => Promise<readonly ComponentDir[]>): Promise<readonly Holding[]> {
  const files = await mapBounded(await list(), MAX_LOOKS_AT_ONCE, readState);
  return files.flatMap((file) => (file.kind === "good" ? [{ labels: file.state.labels, specs: file.state.spec.ports, ports: file.state.ports }] : []));
}
