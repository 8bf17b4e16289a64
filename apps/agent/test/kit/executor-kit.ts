/** An executor on a manual clock, a scripted driver and a journal of memory. */
import { NO_ALLOWANCES, PRODUCTION_POLICY, seededRng, uuidv7, type Allowances, type Policy, type Spec, type Tracer } from "@skep/core";
import type { DeployCommand, MutateCommand, PendingJob, TeardownCommand } from "@skep/protocol";
import { createLogger, specHash } from "@skep/runtime";
import { ManualClock } from "@skep/testkit";
import { createExecutor } from "../../src/executor/create-executor.ts";
import type { Executor } from "../../src/executor/types.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { ScriptedDriver } from "./scripted-driver.ts";

export const rng = seededRng(7);
export const newId = (clock = new ManualClock()): string => uuidv7(clock.now(), rng);

export function specOf(...components: (string | { name: string; depends_on?: string[]; version?: string })[]): Spec {
  return {
    driver: "noop",
    components: components.map((one) => {
      const { name, depends_on = [], version = "1" } = typeof one === "string" ? { name: one } : one;
      return { name, command: [], env: { VERSION: version }, ports: [], restart: { policy: "always" }, depends_on, stop_timeout_s: 1 };
    }),
  };
}

/** The same as containers. */
export function dockerSpec(...components: Parameters<typeof specOf>): Spec {
  const spec = specOf(...components);
  return { ...spec, driver: "docker", components: spec.components.map((component) => ({ ...component, container: { image: "app" } })) };
}

export interface Target {
  readonly placement_id: string;
  readonly deployment: string;
  readonly epoch: number;
}
export const target = (): Target => ({ placement_id: newId(), deployment: "web", epoch: 1 });

type Extra<T> = Partial<T>;
export const deploy = (at: Target, generation: number, spec: Spec, extra: Extra<DeployCommand> = {}): PendingJob & DeployCommand => ({
  ...at, job_id: newId(), generation, timeout_s: 60, operation: "deploy", spec: spec as DeployCommand["spec"], spec_hash: specHash(spec), desired: "running", ...extra,
});
export const mutate = (at: Target, generation: number, base: number, spec: Spec, extra: Extra<MutateCommand> = {}): PendingJob & MutateCommand => ({
  ...at, job_id: newId(), generation, base_generation: base, timeout_s: 60, operation: "mutate", spec: spec as MutateCommand["spec"], spec_hash: specHash(spec), desired: "running", ...extra,
});
export const teardown = (at: Target, generation: number, extra: Extra<TeardownCommand> = {}): PendingJob & TeardownCommand => ({ ...at, job_id: newId(), generation, timeout_s: 60, operation: "teardown", ...extra });

export interface Rig {
  readonly executor: Executor;
  readonly driver: ScriptedDriver;
  readonly journal: MemoryJournal;
  readonly clock: ManualClock;
  /** Lets everything that waits for nobody but the machine go on. */
  idle(): Promise<void>;
}

export async function rig(options: { driver?: ScriptedDriver; others?: readonly ScriptedDriver[]; journal?: MemoryJournal; policy?: Partial<Policy>; clock?: ManualClock; tracer?: Tracer; load?: boolean; allowed?: () => Allowances; realpath?: (path: string) => Promise<string | undefined>; failpoint?: (name: string) => void } = {}): Promise<Rig> {
  const { driver = new ScriptedDriver(), journal = new MemoryJournal(), clock = new ManualClock(), load = true } = options;
  const executor = createExecutor({
    journal, drivers: [driver, ...(options.others ?? [])], clock, rng, logger: createLogger({ level: "silent", name: "test" }), tracer: options.tracer,
    policy: { ...PRODUCTION_POLICY, ...options.policy }, bootId: newId(), hash: specHash, failpoint: options.failpoint,
    allowed: options.allowed ?? (() => NO_ALLOWANCES), realpath: options.realpath ?? (async (path) => path),
  });
  if (load) {
    await executor.load();
    executor.open();
  }
  const idle = async (): Promise<void> => {
    for (let round = 0; round < 20; round++) await new Promise((resolve) => setImmediate(resolve));
  };
  return { executor, driver, journal, clock, idle };
}
