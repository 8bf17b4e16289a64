/**
 * A driver that runs nothing and remembers everything, for tests and rehearsals. With a `stateDir` its memory
 * survives the agent the way processes would. An actual start is one line in `starts.log`; the line is written after
 * the memory and made up for at load, so a `kill -9` in between neither loses nor doubles it.
 */
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DriverError, SkepError } from "@skep/core";
import type { Clock, ComponentSpec, Driver, ObservedComponent, Rng, WorkloadLabels } from "@skep/core";
import { asDriverError } from "../driver-errors.ts";
import { createKeyedLock } from "../../keyed-lock.ts";
import { assertSafeNames, keyOf, sameLabels, whose } from "../labels.ts";
import { STARTS_LOG } from "../starts-log.ts";
import type { StartLine } from "../starts-log.ts";

export interface NoopDriverOptions {
  /** Absent: remembers in memory only. */
  readonly stateDir?: string | undefined;
  readonly clock: Clock;
  readonly rng: Rng;
}

interface Remembered {
  readonly labels: WorkloadLabels;
  readonly spec: ComponentSpec;
  readonly state: "running" | "stopped";
  readonly since: number;
  /** Position of this start among all of this driver's, from 1. */
  readonly order: number;
}

const MEMORY_FILE = "noop.json";

const fixedPorts = (spec: ComponentSpec): Record<string, number> =>
  Object.fromEntries(spec.ports.flatMap((port) => (port.host === undefined ? [] : [[port.name, port.host]])));

export function createNoopDriver({ stateDir, clock }: NoopDriverOptions): Driver {
  let { memory, lastOrder } = load(stateDir);
  const lock = createKeyedLock();

  const remember = (key: string, entry: Remembered | undefined): void => {
    const next = new Map(memory);
    if (entry === undefined) next.delete(key);
    else next.set(key, entry);
    if (stateDir !== undefined) {
      const path = join(stateDir, MEMORY_FILE);
      try {
        writeFileSync(`${path}.tmp`, JSON.stringify([...next.values()]), { mode: 0o600 });
        renameSync(`${path}.tmp`, path);
      } catch (error) {
        throw asDriverError(error, "start_failed", "the noop driver could not write its memory");
      }
    }
    memory = next;
  };

  const failIfAsked = (spec: ComponentSpec, at: "prepare" | "start" | "stop"): void => {
    if (spec.noop?.fail?.at === at) throw new DriverError("noop_failed", spec.noop.fail.message);
  };

  return {
    name: "noop",
    async prepare(labels, spec) {
      assertSafeNames(labels.placementId, labels.component);
      failIfAsked(spec, "prepare");
    },
    start: (labels, spec, signal) => lock.run([keyOf(labels)], async () => {
      assertSafeNames(labels.placementId, labels.component);
      const present = memory.get(keyOf(labels));
      if (present?.state === "running") {
        if (sameLabels(present.labels, labels)) return;
        throw new DriverError("already_running", `${whose(present.labels)} is running; stop it first`);
      }
      await clock.sleep(spec.noop?.start_ms ?? 0, signal);
      if (signal.aborted) throw new DriverError("aborted", `the start of ${labels.component} was aborted; nothing was started`);
      failIfAsked(spec, "start");
      const entry: Remembered = { labels, spec, state: "running", since: clock.now(), order: ++lastOrder };
      remember(keyOf(labels), entry);
      if (stateDir !== undefined) appendStart(stateDir, entry);
    }),
    async wait(labels) {
      const present = memory.get(keyOf(labels));
      if (present === undefined) throw new DriverError("start_failed", `${labels.component} was not started`);
      if (present.state !== "running") throw new DriverError("stopped", `${labels.component} was stopped`);
    },
    stop: (labels) => lock.run([keyOf(labels)], async () => {
      const present = memory.get(keyOf(labels));
      if (present?.state !== "running") return;
      failIfAsked(present.spec, "stop");
      remember(keyOf(labels), { ...present, state: "stopped", since: clock.now() });
    }),
    remove: (labels) => lock.run([keyOf(labels)], async () => {
      const present = memory.get(keyOf(labels));
      if (present?.state === "running") throw new DriverError("already_running", `${whose(present.labels)} is running; stop it before removing it`);
      if (present !== undefined) remember(keyOf(labels), undefined);
    }),
    async observe() {
      return [...memory.values()].map(({ labels, spec, state, since }): ObservedComponent => ({ labels, state, since, restarts: 0, ports: fixedPorts(spec) }));
    },
    async logs(placementId, component) {
      if (!memory.has(keyOf({ placementId, component }))) throw new SkepError("logs_not_found", `no logs of ${component}: nothing of that name was started here`);
      return { data: new Uint8Array(), nextOffset: 0 };
    },
    onChange() {}, // nothing here changes by itself
  };
}

function appendStart(stateDir: string, { labels, order }: Remembered): void {
  const line: StartLine = { placement: labels.placementId, component: labels.component, job: labels.jobId, generation: labels.generation, epoch: labels.epoch, count: 1, order };
  appendFileSync(join(stateDir, STARTS_LOG), `${JSON.stringify(line)}\n`, { mode: 0o600 });
}

function load(stateDir: string | undefined): { memory: Map<string, Remembered>; lastOrder: number } {
  if (stateDir === undefined) return { memory: new Map(), lastOrder: 0 };
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const entries = JSON.parse(readOr(join(stateDir, MEMORY_FILE), "[]")) as Remembered[];
  const lines = readOr(join(stateDir, STARTS_LOG), "").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as StartLine);
  const written = new Set(lines.map((line) => line.order));
  for (const entry of entries) if (!written.has(entry.order)) appendStart(stateDir, entry);
  const lastOrder = Math.max(0, ...entries.map((entry) => entry.order), ...lines.map((line) => line.order ?? 0));
  return { memory: new Map(entries.map((entry) => [keyOf(entry.labels), entry])), lastOrder };
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return otherwise;
    throw error;
  }
}
