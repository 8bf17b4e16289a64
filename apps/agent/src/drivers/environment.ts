/**
 * What a workload sees of its host: three inherited variables, its spec's own, its ports and its labels. The agent's
 * environment is never passed on: it may hold the agent's secrets. Labels come last, so that no spec can forge one.
 */
import type { ComponentSpec, WorkloadLabels } from "@skep/core";
import { EXEC_LABEL } from "../runner/proc.ts";

export type InheritedEnv = Readonly<Partial<Record<"PATH" | "HOME" | "LANG", string>>>;

export const portVariable = (name: string): string => `PORT_${name.toUpperCase().replace(/[^A-Z0-9]/g, "_")}`;

export function buildEnvironment(labels: WorkloadLabels, spec: ComponentSpec, ports: Readonly<Record<string, number>>, inherited: InheritedEnv): Record<string, string> {
  const portVariables: Record<string, string> = {};
  for (const { name } of spec.ports) portVariables[portVariable(name)] = String(ports[name]);
  const first = spec.ports[0];
  if (first !== undefined) portVariables["PORT"] = String(ports[first.name]);
  // A component that called itself a command would not be seen any more.
  const { [EXEC_LABEL]: _ours, ...own } = spec.env;
  return {
    ...inherited,
    ...own,
    ...portVariables,
    SKEP_PLACEMENT: labels.placementId,
    SKEP_DEPLOYMENT: labels.deployment,
    SKEP_COMPONENT: labels.component,
    SKEP_JOB: labels.jobId,
    SKEP_GENERATION: String(labels.generation),
    SKEP_EPOCH: String(labels.epoch),
  };
}
