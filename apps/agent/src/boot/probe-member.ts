/**
 * A stage's own question to a member, instead of the components' own probes. Ports come from the driver as numbers by name,
 * never from parsing a listing (defects 1-9, B8); every single probe is bounded by what is left of the stage (defect 1-11).
 */
import { DriverError, type AbortSignalLike, type Clock, type ComponentSpec, type PortSpec, type ProbeSpec, type StageHealth } from "@skep/core";
import type { Eyes } from "../executor/eyes.ts";
import { isAlive, type Seen } from "../executor/plan.ts";
import type { PlacementEntry } from "../journal/records.ts";
import { probeOnce, type ProbeTarget } from "../runner/probe.ts";

export interface ProbeDeps {
  /** Of one driver alone: what an engine that is still starting runs is no reason to wait for what it does not run. */
  readonly eyesOf: (driver: string) => Eyes;
  readonly clock: Clock;
  /** What is left of the present round, ms. */
  readonly leftMs: () => number;
}

type ProbingHealth = Extract<StageHealth, { kind: "ports" | "probe" }>;

interface Question {
  readonly component: ComponentSpec;
  readonly probe: ProbeSpec;
}

/** The words' meaning: the seed's own pace and limits. */
const PACE = { interval_ms: 2_000, success_threshold: 1, failure_threshold: 1 };
const SHORT = {
  tcp: (port: string): ProbeSpec => ({ type: "tcp", port, timeout_ms: 2_000, ...PACE }),
  http: (port: string): ProbeSpec => ({ type: "http", port, path: "/", timeout_ms: 5_000, ...PACE }),
  grpc: (port: string): ProbeSpec => ({ type: "grpc", port, timeout_ms: 3_000, ...PACE }),
};

/** Resolves once every question was answered well, as often as its threshold asks; rejects when `signal` aborts or a component is dead. */
export async function probeMember(entry: PlacementEntry, health: ProbingHealth, deps: ProbeDeps, signal: AbortSignalLike): Promise<void> {
  await Promise.all(questionsOf(entry, health).map((question) => untilAnswered(entry, question, deps, signal)));
}

async function untilAnswered(entry: PlacementEntry, { component, probe }: Question, { eyesOf, clock, leftMs }: ProbeDeps, signal: AbortSignalLike): Promise<void> {
  let problem = "it was not probed before the stage's deadline";
  for (let successes = 0; !signal.aborted; ) {
    const seen = (await eyesOf(entry.spec.driver).placement(entry.placementId, "all")).find((item) => item.component.labels.component === component.name);
    // Dead is for the next try to mend: going on asking would wait for nobody.
    if (seen === undefined || !isAlive(seen)) throw new DriverError("exited_early", `${component.name} does not run: ${seen?.component.error ?? seen?.component.state ?? "it is gone"}`);
    const found = await probeOnce(probe, targetOf(seen, component, probe), clock, signal, leftMs());
    if (signal.aborted && found !== undefined) break;
    successes = found === undefined ? successes + 1 : 0;
    if (successes >= probe.success_threshold) return;
    if (found !== undefined) problem = found;
    await clock.sleep(probe.interval_ms, signal);
  }
  throw new DriverError("probe_failed", `${component.name} never became healthy: ${problem}`);
}

function targetOf({ driver, component: seen }: Seen, component: ComponentSpec, probe: ProbeSpec): ProbeTarget {
  const port = probe.type === "exec" ? undefined : component.ports.find((one) => one.name === probe.port);
  const { placementId } = seen.labels;
  return {
    host: port?.host_ip === undefined || ["0.0.0.0", "::"].includes(port.host_ip) ? "127.0.0.1" : port.host_ip,
    ports: seen.ports,
    exec: async (command, stop) => {
      if (driver.exec === undefined) return `the ${driver.name} driver runs no commands in its components`;
      const { exitCode, signal } = await driver.exec({ placementId, component: component.name, command }, async () => {}, stop);
      return exitCode === 0 ? undefined : `probe command ${signal === undefined ? `exited with code ${exitCode ?? "unknown"}` : `was killed by ${signal}`}`;
    },
  };
}

function questionsOf({ spec }: PlacementEntry, health: ProbingHealth): Question[] {
  const running = spec.components.filter((component) => component.run_to_completion !== true);
  if (health.kind === "probe") return [{ component: addressee(running, health), probe: health.probe }];
  const ask = SHORT[health.type];
  const questions = running.flatMap((component) => component.ports.filter(isTcp).map((port) => ({ component, probe: ask(port.name) })));
  if (questions.length === 0) throw new DriverError("spec_refused", `it has no tcp port that health = "${health.type}" could ask`);
  if (health.type !== "tcp" && questions.length > 1) throw new DriverError("spec_refused", `it has ${questions.length} tcp ports: say which one health = "${health.type}" is to ask, as { type = "${health.type}", port = "NAME" }`);
  return questions;
}

/** The one the stage names; else the one that has the port; else the only one. */
function addressee(components: readonly ComponentSpec[], { probe, component: wanted }: Extract<StageHealth, { kind: "probe" }>): ComponentSpec {
  if (wanted !== undefined) {
    const named = components.find((component) => component.name === wanted);
    if (named === undefined) throw new DriverError("spec_refused", `it has no component ${wanted} that its stage could ask`);
    return named;
  }
  const port = probe.type === "exec" ? undefined : probe.port;
  const fitting = typeof port === "string" ? components.filter((component) => component.ports.some((one) => one.name === port && isTcp(one))) : components;
  const [only, another] = fitting;
  if (only === undefined) throw new DriverError("spec_refused", typeof port === "string" ? `no component of it has a tcp port named ${port}` : "it has no component that runs on");
  if (another !== undefined) throw new DriverError("spec_refused", `its stage's probe fits ${fitting.map((component) => component.name).join(" and ")}: say which with component`);
  return only;
}

const isTcp = (port: PortSpec): boolean => port.protocol === "tcp";
