/**
 * What a spec needs that only the host's own configuration can allow: root on a machine is given away by its owner,
 * never by whoever holds an API token. One function over the resolved spec, called on every path at the master (against
 * what the host reports) and again at the agent (against what its file says): the same verdict, or a hole (faults S6, F38).
 */
import type { Spec } from "../spec/spec.ts";

export interface Allowances {
  /** Absolute paths; what lies below one of them may be mounted. */
  readonly hostMounts: readonly string[];
  readonly privileged: boolean;
  readonly hostNamespaces: boolean;
  /** Names without CAP_; "ALL" allows every one. */
  readonly capabilities: readonly string[];
  /** Running commands in workloads (`skep exec`). */
  readonly exec: boolean;
}

export const NO_ALLOWANCES: Allowances = Object.freeze({ hostMounts: [], privileged: false, hostNamespaces: false, capabilities: [], exec: false });

export interface AllowanceProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Empty = nothing is needed beyond what the host allows. */
export function decideAllowances(spec: Spec, allowed: Allowances): AllowanceProblem[] {
  const problems: AllowanceProblem[] = [];
  spec.components.forEach(({ name, container }, index) => {
    if (container === undefined) return;
    const refuse = (field: string, what: string, setting: string): void => {
      problems.push({ path: ["components", index, "container", field], message: `${name}: ${what} is not allowed on this host (its owner allows it with ${setting})` });
    };
    for (const mount of container.mounts ?? []) {
      if (mount.type === "bind" && !isMountAllowed(mount.source, allowed.hostMounts)) refuse("mounts", `mounting ${mount.source}`, "allow.host_mounts");
    }
    if (container.privileged === true && !allowed.privileged) refuse("privileged", "privileged mode", "allow.privileged");
    for (const field of ["network_mode", "pid_mode", "ipc_mode"] as const) {
      if (container[field] === "host" && !allowed.hostNamespaces) refuse(field, `the host's ${field.replace("_mode", "")} namespace`, "allow.host_namespaces");
    }
    for (const { name: network } of container.networks ?? []) {
      if (spec.networks?.[network]?.external === "host" && !allowed.hostNamespaces) refuse("networks", "the host's network", "allow.host_namespaces");
    }
    for (const capability of container.cap_add ?? []) {
      const plain = capability.replace(/^CAP_/, "");
      if (!allowed.capabilities.includes(plain) && !allowed.capabilities.includes("ALL")) refuse("cap_add", `capability ${plain}`, "allow.capabilities");
    }
  });
  return problems;
}

export const isMountAllowed = (source: string, roots: Allowances["hostMounts"]): boolean => roots.some((root) => isBelow(source, root));

/** By text alone, on a path that is refused unless it is normal; where links lead is for the agent to look at. */
function isBelow(path: string, root: string): boolean {
  if (!path.startsWith("/") || path.split("/").some((part) => part === "." || part === "..")) return false;
  const below = (text: string): string => (text.endsWith("/") ? text : `${text}/`);
  return below(path.replace(/\/+/g, "/")).startsWith(below(root));
}

/** As an agent reports them in its beats' `capabilities`, beside `driver:docker`. */
export const allowanceCapabilities = (allowed: Allowances): string[] => [
  ...allowed.hostMounts.map((path) => `allow:host_mounts=${path}`),
  ...(allowed.privileged ? ["allow:privileged"] : []),
  ...(allowed.hostNamespaces ? ["allow:host_namespaces"] : []),
  ...allowed.capabilities.map((name) => `allow:capability=${name}`),
  ...(allowed.exec ? ["allow:exec"] : []),
];

export function allowancesOf(capabilities: readonly string[]): Allowances {
  const valuesOf = (prefix: string): string[] => capabilities.filter((text) => text.startsWith(prefix)).map((text) => text.slice(prefix.length));
  return {
    hostMounts: valuesOf("allow:host_mounts="),
    privileged: capabilities.includes("allow:privileged"),
    hostNamespaces: capabilities.includes("allow:host_namespaces"),
    capabilities: valuesOf("allow:capability="),
    exec: capabilities.includes("allow:exec"),
  };
}
