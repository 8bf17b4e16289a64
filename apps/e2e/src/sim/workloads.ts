/**
 * What really runs on one host, and the driver through which an agent sees and changes it. Workloads are processes of
 * their own: they outlive the agent and not the host. Every start is on record, for the checker.
 */
import { DriverError, below, instant, type ComponentSpec, type ComponentState, type Driver, type ObservedComponent, type Rng, type WorkloadLabels } from "@skep/core";
import { EPOCH_MS, type SimProcess } from "./process.ts";
import type { World } from "./world.ts";

interface Entry {
  readonly labels: WorkloadLabels;
  readonly spec: ComponentSpec;
  state: ComponentState;
  sinceMs: number;
  error: string | undefined;
}

export interface Start {
  readonly host: string;
  readonly labels: WorkloadLabels;
  readonly atMs: number;
}

export interface Workloads {
  driver(process: SimProcess): Driver;
  /** The truth, for the checker. */
  entries(): readonly { readonly labels: WorkloadLabels; readonly state: ComponentState; readonly sinceMs: number }[];
  /** Whether something of this hash ever came up here since `sinceMs`. */
  hasRun(placementId: string, component: string, componentHash: string): boolean;
  /** One that is alive dies by itself. */
  failOne(rng: Rng): void;
  reboot(): void;
  /** Whoever looks from now on sees what was there at this moment: the checker's own red case. */
  freezeEyes(): void;
  /** From now on verbs fail only where the spec says so. */
  calm(): void;
}

const ALIVE: readonly ComponentState[] = ["starting", "running", "unhealthy", "backoff"];
const FLAKY = 0.02;

export function createWorkloads(world: World, host: string, onStart: (start: Start) => void): Workloads {
  const rng = world.rng(`workloads ${host}`);
  const entries = new Map<string, Entry>();
  const ran = new Set<string>();
  const watchers = new Set<() => void>();
  let rough = true;
  let frozen: readonly ObservedComponent[] | undefined;

  const keyOf = (labels: WorkloadLabels): string => `${labels.placementId}/${labels.component}`;
  const setState = (entry: Entry, state: ComponentState, error?: string): void => {
    entry.state = state;
    entry.sinceMs = world.nowMs();
    entry.error = error;
    if (state === "running") ran.add(`${keyOf(entry.labels)}/${entry.labels.componentHash}`);
    world.trace(`${host} ${entry.labels.component} of ${entry.labels.placementId.slice(-4)} is ${state} (generation ${entry.labels.generation})`);
    for (const watcher of [...watchers]) watcher();
  };
  const flaky = (what: string): void => {
    if (rough && rng.float() < FLAKY) throw new DriverError(`${what}_failed`, `${what} failed by chance`);
  };
  const told = (spec: ComponentSpec, at: "prepare" | "start" | "stop"): void => {
    if (spec.noop?.fail?.at === at) throw new DriverError("noop_failed", spec.noop.fail.message);
  };

  const seen = (): ObservedComponent[] =>
    [...entries.values()].map(({ labels, state, sinceMs, error }) => ({ labels, state, since: instant(EPOCH_MS + sinceMs), restarts: 0, ports: {}, error }));

  function bringUp(labels: WorkloadLabels, spec: ComponentSpec): void {
    const entry: Entry = { labels, spec, state: "starting", sinceMs: world.nowMs(), error: undefined };
    entries.set(keyOf(labels), entry);
    onStart({ host, labels, atMs: world.nowMs() });
    setState(entry, "starting");
    world.after(spec.noop?.start_ms ?? 50, () => {
      if (entries.get(keyOf(labels)) !== entry || entry.state !== "starting") return;
      if (spec.noop?.fail?.at === "start") setState(entry, "failed", spec.noop.fail.message);
      else setState(entry, "running");
    });
  }

  function driver(process: SimProcess): Driver {
    const verb = <T>(what: string, work: () => T | Promise<T>): Promise<T> =>
      process.port(what, async () => {
        await world.sleep(1 + below(rng, 300));
        return work();
      });
    return {
      name: "noop",
      prepare: (_labels, spec) => verb("prepare", () => (flaky("prepare"), told(spec, "prepare"))),
      start: (labels, spec) =>
        verb("start", () => {
          if (!process.alive()) return;
          const present = entries.get(keyOf(labels));
          if (present !== undefined && ALIVE.includes(present.state)) {
            if (present.labels.jobId === labels.jobId && present.labels.componentHash === labels.componentHash) return;
            throw new DriverError("already_running", `${labels.component} is running; stop it first`);
          }
          flaky("start");
          bringUp(labels, spec);
        }),
      wait: (labels, _spec, signal) =>
        process.port("wait", () => new Promise<void>((resolve, reject) => {
          const end = (settle: () => void): void => {
            watchers.delete(look);
            signal.removeEventListener("abort", look);
            settle();
          };
          const look = (): void => {
            const entry = entries.get(keyOf(labels));
            if (entry?.state === "running") end(resolve);
            else if (entry === undefined || entry.state !== "starting") end(() => reject(new DriverError("start_failed", entry?.error ?? "it is gone")));
            else if (signal.aborted) end(() => reject(new DriverError("aborted", "the wait was aborted")));
          };
          watchers.add(look);
          signal.addEventListener("abort", look, { once: true });
          look();
        })),
      stop: (labels) =>
        verb("stop", async () => {
          await world.sleep(below(rng, 3_000));
          const entry = entries.get(keyOf(labels));
          if (entry === undefined || !ALIVE.includes(entry.state) || !process.alive()) return;
          told(entry.spec, "stop");
          setState(entry, "stopped");
        }),
      remove: (labels) =>
        verb("remove", () => {
          const entry = entries.get(keyOf(labels));
          if (entry !== undefined && ALIVE.includes(entry.state)) throw new DriverError("already_running", "stop it before removing it");
          if (process.alive()) entries.delete(keyOf(labels));
        }),
      observe: () =>
        verb("observe", () => {
          flaky("observe");
          return frozen ?? seen();
        }),
      logs: () => Promise.resolve({ data: new Uint8Array(), nextOffset: 0 }),
      onChange: (listener) => {
        const watcher = (): void => void (process.alive() && listener());
        watchers.add(watcher);
        process.onKill(() => watchers.delete(watcher));
      },
    };
  }

  return {
    driver,
    entries: () => [...entries.values()],
    hasRun: (placementId, component, componentHash) => ran.has(`${placementId}/${component}/${componentHash}`),
    failOne: (chance) => {
      const alive = [...entries.values()].filter((entry) => entry.state === "running");
      const victim = alive[below(chance, alive.length)];
      if (victim !== undefined) setState(victim, "failed", "it died by itself");
    },
    reboot: () => {
      for (const entry of entries.values()) if (ALIVE.includes(entry.state)) setState(entry, "failed", "the host was rebooted");
    },
    freezeEyes: () => {
      frozen = seen();
    },
    calm: () => {
      rough = false;
    },
  };
}

