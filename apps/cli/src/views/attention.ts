/** What needs a person first: causes before lists, the widest first. Pure. */
import type { DeploymentJson, HostJson, LifecycleJson } from "@skep/protocol";

export const ATTENTION_KINDS = ["hosts_unreachable", "hosts_suspect", "hosts_booting", "rows_lost", "deployments_failed", "deployments_degraded"] as const;

export interface Attention {
  readonly kind: (typeof ATTENTION_KINDS)[number];
  readonly count: number;
  /** At most a few; `count` has the rest. */
  readonly names: readonly string[];
  readonly because: string;
  readonly next: string;
}

export interface Troubled {
  readonly unreachable: readonly HostJson[];
  readonly suspect: readonly HostJson[];
  /** Of which those whose boot is blocked or went on without somebody need a person. */
  readonly active: readonly HostJson[];
  readonly lost: readonly LifecycleJson[];
  readonly deployments: readonly DeploymentJson[];
}

const NAMES = 5;

export function decideAttention({ unreachable, suspect, active, lost, deployments }: Troubled): Attention[] {
  const of = <T>(kind: Attention["kind"], items: readonly T[], name: (item: T) => string, because: (item: T) => string, next: (item: T) => string): Attention[] =>
    items.length === 0 ? [] : [{ kind, count: items.length, names: items.slice(0, NAMES).map(name), because: common(items.map(because)), next: next(items[0]!) }];
  const failed = deployments.filter((item) => item.status === "failed" || item.status === "teardown_failed");
  const degraded = deployments.filter((item) => item.status === "degraded");
  const explainHost = (host: HostJson): string => `skep explain host ${host.name}`;
  const explainDeployment = (item: DeploymentJson): string => `skep explain deployment ${item.name}`;
  // The order is the order of impact: a silent host explains lost rows, and both explain a deployment that is off.
  return [
    ...of("hosts_unreachable", unreachable, (host) => host.name, (host) => host.status_because ?? "", explainHost),
    ...of("hosts_suspect", suspect, (host) => host.name, (host) => host.status_because ?? "", explainHost),
    ...of("hosts_booting", active.filter((host) => host.boot?.state === "blocked" || host.boot?.state === "degraded"), (host) => host.name, bootBecause, (host) => `skep health ${host.name}`),
    ...of("deployments_failed", failed, (item) => item.name, (item) => item.last_error ?? "", explainDeployment),
    ...of("deployments_degraded", degraded, (item) => item.name, (item) => item.last_error ?? "", explainDeployment),
    ...of("rows_lost", lost, (row) => `${row.operation} ${row.deployment}@${row.host}`, (row) => row.because ?? "the host fell silent: the outcome is unknown", (row) => `skep explain lifecycle ${row.id}`),
  ];
}

function bootBecause({ boot }: HostJson): string {
  const ill = (boot?.members ?? []).filter((member) => !member.healthy).map(({ name, error }) => `${name} (${error ?? "not healthy"})`).join(", ");
  return boot?.state === "blocked" ? `boot blocked at stage ${boot.stage ?? "?"}: ${ill}` : `booted without ${ill}`;
}

/** What they all say, or what the first says when they differ. */
function common(texts: readonly string[]): string {
  const [first = ""] = texts;
  return texts.every((text) => text === first) || first === "" ? first : `${first} (and others)`;
}
