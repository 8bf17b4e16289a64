/** A scratch agent on the tests' engine: its own owner, state directory and driver, and nothing left behind at the end. */
import type { ComponentSpec, ContainerSpec, ObservedComponent, PlacementLabels, Spec, WorkloadLabels } from "@skep/core";
import { uuidv7 } from "@skep/core";
import { systemClock, systemRng } from "@skep/runtime";
import { eventually, tempDir } from "@skep/testkit";
import type { EngineKit } from "@skep/testkit";
import { afterEach } from "vitest";
import { createDockerDriver } from "../../src/drivers/index.ts";
import type { DockerDriver, DockerDriverOptions } from "../../src/drivers/index.ts";
import { labelsFor, never, silent } from "./world.ts";

export const clock = systemClock();
export const IMAGE = "skep-test:1";
/** Settles never: only its probe or its end decides, so that a slow machine cannot turn an early end into a late one. */
export const UNSETTLED: Partial<DockerDriverOptions> = { timings: { settleMs: 600_000, backoffBaseMs: 50, backoffCapMs: 200 } };
/** Ends at once when it is told to, as a good citizen does; told before it listens, it does not hear it: the first process of a container is never ended by default. */
export const FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"];

export interface DockerWorld {
  readonly owner: string;
  readonly stateDir: string;
  readonly driver: DockerDriver;
  /** Another driver on the same state, as after an agent's restart: the one before it is closed. */
  again(patch?: Partial<DockerDriverOptions>): DockerDriver;
  /** All in one: shared things, prepare, start, wait. */
  up(labels: WorkloadLabels, spec: ComponentSpec, driver?: DockerDriver): Promise<void>;
}

const worlds: { engine: EngineKit; owner: string; drivers: DockerDriver[] }[] = [];

export function createDockerWorld(engine: EngineKit, patch: Partial<DockerDriverOptions> = {}): DockerWorld {
  const owner = uuidv7(clock.now(), systemRng());
  const stateDir = patch.stateDir ?? tempDir("docker");
  const record = { engine, owner, drivers: [] as DockerDriver[] };
  worlds.push(record);
  const again = (more: Partial<DockerDriverOptions> = {}): DockerDriver => {
    record.drivers.at(-1)?.close();
    const driver = createDockerDriver({
      clock, rng: systemRng(), logger: silent, owner: () => owner, dockerHost: `unix://${engine.socketPath}`,
      timings: { settleMs: 50, backoffBaseMs: 50, backoffCapMs: 200 }, ...patch, ...more, stateDir,
    });
    record.drivers.push(driver);
    return driver;
  };
  const driver = again();
  const up = async (labels: WorkloadLabels, spec: ComponentSpec, by = driver): Promise<void> => {
    await by.shared!.ensure(labels, specOf(spec), never);
    await by.prepare(labels, spec, never);
    await by.start(labels, spec, never);
    await by.wait(labels, spec, AbortSignal.timeout(60_000));
  };
  return { owner, stateDir, driver, again, up };
}

export const specOf = (...components: readonly ComponentSpec[]): Spec => ({ driver: "docker", components });

type Patch = Partial<Omit<ComponentSpec, "container">> & { readonly container?: Partial<ContainerSpec> };
export const containerSpec = (command: readonly string[] = FOREVER, { container, ...patch }: Patch = {}): ComponentSpec => ({
  name: "web", command, env: {}, ports: [], restart: { policy: "never" }, depends_on: [], stop_timeout_s: 5, ...patch, container: { image: IMAGE, ...container },
});

export const placementOf = ({ placementId, deployment, jobId, generation, epoch }: WorkloadLabels): PlacementLabels => ({ placementId, deployment, jobId, generation, epoch });

export async function seenAs(driver: DockerDriver, labels: WorkloadLabels): Promise<ObservedComponent | undefined> {
  return (await driver.observe()).find((one) => one.labels.placementId === labels.placementId && one.labels.component === labels.component && one.labels.jobId === labels.jobId);
}

export const becomes = (driver: DockerDriver, labels: WorkloadLabels, state: ObservedComponent["state"], more: (seen: ObservedComponent) => boolean = () => true): Promise<ObservedComponent> =>
  eventually(async (status) => {
    const seen = await seenAs(driver, labels);
    status(JSON.stringify(seen));
    return seen !== undefined && seen.state === state && more(seen) ? seen : undefined;
  }, { what: `${labels.component} being ${state}`, timeoutMs: 60_000 });

/** What it printed, once all of these words are in it. */
export const prints = (driver: DockerDriver, labels: WorkloadLabels, ...words: readonly string[]): Promise<string> =>
  eventually(async (status) => {
    const text = await textOf(driver, labels);
    status(text);
    return words.every((word) => text.includes(word)) ? text : undefined;
  }, { what: `${labels.component} printing ${words.join(" and ")}` });

export async function textOf(driver: DockerDriver, labels: WorkloadLabels): Promise<string> {
  return Buffer.from((await driver.logs(labels.placementId, labels.component, 0, 1_000_000)).data).toString("utf8");
}

interface Listed {
  readonly Id: string;
  readonly Names: readonly string[];
}
/** Ids of the containers that carry a component's labels. */
export async function idsOf(engine: EngineKit, labels: WorkloadLabels): Promise<string[]> {
  const filters = JSON.stringify({ label: [`skep.placement=${labels.placementId}`, `skep.component=${labels.component}`] });
  return (await engine.ask<Listed[]>("GET", `/containers/json?all=1&filters=${encodeURIComponent(filters)}`)).map(({ Id }) => Id);
}

export { labelsFor, never };

afterEach(async () => {
  for (const { engine, owner, drivers } of worlds.splice(0)) {
    for (const driver of drivers) driver.close();
    await engine.removeEverything(`skep.host=${owner}`).catch(() => undefined);
  }
});
