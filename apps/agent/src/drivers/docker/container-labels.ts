/**
 * What a container says about itself. Everything of ours is found by these labels alone, never by a name (defect 1-8);
 * `skep.spec` holds what an agent needs to look after a container that it did not start. Environment is never in it.
 */
import { isName, isUuid } from "@skep/core";
import type { ComponentSpec, ContainerSpec, PlacementLabels, PortSpec, ProbeSpec, ResourceSpec, WorkloadLabels } from "@skep/core";

export const LABEL = {
  host: "skep.host", placement: "skep.placement", deployment: "skep.deployment", component: "skep.component", job: "skep.job",
  generation: "skep.generation", epoch: "skep.epoch", hash: "skep.hash", spec: "skep.spec", network: "skep.network", volume: "skep.volume",
} as const;

/** The part of a component's spec that its container carries. */
export interface CarriedSpec {
  readonly image: string;
  readonly probe?: ProbeSpec | undefined;
  readonly restart: ComponentSpec["restart"];
  readonly ports: readonly PortSpec[];
  readonly resources?: ResourceSpec | undefined;
  /** Names as in the spec, not the engine's. */
  readonly networks: readonly string[];
  readonly network_mode?: ContainerSpec["network_mode"];
  readonly stop_timeout_s: number;
  readonly run_to_completion?: boolean | undefined;
}

export const DEFAULT_NETWORK = "default";

export function networksOf(container: ContainerSpec): NonNullable<ContainerSpec["networks"]> {
  if (container.network_mode !== undefined) return [];
  return container.networks === undefined || container.networks.length === 0 ? [{ name: DEFAULT_NETWORK }] : container.networks;
}

export function carriedSpec(spec: ComponentSpec, container: ContainerSpec): CarriedSpec {
  return {
    image: container.image, probe: spec.probe, restart: spec.restart, ports: spec.ports, resources: container.resources,
    networks: networksOf(container).map(({ name }) => name), network_mode: container.network_mode, stop_timeout_s: spec.stop_timeout_s, run_to_completion: spec.run_to_completion,
  };
}

export const placementLabels = (owner: string, labels: PlacementLabels): Record<string, string> => ({
  [LABEL.host]: owner, [LABEL.placement]: labels.placementId, [LABEL.deployment]: labels.deployment, [LABEL.job]: labels.jobId,
  [LABEL.generation]: String(labels.generation), [LABEL.epoch]: String(labels.epoch),
});

/** Ours come last: no spec can forge one. */
export const containerLabels = (owner: string, labels: WorkloadLabels, spec: ComponentSpec, container: ContainerSpec): Record<string, string> => ({
  ...container.labels, ...placementLabels(owner, labels),
  [LABEL.component]: labels.component, [LABEL.hash]: labels.componentHash, [LABEL.spec]: JSON.stringify(carriedSpec(spec, container)),
});

export interface ReadLabels {
  readonly labels: WorkloadLabels;
  /** undefined: it cannot be read, and `damage` says so. */
  readonly spec: CarriedSpec | undefined;
  readonly damage: string | undefined;
}

/** undefined: not even whose it is can be read; nothing of ours makes such a one. */
export function readLabels(all: Readonly<Record<string, string>>): ReadLabels | undefined {
  const placementId = all[LABEL.placement] ?? "";
  const component = all[LABEL.component] ?? "";
  if (!isUuid(placementId) || !isName(component)) return undefined;
  const generation = counterOf(all[LABEL.generation]);
  const epoch = counterOf(all[LABEL.epoch]);
  const spec = specOf(all[LABEL.spec]);
  const labels = { placementId, component, deployment: all[LABEL.deployment] ?? "", jobId: all[LABEL.job] ?? "", generation: generation ?? 0, epoch: epoch ?? 0, componentHash: all[LABEL.hash] ?? "" };
  const whole = generation !== undefined && epoch !== undefined && labels.componentHash !== "" && labels.jobId !== "" && spec !== undefined;
  return { labels, spec, damage: whole ? undefined : "its labels are damaged" };
}

function counterOf(text: string | undefined): number | undefined {
  const value = Number(text);
  return text !== undefined && /^\d+$/.test(text) && Number.isSafeInteger(value) ? value : undefined;
}

function specOf(text: string | undefined): CarriedSpec | undefined {
  try {
    const value = JSON.parse(text ?? "") as Partial<CarriedSpec>;
    const whole = typeof value.image === "string" && Array.isArray(value.ports) && Array.isArray(value.networks) && typeof value.restart?.policy === "string" && typeof value.stop_timeout_s === "number";
    return whole ? (value as CarriedSpec) : undefined;
  } catch {
    return undefined;
  }
}

/** A label filter: everything of this host, narrowed down. */
export function ownFilter(owner: string, only: Readonly<Partial<Record<"placement" | "component", string>>> = {}): { label: string[] } {
  return { label: [`${LABEL.host}=${owner}`, ...(only.placement === undefined ? [] : [`${LABEL.placement}=${only.placement}`]), ...(only.component === undefined ? [] : [`${LABEL.component}=${only.component}`])] };
}

/** For people who look at `docker ps`; nothing is ever found by it. The id's end is its random part. */
export const thingName = (labels: Pick<PlacementLabels, "deployment" | "placementId">, ...rest: readonly (string | number)[]): string =>
  ["skep", labels.deployment, labels.placementId.slice(-8), ...rest].join("-");
