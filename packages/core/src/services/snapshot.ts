/** What is read of the ledger to see deployments as their callers do, in a fixed number of statements however many there are. */
import type { DeploymentId, HostId } from "../ids.ts";
import type { DeploymentRecord } from "../ports/records.ts";
import type { HostView, PlacementView } from "../ports/store.ts";
import type { PortSpec } from "../spec/spec.ts";
import type { Instant } from "../time.ts";

export interface ServiceQuery {
  readonly limit?: number | undefined;
  /** Resume after this deployment's id. */
  readonly after?: string | undefined;
  /** Only these, by name or id; unknown ones are left out. */
  readonly refs?: readonly string[] | undefined;
  /** Also how much runs on their hosts. */
  readonly load?: boolean | undefined;
}

/** The ports that one generation's spec declares, component by component. */
export interface GenerationPorts {
  readonly deploymentId: DeploymentId;
  readonly generation: number;
  readonly components: readonly { readonly name: string; readonly ports: readonly PortSpec[] }[];
}

export interface ServiceSnapshot {
  readonly now: Instant;
  /** By id; those that are not deleted. */
  readonly deployments: readonly DeploymentRecord[];
  /** Theirs that are not removed, by id. */
  readonly placements: readonly PlacementView[];
  readonly hosts: ReadonlyMap<HostId, HostView>;
  /** Of every generation that a deployment or a placement wants, or that a host reports, as far as it has a spec. */
  readonly ports: readonly GenerationPorts[];
  /** Placements of anybody that are observed running, by host. Empty unless `load` was asked for. */
  readonly running: ReadonlyMap<HostId, number>;
}
